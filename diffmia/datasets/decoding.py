"""An encoded image, from whatever file or archive, as pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from diffmia.errors import DiffmiaError

# What Pillow raises for a broken file depends on the format and on where it is broken.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def decode(source: Path | bytes, name: str, size: int | None, channels: int = 3) -> np.ndarray:
    """Pixels of one image, uint8 (C, H, W).

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
            image = image.convert("L" if channels == 1 else "RGB")
    except _UNREADABLE as error:
        raise DiffmiaError(f"cannot read image {name}: {error}; replace it or remove it") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)
