"""Encoding of many things a batch at a time, into a file that is written as they come: memory does not grow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffmia.files.atomic import atomic_path
from diffmia.running.at_once import AtOnce
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
        at_once, header, done = AtOnce(batch_size, what), None, 0
        while header is None or done < rows:
            end = min(done + at_once.size, rows)
            batch = at_once.attempt(partial(_numbers, encode, slice(done, end)), end - done)
            if batch is None:
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


def _numbers(encode: Callable[[slice], Tensor], part: slice) -> np.ndarray:
    return encode(part).cpu().numpy()
