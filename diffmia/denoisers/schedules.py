"""Noise schedules: how much of x0 is left at a timestep, and the two moves between noise levels.

Every attack uses the same three formulas whatever the model, so they live on the schedule's base class; a schedule
only has to know its alpha_bar(t). Coefficients are computed in float64 and rounded once, to the dtype of the images.
Timesteps are on the scale of 0 to 1000 in continuous time too, where they are 1000 times the time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from diffmia.models.schedule import ContinuousScheduleSpec, ScheduleSpec


class Schedule(ABC):
    """A variance-preserving forward process x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) epsilon (OMS Eq. 2)."""

    @abstractmethod
    def alpha_bar(self, t: int | Tensor) -> Tensor:
        """Share of the signal's variance left at timestep `t`, float64, shape () or (B,), in (0, 1]."""

    @abstractmethod
    def time(self, t: int | Tensor) -> Tensor:
        """What the network is told for timestep `t`."""

    @abstractmethod
    def sample_timesteps(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` timesteps, uniform over all that a model is trained at, shape (n,), on the CPU."""

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

    def epsilon_of_velocity(self, x_t: Tensor, velocity: Tensor, t: int | Tensor) -> Tensor:
        """The noise that v = sqrt(alpha_bar_t) epsilon - sqrt(1 - alpha_bar_t) x0 implies for x_t, exactly.

        Salimans and Ho 2022, Appendix D, solved for epsilon with `add_noise`.
        """
        signal, noise = self._signal_and_noise(t, x_t)
        return signal * velocity + noise * x_t

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

    def sample_timesteps(self, n: int, generator: torch.Generator) -> Tensor:
        """See `Schedule.sample_timesteps`; int64."""
        return torch.randint(len(self), (n,), generator=generator)


class ContinuousSchedule(Schedule):
    """The variance-preserving SDE dx = -beta(s) x / 2 ds + sqrt(beta(s)) dw, s in [0, 1] (Song et al. 2021).

    Parameters
    ----------
    beta_min, beta_max : float
        beta at time 0 and at time 1; linear between.
    """

    TIMESTEPS = 1000  # of the whole time, so that attacks' timesteps mean the same as in discrete time

    def __init__(self, beta_min: float, beta_max: float):
        self.beta_min, self.beta_max = beta_min, beta_max

    def _time(self, t: int | Tensor) -> Tensor:
        return torch.as_tensor(t).double() / self.TIMESTEPS

    def beta(self, t: int | Tensor) -> Tensor:
        """Variance added per unit of time at timestep `t`, float64, shape () or (B,)."""
        return self.beta_min + (self.beta_max - self.beta_min) * self._time(t)

    def alpha_bar(self, t: int | Tensor) -> Tensor:
        """See `Schedule.alpha_bar`; `t` in [0, 1000]: exp of minus the integral of beta, on the CPU wherever `t` is."""
        s = self._time(t).cpu()
        return torch.exp(-self.beta_min * s - (self.beta_max - self.beta_min) / 2 * s.square())

    def time(self, t: int | Tensor) -> Tensor:
        """999 times the time, as float32: what U-ViT's published models are told."""
        return (999 * self._time(t)).float()

    def sample_timesteps(self, n: int, generator: torch.Generator) -> Tensor:
        """See `Schedule.sample_timesteps`; float64."""
        return torch.rand(n, generator=generator, dtype=torch.float64) * self.TIMESTEPS


def build_schedule(spec: ScheduleSpec | ContinuousScheduleSpec) -> Schedule:
    """The schedule that a target's settings describe."""
    if spec.kind == "vp_sde":
        return ContinuousSchedule(spec.beta_min, spec.beta_max)
    return DiscreteSchedule.from_spec(spec)
