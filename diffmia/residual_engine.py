"""The residual pass: every probe of a target, of every sample of a shard, in one go, each shared question asked once.

Samples are taken in blocks; a block's finished probes are put away in the store, then the table is streamed from it,
so memory does not grow with the number of samples.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffmia.denoiser import Denoiser
from diffmia.finite import check_finite
from diffmia.noise_search import NoiseSearch
from diffmia.probes import Probe
from diffmia.progress import Progress
from diffmia.residual_batch import residual_columns
from diffmia.residual_store import ResidualStore, piece_columns
from diffmia.residual_table import Samples, write_table
from diffmia.schedules import DiscreteSchedule, Schedule

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


class ResidualPass:
    """Asks a model all probes about batches of samples.

    Parameters
    ----------
    denoiser : Denoiser
        In eval mode, on `device`.
    probes : list of Probe
        Merged probes of the target.
    noise_seed : int
        Seed of the samples' Gaussian noise.
    batch_size : int
        Samples per model call, at most; halved for good when the device's memory does not hold it.
    """

    def __init__(self, denoiser: Denoiser, probes: list[Probe], noise_seed: int, batch_size: int, device: torch.device):
        # channels last is about a tenth faster for convolutions, on CPUs and GPUs alike
        self.denoiser = CountedDenoiser(denoiser.to(memory_format=torch.channels_last))
        self.probes, self.noise_seed, self.batch_size, self.device = probes, noise_seed, batch_size, device

    def block(
        self,
        images: np.ndarray,
        ids: np.ndarray,
        probes: list[Probe],
        report: Callable[[int], None] = lambda done: None,
    ) -> dict[str, np.ndarray]:
        """Every reduction of `probes` for the samples `ids`, by column name, each float64 (len(ids),).

        `report` is called with the number of samples done after each batch.
        """
        parts: list[dict[str, np.ndarray]] = []
        start = 0
        while start < len(ids):
            chosen = ids[start : start + self.batch_size]
            part = self._batch_or_none(images, chosen, probes)
            if part is not None:
                parts.append(part)
                start += len(chosen)
                report(start)
            else:  # only here, outside the `except`, is the failed batch gone and its memory free
                self.batch_size = len(chosen) // 2
                torch.cuda.empty_cache()
                log.warning("out of device memory; going on with batches of %d", self.batch_size)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _batch_or_none(self, images: np.ndarray, ids: np.ndarray, probes: list[Probe]) -> dict[str, np.ndarray] | None:
        """A batch's columns, or None if the device's memory does not hold it and it can be made smaller."""
        asked = self.denoiser.queries
        try:
            return residual_columns(self.denoiser, images[ids], ids, probes, self.noise_seed, self.device)
        except torch.OutOfMemoryError:
            if len(ids) == 1:
                raise
            self.denoiser.queries = asked  # what is thrown away is asked again
            return None


def count_queries(probes: list[Probe]) -> int:
    """Model evaluations per sample of a pass: the search itself, run on a model that answers nothing, counted."""
    schedule = DiscreteSchedule(torch.full((1 + max((p.t + p.k for p in probes), default=0),), 1e-4))
    counted = CountedDenoiser(_Mute(schedule))
    search = NoiseSearch(counted, torch.zeros(1, 1, 1, 1), lambda draw: torch.zeros(1, 1, 1, 1))
    for probe in probes:
        search.iterates(probe)
    return counted.queries


class _Mute(Denoiser):
    def __init__(self, schedule: Schedule):
        super().__init__()
        self.schedule = schedule

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x_t)


def shard_ids(ids: np.ndarray, shard: int, shards: int) -> np.ndarray:
    """The ids of shard number `shard` (from 0) of `shards`: a run of whole blocks, empty if there are fewer blocks.

    Blocks are the same whatever the number of shards: what was asked with one number is not asked again with another.
    """
    starts = np.array_split(np.arange(0, len(ids), BLOCK), shards)[shard]
    return ids[starts[0] : starts[-1] + BLOCK] if len(starts) else ids[:0]


def run_pass(residual_pass: ResidualPass, samples: Samples, store: ResidualStore, out: Path, metadata: dict) -> dict:
    """Answer every probe about every sample, and write the residual table.

    Parameters
    ----------
    metadata : dict of str
        Kept in the table's schema: hashes that later stages check.

    Returns
    -------
    dict
        `queries_made` of the model by this pass, the wall `seconds` that all pieces took (also those made earlier), and
        `seconds_by_probe`.
    """
    blocks = [samples.ids[start : start + BLOCK] for start in range(0, len(samples.ids), BLOCK)]
    missing = [[probe for probe in residual_pass.probes if not store.path(probe, ids).exists()] for ids in blocks]
    to_do = [(ids, probes) for ids, probes in zip(blocks, missing, strict=True) if probes]
    progress = Progress(log, "residuals of samples", sum(len(ids) for ids, _ in to_do))
    for ids, probes in to_do:
        _complete_block(residual_pass, samples.images, ids, probes, store, progress)
    seconds = write_table(out, samples, blocks, residual_pass.probes, store, metadata)
    return {
        "queries_made": residual_pass.denoiser.queries,
        "seconds": sum(seconds.values()),
        "seconds_by_probe": seconds,
    }


def _complete_block(
    residual_pass: ResidualPass,
    images: np.ndarray,
    ids: np.ndarray,
    probes: list[Probe],
    store: ResidualStore,
    progress: Progress,
) -> None:
    """Ask `probes` about the samples of a block, and put the answers away."""
    before, start = progress.done, time.perf_counter()
    columns = residual_pass.block(images, ids, probes, lambda done: progress.update(before + done))
    took = time.perf_counter() - start
    for name, values in columns.items():
        check_finite(values, ids, f"residuals {name}")
    cost = {probe.name: probe.queries(probe.n) for probe in probes}  # seconds are shared out by what each costs alone
    for probe in probes:
        mine = {name: columns[name] for name in piece_columns(probe)}
        store.write(probe, ids, mine, took * cost[probe.name] / sum(cost.values()))
