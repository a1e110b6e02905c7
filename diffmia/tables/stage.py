"""The table stage: from the run's metrics and split manifests to one table's files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ImportString, TypeAdapter

from diffmia.evaluation.rows import read_metrics
from diffmia.layout import by_id_and_seed
from diffmia.tables import TABLES
from diffmia.tables.table import TableInputs, write

if TYPE_CHECKING:
    from diffmia.config import Config


def render_table(
    name: str, config: Config, metrics: Path, splits: Sequence[Path], duplicates: Sequence[Path], out: Any
) -> None:
    """Write `out.csv`, `out.md` and `out.tex` of a table.

    `splits` are manifests named `<split>/seed<n>.json`, and `duplicates` their near-duplicates, `<split>/seed<n>.csv`.
    """
    fill = TypeAdapter(ImportString).validate_python(TABLES[name])
    manifests = {key: json.loads(path.read_text()) for key, path in by_id_and_seed(splits).items()}
    pairs = {key: pd.read_csv(path) for key, path in by_id_and_seed(duplicates).items()}
    write(fill(TableInputs(read_metrics(metrics), manifests, config, pairs)), out.csv, out.md, out.tex)
