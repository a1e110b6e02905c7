"""Which datasets are there, and whether what is there is still what it was: `diffmia data list` and `verify`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tabulate import tabulate

from diffmia.datasets.base import DatasetSpec, Download
from diffmia.datasets.download import cache_folder, has_checksum
from diffmia.datasets.prepare import prepared_hash
from diffmia.errors import DiffmiaError
from diffmia.files.layout import PREPARED, prepared_files
from diffmia.files.receipts import changes_since

_WIDTHS = {"what": 32, "download": 21, "licence": 28}  # characters, beyond which a cell goes on in the next line


@dataclass(frozen=True)
class Finding:
    """What a comparison showed, in a sentence."""

    sentence: str
    problem: bool = False


def listing(datasets: dict[str, DatasetSpec]) -> str:
    """A table with a row for each dataset."""
    rows = []
    for id_, spec in datasets.items():
        state, path = state_of(id_, spec)
        size = sum(file.bytes for file in spec.downloads())
        rows.append(
            {
                "id": id_,
                "source": spec.source,
                "what": spec.describe,
                "images": _images(id_, spec),
                "download": f"{size / 2**20:,.0f} MiB" if size else spec.had_from,
                "licence": spec.licence,
                "state": state,
                "path": str(path or ""),
            }
        )
    widths = [_WIDTHS.get(column) for column in rows[0]] if rows else None
    return tabulate(rows, headers="keys", maxcolwidths=widths, disable_numparse=True)


def state_of(id_: str, spec: DatasetSpec) -> tuple[str, Path | None]:
    """`prepared`, `downloaded`, `local` or `absent`, and where it lies, or should."""
    if _manifest(id_).is_file():
        return "prepared", PREPARED / id_
    cached, local = _cached(spec), [Path(path) for path in spec.inputs()]
    if cached and len(cached) == len(spec.downloads()):
        return "downloaded", next(iter(cached))
    if not spec.downloads() and all(path.exists() for path in local):
        return "local", next(iter(local), None)
    return "absent", next(iter(local), None)


def verify(datasets: dict[str, DatasetSpec], ids: Iterable[str]) -> Iterator[Finding]:
    """Compare what is there of the datasets named (none: of all) with all that is known of it.

    Downloads have a published checksum, files that were read a receipt, prepared images a hash in their manifest.

    Raises
    ------
    DiffmiaError
        If an id is not defined.
    """
    named = list(ids)
    for id_ in named:
        if id_ not in datasets:
            raise DiffmiaError(f"dataset '{id_}' is not defined. Defined: {', '.join(datasets)}")
    for id_ in named or datasets:
        findings = list(_findings(id_, datasets[id_]))
        yield from findings or [Finding(f"{id_}: absent, so that there is nothing to verify", problem=bool(named))]


def _findings(id_: str, spec: DatasetSpec) -> Iterator[Finding]:
    for path, file in _cached(spec).items():
        if has_checksum(path, file.checksum):
            yield Finding(f"{id_}: {path.name} has its published checksum")
        else:
            yield Finding(f"{id_}: {path} does not have its checksum {file.checksum}; delete it and run again", True)
    receipt = PREPARED / id_ / "source.json"
    if receipt.is_file():
        changes = [Finding(f"{id_}: {change}", True) for change in changes_since(receipt)]
        yield from changes or [Finding(f"{id_}: all files are what they were when they were first read")]
    elif state_of(id_, spec)[0] == "local":
        yield _local(id_, spec)
    if _manifest(id_).is_file():
        yield _prepared(id_)


def _local(id_: str, spec: DatasetSpec) -> Finding:
    """Files of the user's own that were not read yet: `fetch` downloads none of them, and compares what it can."""
    try:
        files = spec.fetch(cache_folder())
    except DiffmiaError as error:
        return Finding(f"{id_}: {error}", True)
    if not files:
        return Finding(f"{id_}: part of an installed package, and not prepared yet")
    return Finding(f"{id_}: local, {len(files)} files, which the workflow has not read yet")


def _prepared(id_: str) -> Finding:
    folder = PREPARED / id_
    images, samples, manifest = prepared_files(id_)
    try:
        expected = json.loads(manifest.read_text())["dataset_hash"]
        same = prepared_hash(images, samples) == expected
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        return Finding(f"{id_}: cannot read what was prepared in {folder} ({error}); delete it and run again", True)
    if not same:
        return Finding(f"{id_}: images or samples in {folder} have changed; delete it and run again", True)
    return Finding(f"{id_}: images and samples have the hash of their manifest")


def _cached(spec: DatasetSpec) -> dict[Path, Download]:
    return {path: file for file in spec.downloads() if (path := cache_folder() / file.name).is_file()}


def _manifest(id_: str) -> Path:
    return prepared_files(id_)[-1]


def _images(id_: str, spec: DatasetSpec) -> str:
    """How many there are, or where only that is known how many the whole of it has."""
    try:
        count = json.loads(_manifest(id_).read_text())["n"]
    except (OSError, ValueError, KeyError):
        count = spec.images
    return "" if count is None else f"{count:,}"
