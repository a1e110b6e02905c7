"""Gradient norms of many rows at once, against a loop that takes one row at a time."""

from __future__ import annotations

import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.errors import DiffmiaError
from diffmia.gradients import layers as layer_gradients
from diffmia.gradients import norms as module
from diffmia.gradients.norms import gradient_norms
from diffmia.models.networks.latent import LatentDenoiser
from diffmia.models.schedule import ScheduleSpec
from tests.unit.tiny_pipeline import tiny_pipeline

ROWS = 6


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Asked:
    """Losses about rows of `x`, which notes the rows it was asked about."""

    def __init__(self, answer, x: torch.Tensor):
        self.answer, self.x, self.rows = answer, x, []

    def __call__(self, rows: slice) -> torch.Tensor:
        self.rows.append((rows.start, rows.stop))
        return self.answer(self.x[rows])


def squares(model: nn.Module):
    """One loss, in which all elements of the output have different parts."""

    def answer(x: torch.Tensor) -> torch.Tensor:
        output = model(x).flatten(1)
        return (output - torch.linspace(-1, 1, output.shape[1])).square().mean(1)[None]

    return answer


def one_at_a_time(model: nn.Module, losses, rows: int, of_each: int = 1) -> torch.Tensor:
    """Norms of the mean losses of each `of_each` rows, (K, rows // of_each, P), from nothing but autograd."""
    frozen = {p: p.requires_grad for p in model.parameters()}
    model.requires_grad_(True)
    norms = []
    for start in range(0, rows, of_each):
        mean = torch.stack([losses(slice(i, i + 1))[:, 0] for i in range(start, start + of_each)]).mean(0)
        for loss in mean:
            gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
            norms += [0.0 if gradient is None else gradient.norm().item() for gradient in gradients]
    for parameter, flag in frozen.items():
        parameter.requires_grad_(flag)
    return torch.tensor(norms).reshape(rows // of_each, len(mean), -1).transpose(0, 1)


def assert_norms(norms: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for 1e-4 of each, and 1e-7 of the row's whole gradient for those that are zero in theory."""
    assert norms.shape == expected.shape
    assert norms.dtype == torch.float32
    floor = 1e-7 * expected.norm(dim=2, keepdim=True)
    wrong = (norms - expected).abs() > 1e-4 * expected + floor
    assert not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()}, e.g. {norms[wrong][0]}, not {expected[wrong][0]}"


def assert_exact(model: nn.Module, answer, x: torch.Tensor, of_each: int = 1, *, by_row: bool = False) -> torch.Tensor:
    """Norms are those of the loop, and came of one call; or, if `by_row`, of that and of one for each row."""
    model.requires_grad_(False)
    asked = Asked(answer, x)
    per_row, per_sample = gradient_norms(model, asked, len(x), of_each)
    assert asked.rows == [(0, len(x))] + by_row * [(i, i + 1) for i in range(len(x))]
    assert (per_row > 0).any()
    assert_norms(per_row, one_at_a_time(model, asked, len(x)))
    assert_norms(per_sample, one_at_a_time(model, asked, len(x), of_each))
    return per_row


@pytest.fixture(params=[0, float("inf")], ids=["gradients", "pairs"])
def way(request, monkeypatch):
    """The way to the norm of a matrix's gradient, whatever its shape."""
    monkeypatch.setattr(layer_gradients, "FEW_PAIRS", request.param)


@pytest.fixture(params=["all rows fit", "some rows fit", "one row fits"])
def workspace(request, monkeypatch):
    """How many rows' gradients are made at a time."""
    if request.param == "some rows fit":
        monkeypatch.setattr(module, "numbers", lambda *arrivals: module.CACHED // 4)
    elif request.param == "one row fits":
        monkeypatch.setattr(module, "CACHED", 1)


LAYERS = {
    "convolution": (nn.Conv2d(3, 4, 3), (3, 6, 5)),
    "convolution, padded": (nn.Conv2d(3, 4, (3, 5), padding=(1, 2)), (3, 6, 5)),
    "convolution, stride": (nn.Conv2d(3, 4, 3, stride=(2, 3), padding=1), (3, 7, 8)),
    "convolution, dilated": (nn.Conv2d(3, 4, 3, dilation=(2, 1), padding=2), (3, 7, 6)),
    "convolution, all at once": (nn.Conv2d(3, 4, (3, 2), (2, 3), (2, 1), (1, 2)), (3, 9, 8)),
    "convolution of a large map": (nn.Conv2d(2, 3, 3, stride=(1, 2), padding=1, dilation=(1, 2)), (2, 17, 40)),
    "1x1": (nn.Conv2d(3, 4, 1), (3, 6, 5)),
    "1x1 without bias": (nn.Conv2d(3, 4, 1, bias=False), (3, 6, 5)),
    "linear": (nn.Linear(5, 4), (5,)),
    "linear, tokens": (nn.Linear(5, 4), (7, 5)),
    "linear, map": (nn.Linear(5, 4, bias=False), (2, 7, 5)),
    "group norm": (nn.GroupNorm(2, 6, eps=0.1), (6, 4, 3)),
    "group norm of vectors": (nn.GroupNorm(2, 6), (6,)),
    "layer norm": (nn.LayerNorm(5, eps=0.1), (7, 5)),
    "layer norm of two axes": (nn.LayerNorm((3, 5)), (4, 3, 5)),
    "layer norm without bias": (nn.LayerNorm(5, bias=False), (5,)),
    "layer norm without parameters": (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4, elementwise_affine=False)), (5,)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("of_each", [1, 3])
@pytest.mark.usefixtures("workspace", "way")
def test_layers(name, of_each):
    layer, shape = LAYERS[name]
    assert_exact(layer, squares(layer), 2 + normal(ROWS, *shape), of_each)


@pytest.mark.parametrize("shape", [(), (9,), (3, 4)])
@pytest.mark.usefixtures("way")
def test_embedding(shape):
    model = nn.Sequential(nn.Embedding(5, 4), nn.Tanh())
    chosen = torch.randint(5, (ROWS, *shape), generator=torch.Generator().manual_seed(0))
    assert_exact(model, squares(model), chosen, 2)


def attentive_unet() -> nn.Module:
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        norm_num_groups=4,
    ).eval()


TIMESTEPS = torch.tensor([0, 350, 999]).repeat(2)


def of_unet(unet: nn.Module):
    """The training loss at a timestep of each row, and one more, of the same prediction."""

    def losses(rows: slice) -> torch.Tensor:
        epsilon = normal(ROWS, 1, 8, 8, seed=1)[rows]
        residual = epsilon - unet(normal(ROWS, 1, 8, 8)[rows] + epsilon, TIMESTEPS[rows]).sample
        return torch.stack([residual.square().flatten(1).mean(1), residual.abs().flatten(1).sum(1)])

    return losses


@pytest.fixture(scope="module", params=[torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"])
def unet(request):
    """A U-Net with self-attention, in either memory format, frozen."""
    return attentive_unet().to(memory_format=request.param).requires_grad_(False)


@pytest.mark.usefixtures("way")
def test_unet_with_attention_and_two_losses_of_a_forward_pass(unet):
    calls = []
    losses = of_unet(unet)
    per_row, per_sample = gradient_norms(unet, lambda rows: calls.append(rows) or losses(rows), ROWS, 3)
    assert calls == [slice(0, ROWS)]
    assert_norms(per_row, one_at_a_time(unet, losses, ROWS))
    assert_norms(per_sample, one_at_a_time(unet, losses, ROWS, 3))


def test_zeros_are_zeros_and_nothing_else_is(unet):
    """Attention's softmax does not see the bias of its keys."""
    bias_of_keys = torch.tensor([name.endswith("to_k.bias") for name, _ in unet.named_parameters()])
    assert bias_of_keys.any()
    for norms in (*gradient_norms(unet, of_unet(unet), ROWS, 2), *gradient_norms(unet, of_unet(unet), 1)):
        assert ((norms == 0) == bias_of_keys).all()


@pytest.mark.parametrize("size", [1, 2])
def test_norms_do_not_depend_on_the_batch(unet, size):
    losses = of_unet(unet)
    whole, _ = gradient_norms(unet, losses, ROWS)
    for start in range(0, ROWS, size):
        part, _ = gradient_norms(
            unet, lambda rows, start=start: losses(slice(start + rows.start, start + rows.stop)), size
        )
        torch.testing.assert_close(part, whole[:, start : start + size], rtol=1e-4, atol=0)


def test_what_cancels_in_a_mean_is_zero():
    """Rows whose gradients are each other's negative, added up in another order."""
    layer = nn.Linear(5, 4).requires_grad_(False)
    x, sign = normal(1, 50, 5), torch.tensor([1.0, -1.0])
    x = torch.cat([x, x.flip(1)])
    per_row, per_sample = gradient_norms(
        layer, lambda rows: (sign[rows] * layer(x[rows]).pow(4).flatten(1).mean(1))[None], 2, 2
    )
    assert (per_row > 0).all()
    assert (per_sample == 0).all()


@pytest.mark.usefixtures("workspace", "way")
def test_gradients_of_a_layer_used_twice_are_summed():
    """Once on a map that is large, and once on one that is not."""
    layer = nn.Conv2d(2, 2, 3, padding=1)
    model = nn.Sequential(layer, nn.Tanh(), nn.AvgPool2d(4), layer)
    assert_exact(model, squares(model), normal(4, 2, 20, 20), 2)


@pytest.mark.usefixtures("way")
def test_gradients_of_a_tensor_in_two_layers_are_summed():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Tanh(), nn.Linear(4, 5))
    model[2].weight = model[0].weight
    assert_exact(model, squares(model), torch.arange(ROWS)[:, None] % 5)


class Functional(nn.Module):
    """A model that does something with its layers that the layers do not do themselves."""

    def __init__(self, how, *layers: nn.Module, **tensors: torch.Tensor):
        super().__init__()
        self.how, self.layers = how, nn.ModuleList(layers)
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, x):
        return self.how(self, x)


class FirstOf(torch.autograd.Function):
    """A sum that has no gradient with respect to its second part."""

    @staticmethod
    def forward(ctx, first, second):
        return first + second

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def test_uses_that_no_gradient_comes_to():
    layer, other = nn.Linear(4, 4), nn.Linear(4, 4)
    model = Functional(lambda model, x: FirstOf.apply(layer(x).tanh(), other(layer(x))), layer, other)
    per_row = assert_exact(model, squares(model), normal(ROWS, 4), 2)
    assert (per_row[:, :, 2:] == 0).all()


def test_losses_that_depend_on_different_uses():
    layer, other = nn.Linear(4, 4), nn.Linear(4, 4)

    def answer(x: torch.Tensor) -> torch.Tensor:
        once = layer(x).tanh()
        return torch.stack([once.square().mean(1), layer(once).pow(4).mean(1), layer(other(x)).square().mean(1)])

    per_row = assert_exact(nn.ModuleList([layer, other]), answer, normal(ROWS, 4), 2)
    assert (per_row[:2, :, 2:] == 0).all()
    assert (per_row[2] > 0).all()


def search_loss(denoiser, inner):
    """The residual of a second query about the answer to a first one, `inner`; the heart's f of f."""
    t = torch.tensor([20, 350, 700])[:, None].expand(-1, 2).flatten()

    def losses(rows: slice) -> torch.Tensor:
        x0, epsilon = normal(ROWS, 1, 8, 8)[rows], normal(ROWS, 1, 8, 8, seed=1)[rows]

        def f(epsilon):
            return denoiser.predict_noise(denoiser.schedule.add_noise(x0, epsilon, t[rows]), t[rows])

        return (epsilon - f(inner(f, epsilon))).square().flatten(1).mean(1)[None]

    return losses


def without_gradient(f, epsilon):
    with torch.no_grad():
        return f(epsilon)


@pytest.mark.parametrize(
    "inner", [lambda f, epsilon: f(epsilon), lambda f, epsilon: f(epsilon).detach(), without_gradient]
)
@pytest.mark.usefixtures("workspace")
def test_loss_through_two_queries(tiny_unet, inner, caplog):
    losses = search_loss(tiny_unet, inner)
    per_row, per_sample = gradient_norms(tiny_unet, losses, ROWS, 2)
    assert not caplog.records
    assert_norms(per_row, one_at_a_time(tiny_unet, losses, ROWS))
    assert_norms(per_sample, one_at_a_time(tiny_unet, losses, ROWS, 2))


def test_activations_in_place():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.SiLU(inplace=True))
    assert_exact(model, squares(model), normal(ROWS, 2, 6, 6))


