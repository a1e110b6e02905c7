"""The heart: initial noises, iterates, anchors and norms, against closed forms and a literal SecMI.

Of x0 ~ N(0, I) the optimal model is linear, epsilon_theta(x_t, t) = sin(theta) x_t with cos^2(theta) = alpha_bar_t, so
every quantity of a search has a formula of its own.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.func import grad, jvp, vmap

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import ContinuousSchedule, DiscreteSchedule
from diffmia.models.schedule import ScheduleSpec
from diffmia.search.noise_search import NoiseSearch, probability_flow, rescale_to_gaussian, residual_norms, search_map
from diffmia.search.probes import Probe

ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
T, K = 100, 10
SHAPE = (3, 2, 2, 2)
STARTS = {
    "gaussian": Probe(start="gaussian", t=350, n=3),
    "proximal": Probe(start="proximal", t=200, n=3),
    "proximal_normalised": Probe(start="proximal_normalised", t=200, n=3),
}


def signal(t: int) -> float:
    return math.sqrt(ALPHA_BAR[t])


def noise(t: int) -> float:
    return math.sqrt(1 - ALPHA_BAR[t])


class OptimalForGaussians(Denoiser):
    """The best possible model of data that are N(0, I)."""

    schedule = DiscreteSchedule.from_spec(ScheduleSpec())

    def predict_noise(self, x_t, t, condition=None):
        return noise(t) * x_t


class Nonlinear(Denoiser):
    """A smooth model that mixes all pixels of a sample and depends on t."""

    schedule = OptimalForGaussians.schedule

    def __init__(self):
        super().__init__()
        weight = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        self.weight = torch.nn.Parameter(weight / 4)

    def predict_noise(self, x_t, t, condition=None):
        return torch.tanh(x_t.flatten(1) @ self.weight + t / 500).reshape(x_t.shape)


def normal(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X0, EPSILON = normal(0), normal(1)


def search(denoiser: Denoiser, x0: torch.Tensor = X0) -> NoiseSearch:
    return NoiseSearch(denoiser, x0, lambda draw: EPSILON * (1 + draw))


def initial_noise(start: str) -> torch.Tensor:
    """epsilon^0 under the optimal model."""
    match start:
        case "gaussian":
            return EPSILON
        case "proximal":
            return 0.01 * X0  # 1 - alpha_bar_0 = beta_0 = 1e-4
        case "proximal_normalised":
            return X0 / X0.abs().mean((1, 2, 3), keepdim=True) * math.sqrt(2 / math.pi)


def inverted_state(t: int) -> torch.Tensor:
    """x_t of the DDIM inversion under the optimal model: each step turns by an angle and shrinks by its cosine."""
    theta = [math.acos(signal(s)) for s in range(0, t + 1, K)]
    return X0 * math.prod(math.cos(after - before) for before, after in itertools.pairwise(theta))


@pytest.mark.parametrize("start", STARTS)
def test_iterates_contract_towards_the_fixed_point(start):
    probe = STARTS[start]
    fixed_point = noise(probe.t) / signal(probe.t) * X0
    rate = noise(probe.t) ** 2
    epsilon = search(OptimalForGaussians()).iterates(probe)
    assert len(epsilon) == 4
    torch.testing.assert_close(epsilon[0], initial_noise(start))
    for n in range(1, 4):
        torch.testing.assert_close(epsilon[n], fixed_point + rate**n * (epsilon[0] - fixed_point))
    torch.testing.assert_close(search_map(OptimalForGaussians(), X0, probe.t)(fixed_point), fixed_point)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("p", [1, 2, 4, "inf"])
def test_residuals_shrink_by_the_rate_of_contraction(start, p):
    probe = STARTS[start]
    epsilon = search(OptimalForGaussians()).iterates(probe)
    rate = noise(probe.t) ** 2
    distance = (initial_noise(start) - noise(probe.t) / signal(probe.t) * X0).flatten(1)
    for i, j in [(0, 1), (0, 2), (1, 2), (0, 3), (2, 3)]:
        expected = (rate**i - rate**j) * torch.linalg.vector_norm(distance, ord=float(p), dim=1)
        torch.testing.assert_close(residual_norms(epsilon[i] - epsilon[j])[p], expected)


def test_first_step_is_written_out():
    """epsilon^1 = epsilon_theta(sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon^0, t), and the same again."""
    model = Nonlinear()
    zeroth, first, second = search(model).iterates(Probe(start="gaussian", t=350))
    torch.testing.assert_close(first, model.predict_noise(signal(350) * X0 + noise(350) * zeroth, 350))
    torch.testing.assert_close(second, model.predict_noise(signal(350) * X0 + noise(350) * first, 350))


def test_draws_are_searches_of_their_own():
    both = search(OptimalForGaussians())
    first, second = (both.iterates(Probe(start="gaussian", t=350, draw=draw)) for draw in (0, 1))
    torch.testing.assert_close(second[0], 2 * first[0])
    fixed_point = noise(350) / signal(350) * X0
    torch.testing.assert_close(second[2] - fixed_point, noise(350) ** 4 * (2 * EPSILON - fixed_point))


def test_rescaled_noise_has_the_mean_magnitude_of_a_gaussian():
    scales = torch.tensor([1e-3, 1.0, 50.0], dtype=torch.float64)[:, None, None, None]
    rescaled = rescale_to_gaussian(scales * EPSILON)
    torch.testing.assert_close(rescaled.abs().mean((1, 2, 3)), torch.full((3,), 0.797884560802865, dtype=torch.float64))
    torch.testing.assert_close(rescaled / EPSILON, (rescaled / EPSILON)[:, :1, :1, :1].expand(SHAPE))  # of the sample


@pytest.mark.parametrize("t", [0, 10, 90, 100])
def test_inversion_and_its_first_iterate_in_closed_form(t):
    epsilon = search(OptimalForGaussians()).iterates(Probe(start="inverted", t=t, k=K, n=1))
    torch.testing.assert_close(epsilon[0], noise(t) * inverted_state(t))
    torch.testing.assert_close(epsilon[1], noise(t + K) * inverted_state(t + K))


@pytest.mark.parametrize("anchor", ["x0", "x0hat", "xt"])
def test_anchors_in_closed_form(anchor):
    x_t, after = inverted_state(T), T + K
    epsilon = search(OptimalForGaussians()).iterates(Probe(start="inverted", t=T, k=K, n=3, anchor=anchor))
    previous = noise(after) * inverted_state(after)
    for n in (2, 3):
        anchored_at = {
            "x0": X0,  # the sample
            "x0hat": signal(T) * x_t,  # E[x0 | x_t]
            "xt": (x_t - noise(T) * previous) / signal(T),  # what x_t leaves when the new noise is taken off
        }[anchor]
        previous = noise(after) * (signal(after) * anchored_at + noise(after) * previous)
        torch.testing.assert_close(epsilon[n], previous)


def test_anchors_share_the_baseline_and_part_after_it():
    model = search(Nonlinear())
    chains = [model.iterates(Probe(start="inverted", t=T, k=K, anchor=anchor)) for anchor in ("x0", "x0hat", "xt")]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert torch.equal(chains[one][0], chains[other][0])
        assert torch.equal(chains[one][1], chains[other][1])
        assert not torch.allclose(chains[one][2], chains[other][2])


def literal_secmi(model: Denoiser, t: int) -> torch.Tensor:
    """SecMI's t-error ||x_t - x~_t||_2: invert to t, one step on to t + k, one step back."""

    def step(x: torch.Tensor, epsilon: torch.Tensor, s: int, to: int) -> torch.Tensor:
        return signal(to) * (x - noise(s) * epsilon) / signal(s) + noise(to) * epsilon

    x = X0
    for s in range(0, t, K):
        x = step(x, model.predict_noise(x, s), s, s + K)
    on = step(x, model.predict_noise(x, t), t, t + K)
    back = step(on, model.predict_noise(on, t + K), t + K, t)
    return (x - back).flatten(1).norm(dim=1)


