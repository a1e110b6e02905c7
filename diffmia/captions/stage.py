"""The stage that writes captions: from a dataset's images to a table that a person may edit."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffmia.captions.base import CaptionerSpec
from diffmia.captions.texts import read_captions, write_captions
from diffmia.errors import DiffmiaError
from diffmia.files.images import open_images
from diffmia.files.receipts import SourceFile, files_of
from diffmia.running.progress import Progress

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def caption_images(
    spec: CaptionerSpec, receipt: Path, images: Path, out: Path, meta: Path, device: torch.device
) -> dict[str, int | str | None]:
    """Write the captions of all images of a dataset; returns facts of them, which belong in `meta`.

    A table with nothing beside it that says who wrote it is a person's, and is taken as it is.

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
        If there is a table that a person changed or that is not whole, or the captioner's files are not what they were.
    """
    import torch

    if Path(out).exists():
        if not Path(meta).exists():
            return _facts(read_captions(out, len(open_images(images))), written=None)
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
    return _facts(captions, written=SourceFile.of(out).sha256)


def _facts(captions: list[str], written: str | None) -> dict[str, int | str | None]:
    """`written` is the hash of the table as a captioner wrote it, None of a person's."""
    return {"captions": len(captions), "different": len(set(captions)), "captions_sha256": written}


def _refuse_to_replace_edits(out: Path, meta: Path) -> None:
    if SourceFile.of(out).sha256 != json.loads(Path(meta).read_text())["captions_sha256"]:
        raise DiffmiaError(
            f"{out} is not as its captioner wrote it, and is kept: the next run goes on with it as it is; to have it "
            "written anew, remove it"
        )
