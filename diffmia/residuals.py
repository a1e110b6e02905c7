"""The residual stage: one shard of a target's samples, from the files of earlier stages to the residual table."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from diffmia.device import device_name
from diffmia.images import open_images
from diffmia.models.base import TargetSpec
from diffmia.probes import Probe
from diffmia.residual_engine import ResidualPass, count_queries, run_pass, shard_ids
from diffmia.residual_store import ResidualStore
from diffmia.residual_table import SCHEMA_VERSION, Samples
from diffmia.splits import ROLES
from diffmia.targets import load_target

log = logging.getLogger(__name__)

STORE = Path("results/residuals/_store")


def compute_residuals(
    spec: TargetSpec,
    job: str,
    shard: tuple[int, int],
    target: Path,
    images: Path,
    samples: Path,
    split: Path,
    out: Path,
    device: torch.device,
) -> dict:
    """Ask a target every probe of `job` about the samples of a shard (number, of how many); returns facts of the pass.

    Members, non-members and auxiliary samples are all probed.
    """
    resolved = json.loads(job)
    manifest = json.loads(Path(split).read_text())
    denoiser, description = load_target(spec, target, manifest, device)
    probes = [Probe(**probe) for probe in resolved["probes"]]
    chosen = _samples(open_images(images), pd.read_parquet(samples), manifest, shard)
    hashes = {
        "schema_version": SCHEMA_VERSION,
        "split_hash": manifest["split_hash"],
        "dataset_hash": manifest["dataset_hash"],
        "target_hash": description["target_hash"],
    }
    store = ResidualStore(STORE, {**hashes, "code": resolved["numerics"], "seed": resolved["seed"], "dtype": "float32"})
    residual_pass = ResidualPass(denoiser, probes, resolved["seed"], spec.batch_size, device)
    facts = run_pass(residual_pass, chosen, store, out, hashes)
    log.info("%d samples, %d model queries made", len(chosen.ids), facts["queries_made"])
    return {
        **hashes,
        "shard": shard,
        "samples": len(chosen.ids),
        "queries_per_sample": count_queries(probes),
        "device": device_name(device),
        **facts,
    }


def merge_facts(metas: list[Path]) -> dict:
    """Facts of a whole pass from those of its shards."""
    facts = [json.loads(Path(path).read_text()) for path in metas]
    summed = {key: sum(fact[key] for fact in facts) for key in ("samples", "queries_made", "seconds")}
    same = ("schema_version", "split_hash", "dataset_hash", "target_hash", "queries_per_sample")
    devices = " + ".join(sorted({fact["device"] for fact in facts}))
    return {key: facts[0][key] for key in same} | {"shards": len(facts), "device": devices} | summed


def _samples(images: np.ndarray, table: pd.DataFrame, manifest: dict, shard: tuple[int, int]) -> Samples:
    role_of = {sample_id: role for role in ROLES for sample_id in manifest[role]}
    ids = shard_ids(np.array(sorted(role_of), dtype=np.int64), *shard)
    labels = table.set_index("sample_id")["label"]
    return Samples(images, ids, np.array([role_of[i] for i in ids]), labels[ids].to_numpy(np.int64))
