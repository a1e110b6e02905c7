"""How a row of `metrics.csv` is to be read: its flags, and the attack it belongs to. Light enough for every stage."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROC = "_roc"  # ends the id of the rows that judge the score of an attack whose own rows judge its decisions
SHIFT = "shift"  # the flag of rows whose members and non-members a blind baseline tells apart
TOLD = "told"  # the flag of rows of a text-to-image model, with the condition under which it was asked
NOT_APPLICABLE = "not_applicable"  # the flag of a decision that could not be learned
MISSING = "missing"  # the flag of what has no scores because a job failed, with the kind of failure and the reason

_SEPARATOR = "; "


def read_metrics(path: str | Path) -> pd.DataFrame:
    """`metrics.csv`; counts are whole numbers, also where rows of attacks that were left out have none."""
    import pandas as pd

    return pd.read_csv(path, dtype=dict.fromkeys(("n_members", "n_non_members", "queries"), "Int64"))


def attack_of(row_id: str, attacks: Container[str]) -> str:
    """Id, among those of `attacks`, of the attack that a row of this id belongs to: `quantile` of `quantile_roc`."""
    return row_id if row_id in attacks else row_id.removesuffix(ROC)


def join_flags(flags: Iterable[str]) -> str:
    """Flags as a cell of `metrics.csv`."""
    return _SEPARATOR.join(flags)


def missing_flag(kind: str, reason: str) -> str:
    """The flag of a row without a value, for which `kind` stands in tables."""
    return f"{MISSING}: {kind}: {reason}".replace(_SEPARATOR, ", ")


def why_missing(cell: Any) -> tuple[str, str] | None:
    """Kind and reason of a `missing_flag` in a cell of `metrics.csv`, None if there is none."""
    said = next((flag for flag in split_flags(cell) if flag.startswith(f"{MISSING}: ")), None)
    return tuple(said.split(": ", 2)[1:]) if said else None


def split_flags(cell: Any) -> list[str]:
    """Flags in a cell of `metrics.csv`; none where it is empty or missing."""
    return cell.split(_SEPARATOR) if isinstance(cell, str) and cell else []
