"""The numbers of a gradient pass: one batch of samples, every loss, the norms of its gradients (GSA, arXiv 2308.06405).

The code of this module and of what it imports is part of what finished pieces of a pass are found by.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffmia.denoisers.denoiser import Denoiser
from diffmia.gradients.norms import gradient_norms
from diffmia.models.base import TargetSpec
from diffmia.passes.inputs import Batch
from diffmia.search.noise import sample_noise
from diffmia.search.noise_search import search_map
from diffmia.search.probes import BACKWARD, GradientLoss, GradientProbe

# losses that share the query about a constant epsilon^1
_AFTER_A_CONSTANT: tuple[GradientLoss, ...] = ("detached", "training")


def answer(
    denoiser: Denoiser,
    batch: Batch,
    questions: list[GradientProbe],
    noise_seed: int,
) -> dict[str, np.ndarray]:
    """Every column of every question of a batch, by name, each float32 (B, number of parameter tensors).

    Parameters
    ----------
    denoiser : Denoiser
        In eval mode, where the batch is.
    batch : Batch
        The samples, whose ids their Gaussian noise belongs to, and what the model is told under each condition asked.
    questions : list of GradientProbe
        What is asked; what several share is asked once.
    noise_seed : int
        Seed of the samples' noise.
    """
    columns = {}
    for asked in _sharing(questions):
        norms = _norms(denoiser, batch, asked, noise_seed)
        for question in asked:
            per_timestep, of_mean = (part.cpu().numpy() for part in norms[question.loss])
            columns |= {name: per_timestep[:, i] for i, name in enumerate(question.timestep_columns)}
            columns[question.mean_column] = of_mean
    return columns


def batch_size(spec: TargetSpec) -> int:
    """Samples per backward pass; each is there once for every timestep."""
    return spec.gradient_batch_size


def _norms(
    denoiser: Denoiser, batch: Batch, questions: list[GradientProbe], noise_seed: int
) -> dict[GradientLoss, tuple[Tensor, Tensor]]:
    """By loss, the norms at each timestep (B, T, P) and those of the mean loss (B, P), of questions that share both."""
    timesteps, losses = questions[0].timesteps, [question.loss for question in questions]
    n, of_each = len(batch.ids), len(timesteps)
    x0 = batch.x0.repeat_interleave(of_each, dim=0)  # a row is a (sample, timestep)
    told = batch.told[questions[0].condition]
    told = None if told is None else told.repeat_interleave(of_each, dim=0)
    draws = [sample_noise(noise_seed, batch.ids, batch.shape, draw) for draw in range(of_each)]
    start = torch.from_numpy(np.stack(draws, axis=1)).flatten(0, 1).to(x0)  # epsilon^0
    t = torch.tensor(timesteps, device=x0.device).repeat(n)
    first = torch.empty_like(start)  # epsilon^1, kept by whoever asks first
    shape = {"rows": n * of_each, "rows_per_sample": of_each}
    found = {}

    def step(epsilon: Tensor, rows: slice) -> Tensor:
        return search_map(denoiser, x0[rows], t[rows], None if told is None else told[rows])(epsilon)  # OMS Eq. 7

    def base(rows: slice) -> Tensor:
        epsilon = step(start[rows], rows)
        first[rows] = epsilon.detach()
        return _mean_square(start[rows] - epsilon)[None]

    def after_a_constant(rows: slice) -> Tensor:
        epsilon = step(first[rows], rows)
        of = {"detached": start, "training": first}
        return torch.stack([_mean_square(of[loss][rows] - epsilon) for loss in shared])  # Eq. 9; Eq. 7

    def full(rows: slice) -> Tensor:
        return _mean_square(start[rows] - step(step(start[rows], rows), rows))[None]  # Eq. 9

    def keep(names: list[GradientLoss], per_row: Tensor, per_sample: Tensor) -> None:
        for name, rows_of, samples_of in zip(names, per_row, per_sample, strict=True):
            found[name] = rows_of.unflatten(0, (n, of_each)), samples_of

    shared = [loss for loss in losses if loss in _AFTER_A_CONSTANT]
    if "base" in losses:
        keep(["base"], *gradient_norms(denoiser, base, **shape))
    if shared:
        if "base" not in losses:
            with torch.no_grad():
                first = step(start, slice(None))
        keep(shared, *gradient_norms(denoiser, after_a_constant, **shape))
    if "full" in losses:
        keep(["full"], *gradient_norms(denoiser, full, **shape))
    return found


def _sharing(questions: list[GradientProbe]) -> list[list[GradientProbe]]:
    """Questions that share their queries: of the same timesteps and condition."""
    shared: dict[tuple, list[GradientProbe]] = {}
    for question in questions:
        shared.setdefault((question.timesteps, question.condition), []).append(question)
    return list(shared.values())


def _mean_square(residual: Tensor) -> Tensor:
    return residual.square().flatten(1).mean(1)


def count_evaluations(questions: list[GradientProbe]) -> int:
    """Model evaluations per sample of a pass, a backward pass counted as `BACKWARD` of them."""
    total = 0
    for asked in _sharing(questions):
        losses = {question.loss for question in asked}
        shared = losses.intersection(_AFTER_A_CONSTANT)
        forward = bool("base" in losses or shared) + bool(shared) + 2 * ("full" in losses)
        backward = ("base" in losses) + len(shared) + 2 * ("full" in losses)
        total += len(asked[0].timesteps) * (forward + BACKWARD * backward)
    return total
