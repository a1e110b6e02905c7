"""The exact ROC, against scikit-learn and against definitions spelled out by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from diffmia.evaluation.roc import auc, balanced_accuracy, false_positive_budget, roc_curve, tpr_at_fpr


def draw(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    members, non_members = rng.normal(0.0, 1.0, 83), rng.normal(0.7, 1.5, 131)
    return (np.round(members), np.round(non_members)) if ties else (members, non_members)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_curve_and_auc_agree_with_sklearn(seed, ties):
    members, non_members = draw(seed, ties)
    label = np.repeat([1, 0], [len(members), len(non_members)])
    score = -np.concatenate([members, non_members])  # there, higher is positive
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(label, score, drop_intermediate=False)
    roc = roc_curve(members, non_members)
    np.testing.assert_allclose(roc.fpr, fpr, atol=1e-15)
    np.testing.assert_allclose(roc.tpr, tpr, atol=1e-15)
    np.testing.assert_array_equal(roc.thresholds, -thresholds)
    assert auc(roc) == pytest.approx(sklearn_metrics.roc_auc_score(label, score), abs=1e-14)


@pytest.mark.parametrize("ties", [True, False])
def test_auc_counts_pairs_and_half_of_ties(ties):
    members, non_members = draw(7, ties)
    below = members[:, None] < non_members
    equal = members[:, None] == non_members
    assert equal.any() == ties
    assert auc(roc_curve(members, non_members)) == pytest.approx((below + equal / 2).mean(), abs=1e-14)


def test_low_scores_mean_member_and_are_never_flipped():
    low, high = np.arange(10.0), np.arange(10.0) + 5
    assert auc(roc_curve(low, high)) > 0.8
    assert auc(roc_curve(high, low)) == pytest.approx(1 - auc(roc_curve(low, high)))
    assert auc(roc_curve(np.ones(4), np.ones(9))) == 0.5


def test_order_of_samples_does_not_matter():
    members, non_members = draw(3, ties=True)
    for one, other in zip(roc_curve(members, non_members), roc_curve(members[::-1], non_members[::-1]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01, 0.001, 1 / 131, 2 / 131])
def test_tpr_at_fpr_is_the_best_over_all_thresholds(alpha, ties):
    members, non_members = draw(11, ties)
    thresholds = [-np.inf, *members, *non_members]
    best = max(np.mean(members <= t) for t in thresholds if np.mean(non_members <= t) <= alpha)
    least = min(np.mean(non_members <= t) for t in thresholds if np.mean(members <= t) == best)
    assert tpr_at_fpr(roc_curve(members, non_members), alpha) == pytest.approx((best, least), abs=1e-15)


def test_tpr_at_fpr_neither_interpolates_nor_exceeds():
    roc = roc_curve(np.array([1.0, 3.0, 5.0, 7.0]), np.array([2.0, 4.0, 6.0, 8.0]))
    assert tpr_at_fpr(roc, 0.2499) == (0.25, 0.0)
    assert tpr_at_fpr(roc, 0.25) == (0.5, 0.25)
    assert tpr_at_fpr(roc_curve(np.ones(4), np.ones(4)), 0.5) == (0.0, 0.0)


def test_rounding_of_alpha_loses_no_false_positive():
    assert 0.29 * 100 < 29
    assert false_positive_budget(100, 0.29) == 29
    assert false_positive_budget(1000, 0.01) == 10
    assert false_positive_budget(9999, 0.001) == 9
    alpha = 1 - 0.9
    assert alpha < 0.1
    assert false_positive_budget(10, alpha) == 1
    assert tpr_at_fpr(roc_curve(np.full(5, 0.0), np.arange(10.0)), alpha) == (1.0, 0.1)


def test_balanced_accuracy():
    np.testing.assert_allclose(balanced_accuracy(np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0])), [1, 0.5, 0])
