"""Weights of pytorch-ddpm's U-Net under the names that a diffusers `UNet2DModel` has for the same layers.

The networks are the same function: group normalisation, swish and 3x3 convolutions around an added time embedding,
attention of one head after a residual block, halving by a strided convolution and doubling by nearest neighbours. They
differ in names, in that the 1x1 convolutions of attention are linear layers here, and in the order of sines and cosines
in the time embedding, which is a table in the checkpoint and stays one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from torch import Tensor

from diffmia.models.ddpm_unet import UNetShape

PARALLEL = "module."  # before every name that torch.nn.DataParallel saved
ENDS = {
    "time_embedding.timembedding.0": "time_proj",
    "time_embedding.timembedding.1": "time_embedding.linear_1",
    "time_embedding.timembedding.3": "time_embedding.linear_2",
    "head": "conv_in",
    "tail.0": "conv_norm_out",
    "tail.2": "conv_out",
}
RESIDUAL = {
    "block1.0": "norm1",
    "block1.2": "conv1",
    "temb_proj.1": "time_emb_proj",
    "block2.0": "norm2",
    "block2.3": "conv2",
    "shortcut": "conv_shortcut",
}
ATTENTION = {"group_norm": "group_norm", "proj_q": "to_q", "proj_k": "to_k", "proj_v": "to_v", "proj": "to_out.0"}


def as_unet(state: dict[str, Tensor], shape: UNetShape) -> dict[str, Tensor]:
    """The state dict of a `UNet2DModel` of this shape with a learned time embedding; unknown names stay."""
    names = dict(_layers(shape))
    renamed = {}
    for name, value in state.items():
        layer, _, parameter = name.removeprefix(PARALLEL).rpartition(".")
        if ".attn.proj" in layer and value.shape[2:] == (1, 1):
            value = value[:, :, 0, 0]
        renamed[f"{names.get(layer, layer)}.{parameter}"] = value
    return renamed


def _layers(shape: UNetShape) -> Iterator[tuple[str, str]]:
    """Every layer's name there and here; of shortcuts also those that a block of equal widths lacks."""
    attention = shape.attention or (False,) * len(shape.channels)
    last = len(shape.channels) - 1
    yield from ENDS.items()
    blocks = (f"downblocks.{n}" for n in count())
    for level in range(last + 1):
        for layer in range(shape.layers_per_block):
            yield from _block(next(blocks), f"down_blocks.{level}", layer, attention[level])
        if level < last:
            yield f"{next(blocks)}.main", f"down_blocks.{level}.downsamplers.0.conv"
    for layer in (0, 1):
        yield from _block(f"middleblocks.{layer}", "mid_block", layer, attention=layer == 0)
    blocks = (f"upblocks.{n}" for n in count())
    for up, level in enumerate(reversed(range(last + 1))):
        for layer in range(shape.layers_per_block + 1):
            yield from _block(next(blocks), f"up_blocks.{up}", layer, attention[level])
        if level > 0:
            yield f"{next(blocks)}.main", f"up_blocks.{up}.upsamplers.0.conv"


def _block(there: str, here: str, layer: int, attention: bool) -> Iterator[tuple[str, str]]:
    for old, new in RESIDUAL.items():
        yield f"{there}.{old}", f"{here}.resnets.{layer}.{new}"
    for old, new in ATTENTION.items() if attention else ():
        yield f"{there}.attn.{old}", f"{here}.attentions.{layer}.{new}"
