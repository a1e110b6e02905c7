"""Training of a target: exact resume, the moving average, and what is left on disk."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDPMPipeline

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.errors import DiffmiaError
from diffmia.models.base import TrainingSpec
from diffmia.models.schedule import ScheduleSpec
from diffmia.running.failures import OutOfMemory
from diffmia.splits import roles_of
from diffmia.targets import load_target
from diffmia.training.data import PixelSet, TrainingData
from diffmia.training.stage import train_target
from diffmia.training.trainer import Trainer

CPU = torch.device("cpu")
MEMBERS = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
AUXILIARY = np.random.default_rng(1).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
DATA = MEMBERS, AUXILIARY
SETTINGS = {
    "epochs": 4,
    "batch_size": 8,  # three steps an epoch, the last of four images
    "learning_rate": 1e-2,
    "warmup_steps": 5,
    "ema_decay": 0.3,
    "horizontal_flip": True,
    "seconds_between_saves": 0,
}


def trainer_of(model: Denoiser, spec: TrainingSpec, data: tuple[np.ndarray, np.ndarray] = DATA) -> Trainer:
    """Trains `model` on images of members, beside auxiliary ones."""
    return Trainer(model, spec, TrainingData(*(PixelSet(images, spec.horizontal_flip) for images in data)), 5, CPU)


def make_trainer(tiny_target, weights_seed: int = 0, data=DATA, **settings) -> Trainer:
    torch.manual_seed(weights_seed)
    return trainer_of(tiny_target.build((1, 8, 8)), TrainingSpec(**(SETTINGS | settings)), data)


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def keep_nothing(epoch: int) -> None:
    pass


def test_a_faster_precision_is_inside_the_model_alone(tiny_target, tmp_path):
    exact, faster = make_trainer(tiny_target), make_trainer(tiny_target, precision="bfloat16")
    for name, trainer in (("exact", exact), ("faster", faster)):
        trainer.run(tmp_path / f"{name}.pt", keep_nothing)
    assert {p.dtype for p in faster.denoiser.parameters()} == {torch.float32}
    losses = [[of["loss"] for of in trainer.losses] for trainer in (exact, faster)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)


class Stub(Denoiser):
    """A model of one weight, which adds nothing to `answer(x_t, t)`."""

    def __init__(self, answer, **schedule):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.answer, self.schedule = answer, DiscreteSchedule.from_spec(ScheduleSpec(**schedule))

    def predict_noise(self, x_t, t, condition=None):
        return self.answer(x_t, t) + 0 * self.weight


def train_stub(answer, tmp_path: Path, data=DATA, schedule: dict | None = None, **settings) -> Trainer:
    trainer = trainer_of(Stub(answer, **(schedule or {})), TrainingSpec(**(SETTINGS | settings)), data)
    trainer.run(tmp_path / "stub.pt", keep_nothing)
    return trainer


def test_a_model_that_knows_the_image_has_no_loss(tmp_path):
    grey = (np.full((16, 1, 8, 8), 204, np.uint8), AUXILIARY[:0])  # 204 is 0.6 in [-1, 1]
    alpha_bar = torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))

    def knows(x_t, t):
        at = alpha_bar[t].reshape(-1, 1, 1, 1)
        return ((x_t - at.sqrt() * 0.6) / (1 - at).sqrt()).float()

    losses = train_stub(knows, tmp_path, grey).losses
    assert max(row["loss"] for row in losses) < 1e-6


def test_a_model_that_says_nothing_has_the_variance_of_the_noise(tmp_path):
    losses = train_stub(lambda x_t, t: torch.zeros_like(x_t), tmp_path, epochs=20).losses
    assert np.mean([row["loss"] for row in losses]) == pytest.approx(1, abs=4 * np.sqrt(2 / (20 * MEMBERS.size)))


def test_all_timesteps_are_drawn_alike(tmp_path):
    seen = []

    def listens(x_t, t):
        seen.append(t)
        return torch.zeros_like(x_t)

    train_stub(listens, tmp_path, (MEMBERS, AUXILIARY[:0]), {"timesteps": 4}, epochs=50)
    counts = torch.bincount(torch.cat(seen), minlength=4)
    assert counts.sum() == 50 * 20
    assert ((counts - 250).abs() < 4 * np.sqrt(250)).all()


def test_loss_falls_on_an_easy_problem(tiny_target, tmp_path):
    bars = np.zeros((32, 1, 8, 8), np.uint8)
    bars[:, :, :4] = 255
    trainer = make_trainer(tiny_target, data=(bars, bars[:8]), epochs=60, batch_size=16)
    trainer.run(tmp_path / "state.pt", keep_nothing)
    loss = [row["loss"] for row in trainer.losses]
    assert np.mean(loss[-10:]) < 0.3 * loss[0]
    held_out = [row for row in trainer.losses if "member_loss" in row]
    assert held_out[-1]["epoch"] == 60
    assert held_out[-1]["member_loss"] < 0.5 * held_out[0]["member_loss"]


def test_held_out_loss_is_that_of_the_moving_average(tmp_path):
    """Of a model that always answers its one weight, the loss is 1 + weight^2 but for the noise of the draw."""

    class Constant(Stub):
        def predict_noise(self, x_t, t, condition=None):
            return 0 * x_t + self.weight

    blank, raw = np.zeros((512, 1, 8, 8), np.uint8), []
    settings = SETTINGS | {
        "epochs": 1,
        "batch_size": 256,
        "warmup_steps": 0,
        "learning_rate": 3.0,
        "gradient_clip": None,
    }
    trainer = trainer_of(Constant(None), TrainingSpec(**settings), (blank, blank))
    trainer.optimizer.register_step_post_hook(lambda *_: raw.append(trainer.denoiser.weight.item()))
    trainer.run(tmp_path / "state.pt", keep_nothing)
    average = trainer.denoiser.weight.item()
    assert abs(average**2 - raw[-1] ** 2) > 0.2
    (row,) = trainer.losses
    assert row["loss"] == pytest.approx(1 + (1**2 + raw[0] ** 2) / 2, abs=0.06)
    assert row["member_loss"] == row["auxiliary_loss"] == pytest.approx(1 + average**2, abs=0.06)


def test_nan_ends_training_with_the_step(tmp_path):
    calls = []

    def breaks(x_t, t):
        calls.append(t)
        return x_t * (torch.nan if len(calls) == 5 else 1)

    with pytest.raises(DiffmiaError, match=r"loss is nan at step 5 \(epoch 2\)"):
        train_stub(breaks, tmp_path, (MEMBERS, AUXILIARY[:0]))


@pytest.mark.parametrize("flips", [False, True])
def test_flips_mirror_left_and_right_half_of_the_time(flips, tmp_path):
    seen = []

    def listens(x_t, t):
        seen.append(x_t)
        return torch.zeros_like(x_t)

    barely_noisy = {"timesteps": 1, "beta_start": 1e-9, "beta_end": 1e-9}
    data = (MEMBERS, AUXILIARY[:0])
    train_stub(listens, tmp_path, data, barely_noisy, epochs=20, horizontal_flip=flips)
    members = torch.from_numpy(MEMBERS).float() / 127.5 - 1

    def is_member(x):
        return (x[:, None] - members).abs().amax((2, 3, 4)) < 1e-2

    epochs = torch.cat(seen).split(20)
    for x in epochs:
        assert ((is_member(x) | is_member(x.flip(-1))).sum(0) == 1).all()  # each member once an epoch
    mirrored = sum(is_member(x.flip(-1)).sum().item() for x in epochs)
    assert mirrored == (pytest.approx(200, abs=40) if flips else 0)
    first, second = (is_member(x) | is_member(x.flip(-1)) for x in epochs[:2])
    assert not torch.equal(first, second)  # in another order


def test_learning_rate_warms_up_linearly(tiny_target, tmp_path):
    trainer, rates = make_trainer(tiny_target, epochs=3), []
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.run(tmp_path / "state.pt", keep_nothing)
    assert rates == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01, 0.01, 0.01, 0.01, 0.01])


@pytest.mark.parametrize(("clip", "expected"), [(None, False), (0.01, True)])
def test_gradients_are_clipped_to_their_norm(clip, expected, tiny_target, tmp_path):
    trainer, norms = make_trainer(tiny_target, epochs=1, gradient_clip=clip), []

    def note(*_):
        norms.append(torch.cat([p.grad.flatten() for p in trainer.parameters]).norm().item())

    trainer.optimizer.register_step_pre_hook(note)
    trainer.run(tmp_path / "state.pt", keep_nothing)
    assert (norms == pytest.approx([0.01] * 3, rel=1e-3)) == expected
    assert min(norms) > 0.009


def test_weights_are_averaged_by_the_recursion(tiny_target, tmp_path):
    """Step n keeps (1 + n) / (10 + n) of the average, at most `ema_decay`, and nothing at n = 0: diffusers' ramp."""
    trainer, raw = make_trainer(tiny_target), []
    trainer.optimizer.register_step_post_hook(lambda *_: raw.append(weights(trainer.denoiser)))
    trainer.run(tmp_path / "state.pt", keep_nothing)
    assert len(raw) == 12
    average = raw[0]
    for n, step in enumerate(raw[1:], start=1):
        keep = min((1 + n) / (10 + n), 0.3)
        average = [keep * a + (1 - keep) * w for a, w in zip(average, step, strict=True)]
    assert keep == 0.3
    torch.testing.assert_close(weights(trainer.denoiser), average, rtol=1e-5, atol=1e-7)
    assert not equal(average, raw[-1])


