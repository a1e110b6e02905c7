"""A latent diffusion target that is trained here: its autoencoder, what it is told, its folder, and exact resume."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from pydantic import ValidationError
from safetensors.torch import load_file

import diffmia.training.latent_data as latent_training_data
from diffmia.encoding.embeddings import embed_captions
from diffmia.errors import DiffmiaError
from diffmia.models.latent_diffusion import AutoencoderSpec, LatentDiffusion
from diffmia.targets import checkpoint_folder, load_target
from diffmia.training.autoencoder import fit_autoencoder, latents_of
from diffmia.training.latent_data import CaptionedLatents
from diffmia.training.stage import train_target
from diffmia.training.trainer import Trainer

CPU = torch.device("cpu")
N = 40
MEMBERS, NON_MEMBERS, AUXILIARY = range(0, 20, 2), range(1, 20, 2), range(20, 36)
SPLIT = {"split_hash": "s", "dataset_hash": "d", "shape": [1, 16, 16], "seed": 7, "dataset": "toy"}
SPLIT |= {"member": [*MEMBERS], "non_member": [*NON_MEMBERS], "auxiliary": [*AUXILIARY]}
DIGITS = ("zero", "one", "two", "three")
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 1, 16, 16), dtype=np.uint8)
SETTINGS = {
    "family": "latent_diffusion",
    "split": "toy",
    "autoencoder": {"channels": [4, 8], "norm_groups": 4, "epochs": 2, "batch_size": 8},
    "text": {"words": ["a", "handwritten", *DIGITS], "tokens": 8, "width": 16},
    "model": {"channels": [8, 16], "attention": [False, True], "layers_per_block": 1, "norm_groups": 4},
    "training": {"epochs": 3, "batch_size": 4, "seconds_between_saves": 0, "checkpoint_epochs": [0, 2]},
}
VAE, UNET, TEXT = (
    f"{part}.safetensors"
    for part in ("vae/diffusion_pytorch_model", "unet/diffusion_pytorch_model", "text_encoder/model")
)


class Stage:
    """`train_target` on files in a folder."""

    def __init__(self, folder, **settings):
        self.folder, self.target = folder, folder / "target"
        self.spec = LatentDiffusion.model_validate(SETTINGS | settings)
        self.write(IMAGES)

    def write(self, images, captions=None, **split):
        np.save(self.folder / "images.npy", images)
        captions = captions or [f"a handwritten {DIGITS[i % 4]}" for i in range(N)]
        table = {"sample_id": range(N), "caption": captions}
        pd.DataFrame(table).to_parquet(self.folder / "samples.parquet")
        (self.folder / "split.json").write_text(json.dumps(SPLIT | split))

    def train(self, seed=5):
        files = (self.folder / name for name in ("images.npy", "split.json", "target"))
        return train_target(self.spec, "job", seed, *files, CPU, samples=self.folder / "samples.parquet")

    def load(self, **changes):
        return load_target(self.spec.model_copy(update=changes), self.target, SPLIT, CPU)[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained target, not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stage = Stage(folder)
        stage.facts = stage.train()
    return stage


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Stage(tmp_path)


class Killed(Exception):
    pass


def kill(*_):
    raise Killed


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in (VAE, UNET, TEXT)}


@torch.no_grad()
@pytest.mark.parametrize("epoch", [None, 0, 2])
def test_every_folder_of_a_target_opens_in_plain_diffusers(trained, epoch):
    folder = trained.target if epoch is None else checkpoint_folder(trained.target, epoch)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
    told = pipeline.encode_prompt(["a handwritten two"], CPU, 1, do_classifier_free_guidance=False)[0]
    latents, t = torch.randn(1, 4, 8, 8), torch.tensor(350)
    expected = pipeline.unet(latents, t, encoder_hidden_states=told).sample
    denoiser = trained.load(at_epoch=epoch)
    torch.testing.assert_close(denoiser.predict_noise(latents, 350, told), expected, rtol=0, atol=1e-5)
    alpha_bar = denoiser.schedule.alpha_bar(torch.arange(1000)).float()
    torch.testing.assert_close(alpha_bar, pipeline.scheduler.alphas_cumprod, rtol=1e-5, atol=0)


def test_the_unet_and_the_text_encoder_are_trained_and_the_autoencoder_is_not(trained):
    untrained, last = (bytes_of(folder) for folder in (checkpoint_folder(trained.target, 0), trained.target))
    assert untrained[VAE] == last[VAE]
    assert untrained[UNET] != last[UNET]
    before, after = (load_file(folder / TEXT) for folder in (checkpoint_folder(trained.target, 0), trained.target))
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert trained.facts["steps"] == 9


def test_a_checkpoint_is_told_what_its_own_text_encoder_makes_of_captions(trained, tmp_path):
    def embedded(epoch):
        spec = trained.spec.model_copy(update={"at_epoch": epoch})
        files = trained.target, trained.folder / "samples.parquet", None, trained.folder / "split.json"
        embed_captions(spec, "caption", *files, tmp_path / "e.npy", tmp_path / "i.npy", CPU)
        return np.load(tmp_path / "e.npy")

    assert not np.allclose(embedded(0), embedded(None))


def test_latents_of_auxiliary_images_have_unit_scale(trained):
    encoder = trained.spec.load_image_encoder(trained.target)
    latents = latents_of(encoder, IMAGES[[*AUXILIARY]], CPU)
    assert latents.std().item() == pytest.approx(1, abs=1e-4)
    assert latents.shape == (16, 4, 8, 8)


def test_the_autoencoder_is_that_of_the_auxiliary_images_alone(trained, stage):
    """Other members and non-members, another seed, and a null target that is trained on half of them: the same one."""
    images = IMAGES.copy()
    images[[*MEMBERS, *NON_MEMBERS]] = 255 - images[[*MEMBERS, *NON_MEMBERS]]
    stage.write(images)
    stage.spec = stage.spec.model_copy(update={"auxiliary_half": 0})
    stage.train(seed=6)
    null, own = bytes_of(stage.target), bytes_of(trained.target)
    assert null[VAE] == own[VAE]
    assert null[UNET] != own[UNET]
    images = IMAGES.copy()
    images[AUXILIARY[0]] = 255 - images[AUXILIARY[0]]
    stage.write(images)
    shutil.rmtree(stage.folder / "results")
    stage.train()
    assert bytes_of(stage.target)[VAE] != own[VAE]


def test_a_target_is_trained_on_latents_and_captions_of_its_members(trained, stage, monkeypatch):
    given = []
    monkeypatch.setattr(Trainer, "run", lambda self, *_: given.append(self.data) or kill())
    with pytest.raises(Killed):
        stage.train()
    [data] = given
    encoder = trained.spec.load_image_encoder(trained.target)
    for side, ids in ((data.members, MEMBERS), (data.auxiliary, AUXILIARY)):
        rows = np.arange(len(side))
        latents, tokens = side.batch(rows)
        torch.testing.assert_close(latents, latents_of(encoder, IMAGES[[*ids]], CPU), rtol=0, atol=1e-6)
        said = stage.spec.text.tokenizer().batch_decode(tokens, skip_special_tokens=True)
        assert said == [f"a handwritten {DIGITS[i % 4]}" for i in ids]


def test_a_tenth_of_the_captions_gives_way_to_the_empty_prompt_each_epoch_others():
    tokens, empty = torch.arange(5000)[:, None].repeat(1, 3) + 1, torch.zeros(3, dtype=torch.int64)
    latents = torch.randn(5000, 4, 2, 2)
    samples, rows = CaptionedLatents(latents, tokens, empty, 0.1), np.arange(5000)
    seen = []
    for epoch in (1, 2):
        x0, told = samples.augmented(rows, torch.Generator().manual_seed(epoch))
        assert torch.equal(x0, latents)
        dropped = (told == 0).all(1)
        assert torch.equal(told[~dropped], tokens[~dropped])
        assert dropped.sum().item() == pytest.approx(500, abs=4 * np.sqrt(450))
        seen.append(dropped)
    assert not torch.equal(*seen)
    assert torch.equal(samples.batch(rows)[1], tokens)  # held out, as they are


def test_captions_and_their_absence_reach_the_network(stage, monkeypatch):
    told = []
    monkeypatch.setattr(
        latent_training_data.CaptionedLatents, "augmented", lambda self, rows, _: told.append(rows) or self.batch(rows)
    )
    stage.train()
    without = bytes_of(stage.target)
    monkeypatch.undo()
    monkeypatch.chdir(stage.folder)
    shutil.rmtree(stage.folder / "results")
    stage.train()
    assert told
    assert bytes_of(stage.target)[TEXT] != without[TEXT]


@pytest.mark.parametrize("place", ["autoencoder fitted", "epoch 2 kept"])
def test_a_killed_training_ends_with_the_same_bits_and_fits_no_autoencoder_twice(trained, stage, monkeypatch, place):
    with monkeypatch.context() as patch:
        if place == "autoencoder fitted":
            patch.setattr(latent_training_data, "texts_of", kill)
        else:
            patch.setattr(LatentDiffusion, "save", lambda self, model, folder: kill() if "2" in folder.name else None)
        with pytest.raises(Killed):
            stage.train()
    monkeypatch.setattr(latent_training_data, "fit_autoencoder", kill)
    if place != "autoencoder fitted":  # its first checkpoint was saved by the stub
        [resume] = stage.folder.glob("results/_resume/*/*/*")
        shutil.rmtree(checkpoint_folder(resume, 0))
        shutil.copytree(checkpoint_folder(trained.target, 0), checkpoint_folder(resume, 0))
    stage.train()
    assert bytes_of(stage.target) == bytes_of(trained.target)
    for epoch in (0, 2):
        assert bytes_of(checkpoint_folder(stage.target, epoch)) == bytes_of(checkpoint_folder(trained.target, epoch))
    assert (stage.target / "training_loss.csv").read_bytes() == (trained.target / "training_loss.csv").read_bytes()


def test_an_autoencoder_that_was_killed_leaves_nothing(stage, monkeypatch):
    from diffusers import AutoencoderKL

    monkeypatch.setattr(AutoencoderKL, "save_pretrained", kill)
    with pytest.raises(Killed):
        stage.train()
    assert not list(stage.folder.glob("results/_resume/*/*/*/vae"))


def test_an_autoencoder_learns_an_easy_problem(tmp_path):
    bars = np.zeros((32, 1, 8, 8), np.uint8)
    bars[::2, :, :4] = 255
    errors = []
    for epochs in (1, 40):
        spec = AutoencoderSpec(channels=(4, 8), norm_groups=4, epochs=epochs, batch_size=16, learning_rate=1e-2)
        fit_autoencoder(spec, bars, 0, tmp_path / f"{epochs}" / "vae", CPU)
        encoder = LatentDiffusion.model_validate(SETTINGS).load_image_encoder(tmp_path / f"{epochs}")
        latents = latents_of(encoder, bars, CPU)
        with torch.no_grad():
            made = encoder.vae.decode(latents / encoder.vae.config.scaling_factor).sample
        errors.append((made - (torch.from_numpy(bars).float() / 127.5 - 1)).square().mean().item())
    assert errors[1] < 0.1 * errors[0]


def test_an_autoencoder_that_diverges_ends_training(tmp_path):
    spec = AutoencoderSpec(channels=(4,), norm_groups=4, epochs=50, batch_size=16, learning_rate=1e6)
    with pytest.raises(DiffmiaError, match=r"autoencoder's loss is (nan|inf) in epoch \d+; lower autoencoder.learning"):
        fit_autoencoder(spec, IMAGES, 0, tmp_path / "vae", CPU)
    assert not (tmp_path / "vae").exists()


def test_a_split_without_auxiliary_samples_or_captions_is_refused(stage):
    stage.write(IMAGES, auxiliary=[])
    with pytest.raises(
        DiffmiaError, match="autoencoder of split 'toy' is fitted on auxiliary samples, of which it has"
    ):
        stage.train()
    stage.write(IMAGES, captions=[None] * N)
    with pytest.raises(DiffmiaError, match=r"sample 0 of .*samples.parquet has no caption"):
        stage.train()
    assert not stage.target.exists()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([1, 16, 17], "images of 16x17 cannot be divided by the 2 of the target's autoencoder"),
        ([1, 18, 18], "images of 9x9 cannot be halved 1 times"),
    ],
)
def test_images_that_cannot_be_halved_are_refused(stage, shape, said):
    with pytest.raises(DiffmiaError, match=said):
        stage.spec.build(shape)


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("training", {"horizontal_flip": True}, "horizontal_flip"),
        ("training", {"caption_dropout": 1.5}, "caption_dropout"),
        ("autoencoder", {"channels": [6]}, r"norm_groups 4 does not divide channels \[6\]"),
        ("text", {"words": ["Two words"]}, "words"),
        ("text", {"width": 15}, "width 15 is no multiple of the 2 heads"),
        ("model", {"heads": 3}, r"channels \[16\] are no multiples of the 3 heads"),
    ],
)
def test_settings_that_cannot_be_are_refused(section, changes, said):
    with pytest.raises(ValidationError, match=said):
        LatentDiffusion.model_validate(SETTINGS | {section: SETTINGS[section] | changes})
