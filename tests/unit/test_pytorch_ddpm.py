"""Checkpoints of pytorch-ddpm: the network that is made of them answers as the one they were saved from."""

from __future__ import annotations

import math
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffmia.errors import DiffmiaError
from diffmia.models.ddpm_checkpoint import DDPMCheckpoint

GROUPS = 32


class Residual(nn.Module):
    """A residual block under pytorch-ddpm's names."""

    def __init__(self, wide_in, wide, time_width, attention):
        super().__init__()
        self.block1 = nn.Sequential(nn.GroupNorm(GROUPS, wide_in), nn.SiLU(), nn.Conv2d(wide_in, wide, 3, padding=1))
        self.temb_proj = nn.Sequential(nn.SiLU(), nn.Linear(time_width, wide))
        drop = nn.Dropout(0.1)
        self.block2 = nn.Sequential(nn.GroupNorm(GROUPS, wide), nn.SiLU(), drop, nn.Conv2d(wide, wide, 3, padding=1))
        self.shortcut = nn.Identity() if wide_in == wide else nn.Conv2d(wide_in, wide, 1)
        self.attn = SelfAttention(wide) if attention else nn.Identity()

    def forward(self, x, temb):
        h = self.block1(x) + self.temb_proj(temb)[:, :, None, None]
        return self.attn(self.shortcut(x) + self.block2(h))


class SelfAttention(nn.Module):
    def __init__(self, wide):
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, wide)
        self.proj_q, self.proj_k, self.proj_v, self.proj = (nn.Conv2d(wide, wide, 1) for _ in range(4))

    def forward(self, x):
        normal = self.group_norm(x)
        q, k, v = (layer(normal).flatten(2) for layer in (self.proj_q, self.proj_k, self.proj_v))  # (B, C, HW)
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / math.sqrt(x.shape[1]), dim=2)
        return x + self.proj(torch.einsum("bij,bcj->bci", weights, v).reshape(x.shape))


class Resample(nn.Module):
    def __init__(self, wide, down):
        super().__init__()
        self.down, self.main = down, nn.Conv2d(wide, wide, 3, stride=2 if down else 1, padding=1)

    def forward(self, x, temb):
        return self.main(x if self.down else F.interpolate(x, scale_factor=2, mode="nearest"))