def test_checkpoints_hold_the_average_and_leave_training_as_it_was(tiny_target, tmp_path):
    plain = make_trainer(tiny_target, data=(MEMBERS, AUXILIARY[:0]))  # no held-out loss either
    plain.run(tmp_path / "plain.pt", keep_nothing)
    kept = {}
    trainer = make_trainer(tiny_target, checkpoint_epochs=[2, 4])
    trainer.run(tmp_path / "state.pt", lambda epoch: kept.update({epoch: weights(trainer.denoiser)}))
    half = make_trainer(tiny_target, epochs=2)
    half.run(tmp_path / "half.pt", keep_nothing)
    assert list(kept) == [2, 4]
    assert equal(kept[2], weights(half.denoiser))  # which a finished training leaves in the model
    assert equal(kept[4], weights(plain.denoiser))
    assert equal(weights(trainer.denoiser), weights(plain.denoiser))


class Killed(Exception):
    pass


def test_a_killed_training_ends_with_the_same_bits(tiny_target, tmp_path):
    whole = make_trainer(tiny_target, checkpoint_epochs=[3])
    whole.run(tmp_path / "whole.pt", keep_nothing)

    def kill(epoch: int) -> None:
        raise Killed

    with pytest.raises(Killed):  # in epoch 3, after the state of epoch 2 was saved
        make_trainer(tiny_target, checkpoint_epochs=[3]).run(tmp_path / "state.pt", kill)
    torch.rand(7)  # whatever else draws
    resumed, kept = make_trainer(tiny_target, weights_seed=99, checkpoint_epochs=[3]), []
    resumed.run(tmp_path / "state.pt", kept.append)
    assert kept == [3]
    assert resumed.losses == whole.losses
    assert [row["epoch"] for row in resumed.losses] == [1, 2, 3, 4]
    assert equal(weights(resumed.denoiser), weights(whole.denoiser))
    again = make_trainer(tiny_target, weights_seed=99)  # killed after its last epoch
    again.run(tmp_path / "state.pt", keep_nothing)
    assert equal(weights(again.denoiser), weights(whole.denoiser))


