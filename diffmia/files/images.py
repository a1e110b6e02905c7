"""The inputs file: uint8 images on disk, and the range models work in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def open_images(path: Path) -> np.ndarray:
    """The images of a dataset, uint8 (N, C, H, W), mapped from disk and read as they are needed."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


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
