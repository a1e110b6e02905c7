"""The weighted bootstrap against literal resampling, its pairing, its determinism and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from diffmia.evaluation.intervals import percentile_interval
from diffmia.evaluation.resampling import WeightedMetrics, bootstrap, stratified_weights
from diffmia.evaluation.roc import auc, roc_curve, tpr_at_fpr
from diffmia.evaluation.thresholds import Draws, attack_success_rate, draw_thresholds

FPRS = (0.05, 0.02, 0.001)
MEMBER = np.random.default_rng(0).permutation(np.repeat([True, False], [70, 150]))


def scores(seed: int, shift: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(MEMBER)) + shift * ~MEMBER


def weighted(values: np.ndarray, member: np.ndarray = MEMBER) -> WeightedMetrics:
    return WeightedMetrics(values, member, draw_thresholds(values, member, seed=5), FPRS)


def test_weights_resample_each_class_by_itself():
    weights = np.concatenate(list(stratified_weights(MEMBER, 400, seed=1)))
    assert weights.shape == (400, 220)
    np.testing.assert_array_equal(weights[:, MEMBER].sum(axis=1), 70)
    np.testing.assert_array_equal(weights[:, ~MEMBER].sum(axis=1), 150)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.25)  # every sample has the same chance
    np.testing.assert_allclose(weights.var(axis=0).mean(), 1.0, atol=0.05)  # with replacement


@pytest.mark.parametrize("levels", [None, 9, 2])
@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_weighted_metrics_are_those_of_the_resampled_arrays(levels, shift):
    values = scores(2, shift)
    if levels:
        values = np.clip(np.round(2 * values), 0, levels - 1)
    draws = draw_thresholds(values, MEMBER, seed=5)
    weights = np.concatenate(list(stratified_weights(MEMBER, 50, seed=1)))
    metrics = WeightedMetrics(values, MEMBER, draws, FPRS)(weights)
    for row, expected in zip(weights.astype(int), metrics, strict=True):
        member, resampled = np.repeat(MEMBER, row), np.repeat(values, row)
        roc = roc_curve(resampled[member], resampled[~member])
        asr = attack_success_rate(resampled, member, Draws(draws.thresholds, np.repeat(draws.held_out, row, axis=1)))
        literal = [auc(roc), asr.mean, *(tpr_at_fpr(roc, alpha)[0] for alpha in FPRS)]
        np.testing.assert_allclose(expected, literal, rtol=0, atol=1e-13)


def test_chunks_and_repeats_give_the_same_bits():
    metrics = [weighted(scores(2)), weighted(scores(3))]
    whole = bootstrap(metrics, MEMBER, 101, seed=1, chunk_elements=10**9)
    assert whole.shape == (2, 101, 2 + len(FPRS))
    for chunk_elements in (1, 1000, 4096):
        np.testing.assert_array_equal(whole, bootstrap(metrics, MEMBER, 101, seed=1, chunk_elements=chunk_elements))
    assert (whole[..., 0] != bootstrap(metrics, MEMBER, 101, seed=2)[..., 0]).any()


def test_variants_share_their_resamples():
    metrics = [weighted(scores(2)), weighted(scores(2))]
    base, oms = bootstrap(metrics, MEMBER, 50, seed=1)
    np.testing.assert_array_equal(base, oms)


def test_paired_interval_is_narrower_on_correlated_scores():
    base = scores(2)
    oms = base + 0.2 * np.random.default_rng(9).normal(size=len(base)) + 0.2 * ~MEMBER
    paired = np.subtract(*bootstrap([weighted(oms), weighted(base)], MEMBER, 500, seed=1))[:, 0]
    unpaired = (
        bootstrap([weighted(oms)], MEMBER, 500, 1)[0, :, 0] - bootstrap([weighted(base)], MEMBER, 500, 2)[0, :, 0]
    )
    low, high = percentile_interval(np.column_stack([paired, unpaired]), 0.95)
    assert (high - low)[0] < 0.5 * (high - low)[1]


def test_asr_survives_a_resample_without_judged_samples():
    member = np.array([True, True, False, False])
    draws = Draws(np.array([1.5]), np.array([[True, False, True, False]]))
    metrics = WeightedMetrics(np.array([1.0, 1.0, 2.0, 2.0]), member, draws, ())
    np.testing.assert_allclose(metrics(np.array([[0.0, 2.0, 1.0, 1.0]]))[:, 1], [(0.5 + 1.0) / 2])


def test_interval_covers_the_true_auc_as_often_as_it_says():
    rng = np.random.default_rng(4)
    member = np.arange(160) < 80
    true_auc = norm.cdf(1 / np.sqrt(2))
    covered = 0
    for trial in range(300):
        values = rng.normal(size=160) + ~member
        replicates = bootstrap([weighted(values, member)], member, 200, seed=trial)[0]
        low, high = percentile_interval(replicates[:, 0], 0.9)
        covered += low <= true_auc <= high
    assert 0.84 < covered / 300 < 0.95  # 0.9, +- 3.5 standard errors
