"""A target on disk: taken in or opened, and tied to the split it was trained on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from diffmia.denoisers.denoiser import Denoiser
from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.files.receipts import files_of
from diffmia.models.base import ImportedTarget, TargetSpec
from diffmia.splits import ROLES


def import_target(spec: ImportedTarget, receipt: Path, split: Path, out: Path) -> dict:
    """Copy a target that was trained elsewhere into its folder; returns what its `target.json` says.

    That it was trained on the members of the split is the word of the config, and of the register: nothing in a model
    tells.

    Raises
    ------
    DiffmiaError
        If a file is no longer what it was when it was fetched, is no such model, or belongs to another split.
    """
    manifest = json.loads(Path(split).read_text())
    check_split(spec, manifest)
    files = files_of(receipt)
    with atomic_path(out) as scratch:
        spec.copy({file.name: Path(file.path) for file in files}, tuple(manifest["shape"]), scratch)
        about = {key: value for key, value in json.loads(Path(receipt).read_text()).items() if key != "files"}
        hashes = {file.name: file.sha256 for file in files}
        return describe(scratch, manifest, {"imported": {**about, "sha256": hashes}})


def check_split(spec: ImportedTarget, manifest: dict) -> None:
    """Refuse a split that is not the one a target was trained on, as far as the config and the register tell.

    Raises
    ------
    DiffmiaError
        If its hash is another one, or members were never seen by the model, or others were.
    """
    if spec.split_hash is not None and manifest["split_hash"] != spec.split_hash:
        raise DiffmiaError(
            f"split '{spec.split}' has hash {manifest['split_hash']}, and the target was trained on {spec.split_hash} "
            "(its split_hash); give the target its own split"
        )
    known = spec.published
    if known is None or known.members_before is None:
        return
    for role in ROLES:
        wrong = [i for i in manifest[role] if (i < known.members_before) != (role == "member")]
        if wrong:
            was = "never saw" if role == "member" else "was trained on"
            raise DiffmiaError(
                f"split '{spec.split}' has {len(wrong)} {role} samples that the model {was} (first {wrong[0]}): it was "
                f"trained on {known.trained_on}, those before {known.members_before}; use a split of method: boundary"
            )


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
    """The model in a target's folder, ready to be asked, and its `target.json`; see `checked_folder`.

    Raises
    ------
    DiffmiaError
        As `checked_folder`.
    """
    folder, description = checked_folder(spec, folder, split)
    return spec.load(folder).to(device).eval().requires_grad_(False), description


def checked_folder(spec: TargetSpec, folder: Path, split: dict) -> tuple[Path, dict]:
    """Where a target's weights are, below its folder, and its `target.json`; of a checkpoint, those of its epoch.

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
    return folder, description


def weights_hash(folder: Path) -> str:
    """Hash of the weights and of what is needed to read them, a tokenizer's text files too, without checkpoints."""
    combined = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json", ".txt")):
        name = path.relative_to(folder)
        if name.parts[0] != "checkpoints" and name.name != "target.json":
            combined.update(f"{name.as_posix()}\0".encode())
            combined.update(hashlib.file_digest(path.open("rb"), "sha256").digest())
    return combined.hexdigest()
