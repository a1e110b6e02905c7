"""Receipts: which files a dataset or a target is read from, written when they came and compared when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffmia.atomic import atomic_path
from diffmia.datasets.base import SourceFile
from diffmia.errors import DiffmiaError


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
