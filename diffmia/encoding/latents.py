"""The stage that makes latents of a dataset's images, once for all that is ever asked of a text-to-image target."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from diffmia.encoding.rows import encode_rows
from diffmia.files.images import open_images, to_unit_range
from diffmia.models.latent import LatentTarget
from diffmia.running.device import device_name
from diffmia.shards import shard_ids
from diffmia.targets import checked_folder


def encode_latents(
    spec: LatentTarget,
    shard: tuple[int, int],
    target: Path,
    images: Path,
    split: Path,
    out: Path,
    device: torch.device,
) -> dict:
    """Write the latents of a shard (number, of how many) of the images, float32 (n, c, h, w); returns facts of them.

    Shards are contiguous ranges of the whole dataset's sample ids, each of whole batches of `encoding_batch_size`. A
    latent is the mode of the posterior of the target's autoencoder, in the scale that its U-Net works in; nothing is
    drawn.

    Raises
    ------
    DiffmiaError
        If the target is of another split or damaged, and as `encode_rows`.
    """
    manifest = json.loads(Path(split).read_text())
    folder, description = checked_folder(spec, target, manifest)
    encoder = spec.load_image_encoder(folder).to(device).eval()
    pixels = open_images(images)
    ids = shard_ids(np.arange(len(pixels)), *shard, spec.encoding_batch_size)

    def encode(part: slice) -> torch.Tensor:
        chosen = ids[part] if len(ids) else [0]  # a shard without images has their latents' shape too
        return encoder(to_unit_range(pixels[chosen]).to(device))[: len(ids[part])]

    shape = encode_rows(encode, len(ids), spec.encoding_batch_size, "images", out)
    return {
        **{key: description[key] for key in ("target_hash", "split_hash", "dataset_hash")},
        "shard": shard,
        "shape": shape,
        "device": device_name(device),
    }
