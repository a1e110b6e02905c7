"""The 8x8 handwritten digits that scikit-learn carries: real images, and nothing to download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from diffmia.datasets.base import About, DatasetSpec, ImageStream, Sample, Shape
from diffmia.files.receipts import SourceFile

SIDE = 8
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Digits(DatasetSpec):
    """1,797 grey handwritten digits, shape (1, 8, 8), in ten classes."""

    describe: ClassVar[str] = "scikit-learn digits: test set of the UCI Optical Recognition of Handwritten Digits"
    licence: ClassVar[str] = "CC BY 4.0 (UCI Machine Learning Repository, doi 10.24432/C50P49)"
    images: ClassVar[int] = 1_797
    had_from: ClassVar[str] = "none: in scikit-learn"

    source: Literal["digits"]
    captions: bool = Field(False, description="Give each image a caption of its class, such as `a handwritten seven`")
    size: int | None = Field(
        None, ge=SIDE, description="Side in pixels that images are enlarged to, bilinearly; null: 8, as they are"
    )

    def declared_shape(self) -> Shape:
        """See `DatasetSpec.declared_shape`."""
        return (1, self.size or SIDE, self.size or SIDE)

    def known_in(self, datasets: Mapping[str, DatasetSpec]) -> set[About]:
        """See `DatasetSpec.known_in`."""
        return {"captions"} if self.captions else set()

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`; there is nothing to fetch."""
        return []

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`; the grey levels 0..16 become 0..255."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return ImageStream(
            count=len(images),
            shape=self.declared_shape(),
            label_names=[str(name) for name in digits.target_names],
            samples=(self._sample(*of) for of in zip(images, digits.target.tolist(), strict=True)),
        )

    def _sample(self, image: np.ndarray, label: int) -> Sample:
        if self.size is not None:
            image = np.asarray(Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR))
        caption = f"a handwritten {NAMES[label]}" if self.captions else None
        return Sample(image[np.newaxis], label, caption=caption)
