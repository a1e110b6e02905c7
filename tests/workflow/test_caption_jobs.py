"""Captions of a dataset by a captioner, as jobs; and what becomes of those that a person changed."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.workflow

TABLE = "results/captions/mine/tiny.csv"


def test_captions_are_written_once_and_a_persons_are_kept(fresh):
    config = fresh.config
    config["datasets"]["mine"] = {"source": "folder", "root": "pictures"}
    config["captioners"] |= {"tiny": {"family": "blip", "folder": "blip", "beams": 1, "min_tokens": 4, "max_tokens": 8}}
    fresh.config = config
    (fresh.folder / "pictures").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(fresh.folder / "pictures" / f"{number}.png")
    make = "import sys; sys.path.append(sys.argv[1]); from pathlib import Path; from tiny_models import save_blip; "
    made = fresh.call(sys.executable, "-c", f"{make} save_blip(Path('blip'))", str(REPOSITORY / "tests" / "unit"))
    assert made.returncode == 0, made.stdout
    plan = {"download_dataset": 1, "prepare_dataset": 1, "fetch_captioner": 1, "caption_images": 1}
    assert fresh.plan(TABLE) == plan

    done = fresh.snakemake(TABLE)
    assert done.returncode == 0, done.stdout
    written = (fresh.folder / TABLE).read_text()
    assert len(written.splitlines()) == 1 + 5
    config["captioners"]["tiny"]["batch_size"] = 2
    fresh.config = config
    assert fresh.plan(TABLE) == {}

    edited = written.replace(written.splitlines()[1], "0,by hand")
    (fresh.folder / TABLE).write_text(edited)
    assert fresh.plan(TABLE) == {}
    config["captioners"]["tiny"]["beams"] = 2
    fresh.config = config
    assert fresh.plan(TABLE) == {"caption_images": 1}
    done = fresh.snakemake(TABLE)
    assert done.returncode == 1
    assert f"{TABLE} is not as its captioner wrote it, and is kept" in done.stdout
    assert (fresh.folder / TABLE).read_text() == edited
    assert fresh.plan(TABLE) == {}  # the next run goes on with it

    (fresh.folder / TABLE).unlink()
    done = fresh.snakemake(TABLE)
    assert done.returncode == 0, done.stdout
    assert "by hand" not in (fresh.folder / TABLE).read_text()

    (fresh.folder / TABLE).with_suffix(".meta.json").unlink()
    (fresh.folder / TABLE).write_text(edited)  # a person's from the start, older than the images
    os.utime(fresh.folder / TABLE, (0, 0))
    done = fresh.snakemake(TABLE)
    assert done.returncode == 0, done.stdout
    assert (fresh.folder / TABLE).read_text() == edited
    assert fresh.plan(TABLE) == {}
