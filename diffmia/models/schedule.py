"""The forward process of a target, as said in `config.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from diffmia.spec import Spec


class ScheduleSpec(Spec):
    """The forward process of a discrete-time model."""

    kind: Literal["linear", "scaled_linear"] = Field(
        "linear", description="How beta grows: DDPM's or latent diffusion's"
    )
    beta_start: float = Field(1e-4, gt=0, lt=1, description="beta of the first timestep")
    beta_end: float = Field(0.02, gt=0, lt=1, description="beta of the last timestep")
    timesteps: PositiveInt = Field(1000, description="T, the number of timesteps")

    @property
    def last_timestep(self) -> int:
        """The last one the model can be asked at."""
        return self.timesteps - 1


class ContinuousScheduleSpec(Spec):
    """The forward process of a continuous-time model; its timestep is 1000 times its time in [0, 1]."""

    kind: Literal["vp_sde"] = Field(description="Variance preserving, beta linear in time (Song et al. 2021)")
    beta_min: float = Field(0.1, gt=0, description="beta at time 0")
    beta_max: float = Field(20.0, gt=0, description="beta at time 1")

    @model_validator(mode="after")
    def _noise_grows(self) -> ContinuousScheduleSpec:
        if self.beta_max < self.beta_min:
            raise ValueError(f"beta_max {self.beta_max:g} is below beta_min {self.beta_min:g}")
        return self

    @property
    def last_timestep(self) -> int:
        """See `ScheduleSpec.last_timestep`."""
        return 1000
