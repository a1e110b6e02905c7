"""Every metric of the scores of one attack: the numbers in the rows of `metrics.csv`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diffmia.evaluation.delong import auc_test, paired_auc_test
from diffmia.evaluation.resampling import WeightedMetrics, bootstrap, bootstrap_stream, percentile_interval
from diffmia.evaluation.roc import auc, false_positive_budget, roc_curve, tpr_at_fpr
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.support import judged_samples
from diffmia.evaluation.thresholds import attack_success_rate, draw_thresholds


@dataclass(frozen=True)
class _Estimate:
    """One variant's metrics in the order auc, asr, tpr_at_*: S of them, B bootstrap replicates, R threshold draws."""

    value: np.ndarray  # (S,)
    realised_fpr: np.ndarray  # (S,)
    asr_per_draw: np.ndarray  # (R,)
    replicates: np.ndarray  # (B, S)
    p_value: float  # of the AUC


def evaluate(scores: pd.DataFrame, spec: EvaluationSpec, seed: int) -> list[dict]:
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

    Returns
    -------
    list of dict
        One per variant (base, oms, delta) and metric (auc, asr, tpr_at_5_fpr, ...), with value, std, ci_low, ci_high,
        p_value, n_members, n_non_members, realised_fpr and reliable. Percent throughout (delta: oms - base in
        percentage points, paired interval), but for p_value; missing = NaN. `std` is over the threshold draws for the
        ASR and over the bootstrap for the rest. `p_value` is DeLong's, two-sided, of the AUC: against 50 for base and
        oms, against no difference for delta. A TPR whose FPR allows fewer than 10 false positives is not reliable, and
        it is missing if that FPR allows none.

    Raises
    ------
    DiffmiaError
        If a class has fewer than two samples, or a score is NaN or Inf.
    """
    judged = judged_samples(scores)
    columns = {variant: judged.column(variant, f"{variant} scores") for variant in judged.variants}
    metrics = ["auc", "asr", *(f"tpr_at_{100 * alpha:g}_fpr" for alpha in spec.fprs)]
    budgets = [np.inf, np.inf, *(false_positive_budget(judged.n_non_members, alpha) for alpha in spec.fprs)]
    rows = []
    for variant, estimate in _estimates(columns, judged.member, spec, seed).items():
        std = estimate.replicates.std(axis=0, ddof=1)
        std[metrics.index("asr")] = estimate.asr_per_draw.std(ddof=1)
        low, high = percentile_interval(estimate.replicates, spec.confidence)
        numbers = [estimate.value, std, low, high, estimate.realised_fpr]
        p_values = [estimate.p_value if metric == "auc" else np.nan for metric in metrics]
        rows += judged.rows(variant, metrics, numbers, p_values, budgets)
    return rows


def _estimates(
    columns: dict[str, np.ndarray], member: np.ndarray, spec: EvaluationSpec, seed: int
) -> dict[str, _Estimate]:
    """Estimates of each column of scores (n,) and, where base and oms are both there, of delta; rates in [0, 1]."""
    draws = {
        variant: draw_thresholds(scores, member, seed, spec.threshold_fraction, spec.threshold_repeats)
        for variant, scores in columns.items()
    }
    weighted = [WeightedMetrics(scores, member, draws[variant], spec.fprs) for variant, scores in columns.items()]
    replicates = bootstrap(weighted, member, spec.bootstrap, bootstrap_stream(seed))

    estimates = {}
    for (variant, scores), of_variant in zip(columns.items(), replicates, strict=True):
        roc = roc_curve(scores[member], scores[~member])
        asr = attack_success_rate(scores, member, draws[variant])
        low_fpr = np.array([tpr_at_fpr(roc, alpha) for alpha in spec.fprs]).reshape(-1, 2)
        estimates[variant] = _Estimate(
            value=np.array([auc(roc), asr.mean, *low_fpr[:, 0]]),
            realised_fpr=np.array([np.nan, asr.realised_fpr, *low_fpr[:, 1]]),
            asr_per_draw=asr.per_draw,
            replicates=of_variant,
            p_value=auc_test(scores[member], scores[~member]).p_value,
        )
    if "oms" in estimates:
        base, oms = estimates["base"], estimates["oms"]
        halves = [columns[variant][of_class] for variant in ("base", "oms") for of_class in (member, ~member)]
        estimates["delta"] = _Estimate(
            value=oms.value - base.value,
            realised_fpr=np.full(len(base.value), np.nan),
            asr_per_draw=oms.asr_per_draw - base.asr_per_draw,
            replicates=oms.replicates - base.replicates,
            p_value=paired_auc_test(*halves).p_value,
        )
    return estimates
