"""Captioners: the captions are the model's own, whatever the batch; files that are not what they should be."""

from __future__ import annotations

import json
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny_models import save_blip
from transformers import BertTokenizer, BlipImageProcessorPil

from diffmia.captions.blip import Blip
from diffmia.captions.stage import caption_images
from diffmia.captions.texts import read_captions, write_captions
from diffmia.config.config import load_config
from diffmia.errors import DiffmiaError
from diffmia.models.fetch import fetch_model, plan
from diffmia.models.published import published_models
from diffmia.planning import jobs

CPU = torch.device("cpu")
BLIP = "Salesforce/blip-image-captioning-base"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip")
    return folder, save_blip(folder)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    tones = rng.integers(0, 256, (7, 3, 1, 1))
    return (tones + rng.integers(-40, 40, (7, 3, 20, 24))).clip(0, 255).astype(np.uint8)


def spec(folder, **settings):
    return Blip(family="blip", folder=str(folder), **{"min_tokens": 4, "max_tokens": 8, **settings})


def describe(captioner):
    return captioner.load({file.name: Path(file.path) for file in captioner.fetch()}, CPU)


def caption(captioner, images, tmp_path):
    """Both stages; returns the captions and what is said of them."""
    np.save(tmp_path / "images.npy", images)
    fetch_model(captioner, tmp_path / "receipt.json")
    out, meta = tmp_path / "captions.csv", tmp_path / "captions.meta.json"
    facts = caption_images(captioner, tmp_path / "receipt.json", tmp_path / "images.npy", out, meta, CPU)
    meta.write_text(json.dumps(facts))
    return read_captions(out, len(images)), facts


def by_hand(folder, model, image, **settings):
    """The caption of one image by the library's own parts, from a picture rather than an array."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    seen = BlipImageProcessorPil.from_pretrained(folder)(images=picture, return_tensors="pt")["pixel_values"]
    tokens = model.generate(pixel_values=seen, do_sample=False, **settings)[0].tolist()
    words = [BertTokenizer.from_pretrained(folder).convert_ids_to_tokens(token) for token in tokens]
    return " ".join(word for word in words if word and not word.startswith("[")).replace(" ##", "")


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_the_models_own(folder, images, beams, tmp_path):
    folder, model = folder
    found, facts = caption(spec(folder, beams=beams, batch_size=3), images, tmp_path)
    search = {"num_beams": beams, "min_new_tokens": 4, "max_new_tokens": 8}
    assert found == [by_hand(folder, model, image, **search) for image in images]
    assert facts["captions"] == len(images)
    assert facts["different"] == len(set(found)) > 2  # what is said depends on what is seen


def test_the_batch_changes_no_caption_and_is_no_part_of_the_job(folder, images, tmp_path):
    folder, _ = folder
    found = []
    for size in (1, 4, 16):
        (tmp_path / str(size)).mkdir()
        found.append(caption(spec(folder, batch_size=size), images, tmp_path / str(size))[0])
    assert found[0] == found[1] == found[2]

    def text(**settings):
        config = config_with({"mine": {"family": "blip", "folder": str(folder), **settings}})
        return jobs.caption_job(config, "digits", "mine")

    assert text(batch_size=1) == text(batch_size=4)
    assert text(beams=1) != text(beams=2)


def test_grey_images_are_seen_as_colour(folder, images):
    captioner = describe(spec(folder[0]))
    grey = images[:, :1]
    assert captioner(grey) == captioner(np.repeat(grey, 3, axis=1))
    with pytest.raises(DiffmiaError, match="images have 2 channels"):
        captioner(images[:, :2])


def test_pickled_weights_are_read_and_say_the_same(folder, images, tmp_path):
    save_blip(tmp_path, pickled=True)
    captioner = spec(tmp_path)
    assert captioner.inputs()[-1] == f"{tmp_path}/pytorch_model.bin"
    assert describe(captioner)(images) == describe(spec(folder[0]))(images)


class Harmful:
    """What a pickle can do: run a command when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    save_blip(tmp_path, pickled=True)
    torch.save({"weights": Harmful(tmp_path / "harm")}, tmp_path / "pytorch_model.bin")
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    (tmp_path / "harm").rmdir()  # so it is harmful indeed
    with pytest.raises(DiffmiaError, match=r"cannot read .*pytorch_model.bin as BlipForConditionalGeneration"):
        describe(spec(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful(tmp_path / "harm"), protocol=2))
    with pytest.raises(DiffmiaError, match=r"cannot read .*pytorch_model.bin as BlipForConditionalGeneration"):
        describe(spec(tmp_path))
    assert not (tmp_path / "harm").exists()


