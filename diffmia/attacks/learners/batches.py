"""How rows are cut into batches; without torch, for the rows that a fitted attack is given are cut so, too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BATCH = 512  # images a call where no gradient is taken


def even_batches(rows: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Rows (n,) in as few batches of at most `batch_size` as will do, their sizes as equal as can be.

    So no last batch is so small that its batch norm is noise, and with `batch_size` 3 or more none has a single row.
    """
    yield from np.array_split(rows, -(-len(rows) // batch_size))
