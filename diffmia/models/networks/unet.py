"""A diffusers `UNet2DModel` behind the `Denoiser` interface."""

from __future__ import annotations

from pathlib import Path

from diffusers import DDPMPipeline, UNet2DModel
from torch import Tensor

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import DiscreteSchedule, Schedule
from diffmia.models.networks.scheduler import ddpm_scheduler
from diffmia.models.schedule import ScheduleSpec


class UNetDenoiser(Denoiser):
    """Noise prediction by a U-Net.

    Parameters
    ----------
    unet : UNet2DModel
        Predicts noise of the shape of its input.
    schedule : Schedule
        What it was trained with.
    """

    def __init__(self, unet: UNet2DModel, schedule: Schedule):
        super().__init__()
        self.unet, self.schedule = unet, schedule

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """See `Denoiser.predict_noise`; the model is unconditional."""
        return self.unet(x_t, self.schedule.time(t).to(x_t.device)).sample


def save_unet(unet: UNet2DModel, schedule: ScheduleSpec, folder: Path) -> None:
    """Write a diffusers pipeline folder, for `load_unet`."""
    DDPMPipeline(unet, ddpm_scheduler(schedule)).save_pretrained(folder, safe_serialization=True)


def load_unet(folder: Path, schedule: ScheduleSpec) -> UNetDenoiser:
    """The U-Net of a diffusers pipeline folder, from safetensors alone."""
    unet = UNet2DModel.from_pretrained(
        folder, subfolder="unet", use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    )
    return UNetDenoiser(unet, DiscreteSchedule.from_spec(schedule))
