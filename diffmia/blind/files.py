"""Statistics of the files that images came in: what a download or a camera leaves, and pixels no longer show."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLUMNS = ("width", "height", "bytes")  # of samples.parquet, null where an image came in no file of its own


def file_statistics(samples: pd.DataFrame) -> np.ndarray:
    """Numbers of each sample's file, float64 (N, 6), from COLUMNS of `samples`.

    Width and height before the image was brought to the dataset's size, bytes as it was encoded, aspect ratio (width /
    height), bytes per pixel, and 1; all 0 where there is no file.
    """
    width, height, size = (samples[name].astype("Float64").to_numpy(np.float64, na_value=np.nan) for name in COLUMNS)
    numbers = np.column_stack([width, height, size, width / height, size / (width * height), np.ones(len(samples))])
    return np.where(np.isfinite(numbers).all(axis=1, keepdims=True), numbers, 0.0)