@pytest.mark.parametrize("change", [{"horizontal_flip": False}, {"dropout": 0.0}])
def test_flips_and_dropout_are_at_work_above(change, tiny_target, tmp_path):
    with_both = make_trainer(tiny_target)
    with_both.run(tmp_path / "both.pt", keep_nothing)
    model = tiny_target.model.model_copy(update={"dropout": change.get("dropout", 0.1)})
    settings = {key: value for key, value in change.items() if key != "dropout"}
    without = make_trainer(tiny_target.model_copy(update={"model": model}), **settings)
    without.run(tmp_path / "without.pt", keep_nothing)
    assert without.losses[0]["loss"] != with_both.losses[0]["loss"]


def test_the_seed_decides_training(tiny_target, tmp_path):
    first, again, other = (make_trainer(tiny_target, epochs=1) for _ in range(3))
    other.seed = 6
    for name, trainer in {"first": first, "again": again, "other": other}.items():
        torch.rand(3)
        trainer.run(tmp_path / name, keep_nothing)
    assert first.losses == again.losses != other.losses


def test_nothing_in_the_saved_state_is_executed(tiny_target, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    torch.save({"epoch": Evil()}, tmp_path / "state.pt")
    with pytest.raises(pickle.UnpicklingError):
        make_trainer(tiny_target).run(tmp_path / "state.pt", keep_nothing)
    assert not (tmp_path / "executed").exists()


class Stage:
    """`train_target` on files in a folder."""

    def __init__(self, folder: Path, spec):
        self.folder, self.target = folder, folder / "target"
        self.spec = spec.model_copy(update={"training": TrainingSpec(**SETTINGS, checkpoint_epochs=[2])})
        self.split = {"split_hash": "s", "dataset_hash": "d", "shape": [1, 8, 8]}
        self.split |= {"member": list(range(0, 40, 2)), "non_member": [1, 3], "auxiliary": list(range(5, 29, 2))}
        np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8))
        (folder / "split.json").write_text(json.dumps(self.split))

    def train(self, job: str = "a") -> dict:
        images, split = self.folder / "images.npy", self.folder / "split.json"
        return train_target(self.spec, job, 5, images, split, self.target, CPU)

    def load(self, **split) -> Denoiser:
        return load_target(self.spec, self.target, self.split | split, CPU)[0]


