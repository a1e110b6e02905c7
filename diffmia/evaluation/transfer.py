"""Thresholds from a surrogate: chosen where membership is known, on another seed's target, and applied to this one.

An attacker has no labelled samples of the target (the ASR's protocol gives them a tenth), but may train a model like
it. So the PIA paper (arXiv 2305.18355, Table 4) asks what its thresholds are worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np
import pandas as pd

from diffmia.evaluation.decisions import nominal_fprs
from diffmia.evaluation.roc import FPR_TOLERANCE, Roc, balanced_accuracy, false_positive_budget, roc_curve
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.support import RELIABLE_FROM, SHOWN_FROM, Judged, judged_samples
from diffmia.evaluation.thresholds import best_threshold

TRANSFER_COLUMNS = [
    "target",
    "attack",
    "variant",
    "surrogate_seed",
    "seed",
    "metric",
    "value",
    "realised_fpr",
    "reliable",
]


def transfer_thresholds(scores: Mapping[int, pd.DataFrame], spec: EvaluationSpec) -> list[dict]:
    """Judge one attack by thresholds of other seeds' targets.

    Parameters
    ----------
    scores : mapping of int to DataFrame
        By run seed, the attack's scores as in a score file; only rows with role `eval` count, on both sides.
    spec : EvaluationSpec

    Returns
    -------
    list of dict
        For each ordered pair of seeds and each variant (base, oms): `asr`, the balanced accuracy of the surrogate's
        best threshold, and `tpr_at_*`, the TPR at the largest threshold with at most that FPR on the surrogate; with
        `realised_fpr`, the FPR it has on the target. Percent. `value` is missing where the surrogate's or the target's
        non-members allow no false positive, and not reliable where they allow fewer than 10. None of an attack that
        decides by itself.

    Raises
    ------
    DiffmiaError
        If a class has fewer than two samples, or a score is NaN or Inf.
    """
    if any(nominal_fprs(of_seed) for of_seed in scores.values()):
        return []
    judged = {seed: judged_samples(of_seed) for seed, of_seed in scores.items()}
    rows = []
    for surrogate, seed in permutations(judged, 2):
        for variant in judged[seed].variants:
            for row in _judge(judged[surrogate], judged[seed], variant, spec):
                rows.append({"variant": variant, "surrogate_seed": surrogate, "seed": seed, **row})
    return rows


def threshold_at_fpr(roc: Roc, alpha: float) -> float:
    """Largest threshold, among the scores, whose FPR is at most `alpha`: its TPR is that of `tpr_at_fpr`.

    That one takes the smallest with this TPR, at an FPR which may be far below `alpha`; who chooses on a surrogate aims
    at `alpha`.
    """
    return float(roc.thresholds[roc.fpr <= alpha + FPR_TOLERANCE][-1])


def _judge(surrogate: Judged, target: Judged, variant: str, spec: EvaluationSpec) -> list[dict]:
    chosen, judged = (_by_class(samples, variant) for samples in (surrogate, target))
    roc = roc_curve(*chosen)
    non_members = min(surrogate.n_non_members, target.n_non_members)
    thresholds = {"asr": (best_threshold(*chosen), np.inf)}
    for alpha in spec.fprs:
        budget = false_positive_budget(non_members, alpha)
        thresholds[f"tpr_at_{100 * alpha:g}_fpr"] = (threshold_at_fpr(roc, alpha), budget)
    rows = []
    for metric, (threshold, budget) in thresholds.items():
        tpr, fpr = (float((scores <= threshold).mean()) for scores in judged)
        value = balanced_accuracy(tpr, fpr) if metric == "asr" else tpr
        shown = budget >= SHOWN_FROM
        rows.append(
            {
                "metric": metric,
                "value": 100.0 * value if shown else np.nan,
                "realised_fpr": 100.0 * fpr if shown else np.nan,
                "reliable": budget >= RELIABLE_FROM,
            }
        )
    return rows


def _by_class(samples: Judged, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of members (m,) and of non-members (n,)."""
    scores = samples.column(variant, f"{variant} scores")
    return scores[samples.member], scores[~samples.member]
