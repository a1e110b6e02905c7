"""Stratified bootstrap of AUC, ASR and TPR at fixed FPR, paired over variants of an attack.

A resample is a weight per sample: how often it was drawn. What is drawn is a sample, or where samples belong together
(images of one person) their whole group (a cluster bootstrap: Field & Welsh 2007). Scores are sorted once; a resample's
ROC is then a pair of cumulative sums of its weights, exact in the presence of ties. Variants share the weights, so the
spread of their difference is that of a paired comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from diffmia.evaluation.roc import balanced_accuracy, false_positive_budget, tie_ends
from diffmia.evaluation.thresholds import Draws

_CHUNK_ELEMENTS = 2**18  # weights held at once: 2 MiB, which stays in the cache


def bootstrap_stream(seed: int) -> np.random.SeedSequence:
    """Seed of the resamples of everything that is judged with an evaluation seed; apart from that of its draws."""
    (stream,) = np.random.SeedSequence(seed).spawn(1)
    return stream


def stratified_weights(
    member: np.ndarray,
    replicates: int,
    seed: int | np.random.SeedSequence,
    group: np.ndarray | None = None,
    chunk_elements: int = _CHUNK_ELEMENTS,
) -> Iterator[np.ndarray]:
    """Yield float64 weights (b, n) of `replicates` resamples in all, with b * n about `chunk_elements`.

    Members are resampled among members and non-members among non-members; without groups each row sums to their true
    numbers. The rows depend on `seed`, `member` (n,) and `group` (n,) alone, not on how they are chunked.
    """
    generator = np.random.default_rng(seed)
    group = np.arange(len(member)) if group is None else group
    strata = []  # samples of a class, which of its groups each of them is of, and how many these are
    for ids in map(np.flatnonzero, (member, ~member)):
        names, of = np.unique(group[ids], return_inverse=True)
        strata.append((ids, of, len(names)))
    rows = max(1, chunk_elements // len(member))
    for start in range(0, replicates, rows):
        weights = np.zeros((min(rows, replicates - start), len(member)))
        for row in weights:
            for ids, of, groups in strata:
                row[ids] = np.bincount(generator.integers(groups, size=groups), minlength=groups)[of]
        yield weights


def independent_samples(member: np.ndarray, group: np.ndarray | None) -> tuple[int, int]:
    """How many members and non-members (n,) are resampled by themselves: samples, or groups (n,) of them."""
    if group is None:
        return int(member.sum()), int((~member).sum())
    return len(np.unique(group[member])), len(np.unique(group[~member]))


class WeightedMetrics:
    """The metrics of one variant as a function of sample weights.

    Parameters
    ----------
    scores : float array (n,)
        Finite; lower = member.
    member : bool array (n,)
    draws : Draws
        The thresholds of the ASR; a resample does not choose them again.
    fprs : sequence of float
        Levels in (0, 1) at which the TPR is taken.
    """

    def __init__(self, scores: np.ndarray, member: np.ndarray, draws: Draws, fprs: Sequence[float]):
        self._order = np.argsort(scores)
        self._ends = tie_ends(scores[self._order])
        self._member = member[self._order]
        self._fprs = fprs
        accepted = draws.held_out & (scores <= draws.thresholds[:, None])
        judged = [of_draw & of_class for of_class in (member, ~member) for of_draw in (accepted, draws.held_out)]
        self._judged = np.concatenate(judged).T.astype(np.float64)  # (n, 4 R)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """AUC, ASR and the TPR at each FPR, in [0, 1], of each resample: weights (b, n) to (b, 2 + len(fprs))."""
        sorted_weights = weights[:, self._order]
        tp = np.cumsum(sorted_weights * self._member, axis=1)[:, self._ends]
        fp = np.cumsum(sorted_weights, axis=1)[:, self._ends] - tp
        area = np.trapezoid(tp, fp, axis=1) + tp[:, 0] * fp[:, 0] / 2  # the second term leads there from (0, 0)
        auc = area / (tp[:, -1] * fp[:, -1])
        return np.column_stack([auc, self._asr(weights), *(self._tpr(tp, fp, alpha) for alpha in self._fprs)])

    def _tpr(self, tp: np.ndarray, fp: np.ndarray, alpha: float) -> np.ndarray:
        within = np.count_nonzero(fp <= false_positive_budget(fp[:, -1:], alpha), axis=1)  # the first: fp never falls
        last = np.take_along_axis(tp, np.maximum(within - 1, 0)[:, None], axis=1)[:, 0]
        return np.where(within > 0, last, 0.0) / tp[:, -1]

    def _asr(self, weights: np.ndarray) -> np.ndarray:
        tp, positives, fp, negatives = np.split(weights @ self._judged, 4, axis=1)
        # where a class of a handful lost all its judged samples to resampling, its rate is a coin's
        tpr = np.divide(tp, positives, out=np.full_like(tp, 0.5), where=positives > 0)
        fpr = np.divide(fp, negatives, out=np.full_like(fp, 0.5), where=negatives > 0)
        return balanced_accuracy(tpr, fpr).mean(axis=1)


def bootstrap(
    metrics: Sequence[Callable[[np.ndarray], np.ndarray]],
    member: np.ndarray,
    replicates: int,
    seed: int | np.random.SeedSequence,
    group: np.ndarray | None = None,
    chunk_elements: int = _CHUNK_ELEMENTS,
) -> np.ndarray:
    """Metrics of every variant on the same resamples of `member` (n,), float64 array (V, replicates, S).

    `group` (n,): what is resampled whole; None: each sample by itself.

    Each of `metrics` takes weights (b, n) to S numbers of each resample (b, S), as `WeightedMetrics` does.
    """
    chunks = stratified_weights(member, replicates, seed, group, chunk_elements)
    per_chunk = [[metric(weights) for metric in metrics] for weights in chunks]
    return np.concatenate(per_chunk, axis=1)
