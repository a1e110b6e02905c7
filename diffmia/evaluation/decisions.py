"""Decisions that an attack makes by itself at nominal FPRs: how many members and non-members they accuse.

No threshold is chosen here, so nothing makes the FPR what it is named after: it is a result beside the TPR.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from diffmia.evaluation.intervals import (
    cannot_vary,
    exact_interval,
    no_narrower,
    no_surer,
    percentile_interval,
)
from diffmia.evaluation.resampling import bootstrap, bootstrap_stream, independent_samples
from diffmia.evaluation.roc import false_positive_budget
from diffmia.evaluation.rows import NOT_APPLICABLE
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.support import Judged, judged_samples

_BEGIN, _END = "_at_", "_fpr"


class WeightedRates:
    """TPRs and FPRs of L decisions as a function of sample weights.

    Parameters
    ----------
    accepted : bool array (n, L)
        Whom each decision calls a member.
    member : bool array (n,)
    """

    def __init__(self, accepted: np.ndarray, member: np.ndarray):
        of_class = [accepted & chosen[:, None] for chosen in (member, ~member)]
        self._judged = np.concatenate(of_class, axis=1).astype(np.float64)  # (n, 2 L)
        self._classes = np.column_stack([member, ~member]).astype(np.float64)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """TPR of each decision, then FPR of each, in [0, 1], of each resample: weights (b, n) to (b, 2 L)."""
        sizes = np.repeat(weights @ self._classes, self._judged.shape[1] // 2, axis=1)
        return weights @ self._judged / sizes


def nominal_fprs(scores: pd.DataFrame) -> dict[str, float]:
    """Nominal FPRs of an attack's own decisions, by the names of their columns after the variant (`_at_5_fpr`: 0.05).

    Empty for an attack that makes none.
    """
    names = [name.removeprefix("base") for name in scores.columns if name.startswith("base" + _BEGIN)]
    return {name: float(name.removeprefix(_BEGIN).removesuffix(_END)) / 100 for name in names}


def evaluate_decisions(
    scores: pd.DataFrame, spec: EvaluationSpec, seed: int, groups: pd.Series | None = None
) -> list[dict]:
    """Judge the decisions that one attack makes on one target.

    Parameters
    ----------
    scores : DataFrame
        What `evaluate` takes, with float64 columns such as `base_at_5_fpr` and `oms_at_5_fpr`: negative where the
        attack calls a sample a member at that nominal FPR.
    spec : EvaluationSpec
    seed : int
        Evaluation seed of the run; the resamples of the bootstrap are those of `evaluate`.
    groups : Series of hashable, optional
        See `evaluate`.

    Returns
    -------
    list of dict
        Rows like those of `evaluate`: for each variant (base, oms, delta) the TPR of each decision (`tpr_at_5_fpr`),
        with its realised FPR, and that as a metric of its own (`fpr_at_5_fpr`). `std` and interval are of the
        bootstrap, the interval of a rate no narrower than the exact binomial one. A decision whose nominal FPR allows
        fewer than 10 false positives is not reliable, and it is missing if that allows none: nobody could see whether
        it keeps to it.

    Raises
    ------
    DiffmiaError
        If a class has fewer than two samples, or a decision is NaN or Inf.
    """
    judged, levels = judged_samples(scores), nominal_fprs(scores)
    decided = [WeightedRates(_accepted(judged, variant, levels), judged.member) for variant in judged.variants]
    group = judged.group_in(groups)
    replicates = bootstrap(decided, judged.member, spec.bootstrap, bootstrap_stream(seed), group)
    as_they_are = np.ones((1, len(judged.member)))
    trials = np.repeat(independent_samples(judged.member, group), len(levels))
    estimates = {}
    for variant, of, of_variant in zip(judged.variants, decided, replicates, strict=True):
        value = of(as_they_are)[0]
        least = exact_interval(value, trials, spec.confidence)
        interval = no_narrower(percentile_interval(of_variant, spec.confidence), least)
        estimates[variant] = value, of_variant, interval
    if "oms" in estimates:
        base, oms = estimates["base"], estimates["oms"]
        resampled = oms[1] - base[1]
        stuck = np.logical_and(*(cannot_vary(value, of_variant) for value, of_variant, _ in (base, oms)))
        interval = no_surer(percentile_interval(resampled, spec.confidence), stuck, oms[2], base[2])
        estimates["delta"] = oms[0] - base[0], resampled, interval

    metrics = [rate + level for rate in ("tpr", "fpr") for level in levels]
    budgets = 2 * [false_positive_budget(judged.n_non_members, alpha) for alpha in levels.values()]
    missing = np.full(len(levels), np.nan)
    rows = []
    for variant, (value, resampled, interval) in estimates.items():
        fprs = missing if variant == "delta" else value[len(levels) :]
        numbers = [value, resampled.std(axis=0, ddof=1), *interval, np.append(fprs, missing)]
        rows += judged.rows(variant, metrics, numbers, [np.nan] * len(metrics), budgets)
    return rows


def not_applicable_rows(scores: pd.DataFrame, reasons: Mapping[str, str]) -> list[dict]:
    """Rows without a value of the TPRs of decisions that could not be learned; `reasons` by name, e.g. `_at_0.1_fpr`.

    The reason is in their `flags`.
    """
    judged = judged_samples(scores)
    nothing = np.full((5, 1), np.nan)
    return [
        {**row, "flags": [f"{NOT_APPLICABLE}: {reason}"]}
        for variant in judged.variants
        for level, reason in reasons.items()
        for row in judged.rows(variant, ["tpr" + level], nothing, [np.nan], [0])
    ]


def _accepted(judged: Judged, variant: str, levels: Mapping[str, float]) -> np.ndarray:
    """Whom each of an attack's decisions calls a member, bool array (n, L)."""
    margins = [judged.column(variant + level, f"{variant}{level} decisions") for level in levels]
    return np.column_stack(margins) < 0
