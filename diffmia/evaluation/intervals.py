"""Confidence intervals of resampled numbers, and how wide they are at least where resampling says too little."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import beta

Interval = tuple[np.ndarray, np.ndarray]  # lower and upper bounds, (S,) each


def percentile_interval(replicates: np.ndarray, confidence: float) -> Interval:
    """Bounds (S,) of replicates (B, S) (Efron & Tibshirani 1993, section 13.3)."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(replicates, [tail, 1.0 - tail], axis=0)
    return low, high


def normal_interval(values: np.ndarray, standard_errors: np.ndarray, confidence: float) -> Interval:
    """Bounds (S,) of values (S,): value -+ z standard errors."""
    reach = ndtri((1.0 + confidence) / 2.0) * standard_errors
    return values - reach, values + reach


def exact_interval(rates: np.ndarray, trials: np.ndarray, confidence: float) -> Interval:
    """Bounds (S,) of rates (S,) in [0, 1], each of so many independent trials (Clopper & Pearson 1934).

    A rate of 0 or 1 has one too, where a bootstrap draws nothing else again. `trials` (S,) times a rate need not be
    whole; where it is NaN so are the bounds.
    """
    tail = (1.0 - confidence) / 2.0
    hits, misses = trials * rates, trials * (1.0 - rates)
    low = np.where(hits == 0, 0.0, beta.ppf(tail, hits, misses + 1))
    high = np.where(misses == 0, 1.0, beta.ppf(1.0 - tail, hits + 1, misses))
    return low, high


def no_narrower(interval: Interval, least: Interval) -> Interval:
    """`interval`, widened to hold `least` too, where that is not NaN."""
    return np.fmin(interval[0], least[0]), np.fmax(interval[1], least[1])


def no_surer(interval: Interval, stuck: np.ndarray, minuend: Interval, subtrahend: Interval) -> Interval:
    """`interval` of a difference; where neither number can vary (`stuck`, (S,)) the widest that theirs allow."""
    widest = minuend[0] - subtrahend[1], minuend[1] - subtrahend[0]
    return no_narrower(interval, np.where(stuck, widest, np.nan))


def cannot_vary(values: np.ndarray, replicates: np.ndarray) -> np.ndarray:
    """Which rates (S,) are 0 or 1 in the sample and so in each of its resamples (B, S): no spread is no certainty."""
    return ((values == 0) | (values == 1)) & (np.ptp(replicates, axis=0) == 0)
