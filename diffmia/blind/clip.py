"""What CLIP (Radford et al. 2021, arXiv 2103.00020) makes of images, for a blind baseline: subjects and style."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from diffmia.models.networks.pretrained import load_model, load_part, pixel_values
from diffmia.running.progress import Progress

log = logging.getLogger(__name__)

BATCH = 64  # images per model call


@torch.no_grad()
def image_embeddings(folder: Path, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Embeddings of images uint8 (N, C, H, W) in CLIP's space of images and texts, each of length 1: float64 (N, D).

    Raises
    ------
    DiffmiaError
        If the folder is not a CLIP in the layout of transformers with weights of safetensors.
    """
    model = load_model(CLIPVisionModelWithProjection, Path(folder) / "model.safetensors", device)
    processor = load_part(CLIPImageProcessorPil, Path(folder) / "preprocessor_config.json")
    progress, found = Progress(log, "images embedded", len(images)), []
    for start in range(0, len(images), BATCH):
        seen = pixel_values(processor, np.asarray(images[start : start + BATCH]))
        found.append(model(seen.to(device)).image_embeds.double().cpu().numpy())
        progress.update(min(start + BATCH, len(images)))
    embeddings = np.concatenate(found)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
