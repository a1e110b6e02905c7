"""Which of a user's own files Snakemake is told that a job reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffmia.planning.own_files import planned_inputs

RECORD = "source.json"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()


def made_of(*paths: str) -> None:
    Path(RECORD).write_text(json.dumps({"files": [{"name": "a", "path": path} for path in paths]}))


def test_before_anything_is_made_those_that_are_there():
    assert planned_inputs(["there", "gone"], RECORD) == ["there"]


@pytest.mark.parametrize("path", ["gone", "gone/b/c.png", "Bilder/Müller/c.png", 'a"b'])
def test_what_was_made_of_a_file_or_of_what_is_in_a_folder_is_made_of_it_still(path):
    made_of("another/d.png", path)
    own = path.removesuffix("/b/c.png").removesuffix("/c.png")
    assert planned_inputs(["there", own], RECORD) == ["there", own]


@pytest.mark.parametrize("path", ["gon", "gone/b", "one", "other/gone"])
def test_and_is_not_made_of_another_whose_name_is_alike(path):
    made_of("gone/a", "gone/bc", "gonewith/a")
    assert planned_inputs(["there", path], RECORD) == ["there"]
