"""A pass cut into shards as its stage cuts it, and joined again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.passes import engine
from diffmia.passes.engine import ModelPass, run_pass
from diffmia.passes.merging import merge_shards
from diffmia.passes.store import PieceStore
from diffmia.passes.table import Samples
from diffmia.shards import shard_ids


def in_shards(model_pass: Callable[[], ModelPass], samples: Samples, shards: int, folder: Path) -> pa.Table:
    """The joined table of as many passes, which `model_pass` makes; they take nothing from those of another folder."""
    store, parts = PieceStore(folder / "store", {}, samples.inputs.texts), []
    for shard in range(shards):
        rows = shard_ids(np.arange(len(samples.ids)), shard, shards, engine.BLOCK)
        part = Samples(samples.inputs, samples.ids[rows], samples.roles[rows], samples.labels[rows])
        parts.append(folder / f"{shard}.parquet")
        run_pass(model_pass(), part, store, parts[-1], {"split_hash": "s"})
    merge_shards(parts[::-1], folder / "merged.parquet")
    return pq.read_table(folder / "merged.parquet")
