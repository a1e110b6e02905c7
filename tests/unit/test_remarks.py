"""What is said before a run of what it will lack."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from diffmia.config.config import load_config
from diffmia.planning.remarks import remarks

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """The shipped config, in a folder where there is nothing."""
    monkeypatch.chdir(tmp_path)
    return copy.deepcopy(SHIPPED)


def test_of_the_default_run_there_is_nothing_to_say(raw):
    assert remarks(load_config(raw)) == []


def test_files_of_ones_own_that_are_not_there_are_named_with_where_and_which_guide(raw, tmp_path):
    raw["datasets"]["mine"] = {"source": "folder", "root": "images"}
    raw["datasets"]["both"] = {"source": "joined", "parts": ["digits", "mine"]}
    raw["splits"]["theirs"] = {"dataset": "both", "method": "file", "path": "split.npz"}
    raw["targets"]["theirs"] = {"family": "diffusers_ddpm", "split": "theirs", "folder": "pipeline"}
    raw["run"] = {"targets": ["theirs"], "attacks": ["naive"], "figures": []}
    found = remarks(load_config(raw))
    guide = "and there is no such file or folder (docs/data.md says what belongs there)"
    assert found[:2] == [
        f"config: datasets.mine names 'images', {guide}",
        f"config: splits.theirs names 'split.npz', {guide}",
    ]
    assert all(sentence.startswith("config: targets.theirs names 'pipeline/") for sentence in found[2:])
    assert len(found) > 2
    (tmp_path / "images").mkdir()
    (tmp_path / "split.npz").touch()
    assert remarks(load_config(raw)) == found[2:]


def test_captioners_are_named_where_a_run_tells_what_they_wrote(raw):
    raw["captioners"]["mine"] = {"family": "blip", "folder": "blip"}
    raw["attacks"]["naive"] |= {"condition": "mine"}
    raw["run"] = {"targets": ["ldm_digits"], "attacks": ["naive"], "figures": []}
    found = remarks(load_config(raw))
    assert found
    assert all(sentence.startswith("config: captioners.mine names 'blip/") for sentence in found)


def test_a_figure_that_no_target_has_something_to_show_in(raw):
    raw["run"] = {"targets": ["uvit_digits"], "attacks": ["naive"], "figures": ["roc", "auc_over_variants"]}
    assert remarks(load_config(raw)) == [
        "config: run.figures: 'auc_over_variants' has nothing to show of any of the run's targets, and is not drawn"
    ]
