"""DeLong against its definition spelled out over all pairs, against the bootstrap, and under the null."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, norm

from diffmia.evaluation.delong import auc_test, paired_auc_test, structural_components
from diffmia.evaluation.resampling import WeightedMetrics, bootstrap
from diffmia.evaluation.thresholds import draw_thresholds


def pairs(members: np.ndarray, non_members: np.ndarray) -> np.ndarray:
    """The kernel psi over all pairs (m, n)."""
    return (members[:, None] < non_members) + (members[:, None] == non_members) / 2


def covariance(*kernels: np.ndarray) -> np.ndarray:
    """Eq. 4-6 of DeLong et al.: the covariance matrix of the AUCs of some kernels."""
    s10 = np.cov([psi.mean(axis=1) for psi in kernels])
    s01 = np.cov([psi.mean(axis=0) for psi in kernels])
    m, n = kernels[0].shape
    return np.atleast_2d(s10) / m + np.atleast_2d(s01) / n


def draw(seed: int, ties: bool, gain: float = 0.3, m: int = 40, n: int = 65) -> list[np.ndarray]:
    """Members and non-members of base, then of a correlated oms."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=m), rng.normal(size=n) + 0.5
    oms = base[0] + 0.5 * rng.normal(size=m), base[1] + 0.5 * rng.normal(size=n) + gain
    return [np.round(2 * part) if ties else part for part in (*base, *oms)]


@pytest.mark.parametrize("ties", [True, False])
def test_components_are_the_means_of_the_kernel(ties):
    members, non_members = draw(1, ties)[:2]
    v10, v01 = structural_components(members, non_members)
    np.testing.assert_allclose(v10, pairs(members, non_members).mean(axis=1), atol=1e-14)
    np.testing.assert_allclose(v01, pairs(members, non_members).mean(axis=0), atol=1e-14)


@pytest.mark.parametrize("ties", [True, False])
def test_one_auc_against_brute_force(ties):
    members, non_members = draw(1, ties)[:2]
    psi = pairs(members, non_members)
    error = np.sqrt(covariance(psi)[0, 0])
    test = auc_test(members, non_members)
    expected = (psi.mean() - 0.5, error, 2 * norm.sf(abs(psi.mean() - 0.5) / error))
    assert test == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("gain", [0.3, -0.3])
def test_paired_aucs_against_brute_force(ties, gain):
    parts = draw(2, ties, gain)
    base, oms = pairs(*parts[:2]), pairs(*parts[2:])
    (var_base, cov), (_, var_oms) = covariance(base, oms)
    delta, error = oms.mean() - base.mean(), np.sqrt(var_base + var_oms - 2 * cov)
    test = paired_auc_test(*parts)
    assert np.sign(test.delta) == np.sign(gain)
    assert test == pytest.approx((delta, error, 2 * norm.sf(abs(delta) / error)), rel=1e-10)


def test_standard_errors_agree_with_the_bootstrap():
    parts = draw(3, ties=False, m=300, n=400)
    member = np.arange(700) < 300
    columns = [np.concatenate(parts[:2]), np.concatenate(parts[2:])]
    metrics = [WeightedMetrics(values, member, draw_thresholds(values, member, 0), ()) for values in columns]
    base, oms = bootstrap(metrics, member, 1000, seed=0)[..., 0]
    assert auc_test(*parts[:2]).standard_error == pytest.approx(base.std(), rel=0.1)
    assert paired_auc_test(*parts).standard_error == pytest.approx((oms - base).std(), rel=0.1)


def test_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(6)
    single, paired = [], []
    for _ in range(400):
        common = rng.normal(size=150)
        base, oms = common + rng.normal(size=150), common + rng.normal(size=150)
        single.append(auc_test(base[:70], base[70:]).p_value)
        paired.append(paired_auc_test(base[:70], base[70:], oms[:70], oms[70:]).p_value)
    assert kstest(single, "uniform").pvalue > 0.01
    assert kstest(paired, "uniform").pvalue > 0.01


def test_zero_variance_has_a_documented_answer():
    low, high = np.arange(5.0), np.arange(5.0) + 10
    perfect = auc_test(low, high)
    assert perfect[:2] == (0.5, 0.0)
    assert np.isnan(perfect.p_value)
    assert auc_test(np.ones(5), np.ones(7)) == (0.0, 0.0, 1.0)
    members, non_members = draw(1, ties=False)[:2]
    assert paired_auc_test(members, non_members, np.exp(members), np.exp(non_members)) == (0.0, 0.0, 1.0)
    assert np.isnan(paired_auc_test(low, high, high, low).p_value)


def test_rounding_is_no_variance():
    # every component gains two thirds, in floats that differ in the last bit
    base = np.array([3.0, 3.0, 1.0]), np.array([0.0, 0.0, 2.0])
    oms = np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 2.0])
    test = paired_auc_test(*base, *oms)
    assert test[:2] == (pytest.approx(2 / 3), 0.0)
    assert np.isnan(test.p_value)
