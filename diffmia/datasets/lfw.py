"""Labeled Faces in the Wild (Huang et al. 2007), a folder for each person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from diffmia.datasets.base import Download, ImageStream, Sample, Shape
from diffmia.datasets.decoding import decode
from diffmia.datasets.official import Members, OfficialDataset
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile


class LFW(OfficialDataset):
    """LFW, not aligned: 13,233 photographs of 5,749 people, each person a class and a group."""

    describe: ClassVar[str] = "Labeled Faces in the Wild (Huang et al., UMass Amherst report 07-49, 2007)"
    licence: ClassVar[str] = "No licence stated; press photographs of people, meant for research"
    known: ClassVar = ("files",)
    images: ClassVar[int] = 13_233
    official: ClassVar = (  # scikit-learn's copy: the university's own address, vis-www.cs.umass.edu, is gone
        Download(
            url="https://ndownloader.figshare.com/files/5976018",
            checksum="sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
            bytes=180_566_744,
            unpacked=512 * 2**20,
            saved_as="lfw.tgz",
        ),
    )
    layout: ClassVar[str] = r"(^|/)(?P<person>[^/]+)/(?P=person)_\d{4}\.jpg$"

    source: Literal["lfw"]
    size: PositiveInt | None = Field(
        128, description="Side in pixels: the short side is scaled to it and the centre kept; null: 250, as they are"
    )

    def declared_shape(self) -> Shape | None:
        """See `DatasetSpec.declared_shape`."""
        return None if self.size is None else (3, self.size, self.size)

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`; images are in the order of the archive, of a folder in that of their paths."""
        members = self.members(files)
        people = {name: re.search(self.layout, name)["person"] for name in members.matching(self.layout)}
        if not people:
            raise DiffmiaError(f"{members.where} lacks images of the layout <person>/<person>_0001.jpg")
        [first] = members.read(list(people)[:1])
        shape = decode(first, next(iter(people)), self.size).pixels.shape
        label_names = sorted(set(people.values()))
        return ImageStream(len(people), shape, label_names, self._samples(members, people, label_names))

    def _samples(self, members: Members, people: dict[str, str], label_names: list[str]) -> Iterator[Sample]:
        labels = {person: label for label, person in enumerate(label_names)}
        for (name, person), content in zip(people.items(), members.read(people), strict=True):
            pixels, file = decode(content, f"{name} of {members.where}", self.size)
            yield Sample(pixels, labels[person], person, file=file)
