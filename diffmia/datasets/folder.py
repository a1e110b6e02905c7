"""Any folder of images, such as one folder per class or per person."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from diffmia.datasets.base import DatasetSpec, ImageStream, Sample, Shape
from diffmia.datasets.decoding import decode
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.running.progress import Progress

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def image_names(root: Path) -> list[str]:
    """Paths of all images below a folder, relative to it and sorted, without hidden ones.

    Raises
    ------
    DiffmiaError
        If there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise DiffmiaError(f"dataset folder {root} does not exist; correct `root:`")
    images = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    below = (path.relative_to(root) for path in images)
    names = sorted(path.as_posix() for path in below if not any(part.startswith(".") for part in path.parts))
    if not names:
        raise DiffmiaError(f"dataset folder {root} holds no image ({', '.join(SUFFIXES)}); correct `root:`")
    return names


def source_files(root: Path, names: Sequence[str]) -> list[SourceFile]:
    """Files by their paths below a folder, each read for its checksum."""
    files, progress = [], Progress(log, "files read", len(names))
    for name in names:
        files.append(SourceFile.of(root / name, name))
        progress.update(len(files))
    return files


class ImageFolder(DatasetSpec):
    """Every image below a folder, by path; the first-level sub-folder is both its class and its group.

    An image that lies directly in the folder is of class "" and has no group. Hidden files are left out, and links to
    folders are not followed.
    """

    describe: ClassVar[str] = "A folder of images"
    licence: ClassVar[str] = "Not known: whoever provides the folder has to know"
    known: ClassVar = ("files",)

    source: Literal["folder"]
    root: str = Field(description="The folder")
    size: PositiveInt | None = Field(
        None, description="Side in pixels: the short side is scaled to it and the centre kept; null: images as they are"
    )
    channels: Literal[1, 3] = Field(3, description="1: grey, 3: colour")

    def inputs(self) -> list[str]:
        """See `DatasetSpec.inputs`."""
        return [self.root]

    def declared_shape(self) -> Shape | None:
        """See `DatasetSpec.declared_shape`."""
        return None if self.size is None else (self.channels, self.size, self.size)

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`; files are in the order of their paths below the folder."""
        root = Path(self.root)
        return source_files(root, image_names(root))

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`."""
        label_names = sorted({_sub_folder(file) for file in files})
        shape = decode(Path(files[0].path), files[0].path, self.size, self.channels).pixels.shape
        return ImageStream(len(files), shape, label_names, self._samples(files, shape, label_names))

    def _samples(self, files: list[SourceFile], shape: tuple[int, ...], label_names: list[str]) -> Iterator[Sample]:
        labels = {name: label for label, name in enumerate(label_names)}
        for source in files:
            pixels, file = decode(Path(source.path), source.path, self.size, self.channels)
            if pixels.shape != shape:
                raise DiffmiaError(
                    f"dataset folder {self.root} has images of different sizes: {files[0].name} is {_size(shape)} and "
                    f"{source.name} is {_size(pixels.shape)}; set `size:` to bring all to one"
                )
            folder = _sub_folder(source)
            yield Sample(pixels, labels[folder], folder or None, file=file)


def _sub_folder(file: SourceFile) -> str:
    parts = PurePosixPath(file.name).parts
    return parts[0] if len(parts) > 1 else ""


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]}x{shape[1]}"
