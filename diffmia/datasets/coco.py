"""COCO 2017 validation images (Lin et al. 2014) with a caption each (Chen et al. 2015)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from diffmia.datasets.base import Download, ImageStream, Sample, Shape
from diffmia.datasets.decoding import decode
from diffmia.datasets.official import Members, OfficialDataset
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.spec import Sha256

_IMAGE = r"(^|/)val2017/(?P<file>\d{12}\.jpg)$"
_CAPTIONS = r"(^|/)annotations/captions_val2017\.json$"


class CocoVal2017(OfficialDataset):
    """COCO val2017: 5,000 photographs of one class; of the captions of each the one with the lowest id."""

    describe: ClassVar[str] = "COCO 2017 validation images and captions (Lin et al. 2014, Chen et al. 2015)"
    licence: ClassVar[str] = "Captions: CC BY 4.0 (COCO Consortium); images: Flickr's terms, each its own licence"
    known: ClassVar = ("captions", "files")
    images: ClassVar[int] = 5_000
    official: ClassVar = (
        Download(
            url="http://images.cocodataset.org/zips/val2017.zip",
            checksum="sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            bytes=815_585_330,
            unpacked=1024 * 2**20,
            mirrors=("https://s3.amazonaws.com/images.cocodataset.org/zips/val2017.zip",),
        ),
        Download(
            url="http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
            checksum="sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            bytes=252_907_541,
            unpacked=1024 * 2**20,
            mirrors=("https://s3.amazonaws.com/images.cocodataset.org/annotations/annotations_trainval2017.zip",),
        ),
    )
    layout: ClassVar[str] = "|".join((_IMAGE, _CAPTIONS))

    source: Literal["coco_val2017"]
    annotations: str | None = Field(
        None, description="A local annotations_trainval2017.zip, with `archive` of the images"
    )
    annotations_sha256: Sha256 | None = Field(None, description="Checksum of `annotations`")
    size: PositiveInt = Field(512, description="Side in pixels: the short side is scaled to it and the centre kept")

    @model_validator(mode="after")
    def _all_of_them(self) -> CocoVal2017:
        given = [value is None for value in (self.archive, self.annotations, self.annotations_sha256)]
        if len(set(given)) > 1:
            raise ValueError("archive, annotations and annotations_sha256 go together: give all, or none")
        for mirror in self.mirrors:
            if not mirror.endswith(names := tuple(f"/{file.name}" for file in self.official)):
                raise ValueError(f"mirror {mirror} does not end with {' or '.join(names)}, so what it holds is unclear")
        return self

    def declared_shape(self) -> Shape:
        """See `DatasetSpec.declared_shape`."""
        return (3, self.size, self.size)

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`; images are in the order of their numbers."""
        images, texts = (files, files) if self.root is not None else (files[:1], files[1:])
        members = self.members(images)
        names = sorted(members.matching(_IMAGE))
        if not names:
            raise DiffmiaError(f"{members.where} lacks images of the layout val2017/000000000139.jpg")
        captions = _captions(self.members(texts))
        absent = captions.keys() - {re.search(_IMAGE, name)["file"] for name in names}
        samples, facts = self._samples(members, names, captions), {"captions_without_image": len(absent)}
        return ImageStream(len(names), self.declared_shape(), [""], samples, facts)

    def _samples(self, members: Members, names: list[str], captions: dict[str, str]) -> Iterator[Sample]:
        for name, content in zip(names, members.read(names), strict=True):
            pixels, file = decode(content, f"{name} of {members.where}", self.size)
            yield Sample(pixels, 0, caption=captions.get(re.search(_IMAGE, name)["file"]), file=file)

    def _copies(self) -> list[tuple[str, str]]:
        return [
            *super()._copies(),
            *([] if self.annotations is None else [(self.annotations, self.annotations_sha256)]),
        ]

    def _mirrors_of(self, file: Download) -> tuple[str, ...]:
        return tuple(mirror for mirror in self.mirrors if mirror.endswith(f"/{file.name}"))


def _captions(members: Members) -> dict[str, str]:
    """A caption for each file name: of several the one with the lowest id."""
    try:
        content = json.loads(members.one(_CAPTIONS, "annotations/captions_val2017.json"))
        files = {image["id"]: image["file_name"] for image in content["images"]}
        last_first = sorted(content["annotations"], key=lambda annotation: -annotation["id"])
        return {files[annotation["image_id"]]: annotation["caption"].strip() for annotation in last_first}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DiffmiaError(
            f"{members.where}: captions_val2017.json is not COCO's caption format ({error!r})"
        ) from error
