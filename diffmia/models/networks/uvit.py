"""U-ViT (Bao et al. 2023, "All are Worth Words", arXiv 2209.12152): a vision transformer that predicts noise.

Time and patches are all tokens, and the first half of the blocks is joined to the second half by long skips. The names
and shapes of the weights are those of the authors' checkpoints of unconditional models with `mlp_time_embed=False`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import Schedule
from diffmia.errors import DiffmiaError
from diffmia.models.networks.checkpoints import load_state, read_checkpoint

INITIAL_STD = 0.02  # of the truncated normal that linear layers and the position embedding start from
WEIGHTS = "model.safetensors"


def time_embedding(time: Tensor, width: int) -> Tensor:
    """Sinusoids of `time` (B,), any real numbers: (B, width), the cosines first (Vaswani et al. 2017, Sec. 3.5)."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=time.device)
    angles = time.float()[:, None] * torch.exp(-math.log(10_000) * steps / (width // 2))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Attention(nn.Module):
    """Multi-head self-attention of tokens (B, N, width)."""

    def __init__(self, width: int, heads: int, qkv_bias: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Queries, keys and values lie one after the other in `qkv`, and in each of them one head after the other."""
        queries, keys, values = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two layers, applied to each token."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block, which may first be joined with the output of an earlier block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, qkv_bias: bool, long_skip: bool = False):
        super().__init__()
        if long_skip:
            self.skip_linear = nn.Linear(2 * width, width)
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads, qkv_bias)
        self.norm2, self.mlp = nn.LayerNorm(width), MLP(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Tokens (B, N, width) to the same; `skip` is for blocks with a long skip."""
        if skip is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=2))  # Linear(Concat(h_m, h_s)), Sec. 3.1
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Each patch of an image becomes a token."""

    def __init__(self, patch_size: int, in_channels: int, width: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, patches, width), row by row."""
        return self.proj(x).flatten(2).transpose(1, 2)


class UViT(nn.Module):
    """The network, for square images and without conditions.

    Parameters
    ----------
    image_size, patch_size, in_channels : int
        Pixels along a side of the image and of a patch, which divides it; channels of the image.
    width, heads : int
        Numbers in a token, even and divisible by `heads`, and heads of the attention.
    depth : int
        Blocks besides the middle one, even: half of them before it, half after it.
    mlp_ratio : float
        Hidden width of a block's MLP, in widths of a token.
    qkv_bias : bool
        Whether queries, keys and values have biases.
    conv : bool
        Whether a 3x3 convolution follows the last linear layer.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        in_channels: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        conv: bool = True,
    ):
        super().__init__()
        self.config = {
            "image_size": image_size,
            "patch_size": patch_size,
            "in_channels": in_channels,
            "width": width,
            "depth": depth,
            "heads": heads,
            "mlp_ratio": mlp_ratio,
            "qkv_bias": qkv_bias,
            "conv": conv,
        }
        if image_size % patch_size or width % heads or width % 2 or depth % 2:
            raise DiffmiaError(
                f"no U-ViT has the sizes {self.config}: patch_size has to divide image_size, heads has to divide "
                "width, and width and depth have to be even"
            )
        block, half = (width, heads, mlp_ratio, qkv_bias), depth // 2
        self.patch_embed = PatchEmbed(patch_size, in_channels, width)
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + (image_size // patch_size) ** 2, width))
        self.in_blocks = nn.ModuleList(Block(*block) for _ in range(half))
        self.mid_block = Block(*block)
        self.out_blocks = nn.ModuleList(Block(*block, long_skip=True) for _ in range(half))
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, patch_size**2 * in_channels)
        self.final_layer = nn.Conv2d(in_channels, in_channels, 3, padding=1) if conv else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        """Convolutions and normalisations start as PyTorch's do."""
        nn.init.trunc_normal_(self.pos_embed, std=INITIAL_STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=INITIAL_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Noise (B, C, H, W) in `x` (B, C, H, W) at `time` (B,)."""
        patches = self.patch_embed(x)
        time_token = time_embedding(time, self.config["width"]).to(patches.dtype)[:, None]
        tokens, skips = torch.cat([time_token, patches], dim=1) + self.pos_embed, []
        for block in self.in_blocks:
            tokens = block(tokens)
            skips.append(tokens)
        tokens = self.mid_block(tokens)
        for block in self.out_blocks:
            tokens = block(tokens, skips.pop())
        return self.final_layer(self._image(self.decoder_pred(self.norm(tokens))[:, 1:]))

    def _image(self, patches: Tensor) -> Tensor:
        """Patches (B, patches, patch_size² C) put together; in a patch, the channels of a pixel are neighbours."""
        size, side = self.config["patch_size"], self.config["image_size"] // self.config["patch_size"]
        pixels = patches.unflatten(2, (size, size, -1)).unflatten(1, (side, side))  # (B, row, column, y, x, C)
        return pixels.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


class UViTDenoiser(Denoiser):
    """Noise prediction by a U-ViT.

    Parameters
    ----------
    uvit : UViT
        The network.
    schedule : Schedule
        What it was trained with.
    """

    def __init__(self, uvit: UViT, schedule: Schedule):
        super().__init__()
        self.uvit, self.schedule = uvit, schedule

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """See `Denoiser.predict_noise`; the model is unconditional."""
        return self.uvit(x_t, self.schedule.time(t).to(x_t.device, torch.float32).expand(len(x_t)))


def save_uvit(uvit: UViT, folder: Path) -> None:
    """Write `uvit/config.json` and `uvit/model.safetensors`, all that `load_uvit` needs, into a folder."""
    folder = Path(folder) / "uvit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(uvit.config, indent=2) + "\n")
    save_file({name: value.cpu().contiguous() for name, value in uvit.state_dict().items()}, folder / WEIGHTS)


def load_uvit(folder: Path, schedule: Schedule) -> UViTDenoiser:
    """The U-ViT that `save_uvit` wrote into a folder."""
    folder = Path(folder) / "uvit"
    uvit = UViT(**json.loads((folder / "config.json").read_text()))
    load_state(uvit, read_checkpoint(folder / WEIGHTS), str(folder / WEIGHTS))
    return UViTDenoiser(uvit, schedule)
