"""The numbers of a residual pass: one batch of samples, every probe, everything kept; nothing of how a pass is run.

The code of this module and of what it imports is part of what finished pieces of a pass are found by. Inference mode
lives here only: `noise_search` itself is differentiable.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import DiscreteSchedule, Schedule
from diffmia.models.base import TargetSpec
from diffmia.passes.inputs import Batch
from diffmia.search.noise import sample_noise
from diffmia.search.noise_search import NoiseSearch, residual_norms
from diffmia.search.probes import NORMS, DifferenceMap, Drift, Probe, Question, Trajectory, column, reductions


@torch.inference_mode()
def answer(
    denoiser: Denoiser,
    batch: Batch,
    questions: list[Question],
    noise_seed: int,
) -> dict[str, np.ndarray]:
    """Every column of every question of a batch, by name: norms float64 (B,), maps float32 (B, C * H * W).

    Parameters
    ----------
    denoiser : Denoiser
        In eval mode, where the batch is.
    batch : Batch
        The samples, whose ids their Gaussian noise belongs to, and what the model is told under each condition asked.
    questions : list of Probe, DifferenceMap, Drift and Trajectory
        What is asked; what several share is asked once.
    noise_seed : int
        Seed of the samples' noise.
    """

    def gaussian(draw: int) -> Tensor:
        return torch.from_numpy(sample_noise(noise_seed, batch.ids, batch.shape, draw)).to(batch.x0)

    search = NoiseSearch(denoiser, batch.x0, gaussian, batch.told)
    columns = {}
    for question in questions:
        kept = _KEPT[type(question)](search, question)
        columns |= {name: values.cpu().numpy() for name, values in kept.items()}
    return columns


def batch_size(spec: TargetSpec) -> int:
    """Samples per model call."""
    return spec.batch_size


def _norms(search: NoiseSearch, probe: Probe) -> dict[str, Tensor]:
    iterates = search.iterates(probe)
    norms = {}
    for i, j in itertools.combinations(range(probe.n + 1), 2):
        norms[i, j] = residual_norms(iterates[i] - iterates[j])
    return {column(probe, (i, j), p): norms[i, j][p] for i, j, p in reductions(probe.n)}


def _maps(search: NoiseSearch, question: DifferenceMap) -> dict[str, Tensor]:
    first, *later = search.iterates(question.of)
    return {question.column(j): (first - epsilon).abs().flatten(1) for j, epsilon in enumerate(later, start=1)}


def _drifts(search: NoiseSearch, question: Drift) -> dict[str, Tensor]:
    norms = [residual_norms(drift) for drift in search.drifts(question.of)]
    return {question.column(j, p): of_j[p] for j, of_j in enumerate(norms, start=1) for p in NORMS}


def _trajectory(search: NoiseSearch, question: Trajectory) -> dict[str, Tensor]:
    iterates = search.iterates(question.of)
    return {question.column(i, j): residual_norms(iterates[i] - iterates[j])[2] for i, j in question.pairs}


_KEPT = {Probe: _norms, DifferenceMap: _maps, Drift: _drifts, Trajectory: _trajectory}


def count_evaluations(questions: list[Question]) -> int:
    """Model evaluations per sample of a pass: the search itself, run on a model that answers nothing, counted."""
    probes = [question if isinstance(question, Probe) else question.of for question in questions]
    mute = _Mute(DiscreteSchedule(torch.full((1 + max((p.t + p.k for p in probes), default=0),), 1e-4)))
    nothing = dict.fromkeys(probe.condition for probe in probes)
    search = NoiseSearch(mute, torch.zeros(1, 1, 1, 1), lambda draw: torch.zeros(1, 1, 1, 1), nothing)
    for probe in probes:
        search.iterates(probe)
    return mute.asked


class _Mute(Denoiser):
    def __init__(self, schedule: Schedule):
        super().__init__()
        self.schedule, self.asked = schedule, 0

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        self.asked += 1
        return torch.zeros_like(x_t)
