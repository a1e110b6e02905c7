"""U-ViT (Bao et al. 2023): a transformer with long skips that predicts noise, in continuous time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from diffmia.errors import DiffmiaError
from diffmia.models.base import CheckpointTarget, TargetSpec, TrainedTarget
from diffmia.models.schedule import ContinuousScheduleSpec, ScheduleSpec
from diffmia.spec import Spec

if TYPE_CHECKING:
    from diffmia.denoisers.denoiser import Denoiser
    from diffmia.models.networks.uvit import UViT


class UViTShape(Spec):
    """Size of the transformer; the defaults are those of U-ViT-S/2, the paper's for CIFAR-10 (44 M parameters)."""

    patch_size: PositiveInt = Field(2, description="Height and width of the patches that become tokens")
    width: PositiveInt = Field(512, description="Numbers of a token")
    depth: PositiveInt = Field(12, description="Blocks besides the middle one; half of them are skipped to the others")
    heads: PositiveInt = Field(8, description="Heads of the attention; divides the width")
    mlp_ratio: float = Field(4.0, gt=0, description="Hidden numbers of a block's MLP, in widths")
    qkv_bias: bool = Field(False, description="Whether queries, keys and values have a bias")

    @model_validator(mode="after")
    def _is_whole(self) -> UViTShape:
        if self.depth % 2:
            raise ValueError(f"depth {self.depth} is odd, and every block before the middle has one after it")
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not an even number for each of {self.heads} heads")
        return self

    def build(self, image_shape: tuple[int, int, int]) -> UViT:
        """A network with fresh weights, for images of shape (C, H, W)."""
        from diffmia.models.networks.uvit import UViT

        channels, height, width = image_shape
        if height != width or height % self.patch_size:
            raise DiffmiaError(
                f"images of {height}x{width} cannot be cut into patches of {self.patch_size}x{self.patch_size} as a "
                "U-ViT needs (square images, whole patches); change patch_size or prepare the images in another size"
            )
        return UViT(image_size=height, in_channels=channels, **self.model_dump())


class UViTTarget(TargetSpec):
    """What a U-ViT that is trained here and one from elsewhere share."""

    kind: ClassVar = "uvit"

    schedule: ScheduleSpec | ContinuousScheduleSpec = Field(
        ContinuousScheduleSpec(kind="vp_sde"), description="Forward process"
    )
    model: UViTShape = Field(default_factory=UViTShape, description="Size of the network")

    def load(self, folder: Path) -> Denoiser:
        """See `TargetSpec.load`."""
        from diffmia.denoisers.schedules import build_schedule
        from diffmia.models.networks.uvit import load_uvit

        return load_uvit(folder, build_schedule(self.schedule))


class TrainedUViT(UViTTarget, TrainedTarget):
    """A U-ViT, trained by this workflow."""

    family: Literal["uvit"]

    def build(self, image_shape: tuple[int, int, int]) -> Denoiser:
        """See `TrainedTarget.build`."""
        from diffmia.denoisers.schedules import build_schedule
        from diffmia.models.networks.uvit import UViTDenoiser

        return UViTDenoiser(self.model.build(image_shape), build_schedule(self.schedule))

    def save(self, denoiser: Denoiser, folder: Path) -> None:
        """See `TrainedTarget.save`."""
        from diffmia.models.networks.uvit import save_uvit

        save_uvit(denoiser.uvit, folder)


class UViTCheckpoint(UViTTarget, CheckpointTarget):
    """A U-ViT that was trained elsewhere: a state dict with the names of the published ones."""

    family: Literal["uvit_checkpoint"]

    def copy(self, files: dict[str, Path], image_shape: tuple[int, int, int], folder: Path) -> None:
        """See `ImportedTarget.copy`."""
        from diffmia.models.networks.checkpoints import load_state, read_checkpoint
        from diffmia.models.networks.uvit import save_uvit

        [path] = files.values()
        uvit = self.model.build(image_shape)
        load_state(uvit, read_checkpoint(path), str(path))
        save_uvit(uvit, folder)
