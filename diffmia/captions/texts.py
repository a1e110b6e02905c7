"""Texts about images: those of a dataset, of a captioner's table that a person may edit, or none."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.search.probes import UNCONDITIONAL

NONE = UNCONDITIONAL  # condition: the empty prompt
CAPTION = "caption"  # condition: the dataset's own caption; any other condition is the id of a captioner
COLUMNS = ("sample_id", "caption")


def texts_of(condition: str, samples: Path, captions: Path | None, ids: Sequence[int]) -> list[str]:
    """What a model is told of each sample of a dataset, under a condition.

    Parameters
    ----------
    condition : str
        `none`, `caption` or the id of a captioner.
    samples : path
        `samples.parquet` of the dataset, N rows.
    captions : path, optional
        The captioner's table, of which `none` and `caption` need none.
    ids : sequence of int
        Samples that are asked about: no others need a caption of the dataset.

    Returns
    -------
    list of str
        N texts; that of a sample that is not asked about is "".

    Raises
    ------
    DiffmiaError
        If a sample that is asked about has no caption, or the captioner's table is not whole.
    """
    of_dataset = (
        pd.read_parquet(samples, columns=["sample_id", "caption"]).set_index("sample_id")["caption"].sort_index()
    )
    if condition == NONE:
        return [""] * len(of_dataset)
    asked = set(ids)
    if condition != CAPTION:
        written = read_captions(captions, len(of_dataset))
        return [text if sample in asked else "" for sample, text in enumerate(written)]
    texts = [text if sample in asked else "" for sample, text in of_dataset.items()]
    for sample in sorted(asked):
        if not isinstance(texts[sample], str) or not texts[sample].strip():
            raise DiffmiaError(
                f"sample {sample} of {samples} has no caption; give it one, take it out, or use condition: none or a "
                "captioner"
            )
    return texts


def read_captions(path: Path, n: int) -> list[str]:
    """The captions of samples 0 to n - 1, from a captioner's table that a person may have edited.

    Rows may be in any order, and what a spreadsheet adds (a byte order mark, blank rows at the end, spaces around a
    caption) is no fault.

    Raises
    ------
    DiffmiaError
        If the file is no UTF-8 table of sample_id and caption, or lacks a sample or its caption, has one twice, or one
        that the dataset has not.
    """
    found: dict[int, str] = {}
    for line, sample_id, caption in _rows(path):
        if not sample_id.isascii() or not sample_id.isdigit() or int(sample_id) >= n:
            raise DiffmiaError(
                f"{path}, line {line}: the dataset has no sample '{sample_id}', but 0 to {n - 1}; take the row out"
            )
        sample = int(sample_id)
        if sample in found:
            raise DiffmiaError(f"{path}, line {line}: sample {sample} is there twice; take one of its rows out")
        if not caption:
            raise DiffmiaError(f"{path}, line {line}: the caption of sample {sample} is empty; write one")
        found[sample] = caption
    for sample in range(n):
        if sample not in found:
            raise DiffmiaError(f"{path} has no row for sample {sample}; it needs one for each of 0 to {n - 1}")
    return [found[sample] for sample in range(n)]


def write_captions(path: Path, captions: Sequence[str]) -> None:
    """Write the table that `read_captions` reads, in UTF-8, of captions in the order of the samples."""
    with atomic_path(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(enumerate(captions))


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Last line, sample id and caption of each row that is not blank."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file, strict=True)
            header = tuple(cell.strip() for cell in next(table, ()))
            if header != COLUMNS:
                raise DiffmiaError(f"{path} has the columns {','.join(header)}; it needs {','.join(COLUMNS)}")
            rows = []
            for row in table:
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                if len(cells) != len(COLUMNS):
                    raise DiffmiaError(
                        f"{path}, line {table.line_num}: {len(cells)} values in place of {len(COLUMNS)}; a caption "
                        "with a comma stands in double quotes"
                    )
                rows.append((table.line_num, *cells))
            return rows
    except OSError as error:
        raise DiffmiaError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DiffmiaError(f"{path} is not UTF-8; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise DiffmiaError(f"{path}, line {table.line_num} is no row of a CSV file: {error}") from error
