"""DDPM (Ho et al. 2020): a convolutional U-Net that predicts noise, in discrete time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from diffmia.errors import DiffmiaError
from diffmia.models.base import TrainedTarget
from diffmia.models.schedule import ScheduleSpec
from diffmia.spec import Spec

if TYPE_CHECKING:
    from diffusers import UNet2DModel

    from diffmia.denoisers.denoiser import Denoiser


class UNetShape(Spec):
    """Size of the U-Net: one entry of `channels` and `attention` for each resolution, finest first."""

    channels: tuple[PositiveInt, ...] = Field(min_length=1, description="Channels at each resolution")
    layers_per_block: PositiveInt = Field(2, description="Residual blocks at each resolution")
    attention: tuple[bool, ...] | None = Field(None, description="Self-attention at each resolution; null for none")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout while training")
    norm_groups: PositiveInt = Field(
        32, description="Groups of the group normalisation; divides every entry of channels"
    )

    @model_validator(mode="after")
    def _resolutions_agree(self) -> UNetShape:
        if self.attention is not None and len(self.attention) != len(self.channels):
            raise ValueError(
                f"attention has {len(self.attention)} entries and channels has {len(self.channels)}; "
                "each needs one for every resolution"
            )
        if odd := [width for width in self.channels if width % self.norm_groups]:
            raise ValueError(f"norm_groups {self.norm_groups} does not divide channels {odd}")
        return self

    def build(self, image_shape: tuple[int, int, int], **options: Any) -> UNet2DModel:
        """A network with fresh weights, for images of shape (C, H, W); `options` are further ones of `UNet2DModel`."""
        from diffusers import UNet2DModel

        attention = self.attention_at
        settings = {
            "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
            "add_attention": any(attention),
            "attention_head_dim": None,
        }
        return UNet2DModel(**self.settings(image_shape) | settings | options)

    @property
    def attention_at(self) -> tuple[bool, ...]:
        """Whether there is attention, for each resolution."""
        return self.attention or (False,) * len(self.channels)

    def settings(self, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        """What diffusers' U-Nets of any kind are told of the size, for images of shape (C, H, W).

        Raises
        ------
        DiffmiaError
            If images of that size cannot be halved for each resolution.
        """
        image_channels, height, width = image_shape
        halvings = len(self.channels) - 1
        if height % 2**halvings or width % 2**halvings:
            raise DiffmiaError(
                f"images of {height}x{width} cannot be halved {halvings} times, once for each resolution after the "
                "first in the target's channels; list fewer channels or prepare the images in another size"
            )
        return {
            "sample_size": (height, width),
            "in_channels": image_channels,
            "out_channels": image_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.layers_per_block,
            "dropout": self.dropout,
            "norm_num_groups": self.norm_groups,
        }


class DDPMUNet(TrainedTarget):
    """A DDPM U-Net, trained by this workflow and kept as a diffusers `DDPMPipeline` folder."""

    kind: ClassVar = "ddpm"

    family: Literal["ddpm_unet"]
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec, description="Forward process")
    model: UNetShape = Field(description="Size of the network")

    def build(self, image_shape: tuple[int, int, int]) -> Denoiser:
        """See `TrainedTarget.build`."""
        from diffmia.denoisers.schedules import DiscreteSchedule
        from diffmia.models.networks.unet import UNetDenoiser

        return UNetDenoiser(self.model.build(image_shape), DiscreteSchedule.from_spec(self.schedule))

    def save(self, denoiser: Denoiser, folder: Path) -> None:
        """See `TrainedTarget.save`."""
        from diffmia.models.networks.unet import save_unet

        save_unet(denoiser.unet, self.schedule, folder)

    def load(self, folder: Path) -> Denoiser:
        """See `TargetSpec.load`."""
        from diffmia.models.networks.unet import load_unet

        return load_unet(folder, self.schedule)
