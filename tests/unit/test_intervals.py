"""Intervals: exact ones against scipy's, and how often those of the evaluation hold what they are of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm

from diffmia.evaluation.delong import auc_test
from diffmia.evaluation.intervals import (
    cannot_vary,
    exact_interval,
    no_narrower,
    no_surer,
    normal_interval,
    percentile_interval,
)
from diffmia.evaluation.metrics import evaluate
from diffmia.evaluation.resampling import WeightedMetrics, bootstrap_stream, stratified_weights
from diffmia.evaluation.roc import auc, roc_curve, tpr_at_fpr
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.thresholds import draw_thresholds

SPEC = EvaluationSpec(bootstrap=100, threshold_repeats=4)


def judged(scores: np.ndarray, member: np.ndarray, spec: EvaluationSpec = SPEC, seed: int = 0, **how) -> pd.DataFrame:
    table = pd.DataFrame({"sample_id": np.arange(len(scores)), "member": member, "role": "eval", "base": scores})
    return pd.DataFrame(evaluate(table.assign(oms=np.nan), spec, seed, **how)).set_index("metric")


def test_percentiles_leave_half_of_the_rest_on_each_side():
    low, high = percentile_interval(np.arange(1001.0)[:, None] * [1.0, 2.0], 0.9)
    np.testing.assert_allclose(low, [50, 100])
    np.testing.assert_allclose(high, [950, 1900])


def test_normal_intervals_hold_their_share_of_a_normal_distribution():
    low, high = normal_interval(np.array([3.0]), np.array([2.0]), 0.8)
    assert norm.cdf(high, 3, 2) - norm.cdf(low, 3, 2) == pytest.approx(0.8)


@pytest.mark.parametrize(("hits", "trials"), [(0, 64), (64, 64), (3, 64), (63, 64), (0, 1), (1, 1), (7, 1000)])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_exact_intervals_are_those_of_the_binomial_test(hits, trials, confidence):
    low, high = exact_interval(np.array([hits / trials]), np.array([trials]), confidence)
    theirs = binomtest(hits, trials).proportion_ci(confidence, "exact")
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_without_trials_there_is_none_and_nothing_is_widened():
    none = exact_interval(np.array([0.0, 1.0, 0.4]), np.full(3, np.nan), 0.95)
    assert np.isnan(none).all()
    found = no_narrower((np.array([0.2, 0.2]), np.array([0.3, 0.3])), (np.array([np.nan, 0.1]), np.array([0.25, 0.4])))
    np.testing.assert_array_equal(found, [[0.2, 0.1], [0.3, 0.4]])


def test_where_neither_can_vary_a_difference_may_be_all_that_the_two_allow():
    two = (np.array([0.5, 0.5]), np.array([0.7, 0.7])), (np.array([0.1, 0.1]), np.array([0.4, 0.4]))
    low, high = no_surer((np.array([0.2, 0.2]), np.array([0.3, 0.3])), np.array([True, False]), *two)
    assert (low.tolist(), high.tolist()) == (pytest.approx([0.1, 0.2]), pytest.approx([0.6, 0.3]))


def test_only_rates_at_an_end_that_every_resample_has_cannot_vary():
    replicates = np.array([[0.0, 0.0, 1.0, 0.5], [0.0, 0.1, 1.0, 0.5]])
    assert cannot_vary(np.array([0.0, 0.0, 1.0, 0.5]), replicates).tolist() == [True, False, True, False]


def test_a_rate_of_zero_is_no_certainty():
    """Few members at chance: their TPR at 1 % FPR is mostly 0, and the truth is 1 %."""
    rng, member, covered = np.random.default_rng(1), np.arange(364) < 64, 0
    for seed in range(60):
        row = judged(rng.normal(size=364), member, seed=seed).loc["tpr_at_1_fpr"]
        covered += row["ci_low"] <= 1.0 <= row["ci_high"]
    assert covered >= 54  # of 57 expected; 37 where resampling alone decides


def test_perfect_separation_is_as_sure_as_its_pairs():
    rows = judged(np.r_[np.zeros(30), np.ones(50)], np.arange(80) < 30)
    least = 100 * binomtest(30, 30).proportion_ci(0.95, "exact").low
    assert rows.loc["auc", ["value", "ci_low", "ci_high"]].tolist() == pytest.approx([100, least, 100])
    assert rows.loc["asr", ["value", "ci_low", "ci_high"]].tolist() == pytest.approx([100, least, 100])


def test_a_difference_of_two_zeros_is_no_certainty_either():
    rng, member = np.random.default_rng(2), np.arange(1064) < 64
    table = pd.DataFrame({"sample_id": np.arange(1064), "member": member, "role": "eval"})
    table["base"] = np.where(member, 10 + rng.random(1064), rng.random(1064))  # all members above all non-members
    rows = pd.DataFrame(evaluate(table.assign(oms=table["base"] + 1), SPEC, 0)).set_index(["variant", "metric"])
    row = rows.loc[("delta", "tpr_at_1_fpr")]
    most = 100 * binomtest(0, 64).proportion_ci(0.95, "exact").high
    assert [row["value"], row["ci_low"], row["ci_high"]] == pytest.approx([0, -most, most])


def test_the_interval_of_an_asr_has_the_luck_of_its_thresholds_in_it():
    rng, member = np.random.default_rng(3), np.arange(400) < 100
    row = judged(rng.normal(size=400) + 0.8 * ~member, member).loc["asr"]
    scores = np.random.default_rng(3).normal(size=400) + 0.8 * ~member
    draws = draw_thresholds(scores, member, 0, SPEC.threshold_fraction, SPEC.threshold_repeats)
    weights = np.concatenate(list(stratified_weights(member, SPEC.bootstrap, bootstrap_stream(0))))
    resampled = 100 * WeightedMetrics(scores, member, draws, ())(weights)[:, 1].std(ddof=1)
    reach = norm.ppf(0.975) * np.sqrt(resampled**2 + row["std"] ** 2 / SPEC.threshold_repeats)
    assert [row["ci_low"], row["ci_high"]] == pytest.approx([row["value"] - reach, row["value"] + reach])


def test_what_is_not_independent_is_widened_throughout():
    rng, member = np.random.default_rng(4), np.arange(600) < 300
    scores = rng.normal(size=600) + 0.2 * ~member
    plain, wide = judged(scores, member), judged(scores, member, widened=2.0)
    np.testing.assert_allclose(wide["std"].drop("asr"), 2 * plain["std"].drop("asr"))
    assert wide.loc["asr", "std"] == plain.loc["asr", "std"]  # over the draws: no standard error
    for bound in ("ci_low", "ci_high"):
        of = ["auc", "asr"]
        np.testing.assert_allclose((wide[bound] - wide["value"])[of], 2 * (plain[bound] - plain["value"])[of])
    test = auc_test(scores[member], scores[~member])
    assert wide.loc["auc", "p_value"] == pytest.approx(2 * norm.sf(test.delta / test.standard_error / 2))


class TestGroups:
    """Samples that belong together: a person's images, of which the split put all on one side."""

    def people(self, rng, alike: float, people: int = 60):
        """Scores at chance that correlate by `alike` within a person, and membership and person of each sample."""
        person = np.repeat(np.arange(people), rng.geometric(0.25, size=people))
        scores = np.sqrt(alike) * rng.normal(size=people)[person] + np.sqrt(1 - alike) * rng.normal(size=len(person))
        return scores, person < people // 2, person

    def test_a_resample_draws_whole_groups(self):
        scores, member, person = self.people(np.random.default_rng(0), 0.5)
        weights = np.concatenate(list(stratified_weights(member, 50, 1, person)))
        for one in np.unique(person):
            assert (np.ptp(weights[:, person == one], axis=1) == 0).all()
        per_person = weights[:, np.unique(person, return_index=True)[1]]
        np.testing.assert_array_equal(per_person[:, :30].sum(axis=1), 30)
        np.testing.assert_array_equal(per_person[:, 30:].sum(axis=1), 30)
        metrics = WeightedMetrics(scores, member, draw_thresholds(scores, member, 0), (0.05, 0.01))(weights)
        for row, found in zip(weights.astype(int), metrics, strict=True):  # of another size each
            is_member, resampled = np.repeat(member, row), np.repeat(scores, row)
            roc = roc_curve(resampled[is_member], resampled[~is_member])
            literal = [auc(roc), *(tpr_at_fpr(roc, alpha)[0] for alpha in (0.05, 0.01))]
            np.testing.assert_allclose(found[[0, 2, 3]], literal, rtol=0, atol=1e-13)

    def test_groups_of_one_are_samples(self):
        rng, member = np.random.default_rng(5), np.arange(100) < 40
        scores = rng.normal(size=100)
        one_each = judged(scores, member, groups=pd.Series(np.arange(100)))
        pd.testing.assert_frame_equal(one_each.drop(columns="p_value"), judged(scores, member).drop(columns="p_value"))

    def test_the_interval_holds_chance_as_often_as_it_says(self):
        rng, covered, covered_by_samples, surprises = np.random.default_rng(6), 0, 0, 0
        for seed in range(80):
            scores, member, person = self.people(rng, 0.5)
            row = judged(scores, member, seed=seed, groups=pd.Series(person)).loc["auc"]
            covered += row["ci_low"] <= 50 <= row["ci_high"]
            surprises += row["p_value"] < 0.05
            row = judged(scores, member, seed=seed).loc["auc"]
            covered_by_samples += row["ci_low"] <= 50 <= row["ci_high"]
        assert covered >= 69  # of 76 expected
        assert surprises <= 11
        assert covered_by_samples < 65  # so that there is something to mend


