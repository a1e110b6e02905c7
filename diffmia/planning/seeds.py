"""One run seed, and the independent seeds that grow from it."""

from __future__ import annotations

import numpy as np

# a child's place in this list is its spawn key: append, never reorder
CHILDREN = ("split", "training", "noise", "evaluation", "learning", "blind")


def child_seed(run_seed: int, child: str, *further: int) -> int:
    """The seed of one purpose (one of `CHILDREN`) of a run, in [0, 2**63); `further` tells apart several of a kind."""
    sequence = np.random.SeedSequence(run_seed, spawn_key=(CHILDREN.index(child), *further))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
