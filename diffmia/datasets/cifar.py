"""What CIFAR-10 and CIFAR-100 share: the binary archive, plain bytes; the Python one would have to be unpickled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from diffmia.datasets.base import ImageStream, Sample, Shape
from diffmia.datasets.official import Members, OfficialDataset
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32  # the R, G and B planes, row by row
UNPACKED = 512 * 2**20  # bytes an archive may have, unpacked; the official ones have 176 MiB


class BinaryCifar(OfficialDataset):
    """Records of label bytes and pixels; a batch is a file of them."""

    name: ClassVar[str]
    classes: ClassVar[int]
    label_bytes: ClassVar[int]  # before the pixels; the last one is the class
    meta: ClassVar[str]  # names of the classes
    batches: ClassVar[dict[str, str]]  # a pattern of the names of each part's files

    part: Literal["train", "test", "all"] = Field("train", description="Which images; all: the training ones first")

    def declared_shape(self) -> Shape:
        """See `DatasetSpec.declared_shape`."""
        return SHAPE

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`; images are in the order of their batches."""
        members = self.members(files)
        paths = {PurePosixPath(member).name: member for member in members.sizes}
        batches = [paths[name] for name in self._batches(members.where, list(paths))]
        record = self.label_bytes + PIXELS
        for batch in batches:
            size = members.sizes[batch]
            if not size or size % record:
                raise DiffmiaError(
                    f"{members.where}: {batch} has {size} bytes, and a batch is made of {record}-byte records"
                )
        return ImageStream(
            count=sum(members.sizes[batch] for batch in batches) // record,
            shape=SHAPE,
            label_names=self._label_names(members),
            samples=self._records(members, batches),
        )

    def _batches(self, where: str, names: list[str]) -> list[str]:
        wanted = [pattern for part, pattern in self.batches.items() if self.part in (part, "all")]
        found = [sorted((name for name in names if re.fullmatch(one, name)), key=_number) for one in wanted]
        if not all(found):
            shown = (f"{part}: {pattern.replace('[0-9]+', '*')}" for part, pattern in self.batches.items())
            raise DiffmiaError(
                f"{where} lacks batches of `part: {self.part}` ({', '.join(shown)}); it holds "
                f"{', '.join(sorted(names)) or 'no file'}"
            )
        return [name for part in found for name in part]

    def _label_names(self, members: Members) -> list[str]:
        text = members.one(rf"(^|/){re.escape(self.meta)}$", f"{self.meta}, the names of the classes")
        names = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
        if len(names) != self.classes:
            raise DiffmiaError(
                f"{members.where}: {self.meta} names {len(names)} classes, and {self.name} has {self.classes}"
            )
        return names

    def _records(self, members: Members, batches: list[str]) -> Iterator[Sample]:
        for batch, content in zip(batches, members.read(batches), strict=True):
            records = np.frombuffer(content, np.uint8).reshape(-1, self.label_bytes + PIXELS)
            labels = records[:, self.label_bytes - 1]
            if (wrong := labels >= self.classes).any():
                first = int(wrong.argmax())
                raise DiffmiaError(
                    f"{members.where}: record {first} of {batch} has label {labels[first]}, and {self.name}'s are 0 to "
                    f"{self.classes - 1}"
                )
            for record, label in zip(records, labels, strict=True):
                yield Sample(record[self.label_bytes :].reshape(SHAPE), int(label))


def _number(batch: str) -> int:
    return int(re.search("[0-9]+|$", batch)[0] or 0)
