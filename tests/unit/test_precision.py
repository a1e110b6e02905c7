"""A faster precision: what it changes, what it leaves, and the gate that keeps it from scores it would spoil."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffmia.attacks.quantile import QuantileAttack
from diffmia.attacks.residual import ResidualAttack
from diffmia.attacks.secmi_nns import DifferenceAttack
from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.precision import InPrecision, autocast, tf32
from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.errors import DiffmiaError
from diffmia.models.networks.latent import LatentDenoiser
from diffmia.models.schedule import ScheduleSpec
from diffmia.passes.gate import rank_agreement, rank_agreements
from diffmia.passes.inputs import Inputs, Pixels
from diffmia.passes.residuals import answer
from tests.unit.tiny_pipeline import tiny_pipeline

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
IDS = np.arange(64)
NAIVE = {"naive": (ResidualAttack(family="residual", label="NA", start="gaussian", t=350, norm=2), 350)}
TOLD = {"naive": (NAIVE["naive"][0].model_copy(update={"condition": "caption"}), 350)}
FLAGS = (torch.backends.cuda.matmul, torch.backends.cudnn)


class Scaled(Denoiser):
    """Answers `after * linear(before * x_t) + x_t`, with a linear layer that changes nothing."""

    def __init__(self, before: float, after: float):
        super().__init__()
        self.linear, self.before, self.after = torch.nn.Linear(8, 8, bias=False), before, after
        torch.nn.init.eye_(self.linear.weight)
        self.schedule = DiscreteSchedule.from_spec(ScheduleSpec())

    def predict_noise(self, x_t, t, condition=None):
        return self.after * (self.linear(self.before * x_t) - self.before * x_t) + x_t


def gate(model: Denoiser, precision: str, attacks=NAIVE, inputs: Inputs | None = None) -> float:
    model = model.requires_grad_(False).eval()
    fast = InPrecision(model, precision)
    return rank_agreement(model, fast, precision, answer, attacks, inputs or Pixels(IMAGES), IDS, 20, 3, CPU)


def test_what_goes_in_and_comes_out_is_float32(tiny_unet):
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    exact = tiny_unet.predict_noise(x, 50)
    coarse = InPrecision(tiny_unet, "bfloat16").predict_noise(x, 50)
    assert coarse.dtype == torch.float32
    assert {p.dtype for p in tiny_unet.parameters()} == {torch.float32}
    assert 0 < (coarse - exact).abs().max() < 0.2
    assert torch.equal(InPrecision(tiny_unet, "float32").predict_noise(x, 50), exact)


def test_what_keeps_the_ranks_is_let_through():
    assert 0.999 <= gate(Scaled(1.0, 1e-3), "bfloat16") <= 1.0


def test_what_spoils_them_is_refused():
    with pytest.raises(DiffmiaError, match=r"in bfloat16 attack 'naive' \(base\) ranks 64 samples unlike in float32"):
        gate(Scaled(1.0, 100.0), "bfloat16")  # the rounding of bfloat16, a hundredfold


class SpoiledWhere(Scaled):
    """Spoils the queries of which `where(t, number of the query)` says so, and no others."""

    def __init__(self, where):
        super().__init__(1.0, 1.0)
        self.where, self.asked = where, 0

    def predict_noise(self, x_t, t, condition=None):
        self.after = 100.0 if self.where(t, self.asked) else 1e-3
        self.asked += 1
        return super().predict_noise(x_t, t)


@pytest.mark.parametrize(
    ("where", "refused"),
    [
        (lambda t, asked: t == 999, r"'late' \(base\)"),
        (lambda t, asked: t == 999 and asked % 2, r"'late' \(oms\)"),  # the second of the two queries of a batch
        (lambda t, asked: t == 350 and asked % 2, r"'naive' \(oms\)"),
    ],
)
def test_every_attack_and_variant_is_compared(where, refused):
    late = ResidualAttack(family="residual", label="Late", start="gaussian", t=999, norm=2)
    with pytest.raises(DiffmiaError, match=refused):
        gate(SpoiledWhere(where), "bfloat16", NAIVE | {"late": (late, 999)})


@pytest.mark.parametrize(
    ("kind", "settings"), [(QuantileAttack, {"family": "quantile"}), (DifferenceAttack, {"family": "secmi_nns"})]
)
def test_what_attacks_learn_from_is_compared_too(kind, settings):
    learns = {"it": (kind(**settings, label="Learns", t=100, k=10), 100)}
    assert 0.999 <= gate(Scaled(1.0, 1e-3), "bfloat16", learns) <= 1.0
    with pytest.raises(DiffmiaError, match=r"attack 'it' \(base\)"):
        gate(Scaled(1.0, 100.0), "bfloat16", learns)


class Unranked(ResidualAttack):
    """An attack that says nothing of what must keep its order."""

    def ranking(self, answers, t):
        return []


@pytest.mark.parametrize(
    "attacks", [{}, {"it": (Unranked(**NAIVE["naive"][0].model_dump()), 350)}], ids=["none", "unranked"]
)
def test_where_nothing_can_be_compared_nothing_is_let_through(attacks):
    with pytest.raises(DiffmiaError, match=r"no attack reads the residuals .* whether bfloat16 ranks"):
        gate(Scaled(1.0, 1e-3), "bfloat16", attacks)


def test_flags_are_what_they_were():
    def fail():
        assert all(flag.allow_tf32 for flag in FLAGS)
        raise ValueError("inside")

    before = [flag.allow_tf32 for flag in FLAGS]
    with pytest.raises(ValueError, match="inside"), tf32("tf32"):
        fail()
    with tf32("tf32"), tf32("float32"):
        assert not any(flag.allow_tf32 for flag in FLAGS)
    assert [flag.allow_tf32 for flag in FLAGS] == before


def test_only_half_precisions_are_cast():
    one = torch.ones(2, 2)
    for precision, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        with autocast(precision, CPU):
            assert (one @ one).dtype == dtype


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_text_to_image_model_is_asked_in_it_about_latents_and_told_texts(precision, prediction):
    """Its answers, and the noise that its velocity implies, are float32 and rank samples as in float32."""
    schedule = DiscreteSchedule.from_spec(ScheduleSpec(kind="scaled_linear", beta_start=0.00085, beta_end=0.012))
    model = LatentDenoiser(tiny_pipeline().unet, schedule, prediction).requires_grad_(False).eval()
    latents, texts = (
        torch.randn(64, *shape, generator=torch.Generator().manual_seed(0)) for shape in ((4, 8, 8), (12, 16))
    )

    class Given(Inputs):
        def x0(self, ids):
            return latents[ids]

        def told(self, condition, ids):
            return texts[ids]

    assert 0.999 <= gate(model, precision, TOLD, Given()) <= 1
    exact, coarse = (one.predict_noise(latents, 350, texts) for one in (model, InPrecision(model, precision)))
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).abs().max() < 0.05


def test_what_is_compared_is_ranks():
    """Scores that one exponential makes of the others."""
    exact = {f"gaussian.t350:0-{j}:l2": np.random.default_rng(j).normal(size=50) for j in (1, 2)}
    coarse = {name: np.exp(5 * values) for name, values in exact.items()}
    assert list(rank_agreements(NAIVE, exact, coarse).values()) == pytest.approx([1.0, 1.0])