def test_hooks_of_others():
    """What a hook of another makes of the output is no part of the layer."""
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    model[0].register_forward_hook(lambda layer, inputs, output: 3 * output)
    model[1].register_forward_pre_hook(lambda layer, inputs: (inputs[0].tanh(),))
    assert_exact(model, squares(model), normal(ROWS, 5))


def test_sample_that_requires_a_gradient():
    """It is a leaf of the graph before the first layer, and gets no gradient."""
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    x = normal(ROWS, 5).requires_grad_()
    assert_exact(model, squares(model), x)
    assert x.grad is None


class Scaled(nn.Linear):
    """A layer that is more than what it inherits."""

    def forward(self, x):
        return 3 * super().forward(x.tanh())


def made_anew() -> nn.Module:
    """A layer whose weight is made of another parameter before each call, as torch's first `weight_norm` did."""
    layer = nn.Linear(6, 6)
    layer.source = nn.Parameter(layer.weight.detach())
    del layer.weight
    layer.register_forward_pre_hook(lambda layer, inputs: setattr(layer, "weight", layer.source.tanh()))
    return layer


NOT_COVERED = {
    "a position embedding": lambda: Functional(
        lambda model, x: model.layers[0](x) + model.position, nn.Conv2d(2, 2, 3), position=normal(2, 4, 4)
    ),
    "a weight used elsewhere": lambda: Functional(
        lambda model, x: F.conv2d(model.layers[0](x), model.layers[0].weight), nn.Conv2d(2, 2, 3)
    ),
    "a weight used elsewhere, and a layer left out": lambda: Functional(
        lambda model, x: (model.layers[0](x), F.conv2d(x, model.layers[0].weight))[1], nn.Conv2d(2, 2, 3)
    ),
    "what all rows share": lambda: Functional(
        lambda model, x: x + model.layers[0](torch.ones(1, 6)), nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    ),
    "rows on another axis": lambda: Functional(
        lambda model, x: model.layers[0](x.transpose(0, 1)).transpose(0, 1), nn.Linear(6, 6)
    ),
    "a named argument": lambda: Functional(lambda model, x: model.layers[0](input=x), nn.Linear(6, 6)),
    "a grouped convolution": lambda: nn.Conv2d(2, 4, 3, groups=2),
    "a transposed convolution": lambda: nn.ConvTranspose2d(2, 3, 3),
    "a padding that is no zeros": lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
    "a padding by name": lambda: nn.Conv2d(2, 3, 3, padding="same"),
    "batch norm": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).eval(),
    "a parametrisation": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3)),
    "a weight made anew": made_anew,
    "a layer with more to it": lambda: Scaled(6, 6),
}


