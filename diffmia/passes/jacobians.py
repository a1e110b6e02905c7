"""The numbers of a Jacobian pass: one batch of samples, how strongly each search's map contracts at each iterate.

The code of this module and of what it imports is part of what finished pieces of a pass are found by. No inference
mode here: a Jacobian is made of derivatives.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffmia.denoisers.denoiser import Denoiser
from diffmia.models.base import TargetSpec
from diffmia.passes.inputs import Batch
from diffmia.search.jacobian import spectral_norms
from diffmia.search.noise import sample_noise
from diffmia.search.noise_search import NoiseSearch, search_map
from diffmia.search.probes import PRODUCTS, JacobianProbe

# Power iteration gives lower bounds, and creeps where the largest singular values lie close together. On trained digits
# targets (8 samples each, t = 50 and 200, the whole Jacobian for comparison) these are 0.1 to 3 % too low; a tolerance
# of 1e-2 leaves 0.4 to 11 %, for two thirds of the time.
ITERATIONS, TOLERANCE = PRODUCTS // 2, 1e-3
START_DRAW = 1  # draw 0 is where searches start: the first vector has nothing to do with the point


def answer(
    denoiser: Denoiser,
    batch: Batch,
    questions: list[JacobianProbe],
    noise_seed: int,
) -> dict[str, np.ndarray]:
    """Every column of every question of a batch, by name: spectral norms float64 (B,).

    Parameters
    ----------
    denoiser : Denoiser
        In eval mode, where the batch is.
    batch : Batch
        The samples, whose ids their Gaussian noise and the first vectors of their power iterations belong to.
    questions : list of JacobianProbe
        What is asked.
    noise_seed : int
        Seed of the samples' noise.
    """

    def gaussian(draw: int) -> Tensor:
        return torch.from_numpy(sample_noise(noise_seed, batch.ids, batch.shape, draw)).to(batch.x0)

    search, start = NoiseSearch(denoiser, batch.x0, gaussian, batch.told), gaussian(START_DRAW)
    columns = {}
    for question in questions:
        f = search_map(denoiser, batch.x0, question.of.t, batch.told[question.condition])
        with torch.no_grad():
            iterates = search.iterates(question.of)
        for i, epsilon in enumerate(iterates):
            norms = spectral_norms(f, epsilon, start, ITERATIONS, TOLERANCE).norms
            columns[question.column(i)] = norms.cpu().numpy()
    return columns


def batch_size(spec: TargetSpec) -> int:
    """Samples per call: as where gradients are taken, for what a backward pass needs is kept."""
    return spec.gradient_batch_size


def count_evaluations(questions: list[JacobianProbe]) -> int:
    """Model evaluations per sample of a pass, at most: no two of its questions share any."""
    return sum(question.cost() for question in questions)
