"""What every dataset says of itself in `config.yaml`, and how its images are handed over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from diffmia.files.receipts import SourceFile
from diffmia.spec import Spec

Shape = tuple[int, int, int]  # C, H, W
About = Literal["captions", "files"]  # what may be known of samples besides pixels and labels


class ImageFile(NamedTuple):
    """An encoded image as it came: size in pixels, bytes, and Pillow's name of its colours (`RGB`, `L`, `CMYK`)."""

    width: int
    height: int
    bytes: int
    mode: str


class Sample(NamedTuple):
    """One image.

    `pixels` is uint8 (C, H, W), `label` indexes the `label_names` of its stream, `group` is what a split may keep on
    one side (an identity, a source), `caption` what a text says of the image, `file` what it was decoded from.
    """

    pixels: np.ndarray
    label: int
    group: str | None = None
    caption: str | None = None
    file: ImageFile | None = None


@dataclass(frozen=True)
class Download:
    """A file that is published: where, `md5:<hex>` or `sha256:<hex>`, its bytes, and what an archive may unpack to."""

    url: str
    checksum: str
    bytes: int
    unpacked: int
    mirrors: tuple[str, ...] = ()
    saved_as: str | None = None  # its name, where the address does not end with it

    @property
    def name(self) -> str:
        """Name of the file in the cache."""
        return self.saved_as or PurePosixPath(self.url).name


@dataclass(frozen=True)
class ImageStream:
    """The images of a dataset, one at a time, so that memory does not grow with their number.

    `samples` yields `count` of them, each of `shape`. `facts` is what else the manifest is to say of the dataset.
    """

    count: int
    shape: Shape
    label_names: list[str]
    samples: Iterator[Sample]
    facts: dict[str, Any] = field(default_factory=dict)


class DatasetSpec(Spec):
    """A source of images."""

    describe: ClassVar[str]
    licence: ClassVar[str]
    images: ClassVar[int | None] = None  # how many the whole of it has, where that is known beforehand
    had_from: ClassVar[str] = "your own"  # in words, where nothing is downloaded
    known: ClassVar[tuple[About, ...]] = ()  # what its samples have: captions, files that they came in

    def known_in(self, datasets: Mapping[str, DatasetSpec]) -> set[About]:
        """What its samples have, or some of them, in a config with these datasets, by id."""
        return set(self.known)

    def inputs(self) -> list[str]:
        """Local paths the data comes from, which the workflow depends on; none by default."""
        return []

    def made_of(self) -> tuple[str, ...]:
        """Ids of other datasets, whose prepared files are then its `inputs`; none by default."""
        return ()

    def declared_shape(self) -> Shape | None:
        """Shape of its images where the config decides it, None if only the files tell."""
        return None

    def downloads(self) -> tuple[Download, ...]:
        """Files that `fetch` downloads; none by default."""
        return ()

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
