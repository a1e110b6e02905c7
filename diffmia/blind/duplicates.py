"""Near-duplicates between members and non-members: a non-member whose copy was trained on is none.

Candidates are pairs whose difference hashes (dHash, Krawetz 2013, "Kind of Like That") differ in few bits. The hash is
of coarse structure: it does not see brightness or contrast, takes all flat images for one, and does not find flipped or
cropped copies. On tiny images, digits of 8x8 say, equal hashes are common among images that are merely alike. So every
pair comes with the root mean square of its pixel differences, and whoever asks says how large that may be.
"""

from __future__ import annotations

import hashlib
import logging
import math

import numpy as np
import pandas as pd
from PIL import Image

from diffmia.blind.statistics import picture
from diffmia.running.progress import Progress

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 9, 8  # of the thumbnail: 8 differences in each of 8 rows
PAIRS = 1_000_000  # hashes compared at a time: some 10 MB, and 100 MB if all of them are alike
PIXELS = 1_000_000  # pixels of pairs compared at a time


def difference_hash(images: np.ndarray) -> np.ndarray:
    """DHash of uint8 images (N, C, H, W), uint64 (N,).

    An image, in grey (ITU-R 601 luma), is averaged over areas (Pillow's BOX) to 9x8. A bit, row by row from the
    highest, is set where a pixel is darker than its right neighbour. A smaller image is enlarged by repeating pixels,
    and a pixel is not darker than its copy: of an image W < 9 wide, only W - 1 bits of a row can be set.
    """
    bits = np.empty((len(images), HEIGHT, WIDTH - 1), dtype=bool)
    progress = Progress(log, "images hashed", len(images))
    for n, image in enumerate(images):
        grey = np.asarray(picture(image).convert("L").resize((WIDTH, HEIGHT), Image.Resampling.BOX))
        bits[n] = grey[:, :-1] < grey[:, 1:]
        progress.update(n + 1)
    return np.packbits(bits.reshape(len(images), -1), axis=1).view(">u8")[:, 0].astype(np.uint64)


def near_duplicates(
    members: np.ndarray,
    non_members: np.ndarray,
    distance: int,
    max_rms: float = math.inf,
    pairs_at_a_time: int = PAIRS,
) -> pd.DataFrame:
    """All pairs of a member and a non-member that look alike.

    Memory is for `pairs_at_a_time`, and for the pairs that are found: with a large `distance`, or many flat images and
    no `max_rms`, these can be many.

    Parameters
    ----------
    members, non_members : uint8 arrays (M, C, H, W) and (N, C, H, W), or `ChosenImages`
    distance : int
        Bits of 64, at most, in which the hashes of a pair differ.
    max_rms : float
        Root mean square pixel difference, in grey levels 0..255, that a pair may have at most.

    Returns
    -------
    DataFrame, by ascending member and non_member
        `member`, `non_member` (row numbers, int64), `hamming` (bits, int64), `exact` (bool: pixels of equal
        SHA-256) and `rms` (float64).

    Raises
    ------
    ValueError
        If the images are of different shapes.
    """
    if members.shape[1:] != non_members.shape[1:]:
        raise ValueError(f"members are {members.shape[1:]} and non-members {non_members.shape[1:]}; shapes must agree")
    hashes, other_hashes = difference_hash(members), difference_hash(non_members)
    contents, other_contents = _contents(members, non_members)
    rows = max(1, pairs_at_a_time // max(1, len(non_members)))
    pieces, progress = [], Progress(log, "members compared", len(members))
    for start in range(0, len(members), rows):
        bits = np.bitwise_count(hashes[start : start + rows, None] ^ other_hashes)
        i, j = np.nonzero(bits <= distance)
        hamming = bits[i, j].astype(np.int64)
        i += start
        rms = _rms(members, non_members, i, j)
        pairs = {
            "member": i,
            "non_member": j,
            "hamming": hamming,
            "exact": contents[i] == other_contents[j],
            "rms": rms,
        }
        pieces.append(pd.DataFrame(pairs)[rms <= max_rms])
        progress.update(min(start + rows, len(members)))
    return pd.concat(pieces, ignore_index=True)


def _contents(members: np.ndarray, non_members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number (M,) and (N,) for the pixels of each image, equal where their SHA-256 is."""
    digests = [hashlib.sha256(image.tobytes()).digest() for images in (members, non_members) for image in images]
    numbers = pd.factorize(np.array(digests, dtype=object))[0]
    return numbers[: len(members)], numbers[len(members) :]


def _rms(members: np.ndarray, non_members: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Root mean square pixel differences, float64 (pairs,), of members i and non-members j."""
    size = math.prod(members.shape[1:])
    step = max(1, PIXELS // size)
    rms = np.empty(len(i))
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        difference = (members[i[part]].astype(np.float64) - non_members[j[part]]).reshape(-1, size)
        rms[part] = np.sqrt(np.square(difference).sum(axis=1) / size)  # of integers: exact, however they are chunked
    return rms
