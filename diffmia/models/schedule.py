"""The forward process of a target, as said in `config.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from diffmia.spec import Spec


class ScheduleSpec(Spec):
    """The forward process of a discrete-time model."""

    kind: Literal["linear", "scaled_linear"] = Field(
        "linear", description="How beta grows: DDPM's or latent diffusion's"
    )
    beta_start: float = Field(1e-4, gt=0, lt=1, description="beta of the first timestep")
    beta_end: float = Field(0.02, gt=0, lt=1, description="beta of the last timestep")
    timesteps: PositiveInt = Field(1000, description="T, the number of timesteps")
