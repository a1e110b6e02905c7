"""A DDPM that was trained elsewhere and saved as a diffusers `DDPMPipeline` folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from diffmia.errors import DiffmiaError
from diffmia.models.base import ImportedTarget
from diffmia.models.schedule import ScheduleSpec

if TYPE_CHECKING:
    from diffmia.denoiser import Denoiser

FILES = (
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "scheduler/scheduler_config.json",
)


class DiffusersDDPM(ImportedTarget):
    """An unconditional `UNet2DModel` that predicts noise; its split says which samples it was trained on."""

    kind: ClassVar = "ddpm"

    family: Literal["diffusers_ddpm"]
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec, description="Forward process")
    folder: str = Field(description="The pipeline's folder, with unet/ (safetensors) and scheduler/")

    def inputs(self) -> list[str]:
        """See `ImportedTarget.inputs`."""
        return [f"{self.folder}/{name}" for name in FILES]

    def copy(self, image_shape: tuple[int, int, int], folder: Path) -> None:
        """See `ImportedTarget.copy`."""
        source = Path(self.folder)
        self._check_schedule(json.loads((source / FILES[2]).read_text()))
        self._check_shape(json.loads((source / FILES[0]).read_text()), image_shape)
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)
        self.load(folder)

    def load(self, folder: Path) -> Denoiser:
        """See `TargetSpec.load`."""
        from diffmia.models.networks.unet import load_unet

        return load_unet(folder, self.schedule)

    def _check_schedule(self, found: dict) -> None:
        if (kind := found.get("prediction_type", "epsilon")) != "epsilon":
            raise DiffmiaError(f"{self.folder} predicts '{kind}'; attacks need a model that predicts noise (epsilon)")
        if found.get("trained_betas") is not None:
            raise DiffmiaError(
                f"{self.folder} has betas of its own (trained_betas); only linear and scaled_linear are known"
            )
        wanted = {
            "beta_schedule": self.schedule.kind,
            "beta_start": self.schedule.beta_start,
            "beta_end": self.schedule.beta_end,
            "num_train_timesteps": self.schedule.timesteps,
        }
        for key, value in wanted.items():
            if found.get(key) != value:
                raise DiffmiaError(
                    f"{self.folder}/scheduler says {key}: {found.get(key)!r}, and the target's schedule in the config "
                    f"says {value!r}; set the target's schedule to the model's"
                )

    def _check_shape(self, found: dict, image_shape: tuple[int, int, int]) -> None:
        channels, height, width = image_shape
        size = found.get("sample_size")
        size = [size, size] if isinstance(size, int) else size
        if found.get("in_channels") != channels or (size is not None and list(size) != [height, width]):
            raise DiffmiaError(
                f"{self.folder} takes images of {found.get('in_channels')} channels and size {size}, and the split's "
                f"images have {channels} channels and size {[height, width]}; prepare the dataset in the model's size"
            )