@pytest.fixture
def stage(tmp_path, monkeypatch, tiny_target) -> Stage:
    monkeypatch.chdir(tmp_path)
    return Stage(tmp_path, tiny_target)


def test_a_target_opens_in_plain_diffusers(stage):
    facts = stage.train()
    denoiser, pipeline = stage.load(), DDPMPipeline.from_pretrained(stage.target, local_files_only=True)
    x_t, t = torch.randn(3, 1, 8, 8), torch.tensor([0, 350, 999])
    with torch.no_grad():
        torch.testing.assert_close(denoiser.predict_noise(x_t, t), pipeline.unet.eval()(x_t, t).sample)
    alpha_bar = denoiser.schedule.alpha_bar(torch.arange(1000)).float()
    torch.testing.assert_close(alpha_bar, pipeline.scheduler.alphas_cumprod, rtol=1e-5, atol=0)
    assert not denoiser.training
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())
    assert facts["parameters"] == pipeline.unet.num_parameters()
    assert facts["steps"] == 12
    assert len(list(stage.folder.glob("results/_resume/*/*/*/state.pt"))) == 1


def test_a_target_is_trained_on_its_members_and_keeps_its_checkpoints(stage):
    stage.train()
    pixels = np.load("images.npy")
    torch.manual_seed(5)
    data = (pixels[0:40:2], pixels[5:29:2])
    trainer = trainer_of(stage.spec.build((1, 8, 8)), stage.spec.training, data)
    kept = []
    trainer.run(Path("state.pt"), lambda epoch: kept.extend(weights(trainer.denoiser)))
    assert equal(weights(stage.load()), weights(trainer.denoiser))
    assert equal(weights(stage.spec.load(stage.target / "checkpoints" / "epoch0002")), kept)
    header, *rows = (stage.target / "training_loss.csv").read_text().splitlines()
    assert header == "epoch,step,loss,member_loss,auxiliary_loss"
    assert [[float(value) for value in row.split(",")] for row in rows] == [
        list(row.values()) for row in trainer.losses
    ]


@pytest.mark.parametrize("resumes", [True, False], ids=["same job", "another job"])
def test_a_killed_target_resumes_if_it_is_the_same_job(resumes, stage, monkeypatch):
    stage.train()
    expected, steps = weights(stage.load()), []
    original = Trainer._update
    monkeypatch.setattr(Trainer, "_update", lambda self, batch: steps.append(self.step) or original(self, batch))

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("diffmia.training.stage._write_losses", kill)  # all but finished
        with pytest.raises(Killed):
            stage.train("b")
    assert equal(weights(stage.load()), expected)  # what stood there still does
    steps.clear()
    stage.train("b" if resumes else "c")
    assert len(steps) == (0 if resumes else 12)
    assert equal(weights(stage.load()), expected)


def test_gradients_of_a_batch_that_does_not_fit_are_those_of_its_parts(tiny_target, tmp_path, monkeypatch, caplog):
    settings = {"batch_size": 7, "ema_decay": 0.0, "gradient_clip": None}  # batches of 7, 7 and 6
    whole, parts = (make_trainer(tiny_target, **settings) for _ in range(2))
    for dropout in (one for of in (whole, parts) for one in of.denoiser.modules() if isinstance(one, torch.nn.Dropout)):
        dropout.p = 0.0  # it draws for each part
    whole.run(tmp_path / "whole.pt", keep_nothing)
    sizes, original = [], Trainer._loss

    def at_most_three(self, denoiser, noised):
        loss = original(self, denoiser, noised)
        if denoiser.training:
            sizes.append(len(noised[0]))
            if len(noised[0]) > 3:  # when memory is full the forward pass of a first part may have been done
                raise torch.OutOfMemoryError("no memory left")
        return loss

    monkeypatch.setattr(Trainer, "_loss", at_most_three)
    parts.run(tmp_path / "parts.pt", keep_nothing)
    assert sizes[:9] == [7, 3, 3, 1, 3, 3, 1, 3, 3]
    assert sizes[9:] == 3 * [3, 3, 1, 3, 3, 1, 3, 3]
    assert caplog.messages.count("out of device memory; going on with 3 samples at a time") == 1
    for one, other in zip(whole.parameters, parts.parameters, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-5)  # of the last batch
    losses = [[of["loss"] for of in trainer.losses] for trainer in (whole, parts)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "said"),
    [("_loss", "what one of the samples takes does not fit in the device"), ("_save", "do not fit in the memory")],
)
def test_a_training_that_does_not_fit_in_memory_says_so(stage, monkeypatch, method, said):
    def too_large(*_):
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(Trainer, method, too_large)
    with pytest.raises(OutOfMemory, match=said):
        stage.train()
    assert not stage.target.exists()


