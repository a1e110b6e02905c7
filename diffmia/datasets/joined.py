"""Several datasets of the config end to end, such as the one a model was trained on and one it never saw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from diffmia.datasets.base import About, DatasetSpec, ImageFile, ImageStream, Sample, Shape
from diffmia.errors import DiffmiaError
from diffmia.files.images import open_images
from diffmia.files.layout import prepared_files
from diffmia.files.receipts import SourceFile


class Joined(DatasetSpec):
    """The samples of each part, in the order of the parts; the group of a sample is the id of its part.

    Captions are kept, and so are classes by their names: what has the same name in two parts is one class. Parts are
    read as they were prepared.
    """

    describe: ClassVar[str] = "Datasets of this config, end to end"
    licence: ClassVar[str] = "Of each sample that of its part"
    had_from: ClassVar[str] = "none: its parts"

    source: Literal["joined"]
    parts: tuple[str, ...] = Field(min_length=2, description="Ids of the datasets, all of one shape")

    @field_validator("parts")
    @classmethod
    def _each_once(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({part for part in parts if parts.count(part) > 1}):
            raise ValueError(f"{', '.join(twice)} is there more than once: a sample would be on both sides of a split")
        return parts

    def made_of(self) -> tuple[str, ...]:
        """See `DatasetSpec.made_of`."""
        return self.parts

    def inputs(self) -> list[str]:
        """See `DatasetSpec.inputs`; files that the workflow makes."""
        return [str(path) for part in self.parts for path in prepared_files(part)]

    def known_in(self, datasets: Mapping[str, DatasetSpec]) -> set[About]:
        """See `DatasetSpec.known_in`; what any part has: that others lack it is a shift too."""
        return set().union(*(datasets[part].known_in(datasets) for part in self.parts))

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`; the prepared files of each part."""
        files = [SourceFile.of(path, f"{part}/{path.name}") for part in self.parts for path in prepared_files(part)]
        self._read(files)
        return files

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`."""
        parts = self._read(files)
        label_names = list(dict.fromkeys(name for part in parts.values() for name in part.manifest["label_names"]))
        return ImageStream(
            count=sum(part.manifest["n"] for part in parts.values()),
            shape=next(iter(parts.values())).shape,
            label_names=label_names,
            samples=_samples(parts, label_names),
            facts={"parts": {id_: part.manifest["dataset_hash"] for id_, part in parts.items()}},
        )

    def _read(self, files: list[SourceFile]) -> dict[str, _Part]:
        """The parts by id, which must be of one shape."""
        by_name = {file.name: Path(file.path) for file in files}
        parts = {id_: _Part(*(by_name[f"{id_}/{path.name}"] for path in prepared_files(id_))) for id_ in self.parts}
        require_one_shape({id_: part.shape for id_, part in parts.items()}, "parts")
        return parts


@dataclass(frozen=True)
class _Part:
    """A prepared dataset."""

    images: Path
    samples: Path
    manifest_path: Path

    @property
    def manifest(self) -> dict:
        return json.loads(self.manifest_path.read_text())

    @property
    def shape(self) -> Shape:
        return tuple(self.manifest["shape"])


def _samples(parts: Mapping[str, _Part], label_names: list[str]) -> Iterator[Sample]:
    labels = {name: label for label, name in enumerate(label_names)}
    for id_, part in parts.items():
        rows = pq.read_table(part.samples, columns=["label_name", "caption", *ImageFile._fields]).to_pylist()
        for pixels, row in zip(open_images(part.images), rows, strict=True):
            file = ImageFile(*(row[key] for key in ImageFile._fields))
            came = None if file.bytes is None else file
            yield Sample(np.asarray(pixels), labels[row["label_name"]], id_, row["caption"], came)


def check_parts(datasets: Mapping[str, DatasetSpec]) -> None:
    """Whether datasets that are made of others can be made, as far as the config tells.

    Raises
    ------
    DiffmiaError
        If one is made of itself, or of parts that are known to differ in shape.
    """
    for id_ in datasets:
        if way := _way_back(datasets, id_):
            raise DiffmiaError(
                f"config: datasets.{way[0]}.parts: '{way[0]}' is made of itself ({' of '.join(way)}); take one of them "
                "out of the other's parts"
            )
    for id_, spec in datasets.items():
        shapes = {part: shape for part in spec.made_of() if (shape := _declared(datasets, part)) is not None}
        require_one_shape(shapes, f"config: datasets.{id_}.parts")


def require_one_shape(shapes: Mapping[str, Shape], where: str) -> None:
    """Raise a `DiffmiaError` if datasets, by id, differ in shape (C, H, W)."""
    different = [id_ for id_ in shapes if shapes[id_] != next(iter(shapes.values()))]
    if different:
        pair = [next(iter(shapes)), different[0]]
        said = " and ".join(f"'{id_}' of shape {'x'.join(map(str, shapes[id_]))}" for id_ in pair)
        raise DiffmiaError(f"{where}: {said} cannot be joined; bring them to one (size, channels)")


def _way_back(datasets: Mapping[str, DatasetSpec], id_: str, way: tuple[str, ...] = ()) -> tuple[str, ...]:
    """From a dataset through its parts to one that it came from, which is first and last; empty if there is none."""
    if id_ in way:
        return (*way[way.index(id_) :], id_)
    return next((found for part in datasets[id_].made_of() if (found := _way_back(datasets, part, (*way, id_)))), ())


def _declared(datasets: Mapping[str, DatasetSpec], id_: str) -> Shape | None:
    """Shape of a dataset, or of the first of its parts that declares one."""
    of_parts = (_declared(datasets, part) for part in datasets[id_].made_of())
    return datasets[id_].declared_shape() or next((shape for shape in of_parts if shape is not None), None)
