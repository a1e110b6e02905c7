"""Iterations other than Picard's, against closed forms on affine maps and known fixed points."""

from __future__ import annotations

import math

import pytest
import torch

from diffmia.search.iterations import ITERATIONS, iterate, parse

TEXTS = ["picard", "krasnoselskij-0.5", "mann-0.5", "mann-1", "ishikawa-0.5-0.5", "ishikawa-1-0", "anderson-2"]
BATCH, D = 3, 4


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def contracting(matrices: torch.Tensor, factor: float) -> torch.Tensor:
    return factor * matrices / torch.linalg.matrix_norm(matrices, 2)[:, None, None]


class Asked:
    """A map of a batch, which counts its evaluations."""

    def __init__(self, f):
        self.f, self.queries = f, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.queries += 1
        return self.f(x)


class Affine:
    """x -> c + A (x - c) with a matrix and a fixed point for each sample, of images (1, 2, 2)."""

    def __init__(self, matrices: torch.Tensor, fixed_point: torch.Tensor):
        self.matrices, self.fixed_point = matrices, fixed_point

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.times(self.matrices, x)

    def times(self, matrices: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """c + M (x - c)."""
        distance = (x - self.fixed_point).flatten(1)
        return self.fixed_point + torch.einsum("bij,bj->bi", matrices, distance).reshape(x.shape)


A = contracting(normal(BATCH, D, D), 0.8)
I = torch.eye(D, dtype=torch.float64)
FIXED_POINT, START = normal(BATCH, 1, 2, 2, seed=1), normal(BATCH, 1, 2, 2, seed=2)
AFFINE = Affine(A, FIXED_POINT)


def tangent(x: torch.Tensor) -> torch.Tensor:
    """A nonlinear contraction that mixes a sample's pixels."""
    return torch.einsum("bij,bj->bi", A, torch.tanh(x.flatten(1) + 1)).reshape(x.shape)


CLOSED_FORMS = {  # what each step multiplies the distance from the fixed point by
    "picard": [A, A],
    "krasnoselskij-0.3": [0.7 * I + 0.3 * A] * 3,
    "mann-0.5": [(1 - n**-0.5) * I + n**-0.5 * A for n in (2, 3, 4)],
    "mann-1": [I / 2 + A / 2, 2 / 3 * I + A / 3, 3 / 4 * I + A / 4],
    "ishikawa-0.3-0.6": [0.7 * I + 0.3 * A @ (0.4 * I + 0.6 * A)] * 2,
}


@pytest.mark.parametrize("iteration", CLOSED_FORMS)
def test_steps_in_closed_form(iteration):
    expected = START
    for n, factor in enumerate(CLOSED_FORMS[iteration], 1):
        expected = AFFINE.times(factor.expand(BATCH, D, D), expected)
        queries = 2 * n if iteration.startswith("ishikawa") else n
        torch.testing.assert_close(iterate(AFFINE, START, queries, iteration), expected)


def test_mann_of_power_one_is_the_mean_of_the_start_and_all_answers():
    answers = [START]
    for _ in range(4):
        answers.append(AFFINE(torch.stack(answers).mean(0)))
    torch.testing.assert_close(iterate(AFFINE, START, 4, "mann-1"), torch.stack(answers).mean(0))


def test_second_step_of_anderson_is_the_secant_step():
    """gamma = <r1 - r0, r1> / |r1 - r0|^2 of each sample."""
    first = AFFINE(START)
    r0, r1 = (first - START).flatten(1), (AFFINE(first) - first).flatten(1)
    gamma = ((r1 - r0) * r1).sum(1) / (r1 - r0).square().sum(1)
    expected = AFFINE(first) - gamma[:, None, None, None] * (AFFINE(first) - first)
    torch.testing.assert_close(iterate(AFFINE, START, 1, "anderson-2"), first)
    torch.testing.assert_close(iterate(AFFINE, START, 2, "anderson-2"), expected)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_anderson_mixes_its_last_differences_as_least_squares_do(depth):
    x, answers, residuals = [START], [], []
    for _ in range(5):
        answers.append(tangent(x[-1]))
        residuals.append(answers[-1] - x[-1])
        df, dr = (torch.stack(kept[-depth - 1 :]).diff(dim=0).flatten(2) for kept in (answers, residuals))
        x.append(answers[-1].clone())
        for i in range(BATCH if len(df) else 0):
            gamma = torch.linalg.lstsq(dr[:, i].T, residuals[-1][i].reshape(-1, 1)).solution
            x[-1][i] -= (df[:, i].T @ gamma).reshape(START.shape[1:])
    for n in range(6):
        torch.testing.assert_close(iterate(tangent, START, n, f"anderson-{depth}"), x[n], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("iteration", TEXTS)
def test_converges_to_the_fixed_point_of_an_affine_contraction(iteration):
    queries = 10_000 if iteration == "mann-1" else 400  # the slowest: |x_n - x| ~ n^-(1 - 0.8)
    tolerance = 0.2 if iteration == "mann-1" else 1e-6
    distance = (iterate(AFFINE, START, queries, iteration) - FIXED_POINT).flatten(1).norm(dim=1)
    assert (distance <= tolerance * (START - FIXED_POINT).flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize("iteration", [text for text in TEXTS if text != "mann-1"])
def test_converges_to_the_fixed_point_of_a_nonlinear_contraction(iteration):
    x = iterate(tangent, START, 400, iteration)
    torch.testing.assert_close(x, tangent(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(x, iterate(tangent, normal(*START.shape, seed=9), 400, "picard"), rtol=0, atol=1e-5)


@pytest.mark.parametrize("iteration", ["krasnoselskij-1", "mann-0", "ishikawa-1-1", "anderson-0"])
def test_neutral_parameters_are_picard(iteration):
    assert torch.equal(iterate(tangent, START, 6, iteration), iterate(tangent, START, 6, "picard"))


def test_ishikawa_without_its_inner_step_is_krasnoselskij_of_half_as_many_steps():
    assert torch.equal(iterate(tangent, START, 6, "ishikawa-1-0"), iterate(tangent, START, 3, "picard"))
    assert torch.equal(iterate(tangent, START, 6, "ishikawa-0.3-0"), iterate(tangent, START, 3, "krasnoselskij-0.3"))


@pytest.mark.parametrize("depth", [D, D + 2])
def test_anderson_solves_affine_maps_where_picard_has_not_converged(depth):
    """It is GMRES and one more step (Walker and Ni); here for a map that does not even contract."""
    f = Affine(contracting(normal(BATCH, D, D, seed=4), 1.5), FIXED_POINT)
    torch.testing.assert_close(iterate(f, START, D + 1, f"anderson-{depth}"), FIXED_POINT, rtol=0, atol=1e-5)
    assert (iterate(f, START, D + 1, "picard") - FIXED_POINT).abs().max() > 0.1
    assert (iterate(f, START, D + 1, "anderson-1") - FIXED_POINT).abs().max() > 0.1


def test_krasnoselskij_converges_on_rotations_where_picard_does_not():
    angle = torch.tensor([0.5, 1.5, 3.0], dtype=torch.float64)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).reshape(BATCH, 2, 2)
    f = Affine(rotation, FIXED_POINT[:, 0, 0])
    start = START[:, 0, 0]

    def distance(x: torch.Tensor) -> torch.Tensor:
        return (x - FIXED_POINT[:, 0, 0]).norm(dim=1)

    torch.testing.assert_close(distance(iterate(f, start, 100, "picard")), distance(start))
    torch.testing.assert_close(
        distance(iterate(f, start, 100, "krasnoselskij-0.5")), (angle / 2).cos() ** 100 * distance(start)
    )


@pytest.mark.parametrize("iteration", [*TEXTS, "krasnoselskij-1", "anderson-0", "anderson-9"])
@pytest.mark.parametrize("queries", [0, 2, 6])
def test_makes_exactly_so_many_queries(iteration, queries):
    f = Asked(tangent)
    x = iterate(f, START, queries, iteration)
    assert f.queries == queries
    assert x.shape == START.shape
    assert queries or x is START


@pytest.mark.parametrize("iteration", TEXTS)
def test_gradients_reach_the_start_and_the_map(iteration):
    def last(start: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        return iterate(lambda x: torch.tanh(Affine(matrices, FIXED_POINT)(x)), start, 4, iteration)

    assert torch.autograd.gradcheck(last, (START.clone().requires_grad_(), A.clone().requires_grad_()))


@pytest.mark.parametrize("iteration", TEXTS)
def test_a_sample_does_not_depend_on_its_batch(iteration):
    alone = [iterate(Affine(A[[i]], FIXED_POINT[[i]]), START[[i]], 4, iteration) for i in range(BATCH)]
    torch.testing.assert_close(iterate(AFFINE, START, 4, iteration), torch.cat(alone), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("iteration", TEXTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stays_at_a_fixed_point_with_finite_gradients(iteration, dtype):
    """All residuals and their differences are exactly zero."""
    start = torch.full((2, 3), 0.5, dtype=dtype, requires_grad=True)
    x = iterate(lambda x: x * x + 0.25, start, 6, iteration)
    x.sum().backward()
    assert x.dtype == dtype
    assert torch.equal(x, start)
    assert start.grad.isfinite().all()


@pytest.mark.parametrize("depth", [1, 3])
def test_anderson_of_a_translation_and_of_parallel_residuals(depth):
    """Residuals that do not change, or that all have one direction: the least squares alone would be singular."""
    start = START.clone().requires_grad_()
    x = iterate(lambda x: x + 1, start, 6, f"anderson-{depth}")
    torch.testing.assert_close(x, start + 6, rtol=0, atol=1e-3)
    assert torch.autograd.grad(x.sum(), start)[0].isfinite().all()
    half = iterate(lambda x: 1 + (x - 1) / 2, START, 6, f"anderson-{depth}")
    torch.testing.assert_close(half, torch.ones_like(half), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("picard", "picard", ()),
        ("krasnoselskij-0.25", "krasnoselskij", (0.25,)),
        ("mann-0", "mann", (0,)),
        ("ishikawa-1-0.05", "ishikawa", (1, 0.05)),
        ("anderson-10", "anderson", (10,)),
    ],
)
def test_texts(text, name, parameters):
    assert parse(text) == (name, parameters)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Picard", "picard-1", "halley", "krasnoselskij", "krasnoselskij-0", "krasnoselskij-1.5"),
        *("krasnoselskij-0.50", "krasnoselskij-.5", "krasnoselskij--0.5", "krasnoselskij-nan", "mann-2", "mann-1.0"),
        *("mann-0.\u0665", "ishikawa-0.5", "ishikawa-0-0.5", "anderson", "anderson--1", "anderson-1.5", "anderson-02"),
        "anderson-2\n",
    ],
)
def test_texts_of_no_iteration_and_other_ways_to_write_one(text):
    with pytest.raises(ValueError, match="there is no iteration") as raised:
        parse(text)
    assert all(known.text in str(raised.value) for known in ITERATIONS.values())
    with pytest.raises(ValueError, match="there is no iteration"):
        iterate(tangent, START, 1, text)


def test_queries_that_are_no_whole_number_of_steps():
    with pytest.raises(ValueError, match=r"^3 queries are no whole number of steps of ishikawa"):
        iterate(tangent, START, 3, "ishikawa-0.5-0.5")
    with pytest.raises(ValueError, match=r"^-1 queries"):
        iterate(tangent, START, -1, "picard")


def test_step_size_of_mann_falls_from_the_first_step():
    for n in range(3):
        x = iterate(lambda x: x + 1, START, n + 1, "mann-0.5") - iterate(lambda x: x + 1, START, n, "mann-0.5")
        torch.testing.assert_close(x, torch.full_like(x, 1 / math.sqrt(n + 2)))
