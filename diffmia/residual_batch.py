"""The numbers of a residual pass: one batch of samples, every probe, every reduction; nothing of how a pass is run.

The code of this module and of what it imports is part of what finished pieces of a pass are found by. Inference mode
lives here only: `noise_search` itself is differentiable.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffmia.denoiser import Denoiser
from diffmia.images import to_unit_range
from diffmia.noise import sample_noise
from diffmia.noise_search import NoiseSearch, residual_norms
from diffmia.probes import Probe, column, reductions


@torch.inference_mode()
def residual_columns(
    denoiser: Denoiser, images: np.ndarray, ids: np.ndarray, probes: list[Probe], noise_seed: int, device: torch.device
) -> dict[str, np.ndarray]:
    """Every reduction of every probe of a batch, by column name, each float64 (B,).

    Parameters
    ----------
    denoiser : Denoiser
        In eval mode, on `device`.
    images : uint8 array (B, C, H, W)
        The samples.
    ids : int64 array (B,)
        Their ids, which their Gaussian noise belongs to.
    probes : list of Probe
        What is asked; a question that several share is asked once.
    noise_seed : int
        Seed of the samples' noise.
    """
    x0 = to_unit_range(images).to(device)

    def gaussian(draw: int) -> Tensor:
        return torch.from_numpy(sample_noise(noise_seed, ids, tuple(x0.shape[1:]), draw)).to(device)

    search = NoiseSearch(denoiser, x0, gaussian)
    columns = {}
    for probe in probes:
        iterates = search.iterates(probe)
        norms = {}
        for i, j, p in reductions(probe.n):
            if (i, j) not in norms:
                norms[i, j] = residual_norms(iterates[i] - iterates[j])
            columns[column(probe, (i, j), p)] = norms[i, j][p].cpu().numpy()
    return columns
