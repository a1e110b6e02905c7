"""A target on disk: taken in or opened, and tied to the split it was trained on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from diffmia.atomic import atomic_path
from diffmia.denoiser import Denoiser
from diffmia.errors import DiffmiaError
from diffmia.models.base import ImportedTarget, TargetSpec


def import_target(spec: ImportedTarget, split: Path, out: Path) -> dict:
    """Copy a target that was trained elsewhere into its folder; returns what its `target.json` says.

    That it was trained on the members of the split is the config's word: nothing in a model tells.
    """
    manifest = json.loads(Path(split).read_text())
    with atomic_path(out) as scratch:
        spec.copy(tuple(manifest["shape"]), scratch)
        return describe(scratch, manifest, {})


def describe(folder: Path, manifest: dict, facts: dict) -> dict:
    """Write and return `target.json`: what ties a target to its weights and to its split."""
    hashes = {key: manifest[key] for key in ("split_hash", "dataset_hash")}
    description = {"target_hash": weights_hash(folder), **hashes, "shape": manifest["shape"], **facts}
    (folder / "target.json").write_text(json.dumps(description, indent=2) + "\n")
    return description


def checkpoint_folder(folder: Path, epoch: int) -> Path:
    """Where a target's folder has it as it was after an epoch of its training."""
    return Path(folder) / "checkpoints" / f"epoch{epoch:04d}"


def load_target(spec: TargetSpec, folder: Path, split: dict, device: torch.device) -> tuple[Denoiser, dict]:
    """The model in a target's folder, ready to be asked, and its `target.json`; of a checkpoint, those of its epoch.

    Raises
    ------
    DiffmiaError
        If it was trained on another split than `split` (a manifest), its weights are not those it was written with, or
        the checkpoint is not there.
    """
    folder = Path(folder) if spec.at_epoch is None else checkpoint_folder(folder, spec.at_epoch)
    if not (folder / "target.json").exists():
        raise DiffmiaError(f"there is no {folder / 'target.json'}; train the target again")
    description = json.loads((folder / "target.json").read_text())
    if description["split_hash"] != split["split_hash"]:
        raise DiffmiaError(
            f"target {folder} was trained on split {description['split_hash'][:12]}, and it is to be scored against "
            f"split {split['split_hash'][:12]}; train it on that split, or score it against its own"
        )
    if description["target_hash"] != weights_hash(folder):
        raise DiffmiaError(f"the weights in {folder} are not those the target was written with; train it again")
    return spec.load(folder).to(device).eval().requires_grad_(False), description


def weights_hash(folder: Path) -> str:
    """Hash of the weights and of what is needed to read them, without checkpoints."""
    combined = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json")):
        name = path.relative_to(folder)
        if name.parts[0] != "checkpoints" and name.name != "target.json":
            combined.update(f"{name.as_posix()}\0".encode())
            combined.update(hashlib.file_digest(path.open("rb"), "sha256").digest())
    return combined.hexdigest()