def test_a_finished_training_is_not_repeated_when_its_target_is_removed(stage, monkeypatch):
    stage.train()
    expected = weights(stage.load())
    shutil.rmtree(stage.target)  # as Snakemake does with the outputs of a job that outlived it
    monkeypatch.setattr(Trainer, "train_epoch", None)
    stage.train()
    assert equal(weights(stage.load()), expected)


def test_a_training_keeps_the_state_of_its_last_settings_alone(stage):
    stage.train()
    stage.train("other settings")
    assert len(list(stage.folder.glob("results/_resume/*/*/*"))) == 1


def test_a_target_of_another_split_is_refused(stage):
    stage.train()
    with pytest.raises(DiffmiaError, match="was trained on split s, and it is to be scored against split another"):
        stage.load(split_hash="another")


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "unet/config.json"])
def test_a_target_that_was_changed_is_refused(file, stage):
    stage.train()
    changed = bytearray((stage.target / file).read_bytes())
    changed[-2] ^= 1
    (stage.target / file).write_bytes(changed)
    with pytest.raises(DiffmiaError, match="are not those the target was written with"):
        stage.load()


def test_a_null_target_is_trained_on_its_half_and_on_no_member(tmp_path, monkeypatch, tiny_target):
    monkeypatch.chdir(tmp_path)
    stage = Stage(tmp_path, tiny_target)
    stage.spec = stage.spec.model_copy(update={"auxiliary_half": 0})
    stage.split |= {"seed": 3, "dataset": "toy"}
    (tmp_path / "split.json").write_text(json.dumps(stage.split))
    stage.train()
    pixels, halves = np.load("images.npy"), roles_of(stage.split, 0)
    torch.manual_seed(5)
    data = pixels[halves["trained"]], pixels[halves["auxiliary"]]
    trainer = trainer_of(stage.spec.build((1, 8, 8)), stage.spec.training, data)
    trainer.run(Path("state.pt"), lambda epoch: None)
    assert equal(weights(stage.load()), weights(trainer.denoiser))
    rows = pd.read_csv(stage.target / "training_loss.csv").to_dict("records")
    assert rows[-1] == pytest.approx(trainer.losses[-1])


def test_the_held_out_loss_is_that_of_the_auxiliary_samples(tmp_path):
    """Of a model that knows the one image that members are."""
    grey, alpha_bar = np.full_like(MEMBERS, 204), torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))

    def knows(x_t, t):
        at = alpha_bar[t].reshape(-1, 1, 1, 1)
        return ((x_t - at.sqrt() * 0.6) / (1 - at).sqrt()).float()

    (row,) = train_stub(knows, tmp_path, (grey, MEMBERS), epochs=1).losses
    assert row["member_loss"] < 1e-6 < 0.01 < row["auxiliary_loss"]


@pytest.mark.parametrize(
    ("optimizer", "left"),
    [("adamw", (1 - 1e-2 * 0.1) ** 3), ("adam", 1 - 3e-2)],  # decoupled, or as a gradient
)
def test_weight_decay_is_that_of_the_named_optimiser(optimizer, left, tmp_path):
    """Three steps of a weight that the loss does not move."""
    settings = {"epochs": 1, "warmup_steps": 0, "ema_decay": 0.0, "weight_decay": 0.1, "optimizer": optimizer}
    trainer = train_stub(lambda x_t, t: torch.zeros_like(x_t), tmp_path, (MEMBERS, AUXILIARY[:0]), **settings)
    assert trainer.denoiser.weight.item() == pytest.approx(left, abs=1e-4)


def test_an_epochs_loss_is_the_mean_over_its_samples(tmp_path):
    """Of a model that is wrong by 1 about each sample of the last batch, which has four of the twenty."""
    grey, alpha_bar = np.full_like(MEMBERS, 204), torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))

    def knows(x_t, t):
        at = alpha_bar[t].reshape(-1, 1, 1, 1)
        return ((x_t - at.sqrt() * 0.6) / (1 - at).sqrt()).float() + (len(x_t) == 4)

    (row,) = train_stub(knows, tmp_path, (grey, AUXILIARY[:0]), epochs=1).losses
    assert row["loss"] == pytest.approx(0.2, abs=1e-5)
