"""CIFAR-10 (Krizhevsky 2009), from the binary archive: plain bytes, where the Python one would have to be unpickled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from diffmia.datasets.archives import member_sizes, read_members
from diffmia.datasets.base import DatasetSpec, ImageStream, Sample, SourceFile
from diffmia.datasets.download import download
from diffmia.errors import DiffmiaError

OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
OFFICIAL_CHECKSUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # a label byte, then the R, G and B planes, row by row
CLASSES = 10
META = "batches.meta.txt"


class Cifar10(DatasetSpec):
    """CIFAR-10: 60,000 colour images, shape (3, 32, 32), in ten classes, or any subset kept in the same layout."""

    describe: ClassVar[str] = "CIFAR-10 (Krizhevsky, Learning multiple layers of features from tiny images, 2009)"
    licence: ClassVar[str] = "No licence stated; the authors ask to cite Krizhevsky 2009"

    source: Literal["cifar10"]
    part: Literal["train", "test", "all"] = Field("train", description="Which images; all: the training ones first")
    mirrors: tuple[Annotated[str, StringConstraints(pattern=r"^https?://")], ...] = Field(
        (), description="Further addresses of the official archive, tried in order after the official one"
    )
    archive: str | None = Field(None, description="A local archive of the same layout, used in place of the official")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Checksum of `archive`"
    )

    @model_validator(mode="after")
    def _archive_has_a_checksum(self) -> Cifar10:
        if (self.archive is None) != (self.sha256 is None):
            raise ValueError("archive and sha256 go together: give both, for a local copy, or neither")
        return self

    def inputs(self) -> list[str]:
        """See `DatasetSpec.inputs`."""
        return [] if self.archive is None else [self.archive]

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`."""
        if self.archive is None:
            path = cache / PurePosixPath(OFFICIAL_URL).name
            download((OFFICIAL_URL, *self.mirrors), path, OFFICIAL_CHECKSUM)
            return [SourceFile.of(path, url=OFFICIAL_URL)]  # a mirror's copy is the same file
        file = SourceFile.of(self.archive)
        if file.sha256 != self.sha256:
            raise DiffmiaError(
                f"archive {self.archive} has sha256 {file.sha256} and {self.sha256} is expected: it is not the right "
                "file or not a whole copy of it; replace it or correct `sha256:`"
            )
        return [file]

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`; images are in the order of their batches."""
        [file] = files
        sizes = member_sizes(file.path)
        members = {PurePosixPath(member).name: member for member in sizes}
        batches = [members[name] for name in self._batches(file.path, members)]
        for batch in batches:
            size = sizes[batch]
            if not size or size % RECORD:
                raise DiffmiaError(
                    f"archive {file.path}: {batch} has {size} bytes, and a batch is made of {RECORD}-byte records"
                )
        return ImageStream(
            count=sum(sizes[batch] for batch in batches) // RECORD,
            shape=SHAPE,
            label_names=_label_names(file.path, members),
            samples=_records(file.path, batches),
        )

    def _batches(self, path: str, members: Iterable[str]) -> list[str]:
        train = [name for name in members if re.fullmatch(r"data_batch_\d+\.bin", name)]
        train.sort(key=lambda name: int(name[len("data_batch_") : -len(".bin")]))
        test = [name for name in members if name == "test_batch.bin"]
        wanted = {"train": [train], "test": [test], "all": [train, test]}[self.part]
        if not all(wanted):
            raise DiffmiaError(
                f"archive {path} lacks batches of `part: {self.part}` (train: data_batch_*.bin, test: test_batch.bin); "
                f"it holds {', '.join(sorted(members)) or 'no file'}"
            )
        return [name for names in wanted for name in names]


def _label_names(path: str, members: dict[str, str]) -> list[str]:
    if META not in members:
        raise DiffmiaError(f"archive {path} lacks {META}, the names of the classes")
    [text] = read_members(path, [members[META]])
    names = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    if len(names) != CLASSES:
        raise DiffmiaError(f"archive {path}: {META} names {len(names)} classes, and CIFAR-10 has {CLASSES}")
    return names


def _records(path: str, batches: list[str]) -> Iterator[Sample]:
    for batch, content in zip(batches, read_members(path, batches), strict=True):
        records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        if (wrong := records[:, 0] >= CLASSES).any():
            first = int(wrong.argmax())
            raise DiffmiaError(
                f"archive {path}: record {first} of {batch} has label {records[first, 0]}, and CIFAR-10's are 0 to 9"
            )
        for record in records:
            yield record[1:].reshape(SHAPE), int(record[0]), None
