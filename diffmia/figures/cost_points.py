"""What the cost figure shows: how well each attack does and what it costs, over all seeds."""

from __future__ import annotations

import pandas as pd

from diffmia.evaluation.rows import attack_of
from diffmia.figures.attacks import VARIANTS
from diffmia.figures.figure import FigureData
from diffmia.tables.measured import over_seeds

METRICS = {"auc": "AUC", "tpr_at_1_fpr": "TPR@1%FPR"}

_KEYS = ["attack", "variant", "metric"]


def cost_points(data: FigureData) -> pd.DataFrame:
    """A row for each variant of an attack and each of METRICS, of the figure's target.

    Where the rows of an attack judge its own decisions, its AUC is that of the rows that judge its score.

    Returns
    -------
    DataFrame
        Columns attack, variant, metric; queries (per sample); seconds (per 1,000 samples); value (percent, missing
        where there is none); low and high (the ends of its interval or, with several seeds, the mean less and plus a
        standard deviation); reliable; realised_fpr (percent); decision (whether the attack decided itself).
    """
    rows = _of_target(data.metrics, data)
    rows = over_seeds(rows[rows["metric"].isin(METRICS)])
    own = rows["attack"].isin(data.attacks)
    rows["attack"] = [attack_of(id_, data.attacks) for id_ in rows["attack"]]
    rows["decision"] = own & rows["attack"].isin(rows.loc[~own, "attack"])
    rows["low"] = rows["ci_low"].fillna(rows["value"] - rows["std_over_seeds"])
    rows["high"] = rows["ci_high"].fillna(rows["value"] + rows["std_over_seeds"])
    rows = pd.concat([rows[own], rows[~own]]).drop_duplicates(_KEYS)

    every = _cost(data).merge(pd.Series(METRICS.keys(), name="metric"), how="cross")
    shown = ["value", "low", "high", "reliable", "realised_fpr", "decision"]
    points = every.merge(rows[[*_KEYS, *shown]], how="left", on=_KEYS)
    order = {attack: i for i, attack in enumerate(data.attacks)}
    return points.sort_values("attack", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)


def devices(data: FigureData) -> list[str]:
    """Names of the devices that the seconds are of."""
    rows = _of_target(data.cost, data)
    return sorted(set(rows["device"]) | set(rows["device_learning"].dropna()))


def _of_target(rows: pd.DataFrame, data: FigureData) -> pd.DataFrame:
    """Rows of metrics.csv or cost.csv that belong to the figure's target and attacks."""
    shown = rows["attack"].map(lambda id_: attack_of(id_, data.attacks)).isin(data.attacks)
    return rows[(rows["target"] == data.target) & rows["variant"].isin(VARIANTS) & shown]


def _cost(data: FigureData) -> pd.DataFrame:
    """Means over the seeds: attack, variant, queries, and seconds of pass and learning per 1,000 samples."""
    rows = _of_target(data.cost, data)
    rows = rows.assign(
        attack=[attack_of(id_, data.attacks) for id_ in rows["attack"]],
        seconds=1000 * (rows["seconds"] + rows["seconds_learning"]) / rows["samples"],
    )
    return rows.groupby(["attack", "variant"], as_index=False)[["queries", "seconds"]].mean()
