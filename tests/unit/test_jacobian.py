"""Spectral norms of Jacobians, against the singular values of the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import jacrev, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.models.schedule import ScheduleSpec
from diffmia.search.jacobian import spectral_norms
from diffmia.search.noise_search import search_map

BATCH = 4


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def of_dense_jacobian(f, epsilon: torch.Tensor) -> torch.Tensor:
    """Largest singular value of each sample's whole Jacobian."""
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no vmap
        matrices = vmap(jacrev(lambda one: f(one[None]).flatten()))(epsilon)
    return torch.linalg.svdvals(matrices.flatten(2).double())[:, 0]


WEIGHTS = normal(2, 12, 12, seed=3) / 3
EPSILON, START = normal(BATCH, 3, 2, 2), normal(BATCH, 3, 2, 2, seed=1)


def dense(x: torch.Tensor) -> torch.Tensor:
    """A nonlinear net whose Jacobian is another one at each sample."""
    return (torch.tanh(x.flatten(1) @ WEIGHTS[0]) @ WEIGHTS[1]).reshape(x.shape)


class Linear(Denoiser):
    """epsilon_theta(x_t, t) = A x_t."""

    schedule = DiscreteSchedule.from_spec(ScheduleSpec())

    def __init__(self, matrix: torch.Tensor):
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix)

    def predict_noise(self, x_t, t, condition=None):
        return (x_t.flatten(1) @ self.matrix.T).reshape(x_t.shape)


def test_norms_are_those_of_the_whole_jacobian():
    result = spectral_norms(dense, EPSILON, START, iterations=2000, tolerance=1e-14)
    expected = of_dense_jacobian(dense, EPSILON)
    assert len(set(expected.tolist())) == BATCH
    assert result.norms.dtype == torch.float64
    torch.testing.assert_close(result.norms, expected, rtol=1e-9, atol=0)


def test_norms_rise_to_the_true_ones_and_say_how_much_they_changed():
    expected, last = of_dense_jacobian(dense, EPSILON), torch.zeros(BATCH, dtype=torch.float64)
    for iterations in range(1, 8):
        norms, products, change = spectral_norms(dense, EPSILON, START, iterations, tolerance=0)
        assert (norms >= last).all()
        assert (norms <= expected * (1 + 1e-12)).all()
        assert (products == 2 * iterations).all()
        torch.testing.assert_close(change, (norms - last) / norms)
        last = norms


@pytest.mark.parametrize("t", [10, 350, 999])
def test_map_of_a_linear_denoiser(t):
    """f(e) = A (sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) e)."""
    matrix = normal(12, 12, seed=5)
    f = search_map(Linear(matrix), normal(BATCH, 3, 2, 2, seed=6), t)
    result = spectral_norms(f, EPSILON, START, iterations=2000, tolerance=1e-14)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t]
    expected = (1 - alpha_bar) ** 0.5 * torch.linalg.matrix_norm(matrix, 2)
    torch.testing.assert_close(result.norms, expected.expand(BATCH), rtol=1e-9, atol=0)
    assert not result.norms.requires_grad


@pytest.mark.parametrize("singular_values", [[2, 2, 1], [2, 2, 2], [2, -2, 1], [2, 0, 0], [0, 0, 0]])
def test_equal_and_zero_singular_values(singular_values):
    left, right = (torch.linalg.qr(normal(3, 3, seed=seed))[0] for seed in (1, 2))
    matrix = left @ torch.diag(torch.tensor(singular_values, dtype=torch.float64)) @ right
    result = spectral_norms(lambda x: x @ matrix.T, normal(5, 3), normal(5, 3, seed=3), tolerance=1e-10)
    torch.testing.assert_close(result.norms, torch.full_like(result.norms, max(singular_values)))
    assert (result.change < 1e-10).all()


def test_answers_of_another_shape():
    matrix = normal(2, 12, seed=5)
    result = spectral_norms(lambda x: x.flatten(1) @ matrix.T, EPSILON, START, tolerance=1e-13)
    torch.testing.assert_close(result.norms, torch.linalg.matrix_norm(matrix, 2).expand(BATCH))


def test_a_sample_does_not_depend_on_its_batch():
    """Not even on when the others have settled."""
    whole = spectral_norms(dense, EPSILON, START, tolerance=1e-3)
    assert len(set(whole.products.tolist())) > 1
    alone = [spectral_norms(dense, EPSILON[[i]], START[[i]], tolerance=1e-3) for i in range(BATCH)]
    for i, of_batch in enumerate(whole):
        torch.testing.assert_close(of_batch, torch.cat([one[i] for one in alone]))


def test_stops_when_all_have_settled_and_evaluates_f_once():
    calls = []

    def f(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return 3 * x

    norms, products, change = spectral_norms(f, EPSILON, 100 * START, iterations=10)
    torch.testing.assert_close(norms, torch.full((BATCH,), 3.0, dtype=torch.float64))
    assert products.tolist() == [4] * BATCH  # the second iteration finds that nothing changes
    assert (change < 1e-12).all()
    assert calls == [BATCH]


def test_what_it_cannot_start_from():
    with pytest.raises(ValueError, match="0 iterations"):
        spectral_norms(dense, EPSILON, START, iterations=0)
    with pytest.raises(ValueError, match="from vectors"):
        spectral_norms(dense, EPSILON, START[:1])


@pytest.fixture(scope="module", params=[False, True], ids=["frozen", "with gradients"])
def attentive_unet(request):
    """A U-Net with self-attention and random weights."""
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        norm_num_groups=4,
    )
    return unet.eval().requires_grad_(request.param)


def test_unet_with_attention(attentive_unet):
    def f(epsilon: torch.Tensor) -> torch.Tensor:
        return attentive_unet(epsilon, 350).sample

    epsilon, start = normal(2, 2, 1, 8, 8, dtype=torch.float32)
    result = spectral_norms(f, epsilon, start, iterations=100, tolerance=1e-5)
    torch.testing.assert_close(result.norms, of_dense_jacobian(f, epsilon), rtol=1e-3, atol=0)
    assert (result.change < 1e-5).all()
    assert all(parameter.grad is None for parameter in attentive_unet.parameters())
