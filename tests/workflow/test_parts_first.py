"""A dataset that is made of others: the workflow prepares those first."""

from __future__ import annotations

import json

import pytest

from tests.unit.prepared import encoded, write_tree

pytestmark = pytest.mark.workflow


def test_parts_are_prepared_first_and_what_is_joined_follows_them(fresh):
    config = fresh.config
    config["datasets"] |= {
        "mine": {"source": "folder", "root": "images", "channels": 1},
        "both": {"source": "joined", "parts": ["digits", "mine"]},
    }
    fresh.config = config
    wanted = "results/datasets/both/manifest.json"
    absent = fresh.snakemake(wanted)
    assert absent.returncode != 0
    assert "[download_dataset mine] dataset folder images does not exist; correct `root:`" in absent.stdout
    assert "Traceback" not in absent.stdout
    assert not (fresh.folder / "results/datasets/both").exists()

    write_tree(fresh.folder / "images", {"a/1.png": encoded(10, 8, 8), "b/2.png": encoded(20, 8, 8)})
    done = fresh.snakemake(wanted)
    assert done.returncode == 0, done.stdout
    before = json.loads((fresh.folder / wanted).read_text())
    assert before["n"] == 1799
    assert fresh.plan(wanted) == {}

    write_tree(fresh.folder / "images", {"c/3.png": encoded(30, 8, 8)})
    done = fresh.snakemake(wanted)
    assert done.returncode == 0, done.stdout
    after = json.loads((fresh.folder / wanted).read_text())
    assert after["n"] == 1800
    assert after["parts"]["digits"] == before["parts"]["digits"]
    assert after["parts"]["mine"] != before["parts"]["mine"]

    (fresh.folder / "images").rename(fresh.folder / "elsewhere")
    assert fresh.plan(wanted) == {}  # what was made of it stays
    config["datasets"]["mine"]["root"] = "others"
    fresh.config = config
    absent = fresh.snakemake(wanted)  # and is not taken for what is made of another one
    assert absent.returncode != 0
    assert "[download_dataset mine] dataset folder others does not exist; correct `root:`" in absent.stdout
