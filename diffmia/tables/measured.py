"""Measured numbers as tables show them: one for each target, attack, variant and metric, over all seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from diffmia.evaluation.rows import NOT_APPLICABLE, split_flags, why_missing

METRICS = {
    "auc": "AUC",
    "asr": "ASR",
    "tpr_at_5_fpr": "TPR@5%FPR",
    "fpr_at_5_fpr": "FPR (5 %)",
    "tpr_at_1_fpr": "TPR@1%FPR",
    "fpr_at_1_fpr": "FPR (1 %)",
    "tpr_at_0.1_fpr": "TPR@0.1%FPR",
    "fpr_at_0.1_fpr": "FPR (0.1 %)",
}
VARIANTS = {"base": "", "oms": "+OMS", "delta": "Δ"}
KEYS = ["target", "attack", "variant", "metric"]
MISSING = "n/a"

_SIZES = ["n_members", "n_non_members"]
_SPREAD = ["value", "ci_low", "ci_high", "std_over_seeds", "seeds"]


def over_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of `metrics.csv` with those of several seeds made one.

    Returns
    -------
    DataFrame
        Columns KEYS, value, ci_low, ci_high, std_over_seeds, seeds, realised_fpr, reliable, n_members, n_non_members
        and flags (those of a seed without scores, if there is one). With one seed the interval is that of the metric.
        With several, `value` and `realised_fpr` are means, missing if one seed's is; there is a standard deviation and
        no interval; sizes are the smallest of the seeds'.
    """
    rows = metrics.assign(flags=metrics["flags"].astype(object).fillna(""))
    groups = rows.groupby(KEYS, sort=False)
    numbers = groups[["value", "ci_low", "ci_high", "realised_fpr"]].agg(lambda values: values.mean(skipna=False))
    rest = groups.agg(
        seeds=("seed", "nunique"),
        std_over_seeds=("value", "std"),
        reliable=("reliable", "all"),
        n_members=("n_members", "min"),
        n_non_members=("n_non_members", "min"),
        flags=("flags", lambda cells: next(filter(why_missing, cells), cells.iloc[0])),
    )
    table = numbers.join(rest).reset_index()
    # an average of intervals is no interval: each is that of one trained model
    table.loc[table["seeds"] > 1, ["ci_low", "ci_high"]] = float("nan")
    columns = [*KEYS, *_SPREAD, "realised_fpr", "reliable", *_SIZES, "flags"]
    return table[columns].astype(dict.fromkeys(_SIZES, "Int64"))


def number(value: float, signed: bool = False) -> str:
    """Two decimals, with a true minus sign."""
    return f"{value:{'+' if signed else ''}z.2f}".replace("-", "−")


def interval(low: float, high: float, signed: bool = False) -> str:
    """`[low, high]`."""
    return f"[{number(low, signed)}, {number(high, signed)}]"


def cell(row: Any, signed: bool = False, remark: str = "") -> str:
    """Value, its mark, `remark`, and its spread over seeds or its interval; `row` is one of `over_seeds`, or None.

    Of what has no scores since a job failed, the kind of failure.
    """
    if row is None or pd.isna(row.value):
        why = None if row is None else why_missing(row.flags)
        return MISSING if why is None else why[0]
    text = number(row.value, signed) + ("" if row.reliable else "†") + (f" {remark}" if remark else "")
    if pd.notna(row.std_over_seeds):
        return f"{text} ± {number(row.std_over_seeds)}"
    if pd.notna(row.ci_low):
        return f"{text} {interval(row.ci_low, row.ci_high, signed)}"
    return text


def flagged(cells: Iterable[Any]) -> str:
    """` (anchor x0; recalibrated)`: each flag in some cells of `metrics.csv` once, but for why there is no number."""
    flags = dict.fromkeys(flag for of_row in cells for flag in split_flags(of_row))
    shown = [flag for flag in flags if not flag.startswith(NOT_APPLICABLE) and why_missing(flag) is None]
    return f" ({'; '.join(shown)})" if shown else ""


def span(values: Sequence[int]) -> str:
    """`256`, or `250–256` where values differ."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
