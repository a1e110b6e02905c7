"""A blind baseline: logistic regression on simple statistics of an image, its size as a PNG file among them.

Das et al. (2024, arXiv 2406.16201) show that features as plain as these beat published attacks where members and
non-members are of different origin: another camera, another compression, another range of brightness.
"""

from __future__ import annotations

import io
import math
from itertools import combinations

import numpy as np
from PIL import Image

from diffmia.errors import DiffmiaError

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
VALUES = 2**22  # numbers of images that are held as float64 at a time: 32 MiB, of which there are some five copies
COMPRESS_LEVEL = 6  # zlib's default; the size also depends on the zlib that Pillow was built with


def statistic_names(channels: int) -> list[str]:
    """Names of the F columns of `image_statistics`, for images of one or three channels: 15 or 38."""
    names = _channel_names(channels)
    moments = ("mean", "std", "min", "max", "skewness", *(f"q{100 * q:02.0f}" for q in QUANTILES))
    return [
        *(f"{name}_{moment}" for name in names for moment in moments),
        *(f"{first}_{second}_correlation" for first, second in combinations(names, 2)),
        "horizontal_gradient",
        "vertical_gradient",
        "laplacian_rms",
        "laplacian_share",
        "png_bytes_per_pixel",
    ]


def image_statistics(images: np.ndarray) -> np.ndarray:
    """Statistics of each image on its own, finite for any image; a quotient by a variance of zero is zero.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
        Of one or three channels.

    Returns
    -------
    float64 array (N, F)
        In the order of `statistic_names`, in grey levels 0..255 where they have a unit. Of each channel: mean, standard
        deviation, extremes, skewness, quantiles. Of channels: their correlations. Of the image: the mean absolute
        difference of horizontal and of vertical neighbours; the root mean square of the Laplacian (four neighbours,
        edges repeated), and its square over 20 times the pixels' variance, which is 1 for white noise: the share of
        high frequencies; the bytes of a PNG file per pixel, a measure of complexity.

    Raises
    ------
    DiffmiaError
        If the images have neither one nor three channels.
    TypeError
        If the images are not uint8.
    """
    _channel_names(images.shape[1])
    if images.dtype != np.uint8:
        raise TypeError(f"images are {images.dtype}; statistics are of uint8 in 0..255")
    size = max(1, VALUES // math.prod(images.shape[1:]))
    blocks = (images[start : start + size] for start in range(0, len(images), size))
    return np.concatenate([_statistics(np.asarray(block)) for block in blocks])


def picture(image: np.ndarray) -> Image.Image:
    """A uint8 image (C, H, W) of one or three channels as Pillow's `L` or `RGB`."""
    return Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))


def png_bytes(image: np.ndarray) -> int:
    """Size of a uint8 image (C, H, W) as a PNG file."""
    file = io.BytesIO()
    picture(image).save(file, format="PNG", optimize=False, compress_level=COMPRESS_LEVEL)
    return file.tell()


def _statistics(images: np.ndarray) -> np.ndarray:
    """A block of `image_statistics`."""
    n, channels, height, width = images.shape
    x = images.astype(np.float64)
    pixels = x.reshape(n, channels, height * width)
    mean, std = pixels.mean(axis=2), pixels.std(axis=2)
    centred = pixels - mean[:, :, None]
    moments = [
        mean,
        std,
        pixels.min(axis=2),
        pixels.max(axis=2),
        _quotient((centred**3).mean(axis=2), std**3),
        *np.quantile(pixels, QUANTILES, axis=2),
    ]
    correlations = [
        _quotient((centred[:, a] * centred[:, b]).mean(axis=1), std[:, a] * std[:, b])
        for a, b in combinations(range(channels), 2)
    ]
    horizontal = np.abs(np.diff(x, axis=3)).sum(axis=(1, 2, 3)) / (channels * height * max(width - 1, 1))
    vertical = np.abs(np.diff(x, axis=2)).sum(axis=(1, 2, 3)) / (channels * max(height - 1, 1) * width)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    laplacian = (
        padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:] - 4 * x
    )
    energy = (laplacian**2).mean(axis=(1, 2, 3))
    share = _quotient(energy, 20 * (std**2).mean(axis=1))  # 20 = 4^2 + 4 * 1^2, the squared taps of the Laplacian
    png = np.array([png_bytes(image) for image in images]) / (height * width)
    of_channels = np.stack(moments, axis=2).reshape(n, -1)
    return np.column_stack([of_channels, *correlations, horizontal, vertical, np.sqrt(energy), share, png])


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, and zero where the denominator is zero."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _channel_names(channels: int) -> tuple[str, ...]:
    if channels not in CHANNELS:
        raise DiffmiaError(f"images have {channels} channels; the blind baselines know grey (1) and RGB (3)")
    return CHANNELS[channels]
