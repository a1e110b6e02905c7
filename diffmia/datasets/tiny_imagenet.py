"""Tiny ImageNet (Stanford CS231n), 200 classes of ImageNet at 64x64."""

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

_TRAIN = r"(^|/)train/(?P<wnid>n\d{8})/images/[^/]+\.JPEG$"
_VAL = r"(^|/)val/images/(?P<image>[^/]+\.JPEG)$"
_WNIDS = r"(^|/)wnids\.txt$"
_WORDS = r"(^|/)words\.txt$"
_ANNOTATIONS = r"(^|/)val/val_annotations\.txt$"


class TinyImageNet(OfficialDataset):
    """Tiny ImageNet: 500 training and 50 validation images of each class; its test images have no labels."""

    describe: ClassVar[str] = "Tiny ImageNet (Stanford CS231n, a part of ImageNet ILSVRC)"
    licence: ClassVar[str] = "ImageNet's terms: non-commercial research and education"
    known: ClassVar = ("files",)
    images: ClassVar[int] = 110_000
    official: ClassVar = (
        Download(
            url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            checksum="md5:90528d7ca1a48142e341f4ef8d21d0de",
            bytes=248_100_043,
            unpacked=1024 * 2**20,
        ),
    )
    layout: ClassVar[str] = "|".join((_TRAIN, _VAL, _WNIDS, _WORDS, _ANNOTATIONS))

    source: Literal["tiny_imagenet"]
    part: Literal["train", "val", "all"] = Field("train", description="Which images; all: the training ones first")
    size: PositiveInt | None = Field(None, description="Side in pixels: images are scaled to it; null: 64, as they are")

    def declared_shape(self) -> Shape | None:
        """See `DatasetSpec.declared_shape`."""
        return None if self.size is None else (3, self.size, self.size)

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`; images are in the order of their paths, grey ones become coloured."""
        members = self.members(files)
        wnids = sorted(_text(members, _WNIDS, "wnids.txt, the ids of the classes").split())
        words = dict(line.partition("\t")[::2] for line in _text(members, _WORDS, "words.txt").splitlines())
        parts = [
            find(members) for part, find in (("train", _training), ("val", _validation)) if self.part in (part, "all")
        ]
        if not all(parts):
            raise DiffmiaError(f"{members.where} lacks images of `part: {self.part}`")
        chosen = {name: wnid for part in parts for name, wnid in part.items()}
        if unknown := sorted(set(chosen.values()) - set(wnids)):
            raise DiffmiaError(f"{members.where}: wnids.txt lacks {unknown[0]}, of which there are images")
        [first] = members.read(list(chosen)[:1])
        shape = decode(first, next(iter(chosen)), self.size).pixels.shape
        names = [f"{wnid} {words.get(wnid, '').partition(',')[0]}".strip() for wnid in wnids]
        return ImageStream(len(chosen), shape, names, self._samples(members, chosen, wnids))

    def _samples(self, members: Members, chosen: dict[str, str], wnids: list[str]) -> Iterator[Sample]:
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        for (name, wnid), content in zip(chosen.items(), members.read(chosen), strict=True):
            pixels, file = decode(content, f"{name} of {members.where}", self.size)
            yield Sample(pixels, labels[wnid], file=file)


def _training(members: Members) -> dict[str, str]:
    """Class of each training image by its name in the archive, in the order of names."""
    return {name: re.search(_TRAIN, name)["wnid"] for name in sorted(members.matching(_TRAIN))}


def _validation(members: Members) -> dict[str, str]:
    """Class of each validation image, in the same way."""
    rows = (line.split("\t") for line in _text(members, _ANNOTATIONS, "val/val_annotations.txt").splitlines())
    wnids = {row[0]: row[1] for row in rows if len(row) > 1}  # file, class, and a bounding box
    found = {}
    for name in sorted(members.matching(_VAL)):
        image = re.search(_VAL, name)["image"]
        if image not in wnids:
            raise DiffmiaError(f"{members.where}: val_annotations.txt says nothing of {image}")
        found[name] = wnids[image]
    return found


def _text(members: Members, pattern: str, what: str) -> str:
    return members.one(pattern, what).decode(errors="replace")
