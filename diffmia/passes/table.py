"""The table of a pass: one row a sample, one column for each thing kept, streamed so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.atomic import atomic_path
from diffmia.errors import DiffmiaError
from diffmia.inputs import Inputs
from diffmia.passes.store import PieceStore, column_type
from diffmia.probes import Question

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


def merge_shards(shards: list[Path], out: Path) -> None:
    """Join the shards' tables by sample id, a block at a time.

    Raises
    ------
    DiffmiaError
        If a shard is no whole file, or the shards differ in columns or hashes, or have samples in common.
    """
    schemas = [_schema_of(path) for path in shards]
    for path, schema in zip(shards, schemas, strict=True):
        if not schema.equals(schemas[0], check_metadata=True):
            raise DiffmiaError(f"{path} was made by another pass than {shards[0]}; run the residual pass again")
    with atomic_path(out) as scratch, pq.ParquetWriter(scratch, schemas[0]) as writer:
        last = -1
        for table in _blocks(sorted(shards, key=_first_id)):
            if table["sample_id"][0].as_py() <= last:
                raise DiffmiaError(f"the shards {', '.join(map(str, shards))} have samples in common")
            last = table["sample_id"][-1].as_py()
            writer.write_table(table)


def _schema_of(shard: Path) -> pa.Schema:
    try:
        return pq.read_schema(shard)
    except pa.ArrowInvalid as error:
        raise DiffmiaError(f"{shard} is not a whole parquet file ({error}); remove it and run again") from error


def _first_id(shard: Path) -> int:
    """The lowest sample id of a shard; an empty shard has its place before all others."""
    return next((table["sample_id"][0].as_py() for table in _blocks([shard])), -1)


def _blocks(shards: list[Path]) -> Iterator[pa.Table]:
    for path in shards:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)
