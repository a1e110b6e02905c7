"""Published numbers beside the measured ones, for targets that say whose numbers they reproduce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from diffmia.published import PUBLISHED
from diffmia.tables.measured import KEYS, METRICS, MISSING, VARIANTS, cell, flagged, number, over_seeds
from diffmia.tables.notes import notes
from diffmia.tables.table import Table, TableInputs
from diffmia.tables.threat_model import COLUMNS, caption, threat_model, with_threat_model

if TYPE_CHECKING:
    from diffmia.config.config import Config

_TITLE = "Published and measured"


def fill(inputs: TableInputs) -> Table:
    """One row for each published number of the run's targets and attacks."""
    config = inputs.config
    claims = [
        {"target": target, "paper": paper, "published_target": name}
        for target in config.run.targets
        for paper, name in config.targets[target].published_as.items()
    ]
    published = _read("results.csv").rename(columns={"target": "published_target", "percent": "published"})
    sizes = _read("sample_sizes.csv").rename(
        columns={
            "target": "published_target",
            "n_members": "published_n_members",
            "n_non_members": "published_n_non_members",
        }
    )
    data = (
        pd.DataFrame(claims, columns=["target", "paper", "published_target"])
        .merge(published[published["attack"].isin(config.run.attacks)], on=["paper", "published_target"])
        .merge(sizes, on=["paper", "published_target"], how="left")
        .merge(over_seeds(inputs.metrics), on=KEYS, how="left")
    )
    data.insert(data.columns.get_loc("value") + 1, "difference", data["value"] - data["published"])
    data = with_threat_model(data, config)
    if data.empty:
        note = "No target of the run says that it reproduces published numbers (published_as) of the run's attacks."
        return Table("comparison", _TITLE, pd.DataFrame(), data, [note])
    cells = pd.DataFrame([_printed(row, config) for row in data.itertuples()])
    chosen = {key: data[key].unique() for key in ("target", "attack")}
    rows = inputs.metrics[inputs.metrics[list(chosen)].isin(chosen).all(axis="columns")]
    remarks = [
        "Difference: measured − published, in percentage points. Published numbers come without an interval, and "
        "their model saw another split. n: members / non-members; ? where the paper's are not on record here.",
        *notes(rows, config, chosen["attack"], cells),
    ]
    title = caption(_TITLE, chosen["attack"], config)
    text_columns = 4 + len(COLUMNS)
    return Table("comparison", title, cells, data.rename(columns={"value": "measured"}), remarks, 1, text_columns)


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / name, dtype={"n_members": "Int64", "n_non_members": "Int64"})


def _printed(row: Any, config: Config) -> dict[str, str]:
    difference = MISSING if pd.isna(row.difference) else number(row.difference, signed=True)
    name = " ".join(filter(None, [config.attacks[row.attack].label, VARIANTS[row.variant]]))
    model = threat_model(row.attack, config) if row.variant == "base" else [""] * len(COLUMNS)
    return {
        "Target": row.target,
        "Published as": f"{row.paper.upper()} table {row.table}, {row.published_target}",
        "Attack": name + flagged([row.flags]),
        **dict(zip(COLUMNS, model, strict=True)),
        "Metric": METRICS[row.metric],
        "Published": number(row.published),
        "Measured": cell(row),
        "Difference": difference,
        "n published": _sizes(row.published_n_members, row.published_n_non_members, "?"),
        "n measured": _sizes(row.n_members, row.n_non_members, MISSING),
    }


def _sizes(members: float, non_members: float, unknown: str) -> str:
    return unknown if pd.isna(members) else f"{members:,.0f} / {non_members:,.0f}"
