"""Tables of attacks with and without one more step: OMS Tables 1 and 2, and what SecMI's open reading changes."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd

from diffmia.tables.measured import KEYS, METRICS, VARIANTS, cell, notes, over_seeds
from diffmia.tables.table import Table, TableInputs

AVERAGE = "average"


def table1(inputs: TableInputs) -> Table:
    """ASR and AUC, and their average over the targets (OMS Table 1)."""
    title = "ASR and AUC of each attack, without and with one more step (OMS)"
    return _fill(inputs, "table1", title, _main_attacks(inputs), ["asr", "auc"], average=True)


def table2(inputs: TableInputs) -> Table:
    """TPR at 1 % and at 0.1 % FPR, with the relative gain (OMS Table 2)."""
    title = "TPR at low FPR of each attack, without and with one more step (OMS)"
    return _fill(inputs, "table2", title, _main_attacks(inputs), ["tpr_at_1_fpr", "tpr_at_0.1_fpr"], relative=True)


def secmi_anchor(inputs: TableInputs) -> Table:
    """SecMI and its other readings side by side: how much hangs on what the paper leaves open."""
    specs = inputs.config.attacks
    attacks = [id_ for id_ in inputs.config.run.attacks if id_ == "secmi" or specs[id_].reading_of == "secmi"]
    title = "SecMI and its other readings, without and with one more step (OMS)"
    return _fill(inputs, "secmi_anchor", title, attacks, ["auc", "asr", "tpr_at_1_fpr"])


def _main_attacks(inputs: TableInputs) -> list[str]:
    """The run's attacks, without those that are another reading of one."""
    return [id_ for id_ in inputs.config.run.attacks if inputs.config.attacks[id_].reading_of is None]


def _fill(
    inputs: TableInputs,
    name: str,
    title: str,
    attacks: list[str],
    metrics: list[str],
    average: bool = False,
    relative: bool = False,
) -> Table:
    """Three rows for each attack (base, +OMS, Δ); for each target, and on demand their average, a column a metric."""
    targets = list(inputs.config.run.targets)
    chosen = {"target": targets, "attack": attacks, "metric": metrics}
    rows = inputs.metrics[inputs.metrics[list(chosen)].isin(chosen).all(axis="columns")]
    groups = [*targets, AVERAGE] if average and len(targets) > 1 else targets
    data = over_seeds(pd.concat([rows, _average(rows, len(targets))]) if AVERAGE in groups else rows)
    data = _in_order(data, [groups, attacks, list(VARIANTS), metrics])
    if relative:
        data["relative"] = _relative(data)
    if not attacks:
        return Table(name, title, pd.DataFrame(), data, ["The run has no attack that belongs in this table."])

    found = {tuple(getattr(row, key) for key in KEYS): row for row in data.itertuples()}
    lines = []
    for attack, variant in itertools.product(attacks, VARIANTS):
        shown = [found.get((group, attack, variant, metric)) for group in groups for metric in metrics]
        label = _row_name(inputs.config.attacks[attack].label, variant, shown)
        lines.append([label, *(_cell(row) for row in shown)])
    columns = [("", "Attack"), *((group, METRICS[metric]) for group in groups for metric in metrics)]
    cells = pd.DataFrame(lines, columns=pd.MultiIndex.from_tuples(columns))
    remarks = notes(rows, inputs.config, cells)
    if AVERAGE in groups:
        remarks.append("average: the mean over the targets, which may share samples; so it has no interval.")
    if relative:
        remarks.append("In round brackets: Δ relative to the value without OMS; left out where that is 0.")
    return Table(name, title, cells, data, remarks, block=len(VARIANTS))


def _in_order(data: pd.DataFrame, of_keys: list[list[str]]) -> pd.DataFrame:
    """Rows in the order of the run; `of_keys` has the order of each of KEYS."""
    rank = {key: {id_: i for i, id_ in enumerate(ids)} for key, ids in zip(KEYS, of_keys, strict=True)}
    return data.sort_values(KEYS, key=lambda column: column.map(rank[column.name]), ignore_index=True)


def _average(rows: pd.DataFrame, n_targets: int) -> pd.DataFrame:
    """Rows of a target `average`: means over the targets, seed by seed, where all of them have a value."""
    groups = rows.groupby(["seed", *KEYS[1:]], sort=False)
    means = groups.agg(
        value=("value", "mean"),
        measured=("value", "count"),
        reliable=("reliable", "all"),
        flags=("flags", "first"),
    )
    return means[means["measured"] == n_targets].reset_index().assign(target=AVERAGE)


def _relative(data: pd.DataFrame) -> pd.Series:
    """Δ in percent of the value without OMS, in the rows of Δ; missing where that value is 0."""
    base = data[data["variant"] == "base"].set_index(["target", "attack", "metric"])["value"]
    of_row = pd.MultiIndex.from_frame(data[["target", "attack", "metric"]])
    before = base.reindex(of_row).set_axis(data.index)
    return (100 * data["value"] / before).where((data["variant"] == "delta") & (before != 0))


def _row_name(label: str, variant: str, shown: list[Any]) -> str:
    """`NA`, `+OMS` or `Δ`; the row of +OMS also says which reading of it the numbers belong to."""
    flags = sorted({row.flags for row in shown if row is not None and row.flags})
    flagged = f" ({'; '.join(flags)})" if variant == "oms" and flags else ""
    return (VARIANTS[variant] or label) + flagged


def _cell(row: Any) -> str:
    """A cell of `cell`; one of Δ is signed and has the relative difference, if there is one."""
    relative = getattr(row, "relative", float("nan"))
    remark = "" if pd.isna(relative) else f"({relative:+.0f} %)".replace("-", "−")
    return cell(row, signed=row is not None and row.variant == "delta", remark=remark)
