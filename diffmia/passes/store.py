"""Finished pieces of passes: one file for each (question, block of samples), found by what decides its numbers.

The store is how an interrupted pass resumes and how a pass that is asked one thing more asks the model only that.
It may be deleted at any time: the next pass that changes then costs its queries again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.files.atomic import atomic_path
from diffmia.search.probes import Question

SECONDS = b"seconds"
Texts = Callable[[str, np.ndarray], str | None]  # condition, sample ids -> hash, None where nothing is told


class PieceStore:
    """Pieces below `folder` that belong to one `context`: the hashes of code, weights and data, and the noise seed.

    `texts` hashes what the model is told of some samples under a condition: a text that was edited costs the questions
    that are asked under its condition about its block of samples, and no others.
    """

    def __init__(self, folder: Path, context: dict, texts: Texts = lambda condition, sample_ids: None):
        self.folder, self.context, self.texts = Path(folder), context, texts

    def path(self, question: Question, sample_ids: np.ndarray) -> Path:
        """Where the piece of a question and these samples is or would be."""
        samples = hashlib.sha256(sample_ids.tobytes()).hexdigest()
        key = {**self.context, "question": question.model_dump(mode="json"), "samples": samples}
        if (texts := self.texts(question.condition, sample_ids)) is not None:
            key["texts"] = texts
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.parquet"

    def write(self, question: Question, sample_ids: np.ndarray, columns: dict[str, np.ndarray], seconds: float) -> None:
        """Keep a piece: the columns of the question, (n,) or (n, d) with a row a sample, and the seconds it took."""
        arrays = [_arrow(columns[name], question) for name in question.columns()]
        table = pa.table(arrays, names=question.columns()).replace_schema_metadata({SECONDS: repr(seconds)})
        with atomic_path(self.path(question, sample_ids)) as scratch:
            pq.write_table(table, scratch)

    def read(self, question: Question, sample_ids: np.ndarray) -> tuple[pa.Table, float]:
        """A finished piece and the seconds it took."""
        table = pq.read_table(self.path(question, sample_ids))
        return table.select(question.columns()), float(table.schema.metadata[SECONDS])


def column_type(question: Question) -> pa.DataType:
    """Arrow's type of each column of a question."""
    return pa.list_(pa.float32()) if question.vectors else pa.float64()


def _arrow(values: np.ndarray, question: Question) -> pa.Array:
    if not question.vectors:
        return pa.array(values, type=pa.float64())
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), type=pa.float32()))
