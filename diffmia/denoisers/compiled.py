"""A denoiser whose network runs as kernels made for it by `torch.compile`: on a GPU one kernel where many were."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import torch

from diffmia.denoisers.denoiser import Denoiser
from diffmia.errors import DiffmiaError

if TYPE_CHECKING:
    from torch import Tensor


class Compiled(Denoiser):
    """A denoiser asked through compiled kernels; its weights are the given one's, and stay so when they are trained.

    Kernels are made for one number of rows, at the first call with it, which takes up to a minute; torch keeps them on
    disk for the next process. So that there are few such numbers, rows are filled up to the next power of two. On a GPU
    a call is one CUDA graph: without, the CPU starts kernels of small images more slowly than an H200 does them.

    Parameters
    ----------
    denoiser : Denoiser
        On the device where it is asked.
    """

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser, self.schedule = denoiser, denoiser.schedule
        # of diffusers' look at torch's version, at every compilation: nothing a reader of a log could do about
        warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
        on_gpu = next(denoiser.parameters()).is_cuda
        self._fast = _with_compiled_networks(denoiser, "reduce-overhead" if on_gpu else "default")

    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """See `Denoiser.predict_noise`.

        Raises
        ------
        DiffmiaError
            If no kernels can be made here.
        """
        rows = len(x_t)
        filled = [_filled(one, rows) for one in (x_t, t, condition)]
        try:
            return self._fast.predict_noise(*filled)[:rows].clone()  # the next call writes where this one did
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise DiffmiaError(
                f"torch.compile can make no kernels here: {str(error).splitlines()[0]}; it needs a C++ compiler, and "
                "on a GPU Triton. Install them, or set compile: false"
            ) from error


def _with_compiled_networks(denoiser: Denoiser, mode: str) -> Denoiser:
    """A denoiser that does around its networks what the given one does, as it is written; they share all weights."""
    twin = copy.copy(denoiser)
    twin._modules = {
        name: _with_compiled_networks(part, mode)
        if isinstance(part, Denoiser)
        else torch.compile(part, dynamic=False, mode=mode)
        for name, part in denoiser.named_children()
    }
    return twin


def _filled(values: Tensor | int | None, rows: int) -> Tensor | int | None:
    """What has a row for each sample, with its last one repeated until their number is a power of two."""
    more = (1 << (rows - 1).bit_length()) - rows
    if more == 0 or not isinstance(values, torch.Tensor) or values.dim() == 0:
        return values
    return torch.cat([values, values[-1:].expand(more, *values.shape[1:])])
