"""The stage of attacks that learn: training rows in, a fitted attack and its scores of all other samples out.

Which rows are for what is decided here, once for all attacks that learn. An attack is fitted on training rows alone and
then scores the others, whose membership it is never given: nothing of a judged sample can reach what was learned.

Of the answers, which may be maps as large as the images, the training rows of one variant are held, and a block of a
pass's table beside them: the judged rows are read and scored a batch at a time.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from diffmia.attacks.learned import LearnedAttack, decision
from diffmia.attacks.learners.batches import BATCH, even_batches
from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.files.images import open_images
from diffmia.running.device import device_name
from diffmia.running.failures import NotApplicable
from diffmia.running.finite import check_finite
from diffmia.scoring.answers import Answers, read_rows
from diffmia.scoring.reading import JUDGED_ROLES, write_scores
from diffmia.splits import TRAINED

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

VARIANTS = ("base", "oms")


def learn_attack(
    spec: LearnedAttack,
    attack: str,
    t: int | None,
    seed: int,
    tables: Sequence[Path],
    descriptions: Sequence[Path],
    images: Path,
    scores: Path,
    learned: Path,
    device: torch.device | None,
) -> dict:
    """Fit an attack, write what it learned and its scores, and return facts of it.

    Parameters
    ----------
    tables : sequence of path
        Tables of the pass the attack reads: the target's, then those of its shadow targets if it learns from them.
    descriptions : sequence of path
        The `target.json` of each of these targets.
    device : torch.device, optional
        Where it is fitted; None for an attack whose `gpu` is 0, and then torch stays unloaded.

    Raises
    ------
    DiffmiaError
        If a table is of another target or another split, lacks a column, or training and judged samples overlap.
    """
    columns = list(dict.fromkeys(name for variant in VARIANTS for name in spec.reads(variant, t)))
    hashes = [_check_origin(table, description) for table, description in zip(tables, descriptions, strict=True)]
    if len({(of["split_hash"], of["dataset_hash"]) for of in hashes}) > 1:
        raise DiffmiaError(f"the tables {', '.join(map(str, tables))} are of different splits; make them again")
    pixels = open_images(images)
    answers = [Answers(table, columns) for table in tables]
    keys = [of.keys for of in answers]
    training = training_rows(spec, keys, seed)
    fitted_on = [frame for frame in training if len(frame)]
    taken = pd.concat(fitted_on)["sample_id"]
    population = keys[0][keys[0]["role"].isin(JUDGED_ROLES)]
    judged = _judged(population, taken)
    if both := set(judged["sample_id"]) & set(taken):
        raise DiffmiaError(f"{len(both)} samples are both learned from and judged, first {min(both)}")

    taught = [(of, rows["sample_id"].to_numpy()) for of, rows in zip(answers, training, strict=True) if len(rows)]
    member = pd.concat(fitted_on)["member"].to_numpy(bool)
    log.info("learning from %d members and %d non-members, on %s", member.sum(), (~member).sum(), device_name(device))

    table = pd.DataFrame({"sample_id": population["sample_id"], "member": population["role"] == "member"})
    table["role"] = np.where(population["sample_id"].isin(judged["sample_id"]), "eval", "train")
    table = table.set_index("sample_id")
    seconds = {}
    with atomic_path(learned) as folder:
        for variant in VARIANTS:
            start = time.perf_counter()
            asked = spec.reads(variant, t)
            fitted = spec.fit(read_rows(taught, asked, pixels), member, variant, t, seed, device)
            # as networks cut many rows themselves, so that a score is what it would be if all were read at once
            batches = even_batches(judged["sample_id"].to_numpy(), BATCH)
            scored = fitted.score(read_rows([(answers[0], ids)], asked, pixels) for ids in batches)
            for name, values in scored.items():
                check_finite(values, judged["sample_id"].to_numpy(), f"{variant} scores of attack '{attack}'")
                table.loc[judged["sample_id"], variant + name] = values.astype(np.float64)
            (folder / variant).mkdir(parents=True)
            fitted.save(folder / variant)
            seconds[variant] = time.perf_counter() - start
    skipped = {decision(alpha): reason for alpha, reason in spec.not_applicable(int((~member).sum())).items()}
    facts = {**hashes[0], "attack": attack, "not_applicable": json.dumps(skipped)}
    table = table.reset_index()
    table.insert(0, "attack", attack)
    write_scores(table, facts, scores)
    return {
        **facts,
        "training_members": int(member.sum()),
        "training_non_members": int((~member).sum()),
        "seconds_learning": seconds,
        "device": device_name(device),
    }


def training_rows(spec: LearnedAttack, keys: Sequence[pd.DataFrame], seed: int) -> list[pd.DataFrame]:
    """The rows an attack learns from, of each target's table: sample_id, role, label and `member`, by ascending id.

    Labelled non-members are auxiliary samples, so that every attack is judged on the same non-members.
    """
    own, *shadows = keys
    if spec.learns_from == "shadow":
        return [own.iloc[:0].assign(member=False), *(_with_membership(of, [TRAINED, "auxiliary"]) for of in shadows)]
    auxiliary = own[own["role"] == "auxiliary"]
    if auxiliary.empty:
        raise NotApplicable("it learns from auxiliary samples, and the drawn split has none")
    if spec.learns_from == "auxiliary":
        return [auxiliary.assign(member=False)]
    members = own[own["role"] == "member"]
    size = round(spec.labelled_fraction * len(members))
    if not 0 < size <= len(auxiliary):
        raise NotApplicable(
            f"{size} of {len(members)} members would be labelled and as many of {len(auxiliary)} auxiliary samples; "
            "set labelled_fraction so that there is one of each at least, and enough auxiliary samples"
        )
    generator = np.random.default_rng(seed)
    chosen = [_stratified(members, size, generator), _stratified(auxiliary, size, generator)]
    return [_with_membership(pd.concat(chosen), ["member", "auxiliary"])]


def _with_membership(keys: pd.DataFrame, roles: list[str]) -> pd.DataFrame:
    """Rows of two roles, of which the first is what the target was trained on."""
    rows = keys[keys["role"].isin(roles)].sort_values("sample_id")
    return rows.assign(member=rows["role"] == roles[0])


def _stratified(rows: pd.DataFrame, size: int, generator: np.random.Generator) -> pd.DataFrame:
    """`size` random rows, of each class about its share: evenly spaced among rows sorted by class, else shuffled."""
    shuffled = rows.iloc[generator.permutation(len(rows))].sort_values("label", kind="stable")
    return shuffled.iloc[np.floor((np.arange(size) + generator.random()) * len(rows) / size).astype(int)]


def _check_origin(table: Path, description: Path) -> dict[str, str]:
    """Hashes in a table's schema, which must be of the target it is taken for."""
    metadata = pq.read_schema(table).metadata
    hashes = {key: metadata[key.encode()].decode() for key in ("split_hash", "dataset_hash", "target_hash")}
    target = json.loads(Path(description).read_text())
    if hashes["target_hash"] != target["target_hash"]:
        raise DiffmiaError(
            f"{table} holds answers of target {hashes['target_hash'][:12]}, and {Path(description).parent} is "
            f"{target['target_hash'][:12]}; ask that target again"
        )
    return hashes


def _judged(population: pd.DataFrame, taken: pd.Series) -> pd.DataFrame:
    """Members and non-members that nothing was learned from."""
    return population[~population["sample_id"].isin(taken)]
