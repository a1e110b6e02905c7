"""The inputs file: uint8 images on disk, and the range models work in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def open_images(path: Path) -> np.ndarray:
    """The images of a dataset, uint8 (N, C, H, W), mapped from disk and read as they are needed."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


class ChosenImages:
    """Some images of a dataset, read when they are indexed: of thousands of large ones memory holds a few.

    Indexed by rows like an array (N, C, H, W), whose `shape` and `dtype` it has.
    """

    def __init__(self, images: np.ndarray, ids: Sequence[int] | np.ndarray):
        self._images, self._ids = images, np.asarray(ids)
        self.shape, self.dtype = (len(self._ids), *images.shape[1:]), images.dtype

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        return self._images[self._ids[rows]]


def to_unit_range(images: np.ndarray) -> Tensor:
    """Uint8 images (B, C, H, W) as float32 in [-1, 1]: 0 becomes -1 and 255 becomes 1.

    Raises
    ------
    TypeError
        If the images are not uint8: another range would shift every score without a word.
    """
    import torch  # here, so that jobs that only look at images need none

    if images.dtype != np.uint8:
        raise TypeError(f"images are {images.dtype}; the inputs file holds uint8 in 0..255")
    return torch.from_numpy(np.array(images)).float() / 127.5 - 1
