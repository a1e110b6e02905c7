"""Finished pieces of residual passes: one file for each (probe, block of samples), found by what decides its numbers.

The store is how an interrupted pass resumes and how a pass that is asked one probe more asks the model only that one.
It may be deleted at any time: the next pass that changes then costs its queries again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.atomic import atomic_path
from diffmia.probes import Probe, column, reductions

SECONDS = b"seconds"


class ResidualStore:
    """Pieces below `folder` that belong to one `context`: the hashes of code, weights and data, and the noise seed."""

    def __init__(self, folder: Path, context: dict):
        self.folder, self.context = Path(folder), context

    def path(self, probe: Probe, sample_ids: np.ndarray) -> Path:
        """Where the piece of a probe and these samples is or would be."""
        key = {**self.context, "probe": probe.model_dump(), "samples": hashlib.sha256(sample_ids.tobytes()).hexdigest()}
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.parquet"

    def write(self, probe: Probe, sample_ids: np.ndarray, columns: dict[str, np.ndarray], seconds: float) -> None:
        """Keep a piece: float64 columns of the probe, one row a sample, and the seconds it took."""
        table = pa.table(columns).replace_schema_metadata({SECONDS: repr(seconds)})
        with atomic_path(self.path(probe, sample_ids)) as scratch:
            pq.write_table(table, scratch)

    def read(self, probe: Probe, sample_ids: np.ndarray) -> tuple[pa.Table, float]:
        """A finished piece and the seconds it took."""
        table = pq.read_table(self.path(probe, sample_ids))
        return table.select(piece_columns(probe)), float(table.schema.metadata[SECONDS])


def piece_columns(probe: Probe) -> list[str]:
    """Columns of a probe's pieces, and of its part of the residual table."""
    return [column(probe, (i, j), p) for i, j, p in reductions(probe.n)]
