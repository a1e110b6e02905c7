"""The 8x8 handwritten digits that scikit-learn carries: real images, and nothing to download."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from diffmia.datasets.base import DatasetSpec, ImageStream, Sample
from diffmia.receipts import SourceFile


class Digits(DatasetSpec):
    """1,797 grey handwritten digits, shape (1, 8, 8), in ten classes."""

    describe: ClassVar[str] = "scikit-learn digits: test set of the UCI Optical Recognition of Handwritten Digits"
    licence: ClassVar[str] = "CC BY 4.0 (UCI Machine Learning Repository, doi 10.24432/C50P49)"
    images: ClassVar[int] = 1_797

    source: Literal["digits"]

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`; there is nothing to fetch."""
        return []

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`; the grey levels 0..16 become 0..255."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, np.newaxis]
        return ImageStream(
            count=len(images),
            shape=(1, 8, 8),
            label_names=[str(name) for name in digits.target_names],
            samples=(Sample(pixels, int(label)) for pixels, label in zip(images, digits.target, strict=True)),
        )
