"""One category of LSUN (Yu et al. 2015), such as cat: its LMDB as published, or the images exported to a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from diffmia.datasets.base import DatasetSpec, ImageStream, Sample, Shape
from diffmia.datasets.decoding import decode
from diffmia.datasets.folder import image_names, source_files
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile

log = logging.getLogger(__name__)

DATABASE = "data.mdb"


class LSUN(DatasetSpec):
    """The first images of a category by key, all of one class; keys say nothing of what is seen.

    Of an LMDB the sorted keys, entries without content left out; of a folder the sorted paths. Nothing is downloaded:
    the official archive of cat has 42 GB.
    """

    describe: ClassVar[str] = "LSUN (Yu et al., arXiv 1506.03365, 2015), one category"
    licence: ClassVar[str] = "No licence stated; images found on the web, meant for research"
    had_from: ClassVar[str] = "your own: dl.yf.io/lsun, 42 GB of cat"
    known: ClassVar = ("files",)

    source: Literal["lsun"]
    root: str = Field(description="Folder of the unpacked LMDB (the one with data.mdb), or of images")
    category: str = Field("cat", description="Name of the only class")
    limit: PositiveInt | None = Field(None, description="How many images, the first by sorted key; null: all")
    size: PositiveInt = Field(128, description="Side in pixels: the short side is scaled to it and the centre kept")

    def inputs(self) -> list[str]:
        """See `DatasetSpec.inputs`."""
        return [self.root]

    def declared_shape(self) -> Shape:
        """See `DatasetSpec.declared_shape`."""
        return (3, self.size, self.size)

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`; the whole LMDB is read for its checksum."""
        root = Path(self.root)
        if (root / DATABASE).is_file():
            return [SourceFile.of(root / DATABASE)]
        names = image_names(root)[: self.limit]
        self._require(len(names))
        return source_files(root, names)

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`."""
        shape = self.declared_shape()
        if files[0].name != DATABASE:
            encoded = ((file.path, Path(file.path)) for file in files)
            return ImageStream(len(files), shape, [self.category], self._samples(encoded))
        log.info("counting the images of %s", files[0].path)
        count = sum(1 for _ in islice(_entries(Path(files[0].path)), self.limit))
        self._require(count)
        encoded = islice(_entries(Path(files[0].path)), self.limit)
        return ImageStream(count, shape, [self.category], self._samples(encoded))

    def _samples(self, encoded: Iterator[tuple[str, Path | bytes]]) -> Iterator[Sample]:
        for name, content in encoded:
            pixels, file = decode(content, name, self.size)
            yield Sample(pixels, 0, file=file)

    def _require(self, count: int) -> None:
        if count < (self.limit or 1):
            raise DiffmiaError(f"dataset {self.root} holds {count} images, and {self.limit or 1} are asked for")


def _entries(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each entry that has any, by sorted key.

    Raises
    ------
    DiffmiaError
        If it is no LMDB, or cut short: its pages are mapped, and one that is missing would kill the process.
    """
    import lmdb

    try:
        with lmdb.open(str(path.parent), readonly=True, lock=False, readahead=False, create=False) as database:
            pages = database.info()["last_pgno"] + 1
            if path.stat().st_size < pages * database.stat()["psize"]:
                raise DiffmiaError(f"LMDB {path} is not whole: {pages} pages are announced; unpack the archive again")
            with database.begin(buffers=False) as transaction:
                for key, content in transaction.cursor():
                    if content:
                        yield f"{key.decode(errors='replace')} of {path}", content
    except lmdb.Error as error:
        raise DiffmiaError(f"cannot read LMDB {path}: {error}; unpack the archive again") from error
