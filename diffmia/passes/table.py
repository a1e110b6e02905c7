"""The table of a pass: one row a sample, one column for each thing kept, streamed so that memory stays flat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.files.atomic import atomic_path
from diffmia.passes.inputs import Inputs
from diffmia.passes.store import PieceStore, column_type
from diffmia.search.probes import Question

SCHEMA_VERSION = "1"


@dataclass
class Samples:
    """Samples of a shard, in ascending order of id, beside the inputs of their whole dataset."""

    inputs: Inputs
    ids: np.ndarray  # int64 (n,)
    roles: np.ndarray  # str (n,)
    labels: np.ndarray  # int64 (n,)


def write_table(
    out: Path,
    samples: Samples,
    blocks: list[np.ndarray],
    questions: list[Question],
    store: PieceStore,
    metadata: dict,
) -> dict[str, float]:
    """Join the finished pieces of all questions, a block of samples at a time; returns each question's seconds."""
    seconds = dict.fromkeys((question.name for question in questions), 0.0)
    schema = _schema(questions, metadata)
    start = 0
    with atomic_path(out) as scratch, pq.ParquetWriter(scratch, schema) as writer:
        for ids in blocks:
            rows = slice(start, start + len(ids))
            columns = [pa.array(ids), pa.array(samples.roles[rows]), pa.array(samples.labels[rows])]
            for question in questions:
                piece, took = store.read(question, ids)
                columns += [piece[name].combine_chunks() for name in piece.column_names]
                seconds[question.name] += took
            writer.write_table(pa.table(columns, schema=schema))
            start += len(ids)
    return seconds


def _schema(questions: list[Question], metadata: dict) -> pa.Schema:
    fields = [("sample_id", pa.int64()), ("role", pa.string()), ("label", pa.int64())]
    fields += [(name, column_type(question)) for question in questions for name in question.columns()]
    return pa.schema(fields, metadata={key: str(value) for key, value in metadata.items()})
