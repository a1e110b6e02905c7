"""The stage of a blind baseline: from images and a split to one score file, no model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from diffmia.attacks.blind import BlindAttack
from diffmia.device import device_name
from diffmia.finite import check_finite
from diffmia.images import open_images
from diffmia.scoring import JUDGED_ROLES, write_scores
from diffmia.splits import roles_of

if TYPE_CHECKING:
    import torch


def score_blindly(
    spec: BlindAttack,
    attack: str,
    seed: int,
    images: Path,
    samples: Path,
    split: Path,
    out: Path,
    device: torch.device | None,
) -> dict:
    """Write the baseline's scores of members and non-members of a split; returns facts of it.

    `device` is None for a baseline that needs none (`BlindAttack.gpu` is 0), and then torch stays unloaded.
    """
    manifest = json.loads(Path(split).read_text())
    roles = roles_of(manifest, None)
    ids = np.sort(np.concatenate([roles[role] for role in JUDGED_ROLES]))
    member = np.isin(ids, roles["member"])
    classes = pd.read_parquet(samples).set_index("sample_id")["label"].loc[ids].to_numpy()
    start = time.perf_counter()
    scores = spec.score(open_images(images)[ids], member, classes, seed, device)
    seconds = time.perf_counter() - start
    check_finite(scores, ids, f"scores of attack '{attack}'")
    table = pd.DataFrame(
        {"attack": attack, "sample_id": ids, "member": member, "role": "eval", "base": scores, "oms": np.nan}
    )
    hashes = {key: manifest[key] for key in ("split_hash", "dataset_hash")}
    write_scores(table, {**hashes, "attack": attack}, out)
    return {**hashes, "seconds_learning": {"base": seconds}, "device": device_name(device)}
