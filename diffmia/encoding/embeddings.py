"""The stage that embeds the texts a text-to-image target is told, each different one once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from diffmia.captions.texts import texts_of
from diffmia.encoding.rows import encode_rows
from diffmia.files.atomic import atomic_path
from diffmia.models.latent import LatentTarget
from diffmia.running.device import device_name
from diffmia.splits import ROLES
from diffmia.targets import checked_folder


def embed_captions(
    spec: LatentTarget,
    condition: str,
    target: Path,
    samples: Path,
    captions: Path | None,
    split: Path,
    out: Path,
    index: Path,
    device: torch.device,
) -> dict:
    """Write the embeddings of the texts of a dataset's samples under a condition; returns facts of them.

    `out` is float32 (K, L, D), a row for each different text in the order in which they first appear; `index` is int64
    (N,), the row of each sample of the dataset. Samples that are not in the split are told the empty prompt. Among the
    facts `text_hashes` has the SHA-256 of the text of each row. `captions` is a captioner's table, if the condition is
    one.

    Raises
    ------
    DiffmiaError
        If the target is of another split or damaged, a sample of the split has no text, and as `encode_rows`.
    """
    manifest = json.loads(Path(split).read_text())
    folder, description = checked_folder(spec, target, manifest)
    asked = np.sort(np.concatenate([np.array(manifest[role], dtype=np.int64) for role in ROLES]))
    texts = texts_of(condition, samples, captions, asked)
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    different = list(rows)
    encoder = spec.load_text_encoder(folder).to(device).eval()

    def encode(part: slice) -> torch.Tensor:
        return encoder(encoder.tokens(different[part]).to(device))

    with atomic_path(index) as scratch:
        with scratch.open("wb") as file:
            np.save(file, np.array([rows[text] for text in texts], dtype=np.int64))
        shape = encode_rows(encode, len(different), spec.encoding_batch_size, "texts", out)
    return {
        **{key: description[key] for key in ("target_hash", "split_hash", "dataset_hash")},
        "condition": condition,
        "texts": len(different),
        "text_hashes": [hashlib.sha256(text.encode()).hexdigest() for text in different],
        "shape": shape,
        "device": device_name(device),
    }
