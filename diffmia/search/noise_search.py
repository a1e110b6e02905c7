"""The heart: searching the noise a model was trained with, by fixed-point iteration (OMS, Sections 3.3-3.5).

For a sample x0 and a timestep t the map
    f(epsilon) = epsilon_theta(sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) epsilon, t)
has the training noise near a fixed point if x0 was trained on. A search takes an initial noise epsilon^0, iterates
epsilon^n = f(epsilon^{n-1}), and measures residuals ||epsilon^i - epsilon^j||_p. NA, PIA, PIAN and SecMI are its first
step from four different initial noises; OMS is one more step.

Everything here is a differentiable function of tensors: gradients, jvp and vmap pass through. `NoiseSearch` only
remembers, for one batch, what was already asked, so that searches that share a question ask it once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from diffmia.search.iterations import PICARD, iterate
from diffmia.search.probes import NORMS, UNCONDITIONAL, Norm, Probe

if TYPE_CHECKING:
    from torch import Tensor

    from diffmia.denoisers.denoiser import Denoiser
    from diffmia.denoisers.schedules import ContinuousSchedule


def search_map(denoiser: Denoiser, x0: Tensor, t: int, condition: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """The map f whose fixed point is searched, epsilon -> epsilon_theta(x_t(x0, epsilon), t); OMS Eq. 7."""

    def f(epsilon: Tensor) -> Tensor:
        return denoiser.predict_noise(denoiser.schedule.add_noise(x0, epsilon, t), t, condition)

    return f


def rescale_to_gaussian(epsilon: Tensor) -> Tensor:
    """Scale each sample's noise so that mean |epsilon| = sqrt(2 / pi), the value of N(0, I).

    PIA's Eq. 10 prints the inverse factor, sqrt(pi / 2), whose mean magnitude is 1.25 instead of 0.80; the published
    DDPM code and the text's intent are the factor used here.
    """
    mean_magnitude = epsilon.abs().flatten(1).mean(1).reshape(-1, *(1,) * (epsilon.dim() - 1))
    return epsilon / mean_magnitude * math.sqrt(2 / math.pi)  # PIA Eq. 10, corrected


def residual_norms(residual: Tensor) -> dict[Norm, Tensor]:
    """The p-norms of each sample's residual (B, ...) for p = 1…6 and infinity, each float64 of shape (B,).

    The first axis is the batch, inside vmap too. At a residual of exactly zero the gradient is not defined.
    """
    magnitude = residual.double().abs().flatten(1)
    norms: dict[Norm, Tensor] = {}
    power = magnitude
    for p in NORMS[:-1]:
        norms[p] = power.sum(1) ** (1 / p)
        power = power * magnitude
    norms["inf"] = magnitude.amax(1)
    return norms


def probability_flow(schedule: ContinuousSchedule, x_t: Tensor, epsilon: Tensor, t: int) -> Tensor:
    """dx/dt = f(x_t, t) - g(t)^2 s(x_t, t) / 2 of the ODE that has the SDE's marginals (PIA Eq. 14), like x_t.

    f = -beta x / 2, g^2 = beta, and the score s = -epsilon / sqrt(1 - alpha_bar).
    """
    rate, sigma = schedule.beta(t) / 2, (1 - schedule.alpha_bar(t)).sqrt()
    return rate.to(x_t) * (epsilon / sigma.to(x_t) - x_t)


class NoiseSearch:
    """Searches about one batch of samples, in which every question is asked of the model once.

    Parameters
    ----------
    denoiser : Denoiser
        The model.
    x0 : Tensor (B, C, H, W) in [-1, 1]
        The samples.
    gaussian : callable
        draw -> Tensor like `x0`: the samples' own Gaussian noise.
    told : mapping, optional
        By condition, what a conditional model is told besides, Tensor (B, ...).
    """

    def __init__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        gaussian: Callable[[int], Tensor],
        told: Mapping[str, Tensor | None] = MappingProxyType({UNCONDITIONAL: None}),
    ):
        self.denoiser, self.x0, self.told = denoiser, x0, told
        self._gaussian = gaussian
        self._answers: dict[tuple, Tensor] = {}
        self._states: dict[tuple, Tensor] = {}

    def _once(self, question: tuple, ask: Callable[[], Tensor]) -> Tensor:
        if question not in self._answers:
            self._answers[question] = ask()
        return self._answers[question]

    def proximal(self, t_init: int = 0, condition: str = UNCONDITIONAL) -> Tensor:
        """epsilon_theta(x0, t_init): PIA's initial noise (OMS Eq. E.4) and the first query of every DDIM inversion."""
        question = "proximal", t_init, condition
        return self._once(question, lambda: self.denoiser.predict_noise(self.x0, t_init, self.told[condition]))

    def inverted_state(self, t: int, k: int, t_init: int = 0, condition: str = UNCONDITIONAL) -> Tensor:
        """x_t reached from x0, taken for x_{t_init}, by deterministic DDIM inversion in steps of `k` (SecMI's Phi)."""
        state = self.x0
        for s in range(0, t, k):
            reached = s + k, k, t_init, condition
            if reached not in self._states:
                epsilon = self.inverted(s, k, t_init, condition)
                self._states[reached] = self.denoiser.schedule.ddim_step(state, epsilon, max(s, t_init), s + k)
            state = self._states[reached]
        return state

    def inverted(self, t: int, k: int, t_init: int = 0, condition: str = UNCONDITIONAL) -> Tensor:
        """epsilon_theta(x_t, t) on the inversion trajectory of step `k`: SecMI's initial noise."""
        if t == 0:
            return self.proximal(t_init, condition)
        state = self.inverted_state(t, k, t_init, condition)
        question = "inverted", t, k, t_init, condition
        return self._once(question, lambda: self.denoiser.predict_noise(state, t, self.told[condition]))

    def drifts(self, probe: Probe) -> list[Tensor]:
        """dx/dt where epsilon^1, …, epsilon^n of a search are asked for, each like x0 (PIA Eq. 14)."""
        schedule, epsilons = self.denoiser.schedule, self.iterates(probe)
        return [
            probability_flow(schedule, schedule.add_noise(self.x0, asked_with, probe.t), answer, probe.t)
            for asked_with, answer in itertools.pairwise(epsilons)
        ]

    def iterates(self, probe: Probe) -> list[Tensor]:
        """epsilon^0, …, epsilon^n of one search, each like x0."""
        return [self._iterate(probe, i) for i in range(probe.n + 1)]

    def _iterate(self, probe: Probe, i: int) -> Tensor:
        if i == 0:
            return self._initial_noise(probe)
        if probe.start == "inverted":
            return self._inverted_iterate(probe, i)
        f = search_map(self.denoiser, self.x0, probe.t, self.told[probe.condition])
        if probe.iteration != PICARD:
            return self._once((probe.name, i), lambda: self._accelerated(probe, i, f))
        return self._once((probe.name, i), lambda: f(self._iterate(probe, i - 1)))  # OMS Eq. 7

    def _accelerated(self, probe: Probe, queries: int, f: Callable[[Tensor], Tensor]) -> Tensor:
        """What another iteration makes of as many queries; the first is Picard's, whose answer is epsilon^1."""
        picard = probe.model_copy(update={"iteration": PICARD})
        if queries == 1:
            return self._iterate(picard, 1)
        start = self._iterate(probe, 0)

        def asked_once(epsilon: Tensor) -> Tensor:
            return self._iterate(picard, 1) if epsilon is start else f(epsilon)

        return iterate(asked_once, start, queries, probe.iteration)

    def _initial_noise(self, probe: Probe) -> Tensor:
        match probe.start:
            case "gaussian":
                return self._once(("gaussian", probe.draw), lambda: self._gaussian(probe.draw))
            case "proximal":
                return self.proximal(probe.t_init, probe.condition)
            case "proximal_normalised":
                question = "proximal_normalised", probe.t_init, probe.condition
                return self._once(question, lambda: rescale_to_gaussian(self.proximal(*question[1:])))
            case "inverted":
                return self.inverted(probe.t, probe.k, probe.t_init, probe.condition)

    def _inverted_iterate(self, probe: Probe, i: int) -> Tensor:
        """SecMI's chain: epsilon^1 is the trajectory's own query at t + k, so that the baseline is exactly SecMI.

        The paper leaves open what later iterates are attached to. With the true x0 (the default)
        epsilon^2 = f(epsilon^1) is the map of Eq. 7 at t + k; `x0hat` and `xt` keep the estimate of x0, or x_t itself,
        in its place.
        """
        t, after, told = probe.t, probe.t + probe.k, self.told[probe.condition]
        if i == 1:
            return self.inverted(after, probe.k, probe.t_init, probe.condition)  # OMS Eq. E.8
        schedule, epsilon = self.denoiser.schedule, self._iterate(probe, i - 1)

        def state() -> Tensor:
            return self.inverted_state(t, probe.k, probe.t_init, probe.condition)

        def ask() -> Tensor:
            match probe.anchor:
                case "x0":
                    return search_map(self.denoiser, self.x0, after, told)(epsilon)
                case "x0hat":
                    x0hat = schedule.predict_x0(state(), self._iterate(probe, 0), t)
                    return search_map(self.denoiser, x0hat, after, told)(epsilon)
                case "xt":  # OMS Eq. E.6, read literally
                    return self.denoiser.predict_noise(schedule.ddim_step(state(), epsilon, t, after), after, told)

        return self._once((probe.name, i), ask)
