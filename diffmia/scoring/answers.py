"""What attacks that learn are given of a pass: the answers about some samples, and these, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.attacks.learned import Rows
from diffmia.errors import DiffmiaError

KEYS = ["sample_id", "role", "label"]


class Answers:
    """A pass's table, of which one column of a row group, a block of the pass, is read at a time.

    Parameters
    ----------
    path : path
        The table.
    columns : sequence of str
        What will be asked for.

    Attributes
    ----------
    keys : DataFrame
        `KEYS` of every row.

    Raises
    ------
    DiffmiaError
        If the table lacks one of the columns.
    """

    def __init__(self, path: Path, columns: Sequence[str]):
        self.path, self._file = path, pq.ParquetFile(path)
        if missing := [name for name in columns if name not in self._file.schema_arrow.names]:
            raise DiffmiaError(f"{path} has no column {missing[0]}; ask the target again")
        self.keys = self._file.read(columns=KEYS).to_pandas()
        groups = range(self._file.num_row_groups)
        self._starts = np.cumsum([0, *(self._file.metadata.row_group(group).num_rows for group in groups)])

    def parts(self, ids: np.ndarray, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Where in `ids` the samples of a row group are, (m,), and their answers (m,) or (m, d), by column.

        Raises
        ------
        DiffmiaError
            If the pass did not ask about one of the samples.
        """
        rows = pd.Index(self.keys["sample_id"]).get_indexer(ids)
        if (rows < 0).any():
            raise DiffmiaError(f"{self.path} has no answers about sample {ids[rows < 0][0]}; ask the target again")
        for group, (start, end) in enumerate(pairwise(self._starts)):
            here = np.flatnonzero((start <= rows) & (rows < end))
            if len(here):
                yield here, {name: self._column(group, name)[rows[here] - start] for name in columns}

    def _column(self, group: int, name: str) -> np.ndarray:
        """Numbers (n,) or vectors (n, d) of a column in a row group."""
        array = self._file.read_row_group(group, columns=[name])[name].combine_chunks()
        if pa.types.is_list(array.type):
            return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)
        return array.to_numpy(zero_copy_only=False)


def read_rows(chosen: Sequence[tuple[Answers, np.ndarray]], columns: Sequence[str], images: np.ndarray) -> Rows:
    """What was answered about samples, by their ids in each table, and the samples: of one table after the other.

    These rows are held, and one column of a row group besides.
    """
    ids = np.concatenate([of_table for _, of_table in chosen])
    found: dict[str, np.ndarray] = {}
    start = 0
    for answers, of_table in chosen:
        for here, values in answers.parts(of_table, columns):
            for name, part in values.items():
                if name not in found:  # filled as it is read: parts that are joined in the end would be held twice
                    found[name] = np.empty((len(ids), *part.shape[1:]), part.dtype)
                found[name][start + here] = part
        start += len(of_table)
    return Rows(found, np.asarray(images[ids]))
