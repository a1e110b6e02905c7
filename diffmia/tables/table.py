"""What a table is made of, what it is, and the files it becomes: csv for machines, md, tex and html for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffmia.evaluation.transfer import TRANSFER_COLUMNS
from diffmia.files.atomic import atomic_path
from diffmia.tables.html import html_page
from diffmia.tables.latex import latex_table

if TYPE_CHECKING:
    from diffmia.config.config import Config


@dataclass(frozen=True)
class TableInputs:
    """What every table is filled from.

    Attributes
    ----------
    metrics : DataFrame
        `metrics.csv` of the run.
    manifests : dict
        Split manifests by (split id, run seed).
    config : Config
    duplicates : dict
        Near-duplicates between members and non-members by (split id, run seed), of a table that shows them.
    transfers : DataFrame
        Judgements of targets by thresholds of their other seeds (`diffmia.evaluation.transfer`), of a
        table that shows them; empty if there are none.
    """

    metrics: pd.DataFrame
    manifests: dict[tuple[str, int], dict[str, Any]]
    config: Config
    duplicates: dict[tuple[str, int], pd.DataFrame] = field(default_factory=dict)
    transfers: pd.DataFrame = field(default_factory=partial(pd.DataFrame, columns=TRANSFER_COLUMNS))


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    name, title : str
    cells : DataFrame of str
        For people: what is printed, the first column being the rows' names. Column names may have two levels.
    data : DataFrame
        For machines: the same numbers, unrounded, one a row.
    notes : list of str
        Sentences below the table that explain every mark in it.
    block : int
        How many rows belong together; LaTeX leaves a space between blocks.
    text_columns : int
        How many of the first columns are set flush left; the others hold numbers.
    """

    name: str
    title: str
    cells: pd.DataFrame
    data: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    block: int = 1
    text_columns: int = 1

    @property
    def alignment(self) -> str:
        """A letter a column, l or r."""
        return "".join("l" if i < self.text_columns else "r" for i in range(self.cells.shape[1]))


def write(table: Table, csv: Path) -> None:
    """Write a table's data, and beside it its text, its LaTeX and its page, each whole or not at all."""
    with atomic_path(csv) as scratch:
        table.data.to_csv(scratch, index=False)
    shown = (table.title, table.cells, table.notes, table.alignment, table.block)
    texts = {".md": markdown(table), ".tex": latex_table(table.name, *shown), ".html": html_page(*shown)}
    for suffix, text in texts.items():
        with atomic_path(csv.with_suffix(suffix)) as scratch:
            scratch.write_text(text, encoding="utf-8")


def markdown(table: Table) -> str:
    """Title, pipe table and notes; without rows only the title and the notes."""
    parts = [f"## {table.title}"]
    if len(table.cells):
        flat = table.cells.set_axis([_flat(name) for name in table.cells.columns], axis="columns")
        escaped = flat.map(lambda cell: cell.replace("|", r"\|"))
        align = [{"l": "left", "r": "right"}[letter] for letter in table.alignment]
        parts.append(escaped.to_markdown(index=False, disable_numparse=True, colalign=align))
    if table.notes:
        parts.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _flat(name: str | tuple[str, ...]) -> str:
    return name if isinstance(name, str) else " ".join(filter(None, name))