@pytest.mark.parametrize("name", NOT_COVERED)
def test_what_no_rule_covers_is_taken_one_row_at_a_time(name, caplog):
    torch.manual_seed(0)
    model = NOT_COVERED[name]()
    assert_exact(model, squares(model), normal(ROWS, 2, 6, 6), 3, by_row=True)
    assert "one row at a time" in caplog.text
    again = Asked(squares(model), normal(ROWS, 2, 6, 6))
    gradient_norms(model, again, ROWS)
    assert len(again.rows) == ROWS
    assert len(caplog.records) == 1


def test_a_model_that_makes_its_activations_again_is_taken_one_row_at_a_time():
    """The same norms, as far as rounding goes, with no more in memory than one row's gradients."""
    torch.manual_seed(0)
    denoiser = LatentDenoiser(tiny_pipeline().unet, DiscreteSchedule.from_spec(ScheduleSpec())).eval()
    x, told, t = normal(ROWS, 4, 8, 8), normal(ROWS, 12, 16), torch.arange(ROWS) * 100

    def losses(rows: slice) -> torch.Tensor:
        asked.append(len(x[rows]))
        return denoiser.predict_noise(x[rows], t[rows], told[rows]).square().flatten(1).mean(1)[None]

    asked: list[int] = []
    at_once = gradient_norms(denoiser, losses, ROWS, 3)
    denoiser.unet.enable_gradient_checkpointing()
    by_row = gradient_norms(denoiser, losses, ROWS, 3)
    assert asked == [ROWS] + [1] * ROWS
    for found, expected in zip(by_row, at_once, strict=True):
        assert_norms(found, expected)


