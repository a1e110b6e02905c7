"""What the README promises: one's own images, and a model that was trained elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

pytestmark = pytest.mark.workflow

IMAGES_A_CLASS = 40
SMALL_UVIT = {"patch_size": 4, "width": 16, "depth": 2, "heads": 2}


@pytest.fixture
def with_images(fresh):
    """The project with a folder of colour images of two classes, larger than the model takes them."""
    generator = np.random.default_rng(0)
    for label, shade in (("dark", 60), ("light", 190)):
        for i in range(IMAGES_A_CLASS):
            pixels = np.clip(generator.normal(shade, 40, (20, 24, 3)), 0, 255).astype(np.uint8)
            path = fresh.folder / "images" / label / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    small = {"channels": [8, 16], "layers_per_block": 1, "norm_groups": 4}
    fresh.config = fresh.config | {
        "run": {"targets": ["mine"], "attacks": ["naive"]},
        "datasets": {"images": {"source": "folder", "root": "images", "size": 16}},
        "splits": {
            "halves": {"dataset": "images", "method": "class_balanced", "members": 30, "auxiliary": 10},
        },
        "targets": {
            "mine": {
                "family": "ddpm_unet",
                "split": "halves",
                "model": small,
                "training": {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3, "ema_decay": 0.9},
            },
            "taken_in": {"family": "diffusers_ddpm", "split": "halves", "folder": "elsewhere"},
        },
    }
    return fresh


def scores(project, target: str) -> pd.DataFrame:
    scores = pd.read_parquet(project.folder / f"results/scores/{target}/seed0/residuals.parquet")
    return scores[scores["attack"] == "naive"]


def test_a_model_that_is_taken_in_scores_as_where_it_was_trained(with_images):
    project = with_images
    done = project.snakemake("scores")
    assert done.returncode == 0, done.stdout
    trained = scores(project, "mine")
    assert trained["member"].sum() == 30
    assert len(trained) == 2 * IMAGES_A_CLASS - 10  # all but the auxiliary images

    # the trained target's folder is a diffusers pipeline: any such folder can be a target
    (project.folder / "results/targets/mine/seed0").rename(project.folder / "elsewhere")
    config = project.config
    config["run"]["targets"] = ["taken_in"]
    project.config = config
    done = project.snakemake("scores")
    assert done.returncode == 0, done.stdout
    pd.testing.assert_frame_equal(scores(project, "taken_in"), trained)

    # its loss curve is not known here, and not asked for
    assert project.plan("figures")["plot_figure"] == 4  # of five


def test_a_uvit_in_continuous_time_trained_here_and_taken_in(with_images):
    """From images to the paper's table, and again from nothing but the state dict of what was trained."""
    project = with_images
    attacks = ["naive", "pia", "pia_sde", "secmi_init1"]
    training = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3, "ema_decay": 0.9, "checkpoint_epochs": [2]}
    config = project.config
    tables = ["table1", "table4", "first_query"]
    config["run"] = {"targets": ["mine"], "attacks": attacks, "tables": tables, "figures": []}
    shared = {"split": "halves", "schedule": {"kind": "vp_sde"}, "model": SMALL_UVIT}
    config["targets"] = {
        "mine": {"family": "uvit", "training": training, **shared},
        "taken_in": {"family": "uvit_checkpoint", "checkpoint": "weights.pth", "shards": 2, **shared},
    }
    project.config = config
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    empty, table, readings = ((project.folder / f"results/tables/{name}.md").read_text() for name in tables)
    assert [label in table for label in ("NA", "PIA", "PIA (Eq. 14)")] == [True, True, False]
    assert "PIA with one more step is not in the paper's table." in table
    assert "no target that belongs in this table" in empty
    assert all(label in readings for label in ("PIA (Eq. 14)", "SecMI (first query at 1)"))
    trained = scores(project, "mine")
    folder = project.folder / "results/targets/mine/seed0"
    assert (folder / "checkpoints/epoch0002/uvit/model.safetensors").exists()

    torch.save(load_file(folder / "uvit/model.safetensors"), project.folder / "weights.pth")
    config["run"]["targets"] = ["taken_in"]
    project.config = config
    done = project.snakemake("scores")
    assert done.returncode == 0, done.stdout
    pd.testing.assert_frame_equal(scores(project, "taken_in"), trained)
