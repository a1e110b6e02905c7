"""The training stage: from a split's members to a target's folder."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import shutil
from pathlib import Path

import torch

from diffmia.atomic import atomic_path
from diffmia.device import device_name
from diffmia.failures import OutOfMemory
from diffmia.images import open_images
from diffmia.locks import exclusive
from diffmia.models.base import TrainedTarget
from diffmia.splits import TRAINED, roles_of
from diffmia.targets import checkpoint_folder, describe
from diffmia.training import Trainer, TrainingData

log = logging.getLogger(__name__)

RESUME = Path("results/_resume")
LOSS_COLUMNS = ("epoch", "step", "loss", "member_loss", "auxiliary_loss")


def train_target(
    spec: TrainedTarget, job: str, seed: int, images: Path, split: Path, out: Path, device: torch.device
) -> dict:
    """Train a target and write its folder; returns what its `target.json` says.

    It is trained on the members of the split, or on half of its auxiliary samples. The folder has
    the EMA weights as the target's family keeps them, with `target.json` (hashes of split and weights),
    `training_loss.csv`, and such a folder for each chosen epoch (`checkpoint_folder`). Until it is
    whole it stands below `results/_resume/`, under the hash of `job`, with the state to resume from; so a run under
    other settings can never pick it up. The last state stays there until the target is trained with other settings: a
    job that outlived its Snakemake has its outputs removed by the next run, and this gives them back at once.

    Raises
    ------
    OutOfMemory
        If the device's memory does not hold a training step.
    """
    manifest = json.loads(Path(split).read_text())
    states = RESUME / out.parent.name / out.name
    resume = states / hashlib.sha256(f"{job}{manifest['split_hash']}".encode()).hexdigest()[:16]
    pixels = open_images(images)
    roles = roles_of(manifest, spec.auxiliary_half)
    data = TrainingData(pixels[roles.get(TRAINED, roles["member"])], pixels[roles["auxiliary"]])
    torch.manual_seed(seed)  # the initial weights
    denoiser = spec.build(tuple(manifest["shape"]))
    trainer = Trainer(denoiser, spec.training, data, seed, device)
    parameters = sum(p.numel() for p in denoiser.parameters())
    log.info("training %.2f M parameters on %d samples, on %s", parameters / 1e6, len(data.members), device)

    def keep_checkpoint(epoch: int) -> None:
        with atomic_path(checkpoint_folder(resume, epoch)) as scratch:
            spec.save(denoiser, scratch)
            describe(scratch, manifest, {"parameters": parameters, "steps": trainer.step})

    with exclusive(resume / "lock", "training of this target"):
        try:
            trainer.run(resume / "state.pt", keep_checkpoint)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"training.batch_size is {spec.training.batch_size}, and a step of so many images does not fit in the "
                f"memory of {device}: {error}. Train on a card with more, or take fewer, which is another training"
            ) from error
        with atomic_path(out) as scratch:
            spec.save(denoiser, scratch)
            _write_losses(trainer.losses, scratch / "training_loss.csv")
            for epoch in spec.training.checkpoint_epochs:
                shutil.copytree(checkpoint_folder(resume, epoch), checkpoint_folder(scratch, epoch))
            description = describe(scratch, manifest, {"parameters": parameters, "steps": trainer.step})
    for other in states.iterdir():
        if other != resume:
            shutil.rmtree(other, ignore_errors=True)
    return description | {"device": device_name(device)}


def _write_losses(losses: list[dict], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, LOSS_COLUMNS)
        writer.writeheader()
        writer.writerows(losses)
