"""Attack success rate by the protocol of the OMS paper: thresholds from a 10 % draw, judged on the other 90 %.

A draw is stratified by membership and depends on the seed and the membership labels alone, never on a score: every
attack and variant of a target is judged on the same draws, so their differences are paired.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diffmia.errors import DiffmiaError
from diffmia.evaluation.roc import balanced_accuracy, roc_curve


class Draws(NamedTuple):
    """R thresholds and the samples that each may judge.

    Attributes
    ----------
    thresholds : float64 array (R,)
        A sample is called a member if its score is <= the threshold. May be -inf: nobody is.
    held_out : bool array (R, n)
        Whether the sample stayed out of the draw that chose the threshold.
    """

    thresholds: np.ndarray
    held_out: np.ndarray


class SuccessRate(NamedTuple):
    """Attack success rate in [0, 1]: `per_draw` (R,), its mean and standard deviation, the mean FPR of the draws."""

    mean: float
    std: float
    realised_fpr: float
    per_draw: np.ndarray


def draw_thresholds(
    scores: np.ndarray,
    member: np.ndarray,
    seed: int | np.random.SeedSequence,
    fraction: float = 0.1,
    repeats: int = 10,
) -> Draws:
    """Draw `fraction` of the members and of the non-members, `repeats` times, and choose a threshold from each draw.

    Parameters
    ----------
    scores : float array (n,)
        Finite; lower = member.
    member : bool array (n,)
    seed : int or SeedSequence
        With `member`, all that the draws depend on.
    fraction : float
        In (0, 1). At least one sample of each class is drawn.
    repeats : int
        R.

    Raises
    ------
    DiffmiaError
        If a class has nobody left to judge.
    """
    generator = np.random.default_rng(seed)
    held_out = np.ones((repeats, len(member)), dtype=bool)
    for row in held_out:
        for stratum in (np.flatnonzero(member), np.flatnonzero(~member)):
            size = max(1, round(fraction * len(stratum)))
            if size >= len(stratum):
                raise DiffmiaError(
                    f"{size} of {len(stratum)} samples of a class would choose the threshold and none would be judged: "
                    "use more samples or a smaller threshold_fraction"
                )
            row[generator.choice(stratum, size, replace=False)] = False
    thresholds = [best_threshold(scores[~row & member], scores[~row & ~member]) for row in held_out]
    return Draws(np.array(thresholds), held_out)


def best_threshold(member_scores: np.ndarray, non_member_scores: np.ndarray) -> float:
    """Threshold of the largest balanced accuracy, midway between the neighbouring scores (m,) and (n,).

    Of several equally good ones the smallest is taken: the fewest accusations. It is -inf if none beats a coin.
    """
    roc = roc_curve(member_scores, non_member_scores)
    # without rounding, equal accuracies would differ in the last bit and the choice among them be arbitrary
    best = int(np.argmax(np.round(balanced_accuracy(roc.tpr, roc.fpr), 12)))
    if best == 0:
        return -np.inf
    below, above = roc.thresholds[best : best + 2]  # never the last point: it accepts all, which is as good as none
    return float(min(below + (above - below) / 2, np.nextafter(above, -np.inf)))


def attack_success_rate(scores: np.ndarray, member: np.ndarray, draws: Draws) -> SuccessRate:
    """Balanced accuracy of each threshold on the samples held out of its draw; `scores` and `member` are (n,)."""
    accepted = scores <= draws.thresholds[:, None]
    tpr, fpr = (
        (accepted & draws.held_out & of_class).sum(axis=1) / (draws.held_out & of_class).sum(axis=1)
        for of_class in (member, ~member)
    )
    per_draw = balanced_accuracy(tpr, fpr)
    return SuccessRate(float(per_draw.mean()), float(per_draw.std(ddof=1)), float(fpr.mean()), per_draw)


def majority_vote(scores: np.ndarray, draws: Draws) -> np.ndarray:
    """Verdict on each of the scores (n,) by the thresholds whose draws did not contain it, int array (n,).

    +1 is member, -1 non-member, 0 undecided: as many votes for as against, or a sample in every draw. Whoever counts
    errors counts an undecided sample as one.
    """
    votes = np.where(scores <= draws.thresholds[:, None], 1, -1)
    return np.sign((votes * draws.held_out).sum(axis=0))
