"""One run seed, and the independent seeds that grow from it."""

from __future__ import annotations

import numpy as np

# a child's place in this list is its spawn key: append, never reorder
CHILDREN = ("split", "training", "noise", "evaluation")


def child_seed(run_seed: int, child: str) -> int:
    """The seed of one purpose (`split`, `training`, `noise`, `evaluation`) of a run, in [0, 2**63)."""
    sequence = np.random.SeedSequence(run_seed, spawn_key=(CHILDREN.index(child),))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
