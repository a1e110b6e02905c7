"""A DDPM that was trained elsewhere and saved as a diffusers `DDPMPipeline`: a folder, or a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from diffmia.errors import DiffmiaError
from diffmia.models.hub import HubFiles
from diffmia.models.pipelines import SCHEDULER, PipelineTarget
from diffmia.models.schedule import ScheduleSpec

if TYPE_CHECKING:
    from diffmia.denoisers.denoiser import Denoiser

UNET = "unet/config.json"


class DiffusersDDPM(PipelineTarget):
    """An unconditional `UNet2DModel` that predicts noise, from a folder or from the Hugging Face hub."""

    kind: ClassVar = "ddpm"
    files: ClassVar = HubFiles(
        "a DDPM pipeline with it", (UNET, "unet/diffusion_pytorch_model.safetensors", SCHEDULER), flat=True
    )

    family: Literal["diffusers_ddpm"]
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec, description="Forward process")

    def load(self, folder: Path) -> Denoiser:
        """See `TargetSpec.load`."""
        from diffmia.models.networks.unet import load_unet

        return load_unet(folder, self.schedule)

    def _check(self, configs: dict[str, dict], image_shape: tuple[int, int, int]) -> None:
        found, (channels, height, width) = configs[UNET], image_shape
        size = found.get("sample_size")
        size = [size, size] if isinstance(size, int) else size
        if found.get("in_channels") != channels or (size is not None and list(size) != [height, width]):
            raise DiffmiaError(
                f"{self.place} takes images of {found.get('in_channels')} channels and size {size}, and the split's "
                f"images have {channels} channels and size {[height, width]}; prepare the dataset in the model's size"
            )
