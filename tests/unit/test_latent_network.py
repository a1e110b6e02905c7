"""A text-to-image pipeline's parts: latents, embeddings and noise as diffusers' own pipeline has them."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.errors import DiffmiaError
from diffmia.models.networks.latent import LatentDenoiser, load_denoiser, load_image_encoder, load_text_encoder
from diffmia.models.schedule import ScheduleSpec
from diffmia.targets import weights_hash
from tests.unit.tiny_pipeline import SCHEDULE, tiny_pipeline

SPEC = ScheduleSpec(kind="scaled_linear", beta_start=0.00085, beta_end=0.012)
TEXTS = ["", "Ha ha", "a text of more tokens than there is room for"]
CLOSE = {"rtol": 0, "atol": 1e-5}


def saved(folder, **changes):
    tiny_pipeline(**changes).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("pipeline"), vae={"scaling_factor": 0.7})


@pytest.fixture(scope="module")
def pipeline(folder):
    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)


def embeddings(pipeline, texts=TEXTS):
    return pipeline.encode_prompt(texts, torch.device("cpu"), 1, do_classifier_free_guidance=False)[0]


@torch.no_grad()
def test_latents_are_the_mode_of_the_autoencoders_posterior_scaled(folder, pipeline):
    images = torch.rand(3, 1, 16, 16) * 2 - 1
    latents = load_image_encoder(folder).eval()(images)
    expected = pipeline.vae.encode(images).latent_dist.mode() * 0.7
    assert latents.shape == (3, 4, 8, 8)
    torch.testing.assert_close(latents, expected, **CLOSE)


@torch.no_grad()
def test_latents_are_shifted_where_the_autoencoder_says_so(tmp_path):
    images = torch.rand(2, 1, 16, 16) * 2 - 1
    plain, shifted = (
        load_image_encoder(saved(tmp_path / str(shift), vae={"scaling_factor": 0.5, "shift_factor": shift}))
        for shift in (None, 0.3)
    )
    torch.testing.assert_close(shifted(images), plain(images) - 0.15, **CLOSE)


@torch.no_grad()
def test_embeddings_are_those_that_the_pipeline_tells_its_unet(folder, pipeline):
    encoder = load_text_encoder(folder).eval()
    torch.testing.assert_close(encoder(encoder.tokens(TEXTS)), embeddings(pipeline), **CLOSE)
    assert encoder.tokens(TEXTS).shape == (3, 12)


@torch.no_grad()
def test_noise_is_what_the_pipelines_unet_predicts_of_latents_and_embeddings(folder, pipeline):
    denoiser = load_denoiser(folder, DiscreteSchedule.from_spec(SPEC)).eval()
    latents, told, t = torch.randn(3, 4, 8, 8), embeddings(pipeline), torch.tensor([0, 350, 999])
    expected = pipeline.unet(latents, t, encoder_hidden_states=told).sample
    torch.testing.assert_close(denoiser.predict_noise(latents, t, told), expected, **CLOSE)
    assert not torch.allclose(denoiser.predict_noise(latents, t, told.flip(0)), expected, atol=1e-4)  # it listens
    alpha_bar = denoiser.schedule.alpha_bar(torch.arange(1000)).float()
    torch.testing.assert_close(alpha_bar, pipeline.scheduler.alphas_cumprod, rtol=1e-5, atol=0)


@torch.no_grad()
def test_a_velocity_is_turned_into_the_noise_that_it_implies(tmp_path):
    """Of a model that knows x0 and the noise; and as diffusers' own sampler has it, of one that knows nothing."""
    schedule = DiscreteSchedule.from_spec(SPEC)
    x0, epsilon, t = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8), torch.tensor([0, 10, 500, 999])
    alpha_bar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    signal, noise = (part[t].reshape(4, 1, 1, 1).float() for part in (alpha_bar.sqrt(), (1 - alpha_bar).sqrt()))

    class Knows(torch.nn.Module):
        def forward(self, x_t, time, encoder_hidden_states):
            velocity = signal * epsilon - noise * x0
            return type("Answer", (), {"sample": velocity})

    found = LatentDenoiser(Knows(), schedule, "v_prediction").predict_noise(signal * x0 + noise * epsilon, t)
    torch.testing.assert_close(found, epsilon, **CLOSE)

    folder = saved(tmp_path / "v", scheduler={"prediction_type": "v_prediction"})
    denoiser, x_t, told = load_denoiser(folder, schedule).eval(), torch.randn(1, 4, 8, 8), torch.randn(1, 12, 16)
    velocity = denoiser.unet(x_t, torch.tensor(300), encoder_hidden_states=told).sample
    sampler = DDIMScheduler(**SCHEDULE, prediction_type="v_prediction", clip_sample=False)
    sampler.set_timesteps(1000)
    implied = sampler.step(velocity, 300, x_t).pred_original_sample
    x0_implied = schedule.predict_x0(x_t, denoiser.predict_noise(x_t, 300, told), 300)
    torch.testing.assert_close(x0_implied, implied, **CLOSE)


