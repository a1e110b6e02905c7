"""Faster and coarser arithmetic inside a model; what goes in and comes out of it is float32.

A training may choose it freely: it is part of the recipe. Scores may not: `diffmia.passes.gate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from diffmia.denoisers.denoiser import Denoiser
from diffmia.models.base import EXACT

if TYPE_CHECKING:
    from torch import Tensor

    from diffmia.models.base import Precision


class InPrecision(Denoiser):
    """A denoiser asked in another precision than float32: its weights and its answers stay float32."""

    def __init__(self, denoiser: Denoiser, precision: Precision):
        super().__init__()
        self.denoiser, self.schedule, self.precision = denoiser, denoiser.schedule, precision

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """See `Denoiser.predict_noise`."""
        with tf32(self.precision), autocast(self.precision, x_t.device):
            return self.denoiser.predict_noise(x_t, t, condition).float()


@contextmanager
def tf32(precision: Precision) -> Iterator[None]:
    """Whether matrix products and convolutions on CUDA round their float32 inputs to ten bits of mantissa."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before


def layout(device: torch.device, precision: Precision, compiled: bool = False) -> torch.memory_format:
    """The order of a network's weights in which its convolutions are fastest; changes no number but by rounding.

    On CPUs channels last is about a tenth faster. Of a GPU only the units that float32 is too fine for want it (on an
    H200 a training in strict float32 was 12 % slower with it), and compiled kernels choose for themselves.
    """
    plain = device.type == "cuda" and (compiled or precision == EXACT)
    return torch.contiguous_format if plain else torch.channels_last


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The operations that can bear it in bfloat16 or float16, where that is the precision."""
    half = precision in ("bfloat16", "float16")
    return torch.autocast(device.type, dtype=getattr(torch, precision) if half else None, enabled=half)
