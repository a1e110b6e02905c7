"""A compiled model: the same answers, from kernels that are made for few sizes; and where it is asked."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch._inductor.config
from torch import nn

from diffmia.denoisers.compiled import Compiled
from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.precision import InPrecision, layout
from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.errors import DiffmiaError
from diffmia.models.base import Arithmetic, TrainingSpec
from diffmia.models.schedule import ScheduleSpec
from diffmia.passes.stage import in_arithmetic
from diffmia.training.data import PixelSet, TrainingData
from diffmia.training.trainer import Trainer

CPU = torch.device("cpu")


class Net(nn.Module):
    """A convolution and what it is told, with a dropout that tells training from asking."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.out, self.dropout = nn.Conv2d(4, 1, 1), nn.Dropout(0.5)

    def forward(self, x, time, told):
        h = torch.nn.functional.silu(self.norm(self.convolution(x))) + time.reshape(-1, 1, 1, 1) / 1000
        return self.out(self.dropout(h if told is None else h + told[:, :, None, None]))


class Model(Denoiser):
    def __init__(self):
        super().__init__()
        self.net, self.schedule = Net(), DiscreteSchedule.from_spec(ScheduleSpec())

    def predict_noise(self, x_t, t, condition=None):
        return 2 * self.net(x_t, self.schedule.time(t), condition)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model().eval()


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Rows of each call of what was compiled, where nothing is."""
    rows = []

    def pretend(part: nn.Module, **how) -> nn.Module:
        twin = copy.copy(part)
        twin._forward_pre_hooks = {0: lambda _, inputs: rows.append(len(inputs[0]))}
        return twin

    monkeypatch.setattr(torch, "compile", pretend)
    return rows


def test_answers_and_gradients_are_the_models(model):
    """Compiled in earnest, which is why these are one test."""
    fast, x = Compiled(model), torch.randn(4, 1, 8, 8)
    told = torch.randn(4, 4)
    for t, condition in ((100, None), (torch.tensor([1, 20, 300, 999]), told)):
        torch.testing.assert_close(fast.predict_noise(x, t, condition), model.predict_noise(x, t, condition))
    gradients = []
    for asked in (model, fast):
        model.zero_grad()
        asked.predict_noise(x, torch.tensor([1, 20, 300, 999]), told).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)
    with torch.no_grad():  # its weights are the model's, also when they change
        model.net.out.weight.mul_(3)
    torch.testing.assert_close(fast.predict_noise(x, 100), model.predict_noise(x, 100))
    assert set(model.state_dict()) == {
        *(f"net.{layer}.{kind}" for layer in ("convolution", "norm", "out") for kind in ("weight", "bias"))
    }


def test_without_a_compiler_it_says_what_to_install(model):
    torch._dynamo.reset()  # kernels of other tests
    config = torch._inductor.config
    without = {"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}
    with config.patch(without), pytest.raises(DiffmiaError, match=r"No working C\+\+ compiler .*; it needs a C\+\+"):
        Compiled(model).predict_noise(torch.zeros(4, 1, 8, 8), 100)


@pytest.mark.parametrize(("rows", "filled"), [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (9, 16)])
def test_rows_are_filled_up_to_a_power_of_two(rows, filled, model, asked):
    fast, x, told = Compiled(model), torch.randn(rows, 1, 8, 8), torch.randn(rows, 4)
    for t in (7, torch.arange(rows)):
        torch.testing.assert_close(fast.predict_noise(x, t, told), model.predict_noise(x, t, told))
    assert asked == [filled, filled]


def test_a_denoiser_within_another_is_compiled_too(model, asked):
    """As the U-Net of a text-to-image model is while its text encoder is trained with it."""

    class Around(Denoiser):
        def __init__(self):
            super().__init__()
            self.inner, self.text, self.schedule = model, nn.Embedding(5, 4), model.schedule

        def predict_noise(self, x_t, t, condition=None):
            return self.inner.predict_noise(x_t, t, self.text(condition))

    around, x, tokens = Around(), torch.randn(3, 1, 8, 8), torch.tensor([1, 4, 0])
    torch.testing.assert_close(Compiled(around).predict_noise(x, 7, tokens), around.predict_noise(x, 7, tokens))
    assert asked == [4, 4]  # the text encoder, and the network


def test_an_answer_is_not_overwritten_by_the_next(model, monkeypatch):
    """As a CUDA graph would."""

    class OnePlace(nn.Module):
        place = torch.empty(4, 1, 8, 8)

        def __init__(self, part):
            super().__init__()
            self.part = part

        def forward(self, *inputs):
            return self.place.copy_(self.part(*inputs))

    monkeypatch.setattr(torch, "compile", lambda part, **how: OnePlace(part))

    class Plain(Model):
        def predict_noise(self, x_t, t, condition=None):
            return self.net(x_t, self.schedule.time(t), condition)

    fast = Compiled(Plain().eval().requires_grad_(False))
    first = fast.predict_noise(torch.ones(4, 1, 8, 8), 100)
    before = first.clone()
    fast.predict_noise(torch.zeros(4, 1, 8, 8), 100)
    assert torch.equal(first, before)


def test_a_training_compiles_whole_batches_alone(model, asked):
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    data = TrainingData(PixelSet(images), PixelSet(images[:4]))
    losses = {}
    for compiled in (False, True):
        spec = TrainingSpec(epochs=2, batch_size=8, compile=compiled)
        trainer = Trainer(copy.deepcopy(model), spec, data, 0, CPU)
        losses[compiled] = [trainer.train_epoch() for _ in range(2)]
        trainer._held_out()
        assert asked == ([8, 8] * 2 if compiled else [])  # not the four images that are left, nor the held-out ones
    assert losses[True] == losses[False]


@pytest.mark.parametrize(
    ("settings", "name", "kinds"),
    [
        ({}, "float32", [Model]),
        ({"compile": True}, "float32, compiled", [Compiled, Model]),
        ({"precision": "bfloat16"}, "bfloat16", [InPrecision, Model]),
        ({"precision": "bfloat16", "compile": True}, "bfloat16, compiled", [InPrecision, Compiled, Model]),
    ],
)
def test_a_model_is_asked_in_an_arithmetic(settings, name, kinds, model):
    arithmetic = Arithmetic(**settings)
    assert str(arithmetic) == name
    one = in_arithmetic(model, arithmetic, CPU)
    found = [type(one)]
    while one is not model:
        one = one.denoiser
        found.append(type(one))
    assert found == kinds


def test_only_the_fast_units_of_a_card_want_channels_last():
    gpu = torch.device("cuda", 0)
    last = {
        (device, precision, compiled)
        for device in (CPU, gpu)
        for precision in ("float32", "tf32", "bfloat16", "float16")
        for compiled in (False, True)
        if layout(device, precision, compiled) == torch.channels_last
    }
    assert {of for of in last if of[0] == gpu} == {(gpu, of, False) for of in ("tf32", "bfloat16", "float16")}
    assert len(last) == 8 + 3
