"""Who is judged, and which numbers so many samples can support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diffmia.errors import DiffmiaError
from diffmia.running.finite import check_finite

SHOWN_FROM = 1  # false positives that the FPR allows: below, a TPR at it is not a number
RELIABLE_FROM = 10  # below, it rests on a handful of samples


@dataclass(frozen=True)
class Judged:
    """The rows of a score file that are judged, by ascending sample id, and the membership (n,) of their samples."""

    scores: pd.DataFrame
    member: np.ndarray

    @property
    def n_members(self) -> int:
        """How many of them are members."""
        return int(self.member.sum())

    @property
    def n_non_members(self) -> int:
        """How many of them are not."""
        return len(self.member) - self.n_members

    @property
    def variants(self) -> list[str]:
        """`base` and, unless it is empty throughout, `oms`."""
        return ["base"] if self.scores["oms"].isna().all() else ["base", "oms"]

    def group_in(self, groups: pd.Series | None) -> np.ndarray | None:
        """The group (n,) of each, of groups by sample id; None if there are none."""
        return None if groups is None else groups.loc[self.scores["sample_id"]].to_numpy()

    def column(self, name: str, what: str) -> np.ndarray:
        """Numbers (n,), float64; `what` says in an error what they are.

        Raises
        ------
        DiffmiaError
            If one is NaN or infinite.
        """
        values = self.scores[name].to_numpy(np.float64, na_value=np.nan)
        check_finite(values, self.scores["sample_id"], what)
        return values

    def rows(
        self,
        variant: str,
        metrics: Sequence[str],
        estimates: Sequence[np.ndarray],
        p_values: Sequence[float],
        budgets: Sequence[float],
    ) -> list[dict]:
        """One row for each of S metrics.

        Parameters
        ----------
        estimates : sequence of array (S,)
            Value, std, lower and upper bound and realised FPR, in [0, 1]; they become percent.
        p_values : sequence of float (S,)
        budgets : sequence of float (S,)
            False positives that each metric's FPR allows; infinite where it has none. A metric is missing if that is
            none at all, and not reliable if they are fewer than 10.
        """
        numbers = 100.0 * np.array(estimates)
        numbers[:, [budget < SHOWN_FROM for budget in budgets]] = np.nan
        rows = []
        for metric, column, p_value, budget in zip(metrics, numbers.T.tolist(), p_values, budgets, strict=True):
            value, std, ci_low, ci_high, realised_fpr = column
            rows.append(
                {
                    "variant": variant,
                    "metric": metric,
                    "value": value,
                    "std": std,
                    "ci_low": ci_low,
                    "ci_high": ci_high,
                    "p_value": p_value,
                    "n_members": self.n_members,
                    "n_non_members": self.n_non_members,
                    "realised_fpr": realised_fpr,
                    "reliable": bool(budget >= RELIABLE_FROM),
                }
            )
        return rows


def judged_samples(scores: pd.DataFrame) -> Judged:
    """The rows of a score file with role `eval`, in the order of their ids.

    Raises
    ------
    DiffmiaError
        If a class has fewer than two of them.
    """
    rows = scores[scores["role"] == "eval"].sort_values("sample_id")
    judged = Judged(rows, rows["member"].to_numpy(dtype=bool))
    if min(judged.n_members, judged.n_non_members) < 2:
        raise DiffmiaError(
            f"scores with role 'eval' hold {judged.n_members} members and {judged.n_non_members} non-members: both "
            "need two or more"
        )
    return judged
