"""CIFAR-10 (Krizhevsky 2009)."""

from __future__ import annotations

from typing import ClassVar, Literal

from diffmia.datasets.base import Download
from diffmia.datasets.cifar import UNPACKED, BinaryCifar


class Cifar10(BinaryCifar):
    """CIFAR-10: 60,000 colour images, shape (3, 32, 32), in ten classes, or any subset kept in the same layout."""

    describe: ClassVar[str] = "CIFAR-10 (Krizhevsky, Learning multiple layers of features from tiny images, 2009)"
    licence: ClassVar[str] = "No licence stated; the authors ask to cite Krizhevsky 2009"
    images: ClassVar[int] = 60_000
    official: ClassVar = (
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            checksum="md5:c32a1d4ab5d03f1284b67883e8d87530",
            bytes=170_052_171,
            unpacked=UNPACKED,
        ),
    )
    layout: ClassVar[str] = r"(^|/)(data_batch_\d+\.bin|test_batch\.bin|batches\.meta\.txt)$"
    name: ClassVar[str] = "CIFAR-10"
    classes: ClassVar[int] = 10
    label_bytes: ClassVar[int] = 1
    meta: ClassVar[str] = "batches.meta.txt"
    batches: ClassVar[dict[str, str]] = {"train": "data_batch_[0-9]+.bin", "test": "test_batch.bin"}

    source: Literal["cifar10"]
