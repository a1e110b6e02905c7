"""The stage of a blind baseline: from images and a split to one score file, no model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from diffmia.attacks.blind import BlindAttack
from diffmia.blind.cross_validation import out_of_fold
from diffmia.files.images import ChosenImages, open_images
from diffmia.running.device import device_name
from diffmia.running.finite import check_finite
from diffmia.scoring.reading import JUDGED_ROLES, write_scores
from diffmia.splits import groups_drawn_whole, roles_of

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

    Among them `folds_of`: whether folds are drawn of samples or of whole groups. `device` is None for a baseline that
    needs none (`BlindAttack.gpu` is 0), and then torch stays unloaded.

    Raises
    ------
    DiffmiaError
        If the split has too few samples or groups for the baseline's folds, they lack what it reads, or a score is not
        finite.
    """
    manifest = json.loads(Path(split).read_text())
    roles = roles_of(manifest, None)
    ids = np.sort(np.concatenate([roles[role] for role in JUDGED_ROLES]))
    member = np.isin(ids, roles["member"])
    about = pd.read_parquet(samples).set_index("sample_id").loc[ids]
    classes, groups = _classes_drawn(manifest, about), groups_drawn_whole(manifest, about)
    start = time.perf_counter()
    learner = spec.learner(ChosenImages(open_images(images), ids), about, device)
    scores = out_of_fold(learner, member, spec.folds, seed, classes, None if groups is None else groups.to_numpy())
    seconds = time.perf_counter() - start
    check_finite(scores, ids, f"scores of attack '{attack}'")
    table = pd.DataFrame(
        {"attack": attack, "sample_id": ids, "member": member, "role": "eval", "base": scores, "oms": np.nan}
    )
    hashes = {key: manifest[key] for key in ("split_hash", "dataset_hash")}
    write_scores(table, {**hashes, "attack": attack}, out)
    folds_of = "samples" if groups is None else "groups"
    return {**hashes, "folds_of": folds_of, "seconds_learning": {"base": seconds}, "device": device_name(device)}


def _classes_drawn(manifest: dict, about: pd.DataFrame) -> np.ndarray | None:
    """Classes (N,) of the samples if the split fixed how many of each are members, None if it left that to chance."""
    # What chance gave one side more of, every fold would repeat if classes were spread over them, and a baseline that
    # knows nothing but the class would seem to find members: on `random` splits of 256 + 256, AUC 56.0 and not 49.8.
    return about["label"].to_numpy() if manifest["method"] == "class_balanced" else None
