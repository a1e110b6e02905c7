"""Training of a target: noise prediction on its members (OMS Eq. 5), with an EMA of the weights and exact resume.

Everything random of an epoch (order, timesteps, noise, flips, dropped captions, dropout) comes from a generator seeded
by the training seed and the epoch's number. So a run that was killed and resumed from its last finished epoch makes the
same draws, and on a CPU with equal threads the same bits, as one that was not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn.functional import mse_loss

from diffmia.denoisers.compiled import Compiled
from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.precision import autocast, layout, tf32
from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.models.base import TrainingSpec
from diffmia.running.at_once import AtOnce
from diffmia.running.progress import Progress
from diffmia.training.data import TrainingData, TrainingSet

log = logging.getLogger(__name__)

HELD_OUT_REPORTS = 25  # points of the held-out curve

Noised = tuple[Tensor, Tensor, Tensor, Tensor | None]  # x_t (B, ...), t (B,), epsilon (B, ...), what is told (B, ...)


class Trainer:
    """A training in progress.

    Parameters
    ----------
    denoiser : Denoiser
        Freshly built model; it is trained in place, and holds the EMA weights when `run` returns.
    spec : TrainingSpec
        Settings.
    data : TrainingData
        Samples, as the denoiser takes them.
    seed : int
        Training seed.
    device : torch.device
        Where the model is trained.
    """

    def __init__(self, denoiser: Denoiser, spec: TrainingSpec, data: TrainingData, seed: int, device: torch.device):
        denoiser = denoiser.to(device, memory_format=layout(device, spec.precision, spec.compile))
        self.denoiser, self.spec, self.data, self.seed, self.device = denoiser, spec, data, seed, device
        self.compiled = Compiled(denoiser) if spec.compile else denoiser  # the same weights
        self.parameters = [p for p in denoiser.parameters() if p.requires_grad]
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.optimizer]
        fused = device.type == "cuda"  # a few kernels over all tensors; on a CPU other bits and nothing gained
        settings = {"lr": spec.learning_rate, "weight_decay": spec.weight_decay, "fused": fused or None}
        self.optimizer = optimizer(self.parameters, **settings)
        self.ema = EMAModel(self.parameters, decay=spec.ema_decay, foreach=fused)
        self.at_once = AtOnce(spec.batch_size, "samples")  # whose gradients are made together
        self.epoch = self.step = 0
        self.losses: list[dict[str, float]] = []

    def run(self, resume_path: Path, keep_checkpoint: Callable[[int], None]) -> None:
        """Train to the last epoch, from `resume_path` if it exists, which is rewritten now and then.

        `keep_checkpoint` is called after each of the chosen epochs, while the denoiser holds the EMA weights; for epoch
        0 it holds those it was built with.

        Raises
        ------
        DiffmiaError
            If the loss is not finite.
        OutOfMemory
            If the device's memory does not hold the gradients of one sample.
        """
        if resume_path.exists():
            self._load(resume_path)
            log.info("resuming after epoch %d of %d", self.epoch, self.spec.epochs)
        elif 0 in self.spec.checkpoint_epochs:
            keep_checkpoint(0)
        progress = Progress(log, "epoch", self.spec.epochs, self.epoch)
        saved = time.monotonic()
        with tf32(self.spec.precision):
            while self.epoch < self.spec.epochs:
                loss = self.train_epoch()
                self.losses.append({"epoch": self.epoch, "step": self.step, "loss": loss} | self._held_out())
                progress.update(self.epoch, f"  step {self.step}  loss {loss:.4f}")
                if self.epoch in self.spec.checkpoint_epochs:
                    with self._ema_weights():
                        keep_checkpoint(self.epoch)
                if self.epoch == self.spec.epochs or time.monotonic() - saved >= self.spec.seconds_between_saves:
                    self._save(resume_path)
                    saved = time.monotonic()
        self.ema.copy_to(self.parameters)

    def train_epoch(self) -> float:
        """One pass over the members; returns its mean loss."""
        self.epoch += 1
        generator = self._generator(self.epoch)
        self.denoiser.train()
        losses = []
        batches = torch.randperm(len(self.data.members), generator=generator).split(self.spec.batch_size)
        for batch in batches:
            losses.append(self._update(self._noised(*self.data.members.augmented(batch.numpy(), generator), generator)))
        return self._mean_of(torch.stack(losses), batches)

    def _mean_of(self, losses: Tensor, batches: tuple[Tensor, ...]) -> float:
        """An epoch's mean loss; read once an epoch, so that a GPU is never waited for while it has steps to make."""
        finite = torch.isfinite(losses)
        if not finite.all():
            first = int(finite.logical_not().nonzero()[0])
            raise DiffmiaError(
                f"the training loss is {losses[first].item()} at step {self.step - len(batches) + first + 1} "
                f"(epoch {self.epoch}); lower learning_rate or set gradient_clip"
            )
        return float(np.average(losses.tolist(), weights=[len(batch) for batch in batches]))

    def _noised(self, x0: Tensor, told: Tensor | None, generator: torch.Generator) -> Noised:
        """What the loss of a batch is of, its random draws made: x_t, t, epsilon, and what the model is told."""
        t = self.denoiser.schedule.sample_timesteps(len(x0), generator)
        epsilon = torch.randn(x0.shape, generator=generator)
        return self.denoiser.schedule.add_noise(x0, epsilon, t), t, epsilon, told

    def _loss(self, denoiser: Denoiser, noised: Noised) -> Tensor:
        x_t, t, epsilon, told = (None if one is None else self._sent(one) for one in noised)
        with autocast(self.spec.precision, self.device):
            predicted = denoiser.predict_noise(x_t, t, told)
        return mse_loss(predicted.float(), epsilon)  # OMS Eq. 5

    def _sent(self, tensor: Tensor) -> Tensor:
        """On the device; to a GPU from memory that it reads by itself while the next batch is being made."""
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _update(self, noised: Noised) -> Tensor:
        """One step, on a batch; returns its loss."""
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.spec.learning_rate * min(1.0, self.step / max(1, self.spec.warmup_steps))
        while (loss := self.at_once.attempt(partial(self._gradients, noised), self._largest_part(noised))) is None:
            self.compiled = self.denoiser  # a CUDA graph that is replayed overwrites the gradients of the part before
        if self.spec.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.spec.gradient_clip)
        self.optimizer.step()
        self.ema.step(self.parameters)
        return loss

    def _gradients(self, noised: Noised) -> Tensor:
        """Make the gradients of a batch's loss, which is returned.

        They are the sum of those of its parts, so the step is that of the whole batch but for the order of sums, and on
        a GPU for what dropout draws.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part, share in self._parts(noised):
            # kernels are compiled for whole batches; a rest is not worth others
            denoiser = self.compiled if len(part[0]) == self.spec.batch_size else self.denoiser
            loss = share * self._loss(denoiser, part)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _largest_part(self, noised: Noised) -> int:
        return min(self.at_once.size, len(noised[0]))

    def _parts(self, noised: Noised) -> Iterator[tuple[Noised, float]]:
        """A batch as parts that the device's memory holds, each with its share of the batch."""
        total = len(noised[0])
        for start in range(0, total, self.at_once.size):
            part = tuple(None if one is None else one[start : start + self.at_once.size] for one in noised)
            yield part, len(part[0]) / total

    def _held_out(self) -> dict[str, float]:
        """Loss of the EMA model on equally many members and auxiliary samples, at some epochs; the gap is memorised."""
        n = min(len(self.data.members), len(self.data.auxiliary), 512)
        every = max(1, self.spec.epochs // HELD_OUT_REPORTS)
        if n == 0 or (self.epoch % every and self.epoch != self.spec.epochs):
            return {}
        self.denoiser.eval()
        with self._ema_weights(), torch.inference_mode():
            return {  # the same draws for both sets
                "member_loss": self._mean_loss(self.data.members, n, self._generator(0)),
                "auxiliary_loss": self._mean_loss(self.data.auxiliary, n, self._generator(0)),
            }

    def _mean_loss(self, samples: TrainingSet, n: int, generator: torch.Generator) -> float:
        """Mean loss on the first `n` samples."""
        size = self.spec.batch_size
        batches = [np.arange(start, min(start + size, n)) for start in range(0, n, size)]
        noised = (self._noised(*samples.batch(rows), generator) for rows in batches)
        losses = [sum(share * self._loss(self.denoiser, one).item() for one, share in self._parts(of)) for of in noised]
        return float(np.average(losses, weights=[len(rows) for rows in batches]))

    def _generator(self, epoch: int) -> torch.Generator:
        seed = int(
            np.random.SeedSequence(self.seed, spawn_key=(epoch,)).generate_state(1, np.uint64)[0] >> np.uint64(1)
        )
        torch.manual_seed(seed)  # dropout draws from the global generator
        return torch.Generator().manual_seed(seed)

    @contextmanager
    def _ema_weights(self) -> Iterator[None]:
        """Within the block the denoiser holds the moving average of its weights."""
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        try:
            yield
        finally:
            self.ema.restore(self.parameters)

    def _save(self, path: Path) -> None:
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "model": self.denoiser.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
        }
        with atomic_path(path) as scratch:
            torch.save(state, scratch)

    def _load(self, path: Path) -> None:
        # to the CPU first: on a GPU the optimiser would keep its step counts there, and wait for them at every step
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.epoch, self.step, self.losses = state["epoch"], state["step"], state["losses"]
        self.denoiser.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.ema.to(self.device)
