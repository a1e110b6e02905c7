"""Measured numbers as tables show them: one for each target, attack, variant and metric, over all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from diffmia.config import Config

METRICS = {
    "auc": "AUC",
    "asr": "ASR",
    "tpr_at_5_fpr": "TPR@5%FPR",
    "tpr_at_1_fpr": "TPR@1%FPR",
    "tpr_at_0.1_fpr": "TPR@0.1%FPR",
}
VARIANTS = {"base": "", "oms": "+OMS", "delta": "Δ"}
KEYS = ["target", "attack", "variant", "metric"]
MISSING = "n/a"

_SIZES = ["n_members", "n_non_members"]
_SPREAD = ["value", "ci_low", "ci_high", "std_over_seeds", "seeds"]

# by the first word of a flag
_FLAGS = {
    "anchor": "“anchor” says what the second iterate ε² of SecMI's noise search is attached to, which the paper leaves "
    "open: x0 is the true sample, x0hat its estimate at timestep t, xt the noised sample; table secmi_anchor has the "
    "readings of the run side by side.",
}


def over_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of `metrics.csv` with those of several seeds made one.

    Returns
    -------
    DataFrame
        Columns KEYS, value, ci_low, ci_high, std_over_seeds, seeds, realised_fpr, reliable, n_members, n_non_members
        and flags. With one seed the interval is that of the metric. With several, `value` and `realised_fpr` are means,
        missing if one seed's is; there is a standard deviation and no interval; sizes are the smallest of the seeds'.
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
        flags=("flags", "first"),
    )
    table = numbers.join(rest).reset_index()
    # an average of intervals is no interval: each is that of one trained model
    table.loc[table["seeds"] > 1, ["ci_low", "ci_high"]] = float("nan")
    columns = [*KEYS, *_SPREAD, "realised_fpr", "reliable", *_SIZES, "flags"]
    return table[columns].astype(dict.fromkeys(_SIZES, "Int64"))


def number(value: float, signed: bool = False) -> str:
    """Two decimals, with a true minus sign."""
    return f"{value:{'+' if signed else ''}z.2f}".replace("-", "−")


def cell(row: Any, signed: bool = False, remark: str = "") -> str:
    """Value, its mark, `remark`, and its spread over seeds or its interval; `row` is one of `over_seeds`, or None."""
    if row is None or pd.isna(row.value):
        return MISSING
    text = number(row.value, signed) + ("" if row.reliable else "†") + (f" {remark}" if remark else "")
    if pd.notna(row.std_over_seeds):
        return f"{text} ± {number(row.std_over_seeds)}"
    if pd.notna(row.ci_low):
        return f"{text} [{number(row.ci_low, signed)}, {number(row.ci_high, signed)}]"
    return text


def notes(metrics: pd.DataFrame, config: Config, cells: pd.DataFrame) -> list[str]:
    """What a reader must know of the measured numbers in `cells`, whose rows of `metrics.csv` are `metrics`."""
    evaluation, seeds = config.evaluation, sorted(metrics["seed"].unique())
    every_cell = " ".join(cells.to_numpy().ravel())
    sizes = [
        f"{target}: {span(rows['n_members'])} members, {span(rows['n_non_members'])} non-members"
        for target, rows in metrics.groupby("target", sort=False)
    ]
    found = [
        "Percent. A low score means member: fixed in advance and never turned round, so an AUC may be below 50.",
        f"Samples judged: {'; '.join(sizes)}. Run seed{'s' * (len(seeds) > 1)}: {', '.join(map(str, seeds))}. "
        "Unrounded values and realised FPRs are in the csv.",
    ]
    if len(seeds) > 1:
        found.append(
            "Values are means over the seeds, each with its own split, training and noise, and ± is their standard "
            "deviation. The bootstrap intervals of single seeds, which leave training out, are in metrics.csv."
        )
    else:
        found.append(
            f"In square brackets: {100 * evaluation.confidence:g} % confidence interval, percentile bootstrap of "
            f"{evaluation.bootstrap:,} resamples of the samples, stratified by membership and, for Δ, paired. With one "
            "seed, the variation of split, training and noise is not in it."
        )
    shown = set(metrics["metric"])
    if "asr" in shown:
        found.append(
            f"ASR: mean balanced accuracy of {evaluation.threshold_repeats} thresholds, each chosen on "
            f"{100 * evaluation.threshold_fraction:g} % of the samples and judged on the others."
        )
    if any(metric.startswith("tpr") for metric in shown):
        found.append("TPR: the largest at an FPR no higher than the one named.")
    if "†" in every_cell:
        found.append("† the FPR allows fewer than 10 false positives: not reliable.")
    if MISSING in every_cell:
        found.append(f"{MISSING}: not measured, or the FPR allows no false positive.")
    words = {flag.split()[0] for flag in metrics["flags"].dropna() if flag}
    return found + [_FLAGS[word] for word in sorted(words) if word in _FLAGS]


def span(values: Sequence[int]) -> str:
    """`256`, or `250–256` where values differ."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
