"""Every metric of the scores of one attack: the numbers in the rows of `metrics.csv`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diffmia.evaluation.delong import DeLong, auc_test, paired_auc_test, two_sided
from diffmia.evaluation.intervals import (
    Interval,
    cannot_vary,
    exact_interval,
    no_narrower,
    no_surer,
    normal_interval,
    percentile_interval,
)
from diffmia.evaluation.resampling import WeightedMetrics, bootstrap, bootstrap_stream, independent_samples
from diffmia.evaluation.roc import auc, false_positive_budget, roc_curve, tpr_at_fpr
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.support import judged_samples
from diffmia.evaluation.thresholds import attack_success_rate, draw_thresholds

AUC, ASR = 0, 1  # places among the metrics


@dataclass(frozen=True)
class _Estimate:
    """One variant's metrics in the order auc, asr, tpr_at_*: S of them, B bootstrap replicates, R threshold draws."""

    value: np.ndarray  # (S,)
    realised_fpr: np.ndarray  # (S,)
    asr_per_draw: np.ndarray  # (R,)
    replicates: np.ndarray  # (B, S)
    interval: Interval
    test: DeLong  # of the AUC


def evaluate(
    scores: pd.DataFrame,
    spec: EvaluationSpec,
    seed: int,
    widened: float = 1.0,
    groups: pd.Series | None = None,
) -> list[dict]:
    """Judge one attack on one target.

    Parameters
    ----------
    scores : DataFrame
        Columns sample_id, member (bool), role (train | eval), base, oms (float64; lower = member). Only rows with role
        `eval` are judged, in the order of their ids. `oms` may be empty throughout: then there are no oms and delta
        rows.
    spec : EvaluationSpec
    seed : int
        Evaluation seed of the run: of the threshold draws and the bootstrap.
    widened : float
        Factor of every standard error, where scores are not independent of each other as those of an attack are.
    groups : Series of hashable, optional
        By sample id, what the split drew whole (a person), and so the bootstrap does. DeLong's standard error, which
        takes samples for independent, then gives way to the bootstrap's.

    Returns
    -------
    list of dict
        One per variant (base, oms, delta) and metric (auc, asr, tpr_at_5_fpr, ...), with value, std, ci_low, ci_high,
        p_value, n_members, n_non_members, realised_fpr and reliable. Percent throughout (delta: oms - base in
        percentage points, paired interval), but for p_value; missing = NaN. `std` is over the threshold draws for the
        ASR and over the bootstrap for the rest. `p_value` is DeLong's, two-sided, of the AUC: against 50 for base and
        oms, against no difference for delta. A TPR whose FPR allows fewer than 10 false positives is not reliable, and
        it is missing if that FPR allows none.

        Intervals are percentile bootstrap's. That of a TPR is no narrower than the exact binomial one, nor that of an
        AUC or ASR of 0 or 100, of which no resample is any other: that is as if so many pairs of a member and a
        non-member had been judged as the smaller class has samples. The ASR's is normal, with the variance of the
        bootstrap and of the mean over the threshold draws.

    Raises
    ------
    DiffmiaError
        If a class has fewer than two samples, or a score is NaN or Inf.
    """
    judged = judged_samples(scores)
    columns = {variant: judged.column(variant, f"{variant} scores") for variant in judged.variants}
    group = judged.group_in(groups)
    metrics = ["auc", "asr", *(f"tpr_at_{100 * alpha:g}_fpr" for alpha in spec.fprs)]
    budgets = [np.inf, np.inf, *(false_positive_budget(judged.n_non_members, alpha) for alpha in spec.fprs)]
    rows = []
    for variant, estimate in _estimates(columns, judged.member, group, spec, seed, widened).items():
        std = widened * estimate.replicates.std(axis=0, ddof=1)
        standard_error = widened * estimate.test.standard_error if group is None else std[AUC]
        p_values = [two_sided(estimate.test.delta, standard_error), *[np.nan] * (len(metrics) - 1)]
        std[ASR] = estimate.asr_per_draw.std(ddof=1)
        numbers = [estimate.value, std, *estimate.interval, estimate.realised_fpr]
        rows += judged.rows(variant, metrics, numbers, p_values, budgets)
    return rows


def _estimates(
    columns: dict[str, np.ndarray],
    member: np.ndarray,
    group: np.ndarray | None,
    spec: EvaluationSpec,
    seed: int,
    widened: float,
) -> dict[str, _Estimate]:
    """Estimates of each column of scores (n,) and, where base and oms are both there, of delta; rates in [0, 1]."""
    draws = {
        variant: draw_thresholds(scores, member, seed, spec.threshold_fraction, spec.threshold_repeats)
        for variant, scores in columns.items()
    }
    weighted = [WeightedMetrics(scores, member, draws[variant], spec.fprs) for variant, scores in columns.items()]
    replicates = bootstrap(weighted, member, spec.bootstrap, bootstrap_stream(seed), group)
    judged = independent_samples(member, group)
    estimates = {}
    for (variant, scores), of_variant in zip(columns.items(), replicates, strict=True):
        roc = roc_curve(scores[member], scores[~member])
        asr = attack_success_rate(scores, member, draws[variant])
        low_fpr = np.array([tpr_at_fpr(roc, alpha) for alpha in spec.fprs]).reshape(-1, 2)
        value = np.array([auc(roc), asr.mean, *low_fpr[:, 0]])
        interval = _resampled_interval(value, of_variant, asr.per_draw, spec.confidence, widened)
        pairs = np.where(cannot_vary(value, of_variant)[[AUC, ASR]], min(judged), np.nan)
        trials = np.append(pairs, np.full(len(spec.fprs), judged[0]))
        interval = no_narrower(np.clip(interval, 0, 1), exact_interval(value, trials, spec.confidence))
        estimates[variant] = _Estimate(
            value=value,
            realised_fpr=np.array([np.nan, asr.realised_fpr, *low_fpr[:, 1]]),
            asr_per_draw=asr.per_draw,
            replicates=of_variant,
            interval=interval,
            test=auc_test(scores[member], scores[~member]),
        )
    if "oms" in estimates:
        base, oms = estimates["base"], estimates["oms"]
        halves = [columns[variant][of_class] for variant in ("base", "oms") for of_class in (member, ~member)]
        value, of_delta = oms.value - base.value, oms.replicates - base.replicates
        per_draw = oms.asr_per_draw - base.asr_per_draw
        interval = _resampled_interval(value, of_delta, per_draw, spec.confidence, widened)
        stuck = np.logical_and(*(cannot_vary(one.value, one.replicates) for one in (base, oms)))
        estimates["delta"] = _Estimate(
            value=value,
            realised_fpr=np.full(len(value), np.nan),
            asr_per_draw=per_draw,
            replicates=of_delta,
            interval=no_surer(np.clip(interval, -1, 1), stuck, oms.interval, base.interval),
            test=paired_auc_test(*halves),
        )
    return estimates


def _resampled_interval(
    value: np.ndarray, replicates: np.ndarray, asr_per_draw: np.ndarray, confidence: float, widened: float
) -> Interval:
    """Of the metrics (S,) of replicates (B, S); of the ASR with what its R random thresholds add to the variance."""
    bounds = np.array(percentile_interval(replicates, confidence))
    spread = np.hypot(replicates[:, ASR].std(ddof=1), asr_per_draw.std(ddof=1) / np.sqrt(len(asr_per_draw)))
    bounds[:, ASR] = normal_interval(value[ASR], spread, confidence)
    return tuple(value + widened * (bounds - value))
