"""The stages that read, decode or compare much say how far they are, in the words that `diffmia status` reads."""

from __future__ import annotations

import hashlib
import logging
import tomllib
from pathlib import Path

import lmdb
import numpy as np
import pandas as pd
import pytest

from diffmia.blind.duplicates import near_duplicates
from diffmia.commands.status import _PROGRESS
from diffmia.datasets.digits import Digits
from diffmia.datasets.folder import ImageFolder
from diffmia.datasets.lsun import LSUN
from diffmia.datasets.manifest import ManifestFolder
from diffmia.files import receipts
from diffmia.running import progress
from tests.unit.prepared import encoded, prepare, write_tree

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def said(monkeypatch, caplog):
    """Lines of the log, one for each part that is reported."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("diffmia")]


def told(lines, what, total):
    """Whether the log counts from 1 to `total`, as `diffmia status` reads it."""
    found = [_PROGRESS.search(f"INFO {line}")["done"] for line in lines if line.startswith(what)]
    return found == [f"{what} {n}/{total} ({100 * n // total} %)" for n in range(1, total + 1)]


def test_preparing_images_says_how_many_are_done(tmp_path, said):
    prepare(Digits(source="digits"), tmp_path)
    assert told(said(), "images prepared", 1797)
    assert said()[0] == f"comparing what was fetched with {tmp_path / 'receipt.json'}"


def test_reading_files_says_how_many_are_done(tmp_path, said):
    write_tree(tmp_path / "images", {f"{n}.png": encoded(n) for n in range(3)})
    prepare(ImageFolder(source="folder", root=str(tmp_path / "images")), tmp_path)
    assert told(said(), "files read", 3)


def test_comparing_a_manifest_says_how_many_are_done(tmp_path, said):
    files = {f"{n}.png": encoded(n) for n in range(3)}
    write_tree(tmp_path / "images", files)
    rows = [(name, None, "a", hashlib.sha256(content).hexdigest()) for name, content in files.items()]
    pd.DataFrame(rows, columns=["file", "url", "caption", "sha256"]).to_csv(tmp_path / "list.csv", index=False)
    spec = ManifestFolder(source="manifest", root=str(tmp_path / "images"), manifest=str(tmp_path / "list.csv"), size=8)
    prepare(spec, tmp_path)
    assert told(said(), "images compared", 3)


def test_reading_a_large_file_says_how_far_it_is(tmp_path, said, monkeypatch):
    """When it first comes, and when it is compared before it is read."""
    monkeypatch.setattr(receipts, "LARGE", 0)
    monkeypatch.setattr(receipts, "CHUNK", progress.MIB)
    with lmdb.open(str(tmp_path / "cat"), map_size=2**23) as database, database.begin(write=True) as transaction:
        transaction.put(b"a", encoded(1))
    with (tmp_path / "cat/data.mdb").open("ab") as file:
        file.truncate(3 * progress.MIB)
    prepare(LSUN(source="lsun", root=str(tmp_path / "cat"), size=8), tmp_path)
    lines = [line for line in said() if line.startswith("MiB of")]
    for read in (lines[:3], lines[3:]):
        assert told(read, "MiB of data.mdb read for its checksum", 3)


def test_looking_for_duplicates_says_how_far_it_is(said):
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
    near_duplicates(images[:4], images[4:], distance=8, pairs_at_a_time=2)
    assert told(said()[:4], "images hashed", 4)
    assert told(said()[4:6], "images hashed", 2)
    assert told(said()[6:], "members compared", 4)


def test_nothing_has_a_bar_that_a_job_does_not_show():
    assert [path for path in (REPOSITORY / "diffmia").rglob("*.py") if "import tqdm" in path.read_text()] == []
    assert "tqdm" not in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