def test_a_rate_of_zero_is_as_sure_as_its_groups():
    """Ten people with four images each, all above every non-member."""
    member, person = np.arange(400) < 40, np.arange(400) // 4
    row = judged(np.where(member, 1.0, np.linspace(-1, 0, 400)), member, groups=pd.Series(person)).loc["tpr_at_5_fpr"]
    most = 100 * binomtest(0, 10).proportion_ci(0.95, "exact").high
    assert [row["value"], row["ci_low"], row["ci_high"]] == pytest.approx([0, 0, most])


def test_a_p_value_of_groups_is_that_of_the_std_beside_it():
    scores, member, person = TestGroups().people(np.random.default_rng(7), 0.5)
    for widened in (1.0, 1.5):
        row = judged(scores, member, groups=pd.Series(person), widened=widened).loc["auc"]
        assert row["p_value"] == pytest.approx(2 * norm.sf(abs(row["value"] - 50) / row["std"]))


def test_no_interval_leaves_the_range_of_a_rate():
    rng, member = np.random.default_rng(8), np.arange(60) < 20
    found = judged(rng.normal(size=60) + 3.5 * ~member, member, widened=2.0)
    bounds = found.loc[["auc", "asr", "tpr_at_5_fpr"], ["ci_low", "ci_high"]]
    assert bounds.loc["auc", "ci_high"] == 100 > found.loc["auc", "value"]
    assert ((bounds >= 0) & (bounds <= 100)).all(axis=None)
