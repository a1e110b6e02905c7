"""Gaussian noise that belongs to a sample, not to a batch."""

from __future__ import annotations

import numpy as np


def sample_noise(seed: int, sample_ids: np.ndarray, shape: tuple[int, ...], draw: int = 0) -> np.ndarray:
    """Standard normal noise for each sample, the same whatever the batch, shard, order or device.

    A counter-based generator (Philox) is placed at a point that only (seed, sample id, draw) decide. The timestep is
    not part of it, so attacks at several timesteps see the same noise and their results are paired.

    Parameters
    ----------
    seed : int
        Noise seed of the run, the key of the generator.
    sample_ids : int array (B,)
        Index of each sample in its dataset.
    shape : tuple
        Shape of one sample, (C, H, W).
    draw : int
        Which of the independent draws.

    Returns
    -------
    float32 array (B, C, H, W)
    """
    noise = np.empty((len(sample_ids), *shape), dtype=np.float32)
    for row, sample_id in zip(noise, sample_ids, strict=True):
        # the two high words of the counter name the stream; the low ones count within it and never reach them
        generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, draw, int(sample_id)]))
        row[...] = generator.standard_normal(shape, dtype=np.float32)
    return noise
