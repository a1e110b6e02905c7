"""Noise schedules, against exact products and against diffusers' schedulers."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DDPMScheduler

from diffmia.denoisers.schedules import ContinuousSchedule, DiscreteSchedule, build_schedule
from diffmia.models.schedule import ContinuousScheduleSpec, ScheduleSpec

SPECS = {
    "linear": ScheduleSpec(),
    "scaled_linear": ScheduleSpec(kind="scaled_linear", beta_start=0.00085, beta_end=0.012),
}


@pytest.fixture(params=SPECS)
def spec(request) -> ScheduleSpec:
    return SPECS[request.param]


@pytest.fixture
def schedule(spec) -> DiscreteSchedule:
    return DiscreteSchedule.from_spec(spec)


def settings(spec: ScheduleSpec) -> dict:
    """The same schedule in diffusers' words."""
    return {
        "num_train_timesteps": spec.timesteps,
        "beta_schedule": spec.kind,
        "beta_start": spec.beta_start,
        "beta_end": spec.beta_end,
    }


def images(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(
    ("kind", "t", "expected", "digits"),
    [
        ("linear", 90, 0.913264, 6),
        ("linear", 100, 0.895142, 6),
        ("linear", 110, 0.875629, 6),
        ("linear", 200, 0.656347, 6),
        ("linear", 350, 0.283183, 6),
        ("scaled_linear", 0, 0.9991, 4),
        ("scaled_linear", 100, 0.8942, 4),
        ("scaled_linear", 200, 0.7537, 4),
        ("scaled_linear", 350, 0.5065, 4),
        ("scaled_linear", 500, 0.2763, 4),
    ],
)
def test_alpha_bar_has_its_published_values(kind, t, expected, digits):
    alpha_bar = DiscreteSchedule.from_spec(SPECS[kind]).alpha_bar(t)
    assert alpha_bar.dtype == torch.float64
    assert alpha_bar.item() == pytest.approx(expected, abs=0.5 * 10**-digits)


@pytest.mark.parametrize("t", [0, 1, 350, 999])
def test_alpha_bar_is_the_product_of_one_minus_beta(t, spec, schedule):
    power = 2 if spec.kind == "scaled_linear" else 1
    first, last = spec.beta_start ** (1 / power), spec.beta_end ** (1 / power)
    betas = [(first + (last - first) * s / 999) ** power for s in range(t + 1)]
    assert schedule.alpha_bar(t).item() == pytest.approx(math.prod(1 - beta for beta in betas), rel=1e-12)


def test_alpha_bar_agrees_with_diffusers(spec, schedule):
    theirs = DDPMScheduler(**settings(spec)).alphas_cumprod
    assert len(schedule) == len(theirs) == 1000
    torch.testing.assert_close(schedule.alpha_bar(torch.arange(1000)).float(), theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("t", [0, 100, 350, 999])
def test_add_noise_agrees_with_diffusers(t, spec, schedule):
    x0, epsilon = images(0, torch.float32), images(1, torch.float32)
    theirs = DDPMScheduler(**settings(spec)).add_noise(x0, epsilon, torch.full((3,), t))
    torch.testing.assert_close(schedule.add_noise(x0, epsilon, t), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("t", [0, 100, 350, 999])
def test_predict_x0_undoes_add_noise(t, schedule):
    x0, epsilon = images(0), images(1)
    torch.testing.assert_close(schedule.predict_x0(schedule.add_noise(x0, epsilon, t), epsilon, t), x0)


@pytest.mark.parametrize(
    ("scheduler", "move"), [(DDIMScheduler, (110, 100)), (DDIMInverseScheduler, (100, 110))], ids=["back", "forward"]
)
def test_ddim_step_agrees_with_diffusers(scheduler, move, spec, schedule):
    theirs = scheduler(**settings(spec), clip_sample=False)
    theirs.set_timesteps(100)  # steps of 10
    x_t, epsilon = images(0, torch.float32), images(1, torch.float32)
    expected = theirs.step(epsilon, 110, x_t).prev_sample  # both name a step by its noisier end
    torch.testing.assert_close(schedule.ddim_step(x_t, epsilon, *move), expected, rtol=1e-5, atol=1e-5)


def test_timesteps_of_a_batch_are_the_timesteps_of_its_samples(schedule):
    t = torch.tensor([0, 350, 999])
    x, epsilon = images(0), images(1)
    for formula in (schedule.add_noise, schedule.predict_x0):
        together = formula(x, epsilon, t)
        alone = [formula(x[i : i + 1], epsilon[i : i + 1], int(t[i])) for i in range(3)]
        assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("t", [0, 350])  # at 0, 1 - alpha_bar in float32 is wrong in the fourth digit
def test_coefficients_are_rounded_once_to_the_dtype_of_the_images(t, schedule):
    one, zero = torch.ones(1), torch.zeros(1)
    alpha_bar = schedule.alpha_bar(t).item()
    assert schedule.add_noise(one, zero, t).item() == torch.tensor(math.sqrt(alpha_bar)).item()
    assert schedule.add_noise(zero, one, t).item() == torch.tensor(math.sqrt(1 - alpha_bar)).item()
    assert schedule.add_noise(one, zero, t).dtype == torch.float32


def test_the_network_is_told_the_timestep_as_an_integer(schedule):
    assert schedule.time(7).dtype == torch.int64
    assert schedule.time(7).item() == 7
    assert schedule.time(torch.tensor([3, 5])).tolist() == [3, 5]


def test_discrete_timesteps_are_drawn_from_all(schedule):
    drawn = schedule.sample_timesteps(20_000, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.int64
    assert (drawn.min(), drawn.max()) == (0, 999)
    assert drawn.double().mean().item() == pytest.approx(499.5, abs=4 * 1000 / math.sqrt(12 * 20_000))


class TestContinuousTime:
    SCHEDULE = build_schedule(ContinuousScheduleSpec(kind="vp_sde"))

    @pytest.mark.parametrize(("t", "expected"), [(0, 1.0), (100, 0.8963), (200, 0.6584), (350, 0.2854)])
    def test_alpha_bar_has_its_known_values(self, t, expected):
        assert self.SCHEDULE.alpha_bar(t).item() == pytest.approx(expected, abs=5e-5)
        assert self.SCHEDULE.alpha_bar(t).dtype == torch.float64

    @pytest.mark.parametrize("t", [1, 110, 1000])
    def test_alpha_bar_is_the_limit_of_many_small_steps(self, t):
        steps = 200_000
        betas = 0.1 + 19.9 * (torch.arange(steps, dtype=torch.float64) + 0.5) / steps * t / 1000
        product = torch.log1p(-betas * t / 1000 / steps).sum().exp()
        assert self.SCHEDULE.alpha_bar(t).item() == pytest.approx(product.item(), rel=1e-3)

    def test_beta_is_the_rate_at_which_the_signal_goes(self):
        schedule, t, h = ContinuousSchedule(0.5, 7.0), torch.tensor([3.0, 350.0, 999.0], dtype=torch.float64), 1e-4
        slope = (schedule.alpha_bar(t + h).log() - schedule.alpha_bar(t - h).log()) / (2 * h / 1000)
        torch.testing.assert_close(schedule.beta(t), -slope, rtol=1e-6, atol=0)

    def test_the_network_is_told_999_times_the_time(self):
        assert self.SCHEDULE.time(350).item() == pytest.approx(349.65)
        assert self.SCHEDULE.time(torch.tensor([0.0, 1000.0])).tolist() == [0, 999]
        assert self.SCHEDULE.time(1).dtype == torch.float32

    def test_there_is_no_noise_at_0(self):
        x0, epsilon = images(0), images(1)
        assert torch.equal(self.SCHEDULE.add_noise(x0, epsilon, 0), x0)
        moved = self.SCHEDULE.ddim_step(x0, epsilon, 0, 10)
        torch.testing.assert_close(moved, self.SCHEDULE.add_noise(x0, epsilon, 10))

    def test_times_are_drawn_from_the_whole_interval(self):
        drawn = self.SCHEDULE.sample_timesteps(20_000, torch.Generator().manual_seed(0))
        assert 0 <= drawn.min() < 1
        assert 999 < drawn.max() <= 1000
        assert drawn.mean().item() == pytest.approx(500, abs=4 * 1000 / math.sqrt(12 * 20_000))
        assert len(torch.unique(drawn)) == 20_000

    def test_timesteps_of_a_batch_are_those_of_its_samples(self):
        t, x, epsilon = torch.tensor([0.5, 350.0, 999.9]), images(0), images(1)
        together = self.SCHEDULE.add_noise(x, epsilon, t)
        alone = [self.SCHEDULE.add_noise(x[i : i + 1], epsilon[i : i + 1], t[i]) for i in range(3)]
        assert torch.equal(together, torch.cat(alone))
