"""DeLong's test of one AUC against chance and of two correlated AUCs against each other.

DeLong, DeLong & Clarke-Pearson (1988), with the midranks of Sun & Xu (2014): O(n log n) instead of O(m n). Lower
score = member.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

_ROUNDING = 1e-14  # above the rounding of a rate, far below 1 / (2 m n), the least standard error above zero


class DeLong(NamedTuple):
    """A difference of AUCs in [-1, 1], its standard error, and the two-sided p-value of "it is zero".

    Where the standard error is zero (perfectly separated scores, or two variants that rank alike) the statistic is
    undefined: the p-value is 1 for a difference of zero and NaN for any other.
    """

    delta: float
    standard_error: float
    p_value: float


def structural_components(member_scores: np.ndarray, non_member_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components V10 (m,) and V01 (n,) of scores (m,) and (n,), each in [0, 1] and with the AUC as its mean.

    V10 is the share of non-members above each member, V01 the share of members below each non-member; a tie counts
    one half.
    """
    m, n = len(member_scores), len(non_member_scores)
    midranks = rankdata(np.concatenate([member_scores, non_member_scores]))
    non_members_below = midranks[:m] - rankdata(member_scores)
    members_below = midranks[m:] - rankdata(non_member_scores)
    return 1.0 - non_members_below / n, members_below / m


def auc_test(member_scores: np.ndarray, non_member_scores: np.ndarray) -> DeLong:
    """Test AUC = 1/2; `delta` is AUC - 1/2. Each class needs two scores or more."""
    v10, v01 = structural_components(member_scores, non_member_scores)
    return _test(v10 - 0.5, v01 - 0.5)


def paired_auc_test(
    base_member: np.ndarray, base_non_member: np.ndarray, oms_member: np.ndarray, oms_non_member: np.ndarray
) -> DeLong:
    """Test AUC(oms) = AUC(base) for two scores of the same members (m,) and non-members (n,), m and n >= 2."""
    base_v10, base_v01 = structural_components(base_member, base_non_member)
    oms_v10, oms_v01 = structural_components(oms_member, oms_non_member)
    return _test(oms_v10 - base_v10, oms_v01 - base_v01)


def _test(d10: np.ndarray, d01: np.ndarray) -> DeLong:
    # the variance of a difference of components holds their covariance: no 2 x 2 matrix is needed
    delta = float(d10.mean())
    standard_error = float(np.sqrt(d10.var(ddof=1) / len(d10) + d01.var(ddof=1) / len(d01)))
    standard_error = 0.0 if standard_error < _ROUNDING else standard_error
    return DeLong(delta, standard_error, two_sided(delta, standard_error))


def two_sided(delta: float, standard_error: float) -> float:
    """P-value of "the difference is zero" by the normal distribution; for a standard error of zero see `DeLong`."""
    if standard_error < _ROUNDING:
        return 1.0 if abs(delta) < _ROUNDING else float("nan")
    return float(2.0 * ndtr(-abs(delta) / standard_error))
