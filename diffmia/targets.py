"""A target on disk: made by training, opened by everything that attacks it, and tied to the split it was trained on."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import shutil
from pathlib import Path

import torch

from diffmia.atomic import atomic_path
from diffmia.denoiser import Denoiser
from diffmia.errors import DiffmiaError
from diffmia.images import open_images
from diffmia.models.base import ImportedTarget, TargetSpec, TrainedTarget
from diffmia.runtime import device_name, exclusive
from diffmia.training import Trainer, TrainingData

log = logging.getLogger(__name__)

LOSS_COLUMNS = ("epoch", "step", "loss", "member_loss", "auxiliary_loss")


def train_target(
    spec: TrainedTarget, job: str, seed: int, images: Path, split: Path, out: Path, device: torch.device
) -> dict:
    """Train a target on the members of a split and write its folder; returns what its `target.json` says.

    The folder is a diffusers pipeline of the EMA weights (`unet/`, `scheduler/`, `model_index.json`) with `target.json`
    (hashes of split and weights), `training_loss.csv`, and `checkpoints/epoch<N>/` for each chosen epoch. Until it is
    whole it stands below `results/_resume/`, under the hash of `job`, with the state to resume from; so a run under
    other settings can never pick it up.
    """
    manifest = json.loads(Path(split).read_text())
    resume = Path("results/_resume") / hashlib.sha256(f"{job}{manifest['split_hash']}".encode()).hexdigest()[:16]
    pixels = open_images(images)
    data = TrainingData(pixels[manifest["member"]], pixels[manifest["auxiliary"]])
    torch.manual_seed(seed)  # the initial weights
    denoiser = spec.build(tuple(manifest["shape"]))
    trainer = Trainer(denoiser, spec.training, data, seed, device)
    parameters = sum(p.numel() for p in denoiser.parameters())
    log.info("training %.2f M parameters on %d members, on %s", parameters / 1e6, len(data.members), device)

    def keep_checkpoint(epoch: int) -> None:
        with atomic_path(resume / "checkpoints" / f"epoch{epoch:04d}") as scratch:
            spec.save(denoiser, scratch)

    with exclusive(resume / "lock", "training of this target"):
        trainer.run(resume / "state.pt", keep_checkpoint)
        with atomic_path(out) as scratch:
            spec.save(denoiser, scratch)
            _write_losses(trainer.losses, scratch / "training_loss.csv")
            (scratch / "checkpoints").mkdir()
            for epoch in spec.training.checkpoint_epochs:
                name = f"epoch{epoch:04d}"
                shutil.copytree(resume / "checkpoints" / name, scratch / "checkpoints" / name)
            description = _describe(scratch, manifest, {"parameters": parameters, "steps": trainer.step})
    shutil.rmtree(resume, ignore_errors=True)
    return description | {"device": device_name(device)}


def import_target(spec: ImportedTarget, split: Path, out: Path) -> dict:
    """Copy a target that was trained elsewhere into its folder; returns what its `target.json` says.

    That it was trained on the members of the split is the config's word: nothing in a model tells.
    """
    manifest = json.loads(Path(split).read_text())
    with atomic_path(out) as scratch:
        spec.copy(tuple(manifest["shape"]), scratch)
        return _describe(scratch, manifest, {})


def _describe(folder: Path, manifest: dict, facts: dict) -> dict:
    """Write and return `target.json`: what ties a target to its weights and to its split."""
    hashes = {key: manifest[key] for key in ("split_hash", "dataset_hash")}
    description = {"target_hash": weights_hash(folder), **hashes, "shape": manifest["shape"], **facts}
    (folder / "target.json").write_text(json.dumps(description, indent=2) + "\n")
    return description


def load_target(spec: TargetSpec, folder: Path, split: dict, device: torch.device) -> tuple[Denoiser, dict]:
    """The model in a target's folder, ready to be asked, and its `target.json`.

    Raises
    ------
    DiffmiaError
        If it was trained on another split than `split` (a manifest), or its weights are not those it was written with.
    """
    description = json.loads((Path(folder) / "target.json").read_text())
    if description["split_hash"] != split["split_hash"]:
        raise DiffmiaError(
            f"target {folder} was trained on split {description['split_hash'][:12]}, and it is to be scored against "
            f"split {split['split_hash'][:12]}; train it on that split, or score it against its own"
        )
    if description["target_hash"] != weights_hash(Path(folder)):
        raise DiffmiaError(f"the weights in {folder} are not those the target was written with; train it again")
    return spec.load(Path(folder)).to(device).eval().requires_grad_(False), description


def weights_hash(folder: Path) -> str:
    """Hash of the weights and of what is needed to read them, without checkpoints."""
    combined = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json")):
        name = path.relative_to(folder)
        if name.parts[0] != "checkpoints" and name.name != "target.json":
            combined.update(f"{name.as_posix()}\0".encode())
            combined.update(hashlib.file_digest(path.open("rb"), "sha256").digest())
    return combined.hexdigest()


def _write_losses(losses: list[dict], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, LOSS_COLUMNS)
        writer.writeheader()
        writer.writerows(losses)
