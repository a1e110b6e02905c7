"""Encoding of many things a batch at a time, into a file that is written as they come: memory does not grow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffmia.files.atomic import atomic_path
from diffmia.running.failures import OutOfMemory
from diffmia.running.finite import check_finite
from diffmia.running.progress import Progress

log = logging.getLogger(__name__)


@torch.inference_mode()
def encode_rows(encode: Callable[[slice], Tensor], rows: int, batch_size: int, what: str, out: Path) -> tuple[int, ...]:
    """Write one `.npy`, float32 (rows, ...), of what `encode` makes of each slice of the rows; returns its shape.

    Plain writes, not a memory map: where the disk is full a write fails with a reason, a map kills the process.

    Parameters
    ----------
    encode : callable
        slice of at most `batch_size` rows -> float32 Tensor (B, ...); of an empty one, if there are no rows.
    batch_size : int
        Rows at a time, halved for good when the device's memory does not hold what is made of them.
    what : str
        What is encoded, for the log and for errors.

    Raises
    ------
    DiffmiaError
        If a number is not finite; nothing is written.
    OutOfMemory
        If the device's memory does not hold what is made of one row.
    """
    progress = Progress(log, f"{what} encoded", rows)
    with atomic_path(out) as scratch, scratch.open("wb") as file:
        header, done = None, 0
        while header is None or done < rows:
            end = min(done + batch_size, rows)
            batch = _numbers_or_none(encode, slice(done, end), what)
            if batch is None:  # only here, outside the `except`, is what failed gone and its memory free
                batch_size = (end - done) // 2
                torch.cuda.empty_cache()
                log.warning("out of device memory; going on with %d %s at a time", batch_size, what)
                continue
            check_finite(batch, np.arange(done, end), f"what was made of {what}")
            if header is None:
                header = {"descr": "<f4", "fortran_order": False, "shape": (rows, *batch.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(batch, dtype="<f4").tobytes())
            done = end
            if rows:
                progress.update(done)
    return header["shape"]


def _numbers_or_none(encode: Callable[[slice], Tensor], part: slice, what: str) -> np.ndarray | None:
    """What is made of some rows, or None if the device's memory does not hold it and they can be fewer."""
    try:
        return encode(part).cpu().numpy()
    except torch.OutOfMemoryError as error:
        if part.stop - part.start <= 1:
            raise OutOfMemory(
                f"what is made of one of the {what} does not fit in the device's memory: {error}. Use a card with more"
            ) from error
        return None