@torch.no_grad()
def test_files_as_published_pipelines_have_them_are_read(tmp_path, folder):
    """Weights under the names of older libraries, with a table of positions; a tokenizer of two files."""
    older = saved(tmp_path / "older")
    path = older / "text_encoder" / "model.safetensors"
    state = {f"text_model.{name}": value for name, value in load_file(path).items()}
    save_file(state | {"text_model.embeddings.position_ids": torch.arange(12)[None]}, path)
    vocabulary = json.loads((older / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    (older / "tokenizer" / "tokenizer.json").unlink()
    (older / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    (older / "tokenizer" / "merges.txt").write_text("#version: 0.2\nh a\n")
    new = load_text_encoder(saved(tmp_path / "new")).eval()
    old = load_text_encoder(older).eval()
    assert torch.equal(old.tokens(TEXTS), new.tokens(TEXTS))
    assert torch.equal(old(old.tokens(TEXTS)), new(new.tokens(TEXTS)))

    before = weights_hash(older)
    (older / "tokenizer" / "merges.txt").write_text("#version: 0.2\nh e\n")
    assert weights_hash(older) != before


def test_a_model_that_lacks_weights_is_refused_and_not_given_random_ones(tmp_path):
    folder = saved(tmp_path)
    for part, file, load in (
        ("vae", "diffusion_pytorch_model.safetensors", load_image_encoder),
        ("text_encoder", "model.safetensors", load_text_encoder),
        ("unet", "diffusion_pytorch_model.safetensors", lambda f: load_denoiser(f, DiscreteSchedule.from_spec(SPEC))),
    ):
        path = folder / part / file
        state = load_file(path)
        name = sorted(state)[0]
        save_file({key: value for key, value in state.items() if key != name}, path)
        with pytest.raises(DiffmiaError, match=rf"{part} lacks 1 weights of the \w+ that .* \(first {name}\)"):
            load(folder)
        save_file(state | {name: state[name][:1]}, path)
        with pytest.raises(DiffmiaError, match=rf"{part} cannot be read as \w+ in safetensors"):
            load(folder)


def test_a_pickle_is_not_read(tmp_path):
    folder = saved(tmp_path)
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(DiffmiaError, match="vae cannot be read as AutoencoderKL in safetensors"):
        load_image_encoder(folder)


def test_a_damaged_tokenizer_is_one_sentence(tmp_path, capfd):
    folder = saved(tmp_path)
    capfd.readouterr()
    load_text_encoder(folder)
    assert capfd.readouterr().err == ""  # no progress bar of the library's
    for file in (folder / "tokenizer").iterdir():
        file.write_text("{")
    with pytest.raises(
        DiffmiaError, match=r"cannot read .*tokenizer_config\.json as CLIPTokenizer of transformers: \S"
    ):
        load_text_encoder(folder)
