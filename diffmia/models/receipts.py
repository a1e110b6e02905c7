"""Receipts: which files a target is imported from, written when they were fetched and checked when they are read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffmia.atomic import atomic_path
from diffmia.datasets.base import SourceFile
from diffmia.errors import DiffmiaError


def write_receipt(path: str | Path, files: list[SourceFile], **about: Any) -> None:
    """Write down what was fetched: `about` it, and the files themselves."""
    with atomic_path(path) as scratch:
        receipt = {**about, "files": [asdict(file) for file in files]}
        scratch.write_text(json.dumps(receipt, indent=2) + "\n")


def files_of(receipt: str | Path) -> list[SourceFile]:
    """The files of a receipt.

    Raises
    ------
    DiffmiaError
        If one is gone, or is not what it was when it was fetched.
    """
    files = [SourceFile(**entry) for entry in json.loads(Path(receipt).read_text())["files"]]
    for file in files:
        if not Path(file.path).is_file():
            raise DiffmiaError(f"{file.path} is gone since it was fetched; delete {receipt} and run again")
        if SourceFile.of(file.path).sha256 != file.sha256:
            raise DiffmiaError(f"{file.path} has changed since it was fetched; delete {receipt} and run again")
    return files
