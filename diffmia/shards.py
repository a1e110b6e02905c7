"""How what is done sample by sample is cut into shards, each a job of its own."""

from __future__ import annotations

import numpy as np


def shard_ids(ids: np.ndarray, shard: int, shards: int, block: int) -> np.ndarray:
    """The ids of shard number `shard` (from 0) of `shards`: a run of whole blocks, empty if there are fewer blocks.

    A block of so many ids, of which the last may have fewer, is the same whatever the number of shards. So what is
    computed together is too, and no number depends on it by so much as its rounding, where memory holds it at once.
    """
    starts = np.array_split(np.arange(0, len(ids), block), shards)[shard]
    return ids[starts[0] : starts[-1] + block] if len(starts) else ids[:0]
