"""The training stage: from a split's members to a target's folder."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import logging
import shutil
from pathlib import Path

import torch

from diffmia.files.atomic import atomic_path
from diffmia.files.locks import exclusive
from diffmia.models.base import TrainedTarget
from diffmia.running.device import device_name
from diffmia.running.failures import OutOfMemory
from diffmia.splits import roles_of
from diffmia.targets import checkpoint_folder, describe
from diffmia.training.data import TrainingData, TrainingFiles
from diffmia.training.trainer import Trainer

log = logging.getLogger(__name__)

RESUME = Path("results/_resume")
LOSS_COLUMNS = ("epoch", "step", "loss", "member_loss", "auxiliary_loss")


def train_target(
    spec: TrainedTarget,
    job: str,
    seed: int,
    images: Path,
    split: Path,
    out: Path,
    device: torch.device,
    samples: Path | None = None,
) -> dict:
    """Train a target and write its folder; returns what its `target.json` says.

    It is trained on the members of the split, or on half of its auxiliary samples; `samples` has their captions, where
    the model is told any. The folder has the EMA weights as the target's family keeps them, with `target.json` (hashes
    of split and weights), `training_loss.csv`, and such a folder for each chosen epoch (`checkpoint_folder`).

    Until it is whole it stands below `results/_resume/`, under the hash of `job`, with the state to resume from; so a
    run under other settings can never pick it up. The last state stays there until the target is trained with other
    settings: a job that outlived its Snakemake has its outputs removed by the next run, and this gives them back at
    once.

    Raises
    ------
    OutOfMemory
        If the device's memory does not hold a training step of one sample.
    """
    manifest = json.loads(Path(split).read_text())
    states = RESUME / out.parent.name / out.name
    resume = states / hashlib.sha256(f"{job}{manifest['split_hash']}".encode()).hexdigest()[:16]
    files = TrainingFiles(images, samples, manifest, roles_of(manifest, spec.auxiliary_half), resume)
    with exclusive(resume / "lock", "training of this target"):
        try:
            data = _prepare(spec, files, device)
            torch.manual_seed(seed)  # the initial weights
            denoiser = spec.build(tuple(manifest["shape"]))
            trainer = Trainer(denoiser, spec.training, data, seed, device)
            parameters = sum(p.numel() for p in denoiser.parameters())
            log.info("training %.2f M parameters on %d samples, on %s", parameters / 1e6, len(data.members), device)

            def save(folder: Path) -> dict:
                spec.save(denoiser, folder)
                data.save_parts(folder)
                return describe(folder, manifest, {"parameters": parameters, "steps": trainer.step})

            def keep_checkpoint(epoch: int) -> None:
                with atomic_path(checkpoint_folder(resume, epoch)) as scratch:
                    save(scratch)

            trainer.run(resume / "state.pt", keep_checkpoint)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"the model, its optimiser and a training step do not fit in the memory of {device}: {error}. Train on "
                "a card with more memory"
            ) from error
        with atomic_path(out) as scratch:
            description = save(scratch)
            _write_losses(trainer.losses, scratch / "training_loss.csv")
            for epoch in spec.training.checkpoint_epochs:
                shutil.copytree(checkpoint_folder(resume, epoch), checkpoint_folder(scratch, epoch))
    for other in states.iterdir():
        if other != resume:
            shutil.rmtree(other, ignore_errors=True)
    return description | {"device": device_name(device)}


def _prepare(spec: TrainedTarget, files: TrainingFiles, device: torch.device) -> TrainingData:
    """What a target's family is trained on, by the function that it names; passes do not depend on that code."""
    module, _, function = spec.preparation.partition(":")
    return getattr(importlib.import_module(module), function)(spec, files, device)


def _write_losses(losses: list[dict], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, LOSS_COLUMNS)
        writer.writeheader()
        writer.writerows(losses)
