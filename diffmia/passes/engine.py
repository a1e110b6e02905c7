"""A pass: every question to a target about every sample of a shard, in one go, what several share asked once.

Samples are taken in blocks; a block's finished questions are put away in the store, then the table is streamed from it,
so memory does not grow with the number of samples.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffmia.denoisers.denoiser import Denoiser
from diffmia.passes.inputs import Batch, Inputs
from diffmia.passes.store import PieceStore
from diffmia.passes.table import Samples, write_table
from diffmia.running.at_once import AtOnce
from diffmia.running.finite import check_finite
from diffmia.running.progress import Progress
from diffmia.search.probes import Question

log = logging.getLogger(__name__)

BLOCK = 1024  # samples a piece; part of what a piece is found by, so that a pass resumes at whole blocks


class CountedDenoiser(Denoiser):
    """A denoiser that counts what it is asked: `queries` made of each sample, and `seconds` spent inside the model."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser, self.schedule = denoiser, denoiser.schedule
        self.queries, self.seconds = 0, 0.0

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """See `Denoiser.predict_noise`."""
        start = time.perf_counter()
        epsilon = self.denoiser.predict_noise(x_t, t, condition)
        self.queries += len(x_t)
        self.seconds += time.perf_counter() - start
        return epsilon


Answer = Callable[
    [Denoiser, Batch, list[Question], int], dict[str, np.ndarray]
]  # denoiser, samples, questions, noise seed -> columns by name, (B,) or (B, d)


class ModelPass:
    """Asks a model all questions about batches of samples.

    Parameters
    ----------
    denoiser : Denoiser
        In eval mode, on `device`.
    questions : list of Question
        Merged questions of one kind.
    answer : callable
        What answers questions of that kind about one batch: `answer` of `passes.residuals` or `passes.gradients`.
    noise_seed : int
        Seed of the samples' Gaussian noise.
    batch_size : int
        Samples per call of `answer`, at most; halved for good when the device's memory does not hold it.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        questions: list[Question],
        answer: Answer,
        noise_seed: int,
        batch_size: int,
        device: torch.device,
    ):
        self.denoiser = CountedDenoiser(denoiser)
        self.questions, self.answer, self.noise_seed = questions, answer, noise_seed
        self.at_once, self.device = AtOnce(batch_size, "samples"), device

    def block(
        self,
        inputs: Inputs,
        ids: np.ndarray,
        questions: list[Question],
        report: Callable[[int], None] = lambda done: None,
    ) -> dict[str, np.ndarray]:
        """Every column of `questions` for the samples `ids`, by name, each (len(ids),) or (len(ids), d).

        `report` is called with the number of samples done after each batch.
        """
        parts: list[dict[str, np.ndarray]] = []
        start = 0
        while start < len(ids):
            chosen = ids[start : start + self.at_once.size]
            part = self.at_once.attempt(partial(self._batch, inputs, chosen, questions), len(chosen))
            if part is not None:
                parts.append(part)
                start += len(chosen)
                report(start)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _batch(self, inputs: Inputs, ids: np.ndarray, questions: list[Question]) -> dict[str, np.ndarray]:
        """A batch's columns."""
        asked = self.denoiser.queries
        try:
            batch = inputs.batch(ids, (question.condition for question in questions), self.device)
            return self.answer(self.denoiser, batch, questions, self.noise_seed)
        except torch.OutOfMemoryError:
            self.denoiser.queries = asked  # what is thrown away is asked again
            raise


def run_pass(model_pass: ModelPass, samples: Samples, store: PieceStore, out: Path, metadata: dict) -> dict:
    """Answer every question about every sample, and write the table.

    Parameters
    ----------
    metadata : dict of str
        Kept in the table's schema: hashes that later stages check.

    Returns
    -------
    dict
        `queries_made` of the model by this pass, the wall `seconds` that all pieces took (also those made earlier), and
        `seconds_by_question`.
    """
    blocks = [samples.ids[start : start + BLOCK] for start in range(0, len(samples.ids), BLOCK)]
    missing = [[one for one in model_pass.questions if not store.path(one, ids).exists()] for ids in blocks]
    to_do = [(ids, questions) for ids, questions in zip(blocks, missing, strict=True) if questions]
    progress = Progress(log, "samples asked about", sum(len(ids) for ids, _ in to_do))
    for ids, questions in to_do:
        _complete_block(model_pass, samples.inputs, ids, questions, store, progress)
    seconds = write_table(out, samples, blocks, model_pass.questions, store, metadata)
    return {
        "queries_made": model_pass.denoiser.queries,
        "seconds": sum(seconds.values()),
        "seconds_by_question": seconds,
    }


def _complete_block(
    model_pass: ModelPass,
    inputs: Inputs,
    ids: np.ndarray,
    questions: list[Question],
    store: PieceStore,
    progress: Progress,
) -> None:
    """Ask `questions` about the samples of a block, and put the answers away."""
    before, start = progress.done, time.perf_counter()
    columns = model_pass.block(inputs, ids, questions, lambda done: progress.update(before + done))
    took = time.perf_counter() - start
    for name, values in columns.items():
        check_finite(values, ids, f"answers {name}")
    cost = {one.name: one.cost() for one in questions}  # seconds are shared out by what each costs alone
    for one in questions:
        mine = {name: columns[name] for name in one.columns()}
        store.write(one, ids, mine, took * cost[one.name] / sum(cost.values()))