@pytest.mark.parametrize("embedding", [{"padding_idx": 1}, {"scale_grad_by_freq": True}])
def test_embeddings_that_are_not_plain(embedding):
    model = nn.Embedding(5, 4, **embedding)
    assert_exact(model, squares(model), torch.arange(4 * ROWS).reshape(ROWS, 4) % 5 // 2, by_row=True)


def test_a_parameter_that_is_not_used_needs_no_rule():
    model = Functional(lambda model, x: model.layers[0](x), nn.Linear(6, 6), position=normal(6))
    per_row = assert_exact(model, squares(model), normal(ROWS, 6))
    names = [name for name, _ in model.named_parameters()]
    assert (per_row[:, :, names.index("position")] == 0).all()


@pytest.mark.parametrize("covered", [True, False])
def test_the_model_is_left_as_it_was(covered):
    model = nn.Sequential(nn.Conv2d(2, 4, 3, groups=1 if covered else 2), nn.GroupNorm(2, 4))
    model[0].bias.requires_grad_(False)
    model[1].weight.grad = torch.ones(4)
    with torch.no_grad():
        per_row, _ = gradient_norms(model, Asked(squares(model), normal(ROWS, 2, 6, 6)), ROWS)
    assert (per_row > 0).all()
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert [p.grad is None for p in model.parameters()] == [True, True, False, True]
    assert torch.equal(model[1].weight.grad, torch.ones(4))
    assert not any(layer._forward_hooks for layer in model.modules())


def test_nothing_is_left_after_an_error():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)).requires_grad_(False)

    def losses(rows: slice) -> torch.Tensor:
        model[0](normal(ROWS, 5))
        raise KeyError("of the caller")

    with pytest.raises(KeyError):
        gradient_norms(model, losses, ROWS)
    assert not any(layer._forward_hooks for layer in model.modules())
    assert not any(p.requires_grad for p in model.parameters())


