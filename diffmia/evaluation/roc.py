"""The exact ROC curve of scores where lower means member. Every rate is in [0, 1].

The direction is fixed a priori and never flipped. The curve has one point per distinct score, so tied scores are
accepted together and nothing depends on their order or on a grid of thresholds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FPR_TOLERANCE = 1e-12  # n * 0.01 or a computed alpha may miss the exact product by a rounding error


class Roc(NamedTuple):
    """The points of a ROC curve, from (0, 0) to (1, 1), for the rule "member if score <= threshold".

    Attributes
    ----------
    fpr, tpr : float64 array (K + 1,)
        Rates in [0, 1], nondecreasing.
    thresholds : float64 array (K + 1,)
        -inf, then the K distinct scores in ascending order.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


def tie_ends(sorted_scores: np.ndarray) -> np.ndarray:
    """Index of the last score (n,) of each group of equal ones, int array (K,)."""
    return np.flatnonzero(np.append(sorted_scores[1:] != sorted_scores[:-1], True))


def roc_curve(member_scores: np.ndarray, non_member_scores: np.ndarray) -> Roc:
    """ROC curve of finite scores (m,) of members and (n,) of non-members, both non-empty."""
    scores = np.concatenate([member_scores, non_member_scores])
    order = np.argsort(scores)
    ends = tie_ends(scores[order])
    tp = np.cumsum(order < len(member_scores))[ends]
    fp = ends + 1 - tp
    return Roc(
        fpr=np.append(0.0, fp / len(non_member_scores)),
        tpr=np.append(0.0, tp / len(member_scores)),
        thresholds=np.append(-np.inf, scores[order][ends]),
    )


def auc(roc: Roc) -> float:
    """Area under the curve: P(member < non-member) + P(equal) / 2."""
    return float(np.trapezoid(roc.tpr, roc.fpr))


def tpr_at_fpr(roc: Roc, alpha: float) -> tuple[float, float]:
    """Largest TPR among the points whose FPR is at most `alpha`, without interpolation, and the least FPR it has."""
    allowed = roc.fpr <= alpha + FPR_TOLERANCE
    tpr = roc.tpr[allowed].max()
    return float(tpr), float(roc.fpr[allowed & (roc.tpr == tpr)].min())


def false_positive_budget(n_non_members: int | np.ndarray, alpha: float) -> np.ndarray:
    """How many of `n_non_members` may be accepted at FPR `alpha`: the floor of their product, elementwise."""
    return np.floor(n_non_members * (alpha + FPR_TOLERANCE))


def balanced_accuracy(tpr: np.ndarray, fpr: np.ndarray) -> np.ndarray:
    """(TPR + TNR) / 2, elementwise."""
    return (tpr + 1.0 - fpr) / 2.0
