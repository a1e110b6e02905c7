"""An encoded image, from whatever file or archive, as pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from diffmia.datasets.base import ImageFile
from diffmia.errors import DiffmiaError

# What Pillow raises for a broken file depends on the format and on where it is broken.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class Decoded(NamedTuple):
    """Pixels of an image, uint8 (C, H, W), and what they were decoded from."""

    pixels: np.ndarray
    file: ImageFile


def decode(source: Path | bytes, name: str, size: int | None, channels: int = 3) -> Decoded:
    """One image.

    Parameters
    ----------
    source : path or bytes
        The encoded image.
    name : str
        What an error calls it.
    size : int, optional
        Side in pixels: the short side is scaled to it and the centre kept. None: the image as it is.
    channels : int
        1: grey, 3: colour.

    Raises
    ------
    DiffmiaError
        If it is no image, broken, or has more than 8 bits per pixel and channel.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would clip them to 0..255
                raise DiffmiaError(f"image {name} has more than 8 bits per pixel; convert it to 8 bits")
            size_in_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
            file = ImageFile(image.width, image.height, size_in_bytes, image.mode)
            image = image.convert("L" if channels == 1 else "RGB")
    except _UNREADABLE as error:
        raise DiffmiaError(f"cannot read image {name}: {error}; replace it or remove it") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return Decoded(pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1), file)