def test_activations_are_let_go(unet):
    """At once, not when the garbage is collected."""

    def tensors() -> int:
        gradient_norms(unet, of_unet(unet), ROWS)
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    gc.disable()
    try:
        assert tensors() == tensors()
    finally:
        gc.enable()


def test_rows_are_whole_samples():
    with pytest.raises(DiffmiaError, match="7 rows are not whole samples of 3"):
        gradient_norms(nn.Linear(2, 2), squares(nn.Linear(2, 2)), 7, 3)


@pytest.mark.parametrize("model", [nn.Identity(), nn.Linear(5, 5)], ids=["none", "others"])
@pytest.mark.parametrize("wanted", [True, False])
def test_target_without_gradients(model, wanted):
    x = normal(ROWS, 5).requires_grad_(wanted)
    with pytest.raises(DiffmiaError, match="a target without gradients"):
        gradient_norms(model, Asked(squares(nn.Linear(5, 2).requires_grad_(wanted)), x), ROWS)


def test_a_gradient_that_is_small_is_not_taken_for_rounding():
    """The second layer's gradient is the first one's times 1e-6, by the chain rule."""
    torch.manual_seed(0)
    large, small = nn.Linear(5, 1), nn.Linear(5, 1)
    model, x = nn.ModuleList([large, small]), torch.randn(4, 5)
    norms, _ = gradient_norms(model, lambda part: (large(x[part]) + 1e-6 * small(x[part]))[:, 0][None], 4)
    torch.testing.assert_close(norms[0, :, 2:], 1e-6 * norms[0, :, :2], rtol=1e-4, atol=0)
