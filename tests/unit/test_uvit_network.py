"""The U-ViT against its paper's equations and its authors' checkpoint, and against files that are not to be trusted."""

from __future__ import annotations

import json
import math
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.errors import DiffmiaError
from diffmia.models.networks.checkpoints import load_state, read_checkpoint
from diffmia.models.networks.uvit import UViT, UViTDenoiser, load_uvit, save_uvit
from diffmia.models.schedule import ScheduleSpec

TINY = {"image_size": 4, "patch_size": 2, "in_channels": 1, "width": 8, "depth": 2, "heads": 2}
SIZES = {
    "grey": TINY,
    "colour": {"image_size": 6, "patch_size": 2, "in_channels": 3, "width": 12, "depth": 4, "heads": 3},
    "patches of 3": {"image_size": 6, "patch_size": 3, "in_channels": 2, "width": 8, "depth": 2, "heads": 1}
    | {"mlp_ratio": 2.5, "qkv_bias": True, "conv": False},
}


def uvit(sizes: dict, seed: int = 0) -> UViT:
    """All weights are drawn anew, norms and biases too, so that each of them is seen in the output."""
    network = UViT(**sizes).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return network


def images(sizes: dict, rows: int = 3) -> torch.Tensor:
    shape = rows, sizes["in_channels"], sizes["image_size"], sizes["image_size"]
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


# The paper's equations for one image, one token and one head at a time; weights and tokens in float64.


