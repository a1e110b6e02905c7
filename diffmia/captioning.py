"""The stage that writes captions: from a dataset's images to a table that a person may edit."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import torch

from diffmia.captioners.base import CaptionerSpec
from diffmia.captions import write_captions
from diffmia.errors import DiffmiaError
from diffmia.images import open_images
from diffmia.progress import Progress
from diffmia.receipts import SourceFile, files_of

log = logging.getLogger(__name__)


def caption_images(
    spec: CaptionerSpec, receipt: Path, images: Path, out: Path, meta: Path, device: torch.device
) -> dict[str, int | str]:
    """Write the captions of all images of a dataset; returns facts of them, which belong in `meta`.

    Parameters
    ----------
    spec : CaptionerSpec
    receipt : path
        Of the captioner's files.
    images : path
        `images.npy` of the dataset.
    out : path
        The table: sample_id, caption.
    meta : path
        What stands beside the table that is to be replaced, if there is one.
    device : torch.device

    Raises
    ------
    DiffmiaError
        If there is a table that a person wrote or changed, or the captioner's files are not what they were.
    """
    _refuse_to_replace_edits(out, meta)
    torch.manual_seed(0)  # no captioner should draw anything; one that did would draw the same again
    describe = spec.load({file.name: Path(file.path) for file in files_of(receipt)}, device)
    pictures = open_images(images)
    progress = Progress(log, "images captioned", len(pictures))
    captions: list[str] = []
    for start in range(0, len(pictures), spec.batch_size):
        captions += describe(np.asarray(pictures[start : start + spec.batch_size]))
        progress.update(len(captions))
    if silent := [sample for sample, caption in enumerate(captions) if not caption]:
        log.warning("%d captions are empty (first: sample %d); write them into %s", len(silent), silent[0], out)
    write_captions(out, captions)
    return {"captions": len(captions), "different": len(set(captions)), "captions_sha256": SourceFile.of(out).sha256}


def _refuse_to_replace_edits(out: Path, meta: Path) -> None:
    if not Path(out).exists():
        return
    written = json.loads(Path(meta).read_text())["captions_sha256"] if Path(meta).exists() else None
    if SourceFile.of(out).sha256 != written:
        raise DiffmiaError(
            f"{out} is not as its captioner wrote it, and is kept: the next run goes on with it as it is; to have it "
            "written anew, remove it"
        )
