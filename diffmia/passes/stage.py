"""The stage of a pass: one shard of a target's samples, from the files of earlier stages to the table of answers."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from pydantic import TypeAdapter

from diffmia.denoisers.compiled import Compiled
from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.precision import InPrecision, layout
from diffmia.models.base import EXACT, Arithmetic, TargetSpec
from diffmia.passes.engine import BLOCK, ModelPass, run_pass
from diffmia.passes.gate import PER_SIDE, rank_agreement
from diffmia.passes.inputs import Inputs
from diffmia.passes.store import PieceStore
from diffmia.passes.table import SCHEMA_VERSION, Samples
from diffmia.running.device import device_name
from diffmia.search.probes import DifferenceMap, Drift, GradientProbe, JacobianProbe, Probe, Trajectory
from diffmia.shards import shard_ids
from diffmia.splits import roles_of
from diffmia.targets import load_target

if TYPE_CHECKING:
    from diffmia.attacks.base import AttackSpec

log = logging.getLogger(__name__)

_QUESTION = TypeAdapter(Probe | DifferenceMap | Drift | Trajectory | GradientProbe | JacobianProbe)


def run_shard(
    answers: str,
    spec: TargetSpec,
    job: str,
    shard: tuple[int, int],
    target: Path,
    inputs: Inputs,
    samples: Path,
    split: Path,
    out: Path,
    device: torch.device,
    attacks: Mapping[str, tuple[AttackSpec, int]],
) -> dict:
    """Ask a target every question of `job` about the samples of a shard (number, of how many); returns facts of it.

    Members, non-members and auxiliary samples are all asked about, unless the job has a `limit`. `answers` is the kind:
    `residuals`, `gradients` or `jacobians`, which names the module of this package that answers, and the folder below
    `results/` that keeps finished pieces. `attacks`, by id with timestep, are those whose ranks decide whether
    residuals may be made in the arithmetic that the target names for this kind of device, where that is not plain
    float32; gradients and Jacobians always are in that.

    Raises
    ------
    DiffmiaError
        If the target is of another split or damaged, or they may not.
    """
    kind = importlib.import_module(f"diffmia.passes.{answers}")
    resolved = json.loads(job)
    manifest = json.loads(Path(split).read_text())
    denoiser, description = load_target(spec, target, manifest, device)
    questions = [_QUESTION.validate_python(question) for question in resolved["questions"]]
    roles = roles_of(manifest, spec.auxiliary_half)
    if "limit" in resolved:
        roles = first_of_each_side(roles, resolved["limit"])
    chosen = _samples(inputs, pd.read_parquet(samples), roles, shard)
    hashes = {
        "schema_version": SCHEMA_VERSION,
        "split_hash": manifest["split_hash"],
        "dataset_hash": manifest["dataset_hash"],
        "target_hash": description["target_hash"],
    }
    arithmetic, agreement = Arithmetic(), {}
    if answers == "residuals":
        arithmetic = getattr(spec.arithmetic, device.type)
    asked = in_arithmetic(denoiser, arithmetic, device)
    if asked is not denoiser:
        few = np.concatenate(list(first_of_each_side(roles, PER_SIDE).values()))
        rho = rank_agreement(
            *(denoiser, asked, str(arithmetic), kind.answer, attacks),
            *(inputs, few, kind.batch_size(spec), resolved["seed"], device),
        )
        agreement = {"arithmetic": str(arithmetic), "rank_agreement": rho}
    context = {
        **hashes,
        "schedule": spec.schedule.model_dump(mode="json"),  # not every target's folder has it
        "code": resolved["numerics"],
        "seed": resolved["seed"],
        "dtype": str(arithmetic),
    }
    store = PieceStore(Path("results", answers, "_store"), context, inputs.texts)
    model_pass = ModelPass(asked, questions, kind.answer, resolved["seed"], kind.batch_size(spec), device)
    facts = run_pass(model_pass, chosen, store, out, hashes) | agreement
    log.info("%d samples, %d model queries made", len(chosen.ids), facts["queries_made"])
    return {
        **hashes,
        "shard": shard,
        "samples": len(chosen.ids),
        "evaluations_per_sample": kind.count_evaluations(questions),
        "device": device_name(device),
        **facts,
    }


def in_arithmetic(denoiser: Denoiser, arithmetic: Arithmetic, device: torch.device) -> Denoiser:
    """The model, asked in an arithmetic on the device where it is.

    It is the same model where that is plain float32; the order of its weights in memory becomes the fastest.
    """
    denoiser.to(memory_format=layout(device, arithmetic.precision, arithmetic.compile))
    fast = Compiled(denoiser) if arithmetic.compile else denoiser
    return fast if arithmetic.precision == EXACT else InPrecision(fast, arithmetic.precision)


def first_of_each_side(roles: dict[str, np.ndarray], limit: int) -> dict[str, np.ndarray]:
    """The `limit` members and the `limit` non-members with the lowest ids, and no others, of ids by role."""
    return {role: np.sort(roles[role])[:limit] for role in ("member", "non_member")}


def _samples(inputs: Inputs, table: pd.DataFrame, roles: dict[str, np.ndarray], shard: tuple[int, int]) -> Samples:
    role_of = {sample_id: role for role, ids in roles.items() for sample_id in ids.tolist()}
    # whole blocks: what was asked with one number of shards is not asked again with another
    ids = shard_ids(np.array(sorted(role_of), dtype=np.int64), *shard, BLOCK)
    labels = table.set_index("sample_id")["label"]
    return Samples(inputs, ids, np.array([role_of[i] for i in ids.tolist()]), labels[ids].to_numpy(np.int64))
