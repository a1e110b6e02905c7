"""Datasets of official archives: each downloaded from its address or a mirror, or a copy that is already there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from diffmia.datasets.archives import member_sizes, read_members
from diffmia.datasets.base import DatasetSpec, Download
from diffmia.datasets.download import download
from diffmia.datasets.folder import source_files
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.spec import Sha256

Url = Annotated[str, StringConstraints(pattern=r"^https?://")]


@dataclass(frozen=True)
class Members:
    """Files of a dataset, packed or not: `sizes` in bytes by name, and `read` for the content of some, in order.

    `where` is what an error calls the place they lie in.
    """

    where: str
    sizes: dict[str, int]
    read: Callable[[Iterable[str]], Iterator[bytes]]

    def matching(self, pattern: str) -> list[str]:
        """Names in which the pattern is found, in the order of the archive."""
        return [name for name in self.sizes if re.search(pattern, name)]

    def one(self, pattern: str, what: str) -> bytes:
        """Content of the first file in whose name the pattern is found.

        Raises
        ------
        DiffmiaError
            If there is none.
        """
        if not (names := self.matching(pattern)):
            raise DiffmiaError(f"{self.where} lacks {what}")
        [content] = self.read(names[:1])
        return content


class OfficialDataset(DatasetSpec):
    """A dataset that is one official archive, a local copy of that, or a folder it was unpacked to.

    `official` says where the archive is and what it must be, `layout` which files of an unpacked one are read (a
    pattern found in their paths below the folder).
    """

    official: ClassVar[tuple[Download, ...]]
    layout: ClassVar[str]

    mirrors: tuple[Url, ...] = Field(
        (), description="Further addresses of the official archive, tried in order after the official one"
    )
    archive: str | None = Field(None, description="A local archive of the same layout, used in place of the official")
    sha256: Sha256 | None = Field(None, description="Checksum of `archive`")
    root: str | None = Field(None, description="A folder with the unpacked archive, used in place of the official")

    @model_validator(mode="after")
    def _one_place(self) -> OfficialDataset:
        if (self.archive is None) != (self.sha256 is None):
            raise ValueError("archive and sha256 go together: give both, for a local copy, or neither")
        if self.archive is not None and self.root is not None:
            raise ValueError("archive and root are two places of the same files: give one of them, or neither")
        return self

    def inputs(self) -> list[str]:
        """See `DatasetSpec.inputs`."""
        return [path for path, _ in self._copies()] if self.root is None else [self.root]

    def downloads(self) -> tuple[Download, ...]:
        """See `DatasetSpec.downloads`."""
        return () if self.inputs() else self.official

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`."""
        if self.root is not None:
            return self._unpacked(Path(self.root))
        if copies := self._copies():
            return [SourceFile.of(path).require(sha256) for path, sha256 in copies]
        for file in self.official:
            download((file.url, *file.mirrors, *self._mirrors_of(file)), cache / file.name, file.checksum, file.bytes)
        return [SourceFile.of(cache / file.name, url=file.url) for file in self.official]  # a mirror's is the same file

    def members(self, files: list[SourceFile]) -> Members:
        """The files in one archive, or in the folder it was unpacked to."""
        if self.root is not None:
            paths = {file.name: Path(file.path) for file in files}
            sizes = {file.name: file.bytes for file in files}
            return Members(f"folder {self.root}", sizes, lambda names: (paths[name].read_bytes() for name in names))
        [file] = files
        limit = max(one.unpacked for one in self.official)
        sizes = member_sizes(file.path, limit)
        return Members(f"archive {file.path}", sizes, lambda names: read_members(file.path, names, limit))

    def _copies(self) -> list[tuple[str, str]]:
        """Local archives with their checksums, in the order of `official`; none where they are downloaded."""
        return [] if self.archive is None else [(self.archive, self.sha256)]

    def _mirrors_of(self, file: Download) -> tuple[str, ...]:
        return self.mirrors

    def _unpacked(self, root: Path) -> list[SourceFile]:
        if not root.is_dir():
            raise DiffmiaError(f"dataset folder {root} does not exist; correct `root:`")
        below = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        names = sorted(name for name in below if re.search(self.layout, name))
        if not names:
            raise DiffmiaError(
                f"dataset folder {root} holds no file of the layout of {self.official[0].name}; unpack it there or "
                "correct `root:`"
            )
        return source_files(root, names)
