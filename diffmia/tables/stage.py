"""The table stage: from the run's metrics and split manifests to the files of its tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import ImportString, TypeAdapter

from diffmia.evaluation.rows import read_metrics
from diffmia.files.layout import by_id_and_seed
from diffmia.tables import TABLES
from diffmia.tables.table import TableInputs, write

if TYPE_CHECKING:
    from diffmia.config.config import Config


def render_tables(
    config: Config,
    metrics: Path,
    splits: Sequence[Path],
    duplicates: Sequence[Path],
    transfers: Sequence[Path],
    csv: Sequence[Path],
) -> None:
    """Write the run's tables: `<name>.csv` as `csv` has them, and beside each its `.md`, `.tex` and `.html`.

    `splits` are manifests named `<split>/seed<n>.json`, and `duplicates` their near-duplicates, `<split>/seed<n>.csv`.
    `transfers` are judgements of targets by thresholds of their other seeds.
    """
    manifests = {key: json.loads(path.read_text()) for key, path in by_id_and_seed(splits).items()}
    pairs = {key: pd.read_csv(path) for key, path in by_id_and_seed(duplicates).items()}
    transferred = {"transfers": pd.concat(map(pd.read_csv, transfers))} if transfers else {}
    inputs = TableInputs(read_metrics(metrics), manifests, config, pairs, **transferred)
    for path in map(Path, csv):
        fill = TypeAdapter(ImportString).validate_python(TABLES[path.stem].function)
        write(fill(inputs), path)