class Embedding(nn.Module):
    def __init__(self, timesteps, wide, time_width):
        super().__init__()
        frequencies = torch.exp(-torch.arange(0, wide, 2) / wide * math.log(10_000))
        angles = torch.arange(timesteps).float()[:, None] * frequencies
        table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)  # sines and cosines in turn
        layers = nn.Linear(wide, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        self.timembedding = nn.Sequential(nn.Embedding.from_pretrained(table), *layers)


class Literal(nn.Module):
    """pytorch-ddpm's U-Net, after its description."""

    def __init__(self, wide=32, multiples=(1, 2, 2), attn=(1,), blocks=2, timesteps=1000):
        super().__init__()
        time_width, levels = 4 * wide, len(multiples)
        self.time_embedding = Embedding(timesteps, wide, time_width)
        self.head = nn.Conv2d(3, wide, 3, padding=1)
        self.downblocks, self.upblocks, widths, now = nn.ModuleList(), nn.ModuleList(), [wide], wide
        for level, multiple in enumerate(multiples):
            for _ in range(blocks):
                self.downblocks.append(Residual(now, wide * multiple, time_width, level in attn))
                now = wide * multiple
                widths.append(now)
            if level < levels - 1:
                self.downblocks.append(Resample(now, down=True))
                widths.append(now)
        self.middleblocks = nn.ModuleList(Residual(now, now, time_width, first) for first in (True, False))
        for level in reversed(range(levels)):
            for _ in range(blocks + 1):
                self.upblocks.append(Residual(widths.pop() + now, wide * multiples[level], time_width, level in attn))
                now = wide * multiples[level]
            if level:
                self.upblocks.append(Resample(now, down=False))
        self.tail = nn.Sequential(nn.GroupNorm(GROUPS, now), nn.SiLU(), nn.Conv2d(now, 3, 3, padding=1))

    def forward(self, x, t):
        temb = self.time_embedding.timembedding(t)
        h = self.head(x)
        kept = [h]
        for layer in self.downblocks:
            h = layer(h, temb)
            kept.append(h)
        for layer in self.middleblocks:
            h = layer(h, temb)
        for layer in self.upblocks:
            h = layer(torch.cat([h, kept.pop()], dim=1) if isinstance(layer, Residual) else h, temb)
        return self.tail(h)


def literal(seed=0, **sizes):
    torch.manual_seed(seed)
    network = Literal(**sizes).eval().requires_grad_(False)
    for name, value in network.state_dict().items():  # no layer is left at ones and zeros
        if "norm" in name or name.endswith("bias") or ".0.weight" in name:
            value += 0.1 * torch.randn(value.shape)
    return network


def checkpoint(ema, path, prefix="", net=None):
    """Save as pytorch-ddpm does, with the state of a warm-up schedule and of an optimiser that has taken a step."""
    net = net or literal(seed=1)
    optim = torch.optim.Adam(net.requires_grad_(True).parameters(), lr=2e-4)
    sched = torch.optim.lr_scheduler.LambdaLR(optim, lr_lambda=lambda step: min(step, 5000) / 5000)
    net.head(torch.ones(1, 3, 8, 8)).sum().backward()
    optim.step()
    states = {"ema_model": ema, "net_model": net}
    named = {of: {f"{prefix}{k}": v for k, v in module.state_dict().items()} for of, module in states.items()}
    rest = {"sched": sched.state_dict(), "optim": optim.state_dict(), "step": 5000, "x_T": torch.zeros(1, 3, 8, 8)}
    torch.save(named | rest, path)
    return path


def spec(path, **settings):
    model = {"channels": [32, 64, 64], "attention": [False, True, False], "dropout": 0.1}
    return DDPMCheckpoint(family="ddpm_checkpoint", split="toy", checkpoint=str(path), **{"model": model} | settings)


def denoiser(target, folder):
    [path] = target.inputs()
    target.copy({"checkpoint.pt": path}, (3, 8, 8), folder)
    return target.load(folder).eval().requires_grad_(False)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_converted_network_answers_as_the_one_that_was_saved(prefix, tmp_path):
    network = literal()
    taken_in = denoiser(spec(checkpoint(network, tmp_path / "checkpoint.pt", prefix)), tmp_path / "target")
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([0, 3, 350, 999])
    wanted = network(x, t)
    assert wanted.abs().mean() > 0.1
    assert (taken_in.predict_noise(x, t) - wanted).abs().max() <= 1e-5
    assert (taken_in.predict_noise(x, 3) - wanted)[2].abs().max() > 1e-3  # it is told the time
    assert sorted(p.name for p in (tmp_path / "target").rglob("*") if p.suffix in (".bin", ".pt", ".pth")) == []


def test_the_last_weights_can_be_taken_in_place_of_their_average(tmp_path):
    net = literal(seed=1)
    path = checkpoint(literal(), tmp_path / "checkpoint.pt", net=net)
    taken_in = denoiser(spec(path, weights="net_model"), tmp_path / "target")
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([5, 700])
    assert (taken_in.predict_noise(x, t) - net(x, t)).abs().max() <= 1e-5


def test_attention_everywhere_and_nowhere(tmp_path):
    for attn in ((0, 1), ()):
        network = literal(multiples=(1, 2), attn=attn, blocks=1)
        path = checkpoint(network, tmp_path / "checkpoint.pt")
        model = {"channels": [32, 64], "attention": [i in attn for i in range(2)], "layers_per_block": 1}
        taken_in = denoiser(spec(path, model=model), tmp_path / f"target{len(attn)}")
        x, t = torch.randn(2, 3, 8, 8), torch.tensor([5, 700])
        assert (taken_in.predict_noise(x, t) - network(x, t)).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": {"channels": [32, 32, 64]}}, "has another shape of"),
        ({"schedule": {"timesteps": 500}}, r"has another shape of time_proj\.weight \(\(1000, 32\) there, \(500, 32\)"),
        ({"model": {"channels": [32, 64, 64]}}, r"has unknown downblocks\.3\.attn\.group_norm\.weight"),
    ],
)
def test_a_checkpoint_of_another_size_is_refused(settings, said, tmp_path):
    path = checkpoint(literal(), tmp_path / "checkpoint.pt")
    with pytest.raises(DiffmiaError, match=rf"checkpoint\.pt \(ema_model\) does not fit the network .*{said}"):
        denoiser(spec(path, **settings), tmp_path / "target")
    assert not (tmp_path / "target").exists()


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("where", ["ema_model", "beside the weights"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(where, tmp_path):
    path, ran = tmp_path / "checkpoint.pt", tmp_path / "ran"
    ema = {"head.weight": torch.zeros(2)}
    content = {"ema_model": ema | {"evil": Code(ran)}} if where == "ema_model" else {"ema_model": ema, "x": Code(ran)}
    torch.save(content, path)
    with pytest.raises(
        DiffmiaError, match=r"checkpoint\.pt holds more than tensors, .* run code .* it is not loaded"
    ) as e:
        denoiser(spec(path), tmp_path / "target")
    assert "\n" not in str(e.value)
    assert not ran.exists()
    assert not (tmp_path / "target").exists()
    torch.load(path, weights_only=False)  # it would have
    assert ran.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {}}, r"checkpoint\.pt has no 'ema_model'; it has model"),
        ([1], r"checkpoint\.pt has no 'ema_model'; it has a list"),
        ({"ema_model": {"step": 3}}, r"checkpoint\.pt \(ema_model\): under 'step' is a value of type int"),
    ],
)
def test_a_file_of_another_kind_is_refused(content, said, tmp_path):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(DiffmiaError, match=said):
        denoiser(spec(tmp_path / "checkpoint.pt"), tmp_path / "target")
