"""Files of models that were trained elsewhere: what would be fetched, fetching it, and checking what came."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from diffmia.datasets.download import cache_folder
from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.files.receipts import SourceFile, write_receipt
from diffmia.models.published import PublishedModel

log = logging.getLogger(__name__)

NOT_KNOWN = "not known"
NO_FILE = "none"


class Fetched(Protocol):
    """What is asked of the settings of a model that was trained elsewhere: `ImportedTarget`, `CaptionerSpec`."""

    sha256: str | None

    @property
    def published(self) -> PublishedModel | None:
        """What the register says of it."""

    @property
    def published_name(self) -> str | None:
        """What it is called wherever its files lie, None if it has no such name."""

    def whereabouts(self) -> dict[str, str]:
        """Where its files are had from and kept, for people."""

    def missing(self) -> list[str]:
        """What of it is not here yet."""

    def fetch(self) -> list[SourceFile]:
        """Make its files present, and say which they are; of them only the weights are no JSON."""


def fetch_model(spec: Fetched, receipt: str | Path) -> None:
    """Make the model's files present and checked, and write down what they are; the log has what `diffmia fetch` says.

    Raises
    ------
    DiffmiaError
        If a file is absent, cannot be downloaded, or its weights are not those expected.
    """
    for key, value in plan(spec).items():
        log.info("%s: %s", key, value)
    known = spec.published
    about = {} if known is None else {key: getattr(known, key) for key in ("about", "page", "licence", "trained_on")}
    files = fetch_files(spec)
    weights = weights_of(files)
    log.info("fetched: %s, %s bytes, sha256 %s", weights.path, f"{weights.bytes:,}", weights.sha256)
    write_receipt(receipt, files, **about)


def fetch_files(spec: Fetched) -> list[SourceFile]:
    """The model's files, present, the weights with the checksum that the config or the register has of them.

    Where neither has one, a published model's files have to be those that were fetched first on this machine.

    Raises
    ------
    DiffmiaError
        As `fetch_model`.
    """
    files = spec.fetch()
    weights, expected = weights_of(files), expected_checksum(spec)
    if expected is None and spec.published_name is not None:
        _compare_with_the_first(spec.published_name, files)
    if expected is not None:
        weights.require(expected)
    return files


def _compare_with_the_first(name: str, files: list[SourceFile]) -> None:
    weights = weights_of(files)  # their name is the user's where they are had by hand
    found = {"weights" if file is weights else file.name: file.sha256 for file in files}
    record = cache_folder() / "first" / f"{name.replace('/', '--')}.json"
    if not record.exists():
        with atomic_path(record) as scratch:
            scratch.write_text(json.dumps(found, indent=2) + "\n")
    recorded = json.loads(record.read_text())
    for what in sorted(recorded.keys() | found.keys()):
        if found.get(what) != recorded.get(what):
            raise DiffmiaError(
                f"{what} of {name} had SHA-256 {recorded.get(what, NO_FILE)} when it was first fetched and has "
                f"{found.get(what, NO_FILE)} now; if the new one is right, delete {record}"
            )


def weights_of(files: Iterable[SourceFile]) -> SourceFile:
    """The file with the weights among a model's, of a pipeline the denoiser's: the first that is no JSON."""
    return next(file for file in files if not file.name.endswith(".json"))


def expected_checksum(spec: Fetched) -> str | None:
    """SHA-256 that the weights have to have, None if nobody said."""
    return spec.sha256 or (spec.published and spec.published.sha256)


def plan(spec: Fetched) -> dict[str, str]:
    """What fetching a model would do, said without asking a network."""
    known, missing = spec.published, spec.missing()
    megabytes = known and known.megabytes
    unchecked = "what comes first is recorded, and compared with later" if spec.published_name else "any is taken"
    return {
        **spec.whereabouts(),
        "size": f"{megabytes:g} MB" if megabytes else NOT_KNOWN,
        "sha256": expected_checksum(spec) or f"{NOT_KNOWN}: {unchecked}",
        "licence": known.licence if known else NOT_KNOWN,
        "trained on": known.trained_on if known else NOT_KNOWN,
        **({"split": spec.split} if hasattr(spec, "split") else {}),
        "present": f"no: {', '.join(missing)}" if missing else "yes",
    }
