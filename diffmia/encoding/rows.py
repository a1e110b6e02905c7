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
    what : str
        What is encoded, for the log and for errors.

    Raises
    ------
    DiffmiaError
        If a number is not finite; nothing is written.
    OutOfMemory
        If the device's memory does not hold a batch.
    """
    progress = Progress(log, f"{what} encoded", rows)
    with atomic_path(out) as scratch, scratch.open("wb") as file:
        for start in range(0, max(1, rows), batch_size):
            end = min(start + batch_size, rows)
            batch = _numbers(encode, slice(start, end), batch_size, what)
            check_finite(batch, np.arange(start, end), f"what was made of {what}")
            if start == 0:
                header = {"descr": "<f4", "fortran_order": False, "shape": (rows, *batch.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(batch, dtype="<f4").tobytes())
            if rows:
                progress.update(end)
    return header["shape"]


def _numbers(encode: Callable[[slice], Tensor], part: slice, batch_size: int, what: str) -> np.ndarray:
    try:
        return encode(part).cpu().numpy()
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"encoding_batch_size is {batch_size}, and so many {what} do not fit in the device's memory: {error}. "
            "Lower it, which changes no number, or use a card with more memory"
        ) from error