@pytest.mark.parametrize(("t", "factor"), [(90, 0.03257), (100, 0.03275)])
def test_secmi_baseline_is_the_t_error_of_a_literal_secmi(t, factor):
    """OMS Eq. E.8: the t-error is c_{t, t+k} ||epsilon^0 - epsilon^1||, c the same for all samples."""
    c = (signal(t) * noise(t + K) - signal(t + K) * noise(t)) / signal(t + K)
    assert c == pytest.approx(factor, abs=5e-6)
    zeroth, first = search(Nonlinear()).iterates(Probe(start="inverted", t=t, k=K, n=1))
    torch.testing.assert_close(c * residual_norms(zeroth - first)[2], literal_secmi(Nonlinear(), t))


@pytest.mark.parametrize("p", [1, 2, 3, 4, 5, 6, "inf"])
def test_residual_norms_agree_with_torch(p):
    residual = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    norm = residual_norms(residual)[p]
    assert norm.dtype == torch.float64
    expected = torch.linalg.vector_norm(residual.double().flatten(1), ord=float(p), dim=1)
    torch.testing.assert_close(norm, expected, rtol=1e-12, atol=0)
    assert list(residual_norms(residual)) == [1, 2, 3, 4, 5, 6, "inf"]


PROBES = {
    "gaussian": Probe(start="gaussian", t=350),
    "proximal": Probe(start="proximal", t=200),
    "proximal_normalised": Probe(start="proximal_normalised", t=200),
    "inverted, x0": Probe(start="inverted", t=30, k=10),
    "inverted, x0hat": Probe(start="inverted", t=30, k=10, anchor="x0hat"),
    "inverted, xt": Probe(start="inverted", t=30, k=10, anchor="xt"),
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_gradients_reach_the_sample_and_the_weights(probe):
    model = Nonlinear()

    def score(x0: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        answering = Nonlinear()
        del answering.weight
        answering.weight = weight
        epsilon = search(answering, x0).iterates(probe)
        return residual_norms(epsilon[0] - epsilon[2])[4]

    assert torch.autograd.gradcheck(score, (X0.clone().requires_grad_(), model.weight))


def test_gradient_of_the_map():
    assert torch.autograd.gradcheck(search_map(Nonlinear(), X0, 350), EPSILON.clone().requires_grad_())


def test_jvp_of_the_map_is_its_directional_derivative():
    f, direction, h = search_map(Nonlinear(), X0, 350), normal(2), 1e-6
    value, slope = jvp(f, (EPSILON,), (direction,))
    torch.testing.assert_close(value, f(EPSILON))
    torch.testing.assert_close(slope, (f(EPSILON + h * direction) - f(EPSILON - h * direction)) / (2 * h))


def test_vmap_over_samples_is_the_batch():
    model = Nonlinear()

    def alone(x0: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
        return search_map(model, x0[None], 350)(epsilon[None])[0]

    torch.testing.assert_close(vmap(alone)(X0, EPSILON), search_map(model, X0, 350)(EPSILON))


def test_vmap_of_gradients_is_the_gradient_of_each_sample():
    model = Nonlinear()

    def residual(epsilon: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
        return residual_norms(epsilon[None] - search_map(model, x0[None], 350)(epsilon[None]))[2].sum()

    each = [grad(residual)(epsilon, x0) for epsilon, x0 in zip(EPSILON, X0, strict=True)]
    torch.testing.assert_close(vmap(grad(residual))(EPSILON, X0), torch.stack(each))


def test_vmap_passes_through_the_unet(tiny_unet):
    x0, epsilon = torch.randn(2, 3, 1, 8, 8)

    def alone(x0: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
        return search_map(tiny_unet, x0[None], 350)(epsilon[None])[0]

    torch.testing.assert_close(vmap(alone)(x0, epsilon), search_map(tiny_unet, x0, 350)(epsilon), rtol=1e-4, atol=1e-5)


def test_jvp_passes_through_the_unet(tiny_unet):
    x0, epsilon, direction = torch.randn(3, 3, 1, 8, 8)
    f, h = search_map(tiny_unet, x0, 350), 1e-2
    _, slope = jvp(f, (epsilon,), (direction,))
    torch.testing.assert_close(
        slope, (f(epsilon + h * direction) - f(epsilon - h * direction)) / (2 * h), rtol=1e-2, atol=1e-3
    )


class TestContinuousTime:
    """Where the first query may be made a little after 0, and PIA has a form of its own."""

    class Optimal(Denoiser):
        """The best possible model of data that are N(0, I)."""

        schedule = ContinuousSchedule(0.1, 20.0)

        def predict_noise(self, x_t, t, condition=None):
            return (1 - self.schedule.alpha_bar(t)).sqrt() * x_t

    def sigma(self, t: int) -> float:
        return math.sqrt(1 - math.exp(-0.1 * t / 1000 - 9.95 * (t / 1000) ** 2))

    @pytest.mark.parametrize("t_init", [0, 1])
    def test_the_first_query_is_about_the_sample_at_t_init(self, t_init):
        epsilon = search(self.Optimal()).iterates(Probe(start="proximal", t=200, t_init=t_init))
        torch.testing.assert_close(epsilon[0], self.sigma(t_init) * X0)
        normal = search(Nonlinear()).iterates(Probe(start="proximal_normalised", t=200, t_init=t_init))[0]
        torch.testing.assert_close(normal, rescale_to_gaussian(Nonlinear().predict_noise(X0, t_init)))

    def test_the_trajectory_takes_the_sample_for_its_state_at_t_init(self):
        theta = [math.asin(self.sigma(s)) for s in (1, 10, 20)]
        x_t = X0 * math.prod(math.cos(after - before) for before, after in itertools.pairwise(theta))
        epsilon = search(self.Optimal()).iterates(Probe(start="inverted", t=20, k=10, n=1, t_init=1))
        torch.testing.assert_close(epsilon[0], self.sigma(20) * x_t)

    def test_searches_that_begin_at_different_times_share_nothing(self):
        both = search(self.Optimal())
        early, late = (both.iterates(Probe(start="inverted", t=20, k=10, t_init=t_init)) for t_init in (0, 1))
        assert not torch.allclose(early[0], late[0], rtol=1e-6)
        torch.testing.assert_close(late, search(self.Optimal()).iterates(Probe(start="inverted", t=20, k=10, t_init=1)))

    def test_the_flow_leaves_the_best_model_of_gaussians_where_it_is(self):
        """N(0, I) is the law at every time, so with the true score nothing moves; with no score f alone is left."""
        schedule, x_t = self.Optimal.schedule, normal(2)
        at_rest = probability_flow(schedule, x_t, self.Optimal().predict_noise(x_t, 300), 300)
        torch.testing.assert_close(at_rest, torch.zeros_like(x_t), atol=1e-12, rtol=0)
        alone = probability_flow(schedule, x_t, torch.zeros_like(x_t), 300)
        torch.testing.assert_close(alone, -(0.1 + 19.9 * 0.3) / 2 * x_t)

    def test_drift_of_each_iterate_is_pias_residual_written_out(self):
        """PIA Eq. 14: f_t(x_t) - g_t^2 s(x_t, t) / 2, at x_t of the noise that epsilon^j answers."""

        class Bent(Nonlinear):
            schedule = self.Optimal.schedule

        probe, t = Probe(start="proximal", t=200), 200
        model = Bent()
        beta, sigma = 0.1 + 19.9 * t / 1000, self.sigma(t)
        epsilon, drifts = model.predict_noise(X0, 0), search(model).drifts(probe)
        assert len(drifts) == 2
        for drift in drifts:
            x_t = math.sqrt(1 - sigma**2) * X0 + sigma * epsilon
            epsilon = model.predict_noise(x_t, t)
            score = -epsilon / sigma
            torch.testing.assert_close(drift, -beta / 2 * x_t - beta / 2 * score)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "gaussian", "t": 100, "t_init": 1},
        {"start": "proximal", "t": 100, "t_init": 100},
        {"start": "inverted", "t": 100, "k": 10, "t_init": 10},
    ],
)
def test_a_first_query_comes_first(wrong):
    with pytest.raises(ValueError, match="comes before the next query"):
        Probe(**wrong)


class TestIterations:
    """What epsilon^2 becomes when another iteration spends the two queries."""

    def test_of_a_linear_map_in_closed_form(self):
        rate, fixed_point = noise(350) ** 2, noise(350) / signal(350) * X0
        gap = EPSILON - fixed_point
        of = {  # what is left of the distance to the fixed point
            "krasnoselskij-0.5": ((1 + rate) / 2) ** 2,
            "mann-1": (1 + rate) / 2 * (2 + rate) / 3,
            "ishikawa-0.5-0.5": 0.5 + 0.5 * rate * (1 + rate) / 2,
            "anderson-1": 0.0,  # one direction is left, and the secant finds its end
        }
        for iteration, left in of.items():
            epsilon = search(OptimalForGaussians()).iterates(Probe(start="gaussian", t=350, iteration=iteration))
            torch.testing.assert_close(epsilon[1] - fixed_point, rate * gap)  # the first query is Picard's
            torch.testing.assert_close(epsilon[2], fixed_point + left * gap, atol=1e-6, rtol=1e-6)

    def test_all_share_the_first_query_and_make_one_more(self, monkeypatch):
        asked = []
        model = Nonlinear()
        answer = model.predict_noise
        monkeypatch.setattr(model, "predict_noise", lambda *question: asked.append(0) or answer(*question))
        together = search(model)
        for n, iteration in enumerate(["picard", "krasnoselskij-0.5", "ishikawa-0.5-0.5", "anderson-1"], start=1):
            together.iterates(Probe(start="proximal", t=200, iteration=iteration))
            assert len(asked) == 2 + n

    @pytest.mark.parametrize("wrong", [{"start": "inverted", "k": 10}, {"start": "gaussian", "n": 3}])
    def test_they_are_for_two_queries_at_one_timestep(self, wrong):
        with pytest.raises(ValueError, match="two queries at one timestep"):
            Probe(t=100, iteration="anderson-1", **wrong)
        with pytest.raises(ValueError, match="there is no iteration 'newton'"):
            Probe(start="gaussian", t=100, iteration="newton")


def test_trajectories_of_other_steps_share_nothing_but_their_first_query():
    fine, coarse = Probe(start="inverted", t=20, k=10), Probe(start="inverted", t=20, k=20)
    together = search(Nonlinear())
    for probe in (fine, coarse):
        torch.testing.assert_close(together.iterates(probe), search(Nonlinear()).iterates(probe))
