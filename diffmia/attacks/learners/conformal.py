"""Split-conformal recalibration of a predicted quantile (Romano, Patterson & Candes 2019), for the lower tail."""

from __future__ import annotations

import math

import numpy as np


def conformal_offset(margins: np.ndarray, alpha: float) -> float:
    """The offset c at which "member iff margin < c" accuses a fresh non-member with probability at most alpha.

    However wrong the predicted quantile is, if the calibration non-members and the judged one are exchangeable and
    none of them had a part in fitting it:

        P(margin < c) <= k / (n + 1) <= alpha, with k = floor(alpha (n + 1)) and c the k-th smallest of n margins.

    Proof: the fresh margin is below c only if at most k of all n + 1 margins, itself among them, are at or below it.
    That is true of at most k of the n + 1, and by exchangeability each is as likely to be the fresh one. The guarantee
    is an average over calibration sets: one set's rate has a standard deviation near sqrt(alpha (1 - alpha) / n).

    Parameters
    ----------
    margins : float array (n,)
        Log error minus predicted quantile, log e_i - q(x_i), of the calibration non-members.
    alpha : float
        Level in (0, 1).

    Returns
    -------
    float
        The offset, to be added to every predicted quantile; minus infinity (nobody is accused) if n < 1 / alpha - 1,
        too few to say anything at this level.
    """
    k = math.floor(alpha * (len(margins) + 1))
    return float(np.partition(margins, k - 1)[k - 1]) if k else -math.inf
