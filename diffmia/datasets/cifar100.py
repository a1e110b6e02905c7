"""CIFAR-100 (Krizhevsky 2009)."""

from __future__ import annotations

from typing import ClassVar, Literal

from diffmia.datasets.base import Download
from diffmia.datasets.cifar import UNPACKED, BinaryCifar


class Cifar100(BinaryCifar):
    """CIFAR-100: 60,000 colour images, shape (3, 32, 32), in a hundred (fine) classes."""

    describe: ClassVar[str] = "CIFAR-100 (Krizhevsky, Learning multiple layers of features from tiny images, 2009)"
    licence: ClassVar[str] = "No licence stated; the authors ask to cite Krizhevsky 2009"
    images: ClassVar[int] = 60_000
    official: ClassVar = (
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            checksum="md5:03b5dce01913d631647c71ecec9e9cb8",
            bytes=168_513_733,
            unpacked=UNPACKED,
        ),
    )
    layout: ClassVar[str] = r"(^|/)(train\.bin|test\.bin|fine_label_names\.txt)$"
    name: ClassVar[str] = "CIFAR-100"
    classes: ClassVar[int] = 100
    label_bytes: ClassVar[int] = 2  # the coarse class, then the fine one
    meta: ClassVar[str] = "fine_label_names.txt"
    batches: ClassVar[dict[str, str]] = {"train": "train.bin", "test": "test.bin"}

    source: Literal["cifar100"]
