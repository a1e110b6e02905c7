"""The grid of most tables: three rows for each attack (base, +OMS, Δ), and a column for each target and metric."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diffmia.evaluation.rows import SHIFT, TOLD, join_flags, split_flags
from diffmia.tables.measured import KEYS, METRICS, VARIANTS, cell, flagged, over_seeds
from diffmia.tables.notes import notes
from diffmia.tables.table import Table, TableInputs
from diffmia.tables.threat_model import COLUMNS, caption, threat_model, with_threat_model

AVERAGE = "average"


def attack_grid(
    inputs: TableInputs,
    name: str,
    title: str,
    attacks: Sequence[str] | Mapping[str, str],
    metrics: Sequence[str],
    targets: Sequence[str] | None = None,
    average: bool = False,
    relative: bool = False,
    remarks: Sequence[str] = (),
) -> Table:
    """A table of some of the run's attacks on the run's targets; null controls are not among these.

    Parameters
    ----------
    inputs : TableInputs
    name, title : str
        The title gets what the attacks were told of the target's members.
    attacks : sequence or mapping of str
        Ids of rows in `metrics.csv`, in the order of the table; a mapping gives each the name of its first row, which
        is the attack's label otherwise.
    metrics : sequence of str
        One column each, for every target.
    targets : sequence of str
        Ids of those of the run's targets that belong in the table; None for all.
    average : bool
        Whether to add the average over the targets, if there are several.
    relative : bool
        Whether Δ is also given in percent of the value without OMS.
    remarks : sequence of str
        Further notes.
    """
    config = inputs.config
    targets = list(config.run.targets if targets is None else targets)
    attacks, metrics = _labels(attacks, inputs), list(metrics)
    chosen = {"target": targets, "attack": list(attacks), "metric": metrics}
    rows = inputs.metrics[inputs.metrics[list(chosen)].isin(chosen).all(axis="columns")]
    groups = [*targets, AVERAGE] if average and len(targets) > 1 else targets
    data = over_seeds(pd.concat([rows, _average(rows, len(targets))]) if AVERAGE in groups else rows)
    data = with_threat_model(_in_order(data, [groups, list(attacks), list(VARIANTS), metrics]), config)
    if relative:
        data["relative"] = _relative(data)
    if not attacks or not targets:
        missing = "attack" if targets else "target"
        return Table(name, title, pd.DataFrame(), data, [f"The run has no {missing} that belongs in this table."])

    found = {tuple(getattr(row, key) for key in KEYS): row for row in data.itertuples()}
    lines = []
    for (attack, label), variant in itertools.product(attacks.items(), VARIANTS):
        shown = [found.get((group, attack, variant, metric)) for group in groups for metric in metrics]
        model = threat_model(attack, config) if variant == "base" else [""] * len(COLUMNS)
        lines.append([_row_name(label, variant, shown), *model, *(_cell(row) for row in shown)])
    columns = [("", first) for first in ("Attack", *COLUMNS)]
    columns += [(group, METRICS[metric]) for group in groups for metric in metrics]
    cells = pd.DataFrame(lines, columns=pd.MultiIndex.from_tuples(columns))
    explained = [*notes(rows, config, attacks, cells), *remarks]
    if AVERAGE in groups:
        explained.append("average: the mean over the targets, which may share samples; so it has no interval.")
    if relative:
        explained.append("In round brackets: Δ relative to the value without OMS; left out where that is 0.")
    title = caption(title, attacks, config)
    return Table(name, title, cells, data, explained, block=len(VARIANTS), text_columns=1 + len(COLUMNS))


def _labels(attacks: Sequence[str] | Mapping[str, str], inputs: TableInputs) -> dict[str, str]:
    return dict(attacks) if isinstance(attacks, Mapping) else {id_: inputs.config.attacks[id_].label for id_ in attacks}


def _in_order(data: pd.DataFrame, of_keys: list[list[str]]) -> pd.DataFrame:
    """Rows in the order of the run; `of_keys` has the order of each of KEYS."""
    rank = {key: {id_: i for i, id_ in enumerate(ids)} for key, ids in zip(KEYS, of_keys, strict=True)}
    return data.sort_values(KEYS, key=lambda column: column.map(rank[column.name]), ignore_index=True)


def _average(rows: pd.DataFrame, n_targets: int) -> pd.DataFrame:
    """Rows of a target `average`: means over the targets, seed by seed, where all have a value of every seed."""
    groups = rows.groupby(["seed", *KEYS[1:]], sort=False)
    means = groups.agg(
        value=("value", "mean"),
        measured=("value", "count"),
        reliable=("reliable", "all"),
        flags=("flags", "first"),
    )
    whole = (means["measured"] == n_targets).groupby(level=KEYS[1:], sort=False).transform("all")
    return means[whole].reset_index().assign(target=AVERAGE)


def _relative(data: pd.DataFrame) -> pd.Series:
    """Δ in percent of the value without OMS, in the rows of Δ; missing where that value is 0."""
    base = data[data["variant"] == "base"].set_index(["target", "attack", "metric"])["value"]
    of_row = pd.MultiIndex.from_frame(data[["target", "attack", "metric"]])
    before = base.reindex(of_row).set_axis(data.index)
    return (100 * data["value"] / before).where((data["variant"] == "delta") & (before != 0))


def _row_name(label: str, variant: str, shown: list[Any]) -> str:
    """`NA`, `+OMS` or `Δ`; the row of +OMS also says which reading of it the numbers belong to."""
    cells = [row.flags for row in shown if row is not None]
    if variant == "base":  # its own readings are in its name
        cells = [join_flags(flag for flag in split_flags(cell) if flag.split()[0] in (SHIFT, TOLD)) for cell in cells]
    return (VARIANTS[variant] or label) + (flagged(cells) if variant != "delta" else "")


def _cell(row: Any) -> str:
    """A cell of `cell`; one of Δ is signed and has the relative difference, if there is one."""
    relative = getattr(row, "relative", float("nan"))
    remark = "" if pd.isna(relative) else f"({relative:+.0f} %)".replace("-", "−")
    return cell(row, signed=row is not None and row.variant == "delta", remark=remark)
