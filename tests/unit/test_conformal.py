"""Split-conformal recalibration: its guarantee on exchangeable draws, and the offset by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from diffmia.attacks.learners.conformal import conformal_offset


@pytest.mark.parametrize("n", [20, 99, 250])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01])
def test_the_false_positive_rate_is_at_most_alpha_and_hardly_less(alpha, n):
    """The rate of one calibration set varies; its mean over sets is floor(alpha (n + 1)) / (n + 1) exactly."""
    rng = np.random.default_rng(n)
    quantile_error = 0.8  # the predicted quantile is far off, and by another amount for each image
    rates = []
    for _ in range(400):
        margins = rng.normal(size=n + 500) * np.exp(rng.normal(size=n + 500)) - quantile_error
        rates.append(np.mean(margins[n:] < conformal_offset(margins[:n], alpha)))
    three_errors = 3 * np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert np.mean(rates) <= alpha + three_errors
    assert np.mean(rates) >= alpha - 1 / (n + 1) - three_errors


def test_ties_accuse_fewer_never_more():
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(400):
        margins = rng.integers(0, 6, 49 + 500).astype(float)
        rates.append(np.mean(margins[49:] < conformal_offset(margins[:49], 0.1)))
    assert np.mean(rates) <= 0.1 + 3 * np.std(rates, ddof=1) / np.sqrt(len(rates))


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.05, 0.01, 0.001])
@pytest.mark.parametrize("n", [1, 8, 9, 10, 18, 19, 20, 98, 99, 100, 999, 1000])
def test_the_offset_is_the_largest_that_keeps_the_guarantee(alpha, n):
    """Of the n + 1 places a fresh margin may take among n, equally likely, k lie below the k-th smallest."""
    margins = np.random.default_rng(n).permutation(np.arange(n)) * 1.0
    allowed = [k for k in range(n + 1) if k / (n + 1) <= alpha + 1e-12]
    k = allowed[-1]
    assert conformal_offset(margins, alpha) == (np.sort(margins)[k - 1] if k else -np.inf)


def test_too_few_calibration_rows_accuse_nobody():
    margins = np.arange(98.0)
    assert conformal_offset(margins, 0.01) == -np.inf
    assert conformal_offset(np.append(margins, -5.0), 0.01) == -5.0
    assert conformal_offset(np.empty(0), 0.5) == -np.inf


def test_the_margins_are_left_in_their_order():
    margins = np.array([3.0, 1.0, 2.0])
    conformal_offset(margins, 0.5)
    np.testing.assert_array_equal(margins, [3.0, 1.0, 2.0])