def test_weights_that_are_not_all_there_are_refused(tmp_path):
    save_blip(tmp_path, pickled=True)
    weights = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    del weights["vision_model.embeddings.patch_embedding.weight"]
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(DiffmiaError, match=r"lacks 1 of its weights \(first vision_model.embeddings.patch_embedding"):
        describe(spec(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"])
def test_a_broken_file_is_one_sentence(tmp_path, name):
    save_blip(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(DiffmiaError, match=f"cannot read {tmp_path}") as error:
        describe(spec(tmp_path))
    assert "\n" not in str(error.value)
    (tmp_path / name).unlink()
    assert spec(tmp_path).missing() == [f"{tmp_path}/{name}"]
    with pytest.raises(DiffmiaError, match=f"cannot read {tmp_path}/{name}: No such file"):
        spec(tmp_path).fetch()


def test_the_library_says_nothing(images, tmp_path, capfd, caplog):
    """Neither of what it lacks (torchvision) and what it is doing, nor of settings that old releases saved."""
    save_blip(tmp_path, pickled=True)
    capfd.readouterr()
    with caplog.at_level(logging.INFO):
        describe(spec(tmp_path))(images)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_an_empty_caption_is_left_to_a_person(images, tmp_path, caplog):
    model = save_blip(tmp_path)
    with torch.no_grad():
        model.text_decoder.cls.predictions.bias[1] = 1e4  # nothing but the mark of an unknown word, which is no word
    model.save_pretrained(tmp_path)
    with pytest.raises(DiffmiaError, match="line 2: the caption of sample 0 is empty; write one"):
        caption(spec(tmp_path), images, tmp_path)
    assert f"7 captions are empty (first: sample 0); write them into {tmp_path}/captions.csv" in caplog.text


def test_captions_that_a_person_changed_are_kept(folder, images, tmp_path):
    captioner = spec(folder[0])
    first, _ = caption(captioner, images, tmp_path)
    assert caption(captioner, images, tmp_path)[0] == first  # nobody's edits are in the way
    edited = ["by hand", *first[1:]]
    write_captions(tmp_path / "captions.csv", edited)
    with pytest.raises(DiffmiaError, match=r"captions.csv is not as its captioner wrote it, and is kept: .* remove it"):
        caption(captioner, images, tmp_path)
    assert read_captions(tmp_path / "captions.csv", len(images)) == edited


def test_a_table_that_a_person_put_there_is_taken_as_it_is(folder, images, tmp_path):
    captioner, table = spec(folder[0]), tmp_path / "captions.csv"
    write_captions(table, ["by hand"] * 6)
    with pytest.raises(DiffmiaError, match=r"captions\.csv has no row for sample 6"):
        caption(captioner, images, tmp_path)
    write_captions(table, ["by hand"] * 6 + ["too"])
    before = table.read_bytes()
    captions, facts = caption(captioner, images, tmp_path)
    assert captions == ["by hand"] * 6 + ["too"]
    assert facts == {"captions": 7, "different": 2, "captions_sha256": None}
    assert table.read_bytes() == before
    with pytest.raises(DiffmiaError, match="is not as its captioner wrote it, and is kept"):  # by another captioner
        caption(captioner, images, tmp_path)


# ---- what the config says of them

CONFIG = {
    "run": {"targets": ["mine"], "attacks": ["naive"]},
    "datasets": {"digits": {"source": "digits"}},
    "splits": {"digits": {"dataset": "digits", "method": "random", "members": 10}},
    "targets": {
        "mine": {"family": "ddpm_unet", "split": "digits", "model": {"channels": [32]}, "training": {"epochs": 1}}
    },
    "attacks": {"naive": {"family": "residual", "label": "NA", "start": "gaussian", "t": 350, "norm": 2}},
}


def config_with(captioners):
    return load_config(CONFIG | {"captioners": captioners})


def test_a_config_may_have_no_captioners():
    assert load_config(CONFIG).captioners == {}


@pytest.mark.parametrize("id_", ["none", "caption"])
def test_conditions_that_need_no_captioner_are_no_ids(id_):
    with pytest.raises(DiffmiaError, match=f"config: captioners.{id_} is the name of a condition"):
        config_with({id_: {"family": "blip", "repo": BLIP}})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "captioners.one: give either folder, for a local model, or repo"),
        ({"folder": "a", "repo": BLIP}, "captioners.one: give either folder, for a local model, or repo"),
        ({"folder": "a", "revision": "0" * 40}, "captioners.one: revision is a commit of repo, which is not given"),
        ({"repo": "someone/blip"}, "captioners.one: revision is not given and the register has none of someone/blip"),
        ({"repo": BLIP, "min_tokens": 30}, "captioners.one: min_tokens is 30, and max_tokens 20 is less"),
        ({"repo": BLIP, "beam": 3}, "unknown key 'beam' in captioners.one; did you mean 'beams'"),
    ],
)
def test_a_captioner_says_where_it_is_from(settings, said):
    with pytest.raises(DiffmiaError) as error:
        config_with({"one": {"family": "blip", **settings}})
    assert said in str(error.value)


def test_a_family_that_is_not_known_is_refused():
    with pytest.raises(DiffmiaError, match=r"captioners.one.family is 'blib'; did you mean 'blip'"):
        config_with({"one": {"family": "blib", "repo": BLIP}})


def test_the_register_knows_the_one_in_config_yaml():
    known = published_models()[BLIP]
    shipped = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
    blip = load_config(shipped).captioners["blip"]
    assert (blip.repo, blip.commit) == (BLIP, known.revision)
    said = plan(blip)
    assert (said["licence"], said["sha256"], said["size"]) == ("BSD 3-Clause", known.sha256, "989.8 MB")
    assert Blip(family="blip", repo=BLIP).commit == known.revision
    assert Blip(family="blip", repo=BLIP, revision="0" * 40).published is None  # it knows nothing of another commit
