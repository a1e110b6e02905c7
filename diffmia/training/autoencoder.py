"""The autoencoder of a latent diffusion model, fitted before its denoiser is trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import mse_loss

from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.files.images import to_unit_range
from diffmia.models.networks.latent import ImageEncoder
from diffmia.running.progress import Progress

if TYPE_CHECKING:
    from diffmia.models.latent_diffusion import AutoencoderSpec

log = logging.getLogger(__name__)

AT_ONCE = 64  # images that are encoded


def fit_autoencoder(spec: AutoencoderSpec, images: np.ndarray, seed: int, folder: Path, device: torch.device) -> None:
    """Fit an autoencoder on `images`, uint8 (N, C, H, W), and write it to `folder`, whole.

    Its loss is the squared error of the images that it makes of latents drawn from its posterior, and a little of the
    posterior's divergence from a normal distribution (Kingma and Welling 2014). Its `scaling_factor` gives the images'
    latents a standard deviation of 1, as Rombach et al. 2022 do (Section 4.3.2, Appendix G).

    Raises
    ------
    DiffmiaError
        If the loss is not finite.
    """
    torch.manual_seed(seed)  # the initial weights
    vae = spec.build(images.shape[1:]).to(device).train()
    optimizer = torch.optim.Adam(vae.parameters(), lr=spec.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    progress = Progress(log, "autoencoder: epoch", spec.epochs)
    for epoch in range(1, spec.epochs + 1):
        total = 0.0
        for batch in torch.randperm(len(images), generator=generator).split(spec.batch_size):
            x0 = to_unit_range(images[batch.numpy()]).to(device)
            posterior = vae.encode(x0).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
            error = mse_loss(vae.decode(posterior.mean + posterior.std * noise).sample, x0)
            loss = error + spec.kl_weight * posterior.kl().mean() / posterior.mean[0].numel()
            if not torch.isfinite(loss):
                raise DiffmiaError(
                    f"the autoencoder's loss is {loss.item()} in epoch {epoch}; lower autoencoder.learning_rate"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += error.item() * len(x0)
        progress.update(epoch, f"  squared error {total / len(images):.5f}")
    vae.eval()
    vae.register_to_config(scaling_factor=1 / float(latents_of(ImageEncoder(vae), images, device).std()))
    with atomic_path(folder) as scratch:
        vae.save_pretrained(scratch)


@torch.inference_mode()
def latents_of(encoder: ImageEncoder, images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Latents float32 (N, c, h, w) of images, uint8 (N, C, H, W), on the CPU."""
    batches = (images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE))
    return torch.cat([encoder(to_unit_range(batch).to(device)).cpu() for batch in batches])
