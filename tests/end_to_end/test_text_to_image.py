"""Text-to-image targets from images with captions to the paper's tables, with models that are tiny and real."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.tiny_models import save_blip
from tests.unit.tiny_pipeline import tiny_pipeline

pytestmark = pytest.mark.workflow

ATTACKS = ["naive", "secmi", "pia", "pian"]
SPLIT = {"dataset": "captioned", "method": "class_balanced", "members": 40, "auxiliary": 20, "non_members": 60}
# of a model that the workflow can only ask
IMPORTED = {"family": "diffusers_latent_diffusion", "split": "captioned", "folder": "sd"}


@pytest.fixture
def text_to_image(fresh):
    """The project with captioned digits, a pipeline that was saved by diffusers, and a captioner."""
    config = fresh.config
    config["datasets"] = {"captioned": {"source": "digits", "captions": True, "size": 16}}
    config["splits"] = {"captioned": SPLIT}
    config["targets"] = {"mine": IMPORTED}
    captioner = {"family": "blip", "folder": "blip", "beams": 1, "min_tokens": 4, "max_tokens": 6, "batch_size": 64}
    config["captioners"] = {"blip": captioner}
    for base in ATTACKS:
        of = {"reading_of": base, "label": f"{base} (blip)", "condition": "blip", "targets": None}
        config["attacks"][f"{base}_blip"] = config["attacks"][base] | of
        config["attacks"][f"{base}_none"]["targets"] = None
    config["attacks"] = {
        id_: spec for id_, spec in config["attacks"].items() if not re.search("_(caption|t500.*)$", id_)
    }
    told = [f"{base}_{text}" for base in ATTACKS for text in ("none", "blip")]
    run = {"targets": ["mine"], "tables": ["table3", "table6", "texts"], "figures": []}
    run["attacks"] = [*ATTACKS, *told, "gsa_concat", "blind_captions"]
    config["attacks"]["gsa_concat"] |= {"timesteps": [100, 500], "trees": 5}
    fresh.config = config | {"run": run, "evaluation": {"bootstrap": 100}}
    tiny_pipeline().save_pretrained(fresh.folder / "sd")
    save_blip(fresh.folder / "blip")
    return fresh


def residuals(project, target="mine"):
    return pd.read_parquet(project.folder / f"results/residuals/{target}/seed0.parquet")


def meta(project, path):
    return json.loads((project.folder / "results" / f"{path}.meta.json").read_text())


def test_a_pipeline_from_elsewhere(text_to_image):
    """Every row of the tables is filled; an edited caption costs the questions that are asked under it alone."""
    project = text_to_image
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    assert "torchvision" not in done.stdout
    assert project.plan() == {}
    for table, attacks in {"table3": ATTACKS, "table6": ["gsa_concat"], "texts": ATTACKS}.items():
        rows = pd.read_csv(project.folder / f"results/tables/{table}.csv")
        assert set(attacks) <= set(rows["attack"])
        assert rows.loc[rows["metric"].isin(["auc", "asr"]), "value"].notna().all()
    flags = pd.read_csv(project.folder / "results/metrics.csv").set_index("attack")["flags"]
    assert flags["naive"].str.contains("told caption").all()
    assert flags["gsa_concat"].str.contains("told caption").all()
    assert not flags["blind_captions"].str.contains("told", na=False).any()

    before, asked = residuals(project), meta(project, "residuals/mine/seed0")
    by_hand_is_the_stage(project, before)
    table = project.folder / "results/captions/captioned/blip.csv"
    written = table.read_text().splitlines()
    edited = int(before["sample_id"].iloc[0])
    table.write_text("\n".join(f"{edited},red dog" if row.startswith(f"{edited},") else row for row in written) + "\n")
    plan = project.plan()
    assert plan["embed_captions"] == 1
    assert plan["ask_target"] == 1
    assert "encode_latents" not in plan
    done = project.snakemake("residuals")
    assert done.returncode == 0, done.stdout
    of_one_text, other_readings = 19, 3  # NA, SecMI, PIA and PIAN with OMS; of SecMI, under the target's own text
    assert asked["queries_made"] == (3 * of_one_text + other_readings) * len(before)
    assert meta(project, "residuals/mine/seed0")["queries_made"] == of_one_text * len(before)
    changed = (residuals(project) != before).set_index(before["sample_id"])
    assert changed.index[changed.any(axis=1)].tolist() == [edited]
    assert {name.split(":")[0].rpartition(".")[2] for name in changed.columns[changed.any()]} == {"blip"}

    config = project.config
    config["attacks"]["naive_late"] = config["attacks"]["naive"] | {"t": 600, "reading_of": "naive", "label": "late"}
    project.config = config
    plan = project.plan("residuals")
    assert plan.keys() == {"ask_target"}  # no autoencoder, no text encoder


def by_hand_is_the_stage(project, table):
    """NA with and without one more step of one sample, from the pipeline's own parts."""
    from diffusers import StableDiffusionPipeline

    from diffmia.search.noise import sample_noise

    pipe = StableDiffusionPipeline.from_pretrained(project.folder / "sd", safety_checker=None)
    row = table.iloc[3]
    sample = int(row["sample_id"])
    pixels = np.load(project.folder / "results/datasets/captioned/images.npy")[[sample]]
    caption = pd.read_parquet(project.folder / "results/datasets/captioned/samples.parquet")["caption"][sample]
    seed = meta(project, "residuals/mine/seed0")["job"]["seed"]
    with torch.no_grad():
        x = torch.from_numpy(pixels / 127.5 - 1).float()
        x0 = pipe.vae.encode(x).latent_dist.mode() * pipe.vae.config.scaling_factor
        told, _ = pipe.encode_prompt(caption, "cpu", 1, do_classifier_free_guidance=False)
        epsilon = [torch.from_numpy(sample_noise(seed, np.array([sample]), tuple(x0.shape[1:])))]
        for _ in range(2):
            x_t = pipe.scheduler.add_noise(x0, epsilon[-1], torch.tensor([350]))
            epsilon.append(pipe.unet(x_t, 350, encoder_hidden_states=told).sample)
    for j in (1, 2):
        expected = (epsilon[0] - epsilon[j]).norm().item()
        assert row[f"gaussian.t350.caption:0-{j}:l2"] == pytest.approx(expected, rel=1e-5)
