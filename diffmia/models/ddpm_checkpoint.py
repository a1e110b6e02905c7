"""A DDPM that pytorch-ddpm trained elsewhere, as SecMI's published ones were."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from diffmia.models.base import CheckpointTarget
from diffmia.models.ddpm_unet import UNetShape
from diffmia.models.schedule import ScheduleSpec

if TYPE_CHECKING:
    from diffmia.denoisers.denoiser import Denoiser


class DDPMCheckpoint(CheckpointTarget):
    """A checkpoint of pytorch-ddpm, kept as a diffusers `DDPMPipeline` folder; the network's answers are the same.

    Its table of time embeddings is kept too, and not computed anew: pytorch-ddpm's moving average includes it, and
    moves its constants by up to 2e-4 of their size.
    """

    kind: ClassVar = "ddpm"

    family: Literal["ddpm_checkpoint"]
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec, description="Forward process")
    model: UNetShape = Field(
        UNetShape(channels=(128, 256, 256, 256), attention=(False, True, False, False)),
        description="Size of the network: channels are ch times ch_mult, attention is true at the indices in attn",
    )
    weights: Literal["ema_model", "net_model"] = Field(
        "ema_model", description="Which of the file's weights: their moving average, or the last ones"
    )

    def copy(self, files: dict[str, Path], image_shape: tuple[int, int, int], folder: Path) -> None:
        """See `ImportedTarget.copy`."""
        from diffmia.models.networks.checkpoints import load_state, read_checkpoint
        from diffmia.models.networks.pytorch_ddpm import as_unet
        from diffmia.models.networks.unet import save_unet

        [path] = files.values()
        unet = self.model.build(
            image_shape,
            add_attention=True,  # in the middle, whatever attn says
            time_embedding_type="learned",
            num_train_timesteps=self.schedule.timesteps,
        )
        load_state(unet, as_unet(read_checkpoint(path, self.weights), self.model), f"{path} ({self.weights})")
        save_unet(unet, self.schedule, folder)

    def load(self, folder: Path) -> Denoiser:
        """See `TargetSpec.load`."""
        from diffmia.models.networks.unet import load_unet

        return load_unet(folder, self.schedule)
