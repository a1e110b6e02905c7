"""What every dataset says of itself in `config.yaml`, and how its images are handed over."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from diffmia.errors import DiffmiaError
from diffmia.spec import Spec

Sample = tuple[np.ndarray, int, str | None]


@dataclass(frozen=True)
class SourceFile:
    """A verified file that a dataset is read from.

    `name` says which file it is wherever it lies: the file's name, or its path below the dataset's folder.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    url: str | None = None

    @classmethod
    def of(cls, path: str | Path, name: str | None = None, url: str | None = None) -> SourceFile:
        """Describe the file at `path`.

        Raises
        ------
        DiffmiaError
            If it is absent or cannot be read.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                return cls(name or path.name, str(path), file.tell(), sha256, url)
        except OSError as error:
            raise DiffmiaError(f"cannot read {path}: {error.strerror}") from error


@dataclass(frozen=True)
class ImageStream:
    """The images of a dataset, one at a time, so that memory does not grow with their number.

    `samples` yields, `count` times, pixels (uint8, `shape`), a label that indexes `label_names`, and a group (an
    identity, a source: what a split may keep on one side) or None. `shape` is (C, H, W).
    """

    count: int
    shape: tuple[int, int, int]
    label_names: list[str]
    samples: Iterator[Sample]


class DatasetSpec(Spec):
    """A source of images."""

    describe: ClassVar[str]
    licence: ClassVar[str]

    def inputs(self) -> list[str]:
        """Local paths the data comes from, which the workflow depends on; none by default."""
        return []

    @abstractmethod
    def fetch(self, cache: Path) -> list[SourceFile]:
        """Make the files the data is read from present and verified; what is downloaded goes below `cache`.

        Raises
        ------
        DiffmiaError
            If a file is absent, cannot be downloaded, or is not the one expected.
        """

    @abstractmethod
    def open(self, files: list[SourceFile]) -> ImageStream:
        """Read the files that `fetch` returned, always in the same order.

        Raises
        ------
        DiffmiaError
            Here or from `samples`, if a file is not what this dataset is made of.
        """