def linear(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    y = w[f"{name}.weight"] @ x
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def layer_norm(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    mean = x.sum() / len(x)
    variance = ((x - mean) ** 2).sum() / len(x)
    return (x - mean) / torch.sqrt(variance + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], dtype=x.dtype)


def attention(w: dict, name: str, tokens: list[torch.Tensor], heads: int) -> list[torch.Tensor]:
    width = len(tokens[0])
    size = width // heads
    projected = [linear(w, f"{name}.qkv", token) for token in tokens]
    outputs = []
    for i in range(len(tokens)):
        of_heads = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            queries, keys, values = ([p[k * width : (k + 1) * width][part] for p in projected] for k in range(3))
            weights = [math.exp(float(queries[i] @ key) / math.sqrt(size)) for key in keys]
            of_heads.append(sum(a / sum(weights) * value for a, value in zip(weights, values, strict=True)))
        outputs.append(linear(w, f"{name}.proj", torch.cat(of_heads)))
    return outputs


def block(w: dict, name: str, tokens: list[torch.Tensor], heads: int, skips: list | None = None) -> list[torch.Tensor]:
    if skips is not None:
        tokens = [linear(w, f"{name}.skip_linear", torch.cat(both)) for both in zip(tokens, skips, strict=True)]
    attended = attention(w, f"{name}.attn", [layer_norm(w, f"{name}.norm1", x) for x in tokens], heads)
    tokens = [x + a for x, a in zip(tokens, attended, strict=True)]
    hidden = [gelu(linear(w, f"{name}.mlp.fc1", layer_norm(w, f"{name}.norm2", x))) for x in tokens]
    return [x + linear(w, f"{name}.mlp.fc2", y) for x, y in zip(tokens, hidden, strict=True)]


def reference(w: dict, sizes: dict, image: torch.Tensor, time: float) -> torch.Tensor:
    """Noise (C, H, W) in one image."""
    p, width, half, heads = sizes["patch_size"], sizes["width"], sizes["depth"] // 2, sizes["heads"]
    channels, side = sizes["in_channels"], sizes["image_size"]
    w, image = {name: value.double() for name, value in w.items()}, image.double()
    angles = [time / 10_000 ** (i / (width // 2)) for i in range(width // 2)]
    tokens = [torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles], dtype=torch.float64)]
    for top in range(0, side, p):
        for left in range(0, side, p):
            patch = image[:, top : top + p, left : left + p]
            kernels = w["patch_embed.proj.weight"]
            tokens.append((kernels * patch).sum((1, 2, 3)) + w["patch_embed.proj.bias"])
    tokens = [token + position for token, position in zip(tokens, w["pos_embed"][0], strict=True)]
    skips = []
    for i in range(half):
        tokens = block(w, f"in_blocks.{i}", tokens, heads)
        skips.append(tokens)
    tokens = block(w, "mid_block", tokens, heads)
    for i in range(half):
        tokens = block(w, f"out_blocks.{i}", tokens, heads, skips[half - 1 - i])
    patches = iter([linear(w, "decoder_pred", layer_norm(w, "norm", token)) for token in tokens[1:]])
    noise = torch.zeros(channels, side, side, dtype=torch.float64)
    for top in range(0, side, p):
        for left in range(0, side, p):
            numbers = iter(next(patches))
            for y in range(p):
                for x in range(p):
                    for c in range(channels):
                        noise[c, top + y, left + x] = next(numbers)
    return convolution(w, noise) if sizes.get("conv", True) else noise


def convolution(w: dict, image: torch.Tensor) -> torch.Tensor:
    """3x3, over a border of zeros."""
    channels, height, width = image.shape
    bordered = torch.zeros(channels, height + 2, width + 2, dtype=image.dtype)
    bordered[:, 1:-1, 1:-1] = image
    output = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            part = bordered[:, y : y + 3, x : x + 3]
            output[:, y, x] = (w["final_layer.weight"] * part).sum((1, 2, 3)) + w["final_layer.bias"]
    return output


@pytest.mark.parametrize("name", SIZES)
def test_output_is_that_of_the_papers_equations(name):
    sizes = SIZES[name]
    network, x, times = uvit(sizes), images(sizes), [0.0, 37.25, 999.0]
    noise = network(x, torch.tensor(times))
    expected = [reference(network.state_dict(), sizes, image, time) for image, time in zip(x, times, strict=True)]
    assert noise.shape == x.shape
    assert noise.dtype == torch.float32
    assert torch.stack(expected).std() > 0.1
    torch.testing.assert_close(noise.double(), torch.stack(expected), atol=1e-5, rtol=1e-5)


def checkpoint_shapes(width: int, patches: int, patch: int, channels: int, half: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a checkpoint of the authors, without a condition and without an MLP of the time."""

    def norm(name: str) -> dict:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    def dense(name: str, given: int, made: int) -> dict:
        return {f"{name}.weight": (made, given), f"{name}.bias": (made,)}

    shapes = {"pos_embed": (1, 1 + patches, width)}
    shapes |= {"patch_embed.proj.weight": (width, channels, patch, patch), "patch_embed.proj.bias": (width,)}
    ins, outs = [f"in_blocks.{i}" for i in range(half)], [f"out_blocks.{i}" for i in range(half)]
    for name in [*ins, "mid_block", *outs]:
        shapes |= norm(f"{name}.norm1") | norm(f"{name}.norm2")
        shapes |= {f"{name}.attn.qkv.weight": (3 * width, width)} | dense(f"{name}.attn.proj", width, width)
        shapes |= dense(f"{name}.mlp.fc1", width, 4 * width) | dense(f"{name}.mlp.fc2", 4 * width, width)
        if name in outs:
            shapes |= dense(f"{name}.skip_linear", 2 * width, width)
    shapes |= norm("norm") | dense("decoder_pred", width, patch * patch * channels)
    return shapes | {"final_layer.weight": (channels, channels, 3, 3), "final_layer.bias": (channels,)}


def test_weights_are_named_and_shaped_as_in_the_cifar10_checkpoint():
    with torch.device("meta"):
        network = UViT(image_size=32, patch_size=2, in_channels=3, width=512, depth=12, heads=8)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes == checkpoint_shapes(width=512, patches=256, patch=2, channels=3, half=6)
    assert sum(parameter.numel() for parameter in network.parameters()) == 44_255_328


def test_a_state_dict_of_these_names_is_loaded_as_it_is():
    generator = torch.Generator().manual_seed(3)
    shapes = checkpoint_shapes(width=8, patches=4, patch=2, channels=1, half=1)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    network = UViT(**TINY)
    load_state(network, state, "here")
    found = network.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_options_make_the_weights_they_name():
    shapes = {name: tuple(value.shape) for name, value in UViT(**SIZES["patches of 3"]).state_dict().items()}
    assert shapes["mid_block.attn.qkv.bias"] == (3 * 8,)
    assert shapes["mid_block.mlp.fc1.weight"] == (20, 8)  # mlp_ratio is 2.5
    assert "final_layer.weight" not in shapes


def test_fresh_weights():
    torch.manual_seed(0)
    network = UViT(image_size=8, patch_size=2, in_channels=3, width=64, depth=2, heads=2, qkv_bias=True)
    fresh = dict(network.named_parameters())
    drawn = [name for name, value in fresh.items() if value.dim() == 2] + ["pos_embed"]
    assert len(drawn) == 3 * 4 + 1 + 1 + 1
    for name in drawn:
        assert abs(fresh[name].std() - 0.02) < 0.002, name
        assert abs(fresh[name].mean()) < 0.002, name
    for name, value in fresh.items():
        if name.endswith("bias") and "patch_embed" not in name and "final_layer" not in name:
            assert not value.any(), name
        if "norm" in name and name.endswith("weight"):
            assert (value == 1).all(), name


@pytest.mark.parametrize("wrong", [{"patch_size": 3}, {"heads": 3}, {"depth": 3}, {"width": 9, "heads": 3}])
def test_sizes_of_no_uvit_are_refused(wrong):
    with pytest.raises(DiffmiaError, match="no U-ViT has the sizes"):
        UViT(**TINY | wrong)


class HalfSteps(DiscreteSchedule):
    """Tells the network float64 times between the steps."""

    def time(self, t):
        return torch.as_tensor(t, dtype=torch.float64) + 0.5


def test_each_sample_is_told_its_own_time():
    network, x = uvit(TINY), images(TINY)
    denoiser = UViTDenoiser(network, HalfSteps.from_spec(ScheduleSpec()))
    together = denoiser.predict_noise(x, torch.tensor([0, 40, 900]))
    for i, t in enumerate([0, 40, 900]):
        alone = denoiser.predict_noise(x[i : i + 1], t)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone, network(x[i : i + 1], torch.tensor([t + 0.5])), atol=0, rtol=0)
    assert (together[0] - denoiser.predict_noise(x, 40)[0]).abs().max() > 1e-2


def test_one_timestep_is_told_to_all_samples():
    schedule = DiscreteSchedule.from_spec(ScheduleSpec())
    network, x = uvit(TINY), images(TINY)
    noise = UViTDenoiser(network, schedule).predict_noise(x, 70)
    torch.testing.assert_close(noise, network(x, torch.full((3,), 70.0)), atol=0, rtol=0)


@pytest.mark.parametrize("name", SIZES)
def test_what_is_saved_is_loaded(name, tmp_path):
    sizes, schedule = SIZES[name], HalfSteps.from_spec(ScheduleSpec())
    before = UViTDenoiser(uvit(sizes), schedule)
    save_uvit(before.uvit, tmp_path)
    after = load_uvit(tmp_path, schedule)
    assert after.schedule is schedule
    assert after.uvit.config == before.uvit.config
    assert json.loads((tmp_path / "uvit" / "config.json").read_text()).items() >= sizes.items()
    assert sorted(path.name for path in (tmp_path / "uvit").iterdir()) == ["config.json", "model.safetensors"]
    x = images(sizes)
    assert torch.equal(after.predict_noise(x, 5), before.predict_noise(x, 5))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_checkpoint_of_either_format_is_read(suffix, tmp_path):
    state, path = uvit(TINY).state_dict(), tmp_path / f"weights{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    network = UViT(**TINY)
    load_state(network, read_checkpoint(path), str(path))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("writer", ["torch.save", "old torch.save", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(writer, tmp_path):
    path, ran, weight = tmp_path / "weights.pth", tmp_path / "ran", torch.zeros(2)
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"norm.weight": Code(ran)}, protocol=2))
    else:
        torch.save({"w": weight, "c": Code(ran)}, path, _use_new_zipfile_serialization=writer == "torch.save")
    with pytest.raises(
        DiffmiaError, match=r"weights\.pth holds more than tensors, .* run code .*; give the weights"
    ) as e:
        read_checkpoint(path)
    assert "\n" not in str(e.value)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(2)], " holds a list, not a dict of tensors"),
        (torch.zeros(2), " holds a Tensor, not a dict of tensors"),
        (
            {"state": {"pos_embed": torch.zeros(2)}, "step": 3},
            ": under 'state' is a value of type dict, no named tensor",
        ),
        ({"pos_embed": torch.zeros(2), "step": 3}, ": under 'step' is a value of type int, no named tensor"),
        ({0: torch.zeros(2)}, ": under 0 is a value of type Tensor, no named tensor"),
    ],
)
def test_anything_but_a_flat_dict_of_tensors_is_refused(content, said, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(DiffmiaError, match=f"weights.pth{said}; give the weights alone"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", "half"])
def test_a_damaged_checkpoint_is_refused(suffix, content, tmp_path):
    path = tmp_path / f"weights{suffix}"
    if content == "half":
        state = uvit(TINY).state_dict()
        torch.save(state, path) if suffix == ".pth" else save_file(state, path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(DiffmiaError, match=rf"weights\{suffix} is damaged or no \{suffix} file; download it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("weights.bin", "is neither a .pth, a .pt nor a .safetensors file; give"),
        ("none.pth", "No such file or directory"),
        ("none.safetensors", "No such file or directory"),
    ],
)
def test_other_files_and_missing_ones_are_refused(name, said, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(DiffmiaError, match=rf"checkpoint .*{name}:? {said}"):
        read_checkpoint(tmp_path / name)


def test_weights_of_another_size_are_refused_in_one_sentence():
    network, before = UViT(**TINY), uvit(TINY)
    load_state(network, before.state_dict(), "here")
    with pytest.raises(DiffmiaError) as wider:
        load_state(network, uvit(TINY | {"width": 16}).state_dict(), "w.pth")
    assert str(wider.value) == (
        "w.pth does not fit the network that it is meant for: it has another shape of pos_embed ((1, 5, 16) there, "
        "(1, 5, 8) in the network), patch_embed.proj.weight ((16, 1, 2, 2) there, (8, 1, 2, 2) in the network), "
        "patch_embed.proj.bias ((16,) there, (8,) in the network) and 38 more; give the network the sizes that the "
        "weights were trained with"
    )
    with pytest.raises(DiffmiaError, match=r"it has unknown in_blocks\.1\.\S+, .* and 21 more; give"):
        load_state(network, uvit(TINY | {"depth": 4}).state_dict(), "w.pth")
    with pytest.raises(DiffmiaError, match=r"it lacks final_layer\.weight, final_layer\.bias, has another shape of"):
        load_state(network, uvit(TINY | {"conv": False, "patch_size": 1}).state_dict(), "w.pth")
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in network.state_dict().items())
