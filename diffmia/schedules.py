"""Noise schedules: how much of x0 is left at a timestep, and the two moves between noise levels.

Every attack uses the same three formulas whatever the model, so they live on the schedule's base class; a schedule
only has to know its alpha_bar(t). Coefficients are computed in float64 and rounded once, to the dtype of the images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from diffmia.models.schedule import ScheduleSpec


class Schedule(ABC):
    """A variance-preserving forward process x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) epsilon (OMS Eq. 2)."""

    @abstractmethod
    def alpha_bar(self, t: int | Tensor) -> Tensor:
        """Share of the signal's variance left at timestep `t`, float64, shape () or (B,), in (0, 1]."""

    @abstractmethod
    def time(self, t: int | Tensor) -> Tensor:
        """What the network is told for timestep `t`."""

    def _signal_and_noise(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = self.alpha_bar(t)
        alpha_bar = alpha_bar.reshape(alpha_bar.shape + (1,) * (like.dim() - 1)) if alpha_bar.dim() else alpha_bar
        return alpha_bar.sqrt().to(like), (1 - alpha_bar).sqrt().to(like)

    def add_noise(self, x0: Tensor, epsilon: Tensor, t: int | Tensor) -> Tensor:
        """x_t from x0 and noise, shapes (B, C, H, W); OMS Eq. 2."""
        signal, noise = self._signal_and_noise(t, x0)
        return signal * x0 + noise * epsilon

    def predict_x0(self, x_t: Tensor, epsilon: Tensor, t: int | Tensor) -> Tensor:
        """The x0 that `epsilon` implies for x_t: `add_noise` solved for x0."""
        signal, noise = self._signal_and_noise(t, x_t)
        return (x_t - noise * epsilon) / signal

    def ddim_step(self, x_t: Tensor, epsilon: Tensor, t: int, to: int) -> Tensor:
        """Deterministic DDIM move from timestep `t` to `to` (either direction) along `epsilon`; OMS Eq. E.6."""
        return self.add_noise(self.predict_x0(x_t, epsilon, t), epsilon, to)


class DiscreteSchedule(Schedule):
    """Schedule of a model trained on timesteps 0..T-1 (DDPM, Stable Diffusion).

    Parameters
    ----------
    betas : Tensor (T,)
        Variance added by each step, each in (0, 1).
    """

    def __init__(self, betas: Tensor):
        self._alpha_bar = torch.cumprod(1 - betas.double(), dim=0)

    @classmethod
    def from_spec(cls, spec: ScheduleSpec) -> DiscreteSchedule:
        """`linear` betas (Ho et al. 2020), or `scaled_linear`: linear in sqrt(beta) (latent diffusion)."""
        if spec.kind == "scaled_linear":
            return cls(
                torch.linspace(spec.beta_start**0.5, spec.beta_end**0.5, spec.timesteps, dtype=torch.float64) ** 2
            )
        return cls(torch.linspace(spec.beta_start, spec.beta_end, spec.timesteps, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self._alpha_bar)

    def alpha_bar(self, t: int | Tensor) -> Tensor:
        """See `Schedule.alpha_bar`; `t` in 0..T-1, and the result on the CPU wherever `t` is."""
        return self._alpha_bar[torch.as_tensor(t).cpu()]

    def time(self, t: int | Tensor) -> Tensor:
        """The timestep itself, as int64."""
        return torch.as_tensor(t, dtype=torch.int64)
