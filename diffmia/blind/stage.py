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
from diffmia.files.images import open_images
from diffmia.running.device import device_name
from diffmia.running.finite import check_finite
from diffmia.scoring.reading import JUDGED_ROLES, write_scores
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
    classes, groups = _classes_drawn(manifest, about), _groups_drawn(manifest, about)
    start = time.perf_counter()
    learner = spec.learner(open_images(images)[ids], about, device)
    scores = out_of_fold(learner, member, spec.folds, seed, classes, groups)
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


def _groups_drawn(manifest: dict, about: pd.DataFrame) -> np.ndarray | None:
    """Groups (N,) of the samples if the split drew whole groups, None if it drew samples."""
    # Folds repeat the draw: what it put on a side at random is what a fold must not cut. That each group lies on one
    # side does not say so. It does by design where a folder of members lies beside one of non-members, and there the
    # group is the very shift that a baseline is for (method `groups` draws samples, from groups that a person named);
    # and one stray sample would undo it. To keep those groups whole
    # that a split of samples happens not to cut would be wrong, since those it does cut tell the wrong side: on random
    # halves of 200 pairs of like samples, nearest neighbours then have an AUC of 21, and of 49 with folds of samples.
    # So the manifest decides. A `file` does not say how it was drawn; folds of samples may then call a shift what is
    # only other groups, and hide none.
    return about["group"].to_numpy() if manifest["method"] == "by_group" else None
