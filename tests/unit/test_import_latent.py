"""Taking in a text-to-image pipeline: it answers as where it was, and parts that do not fit each other are refused."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from pydantic import ValidationError

from diffmia.errors import DiffmiaError
from diffmia.models.diffusers_latent_diffusion import DiffusersLatentDiffusion
from diffmia.models.fetch import fetch_model
from diffmia.models.schedule import ScheduleSpec
from diffmia.targets import import_target, load_target
from tests.unit.tiny_pipeline import tiny_pipeline

SPLIT = {"split_hash": "a" * 64, "dataset_hash": "b" * 64, "shape": [1, 16, 16]}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFMIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "elsewhere"


def target(elsewhere, **settings):
    return DiffusersLatentDiffusion(family="diffusers_latent_diffusion", split="toy", folder=str(elsewhere), **settings)


def take_in(elsewhere, shape=(1, 16, 16), settings=None, **changes):
    if not elsewhere.exists():
        tiny_pipeline(**changes).save_pretrained(elsewhere)
    spec, folder = target(elsewhere, **(settings or {})), elsewhere.parent
    (folder / "split.json").write_text(json.dumps(SPLIT | {"shape": shape}))
    fetch_model(spec, folder / "source.json")
    import_target(spec, folder / "source.json", folder / "split.json", folder / "target")
    return spec, folder / "target"


@torch.no_grad()
def test_it_answers_as_where_it_was_and_opens_in_plain_diffusers(elsewhere):
    spec, folder = take_in(elsewhere)
    there = StableDiffusionPipeline.from_pretrained(elsewhere, local_files_only=True)
    here = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
    told = there.encode_prompt(["ha"], torch.device("cpu"), 1, False)[0]
    assert torch.equal(here.encode_prompt(["ha"], torch.device("cpu"), 1, False)[0], told)
    denoiser, description = load_target(spec, folder, SPLIT, torch.device("cpu"))
    latents = torch.randn(1, 4, 8, 8)
    expected = there.unet(latents, torch.tensor(7), encoder_hidden_states=told).sample
    torch.testing.assert_close(denoiser.predict_noise(latents, 7, told), expected, rtol=0, atol=1e-5)
    assert "tokenizer/tokenizer.json" in description["imported"]["sha256"]


def test_it_opens_in_diffusers_though_its_index_names_a_safety_checker(elsewhere):
    tiny_pipeline().save_pretrained(elsewhere)
    index = json.loads((elsewhere / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    index |= {"feature_extractor": ["transformers", "CLIPImageProcessor"]}
    (elsewhere / "model_index.json").write_text(json.dumps(index))
    _, folder = take_in(elsewhere)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
    assert pipeline.safety_checker is None


def test_velocity_is_taken_in(elsewhere):
    spec, folder = take_in(elsewhere, scheduler={"prediction_type": "v_prediction"})
    assert spec.load(folder).prediction == "v_prediction"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scheduler": {"prediction_type": "sample"}}, r"predicts 'sample'; .* \(epsilon or v_prediction\)"),
        ({"scheduler": {"rescale_betas_zero_snr": True}}, r"has rescaled betas \(rescale_betas_zero_snr\)"),
        ({"scheduler": {"beta_end": 0.02}}, r"says beta_end: 0.02, and the target's schedule in the config says 0.012"),
        ({"unet": {"in_channels": 9}}, "makes latents of 4 channels, and its U-Net takes 9 and gives 4; they must be"),
        ({"vae": {"latent_channels": 8}}, "makes latents of 8 channels, and its U-Net takes 4 and gives 4"),
        ({"unet": {"cross_attention_dim": 24}}, r"has width 16 \(hidden_size\), and its U-Net takes 24"),
        ({"text": {"vocab_size": 100, "eos_token_id": 2}}, "tokenizer has 515 tokens and its text_encoder embeds 100"),
        ({"unet": {"class_embed_type": "timestep"}}, r"is told more than a text \(addition_embed_type"),
        ({"shape": (3, 16, 16)}, "takes images of 1 channels, and the split's have 3"),
        ({"shape": (1, 16, 18)}, "images of 16x18 do not fit .* by 2, and its U-Net halves that 1 times, .* of 4;"),
    ],
)
def test_parts_that_do_not_fit_are_refused_and_nothing_is_left(elsewhere, changes, said):
    with pytest.raises(DiffmiaError, match=said):
        take_in(elsewhere, **changes)
    assert not (elsewhere.parent / "target").exists()


def test_a_schedule_of_its_own_is_given_in_the_config(elsewhere):
    schedule = ScheduleSpec(kind="linear", beta_start=0.001, beta_end=0.02, timesteps=500)
    scheduler = {"beta_schedule": "linear", "beta_start": 0.001, "beta_end": 0.02, "num_train_timesteps": 500}
    spec, folder = take_in(elsewhere, settings={"schedule": schedule}, scheduler=scheduler)
    assert len(spec.load(folder).schedule) == 500


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("tokenizer/tokenizer.json", "has neither vocab.json with merges.txt nor tokenizer.json"),
        ("vae/config.json", "vae/config.json: No such file"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(elsewhere, file, said):
    tiny_pipeline().save_pretrained(elsewhere)
    (elsewhere / file).unlink()
    with pytest.raises(DiffmiaError, match=said):
        take_in(elsewhere)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("unet/config.json", "{", r"elsewhere/unet/config\.json is no JSON file: "),
        ("vae/config.json", "[1, 2]", r"elsewhere/vae/config\.json is no JSON object but \[1, 2\]"),
    ],
)
def test_a_damaged_configuration_is_named(elsewhere, file, content, said):
    tiny_pipeline().save_pretrained(elsewhere)
    (elsewhere / file).write_text(content)
    with pytest.raises(DiffmiaError, match=said):
        take_in(elsewhere)


def test_without_its_blocks_a_configuration_is_named(elsewhere):
    tiny_pipeline().save_pretrained(elsewhere)
    config = json.loads((elsewhere / "unet/config.json").read_text())
    del config["block_out_channels"]
    (elsewhere / "unet/config.json").write_text(json.dumps(config))
    with pytest.raises(DiffmiaError, match=r"unet/config\.json has no block_out_channels"):
        take_in(elsewhere)


def test_a_tokenizer_that_knows_no_length_is_refused(elsewhere):
    """The library then takes any length, and padding to it would fill the memory."""
    tiny_pipeline().save_pretrained(elsewhere)
    config = json.loads((elsewhere / "tokenizer/tokenizer_config.json").read_text())
    del config["model_max_length"]
    (elsewhere / "tokenizer/tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(DiffmiaError, match=r"makes texts of 10+\d* tokens \(model_max_length\) .* takes 12"):
        take_in(elsewhere)


def test_another_pipeline_is_refused(elsewhere):
    tiny_pipeline().save_pretrained(elsewhere)
    index = json.loads((elsewhere / "model_index.json").read_text())
    (elsewhere / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(DiffmiaError, match="is a StableDiffusionXLPipeline; this family reads what"):
        take_in(elsewhere)


def test_a_condition_is_a_name(elsewhere):
    assert target(elsewhere).condition == "caption"
    with pytest.raises(ValidationError, match="condition"):
        target(elsewhere, condition="A photo")
    with pytest.raises(ValidationError, match="condition"):
        target(elsewhere, condition=None)
