"""Files that a dataset or a target is read from, and receipts of them: written when they came, compared when read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.running.progress import MIB, BytesProgress

log = logging.getLogger(__name__)

LARGE = 1024 * MIB  # bytes of a file of which is said how far it was read
CHUNK = 4 * MIB


@dataclass(frozen=True)
class SourceFile:
    """A verified file that a dataset is read from.

    `name` says which file it is wherever it lies: the file's name, or its path below the dataset's folder.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    url: str | None = None

    @classmethod
    def of(cls, path: str | Path, name: str | None = None, url: str | None = None) -> SourceFile:
        """Describe the file at `path`.

        Raises
        ------
        DiffmiaError
            If it is absent or cannot be read.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                sha256 = _sha256(file, path)
                return cls(name or path.name, str(path), file.tell(), sha256, url)
        except OSError as error:
            raise DiffmiaError(f"cannot read {path}: {error.strerror}") from error

    def require(self, sha256: str) -> SourceFile:
        """The file itself, if it has the checksum that the config gives it.

        Raises
        ------
        DiffmiaError
            If that is another one.
        """
        if self.sha256 != sha256:
            raise DiffmiaError(
                f"{self.path} has sha256 {self.sha256} and {sha256} is expected: it is not the right file or not a "
                "whole copy of it; replace it or correct its checksum in the config"
            )
        return self


def _sha256(file: BinaryIO, path: Path) -> str:
    size = path.stat().st_size
    if size < LARGE:
        return hashlib.file_digest(file, "sha256").hexdigest()
    digest, progress = hashlib.sha256(), BytesProgress(log, f"{path.name} read for its checksum", size)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        progress.update(file.tell())
    return digest.hexdigest()


def write_receipt(path: str | Path, files: list[SourceFile], **about: Any) -> None:
    """Write down what came: `about` it, and the files themselves."""
    with atomic_path(path) as scratch:
        receipt = {**about, "files": [asdict(file) for file in files]}
        scratch.write_text(json.dumps(receipt, indent=2) + "\n")


def files_of(receipt: str | Path) -> list[SourceFile]:
    """The files of a receipt.

    Raises
    ------
    DiffmiaError
        If one is gone, or is not what it was when it came.
    """
    for change in changes_since(receipt):
        raise DiffmiaError(change)
    return _listed(receipt)


def changes_since(receipt: str | Path) -> Iterator[str]:
    """A sentence on each file of a receipt that is gone, or no longer what it was."""
    for file in _listed(receipt):
        if not Path(file.path).is_file():
            yield f"{file.path} is gone since it was fetched; delete {receipt} and run again"
        elif SourceFile.of(file.path).sha256 != file.sha256:
            yield f"{file.path} has changed since it was fetched; delete {receipt} and run again"


def _listed(receipt: str | Path) -> list[SourceFile]:
    return [SourceFile(**entry) for entry in json.loads(Path(receipt).read_text())["files"]]
