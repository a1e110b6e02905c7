"""The stage that joins the answers about shards: their tables, and how they were made; no model, no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.models.base import EXACT


def merge_facts(metas: list[Path]) -> dict:
    """Facts of a whole pass from those of its shards.

    Raises
    ------
    DiffmiaError
        If they are not the facts of each shard once.
    """
    facts = [json.loads(Path(path).read_text()) for path in metas]
    if sorted(fact["shard"] for fact in facts) != [[number, len(facts)] for number in range(len(facts))]:
        found = ", ".join("{} of {}".format(*fact["shard"]) for fact in facts)
        raise DiffmiaError(
            f"{', '.join(map(str, metas))} must be of {len(facts)} shards of one pass, each once, and are of "
            f"shards {found}, counted from 0; remove them and run again"
        )
    summed = {key: sum(fact[key] for fact in facts) for key in ("samples", "queries_made", "seconds")}
    same = ("schema_version", "split_hash", "dataset_hash", "target_hash", "evaluations_per_sample")
    devices = " + ".join(sorted({fact["device"] for fact in facts}))
    return {key: facts[0][key] for key in same} | {"shards": len(facts), "device": devices} | summed | _faster(facts)


def _faster(facts: list[dict]) -> dict:
    """How the shards were asked, if one was not in plain float32, and the lowest agreement with that."""
    agreements = [fact["rank_agreement"] for fact in facts if "rank_agreement" in fact]
    if not agreements:
        return {}
    ways = sorted({fact.get("arithmetic", EXACT) for fact in facts})  # each on a device of its kind
    return {"arithmetic": " + ".join(ways), "rank_agreement": min(agreements)}


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
            raise DiffmiaError(f"{path} was made by another pass than {shards[0]}; remove both and run again")
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
