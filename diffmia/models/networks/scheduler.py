"""The noise schedule of a target as diffusers keeps it, beside the networks of a pipeline's folder."""

from __future__ import annotations

from typing import Any

from diffusers import DDPMScheduler

from diffmia.models.schedule import ScheduleSpec


def ddpm_scheduler(schedule: ScheduleSpec, **settings: Any) -> DDPMScheduler:
    """The scheduler of diffusers of a forward process; `settings` are those that say how it samples."""
    return DDPMScheduler(
        num_train_timesteps=schedule.timesteps,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.kind,
        **settings,
    )
