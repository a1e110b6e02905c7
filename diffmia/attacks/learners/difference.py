"""SecMI_NNs (Duan et al. 2023): a classifier of the difference maps |x_t - x~_t| of an image's SecMI step.

Three things are not as in the published code. It regresses the raw logit on 0 and 1 by squared error, which punishes
right answers that are sure (a logit of 3 for a 1); here the loss is cross-entropy, whose minimiser is the
probability. It never updates its best accuracy, so it keeps the last epoch, and that accuracy is taken on the judged
samples; here a held-out part of the training rows chooses the epoch. And maps are standardised.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from diffmia.attacks.learners.fitting import Read, outputs, seeded, settle_batch_norm, train_epoch
from diffmia.attacks.learners.resnet import ResNet
from diffmia.running.failures import NotApplicable
from diffmia.running.progress import Progress

RESNET18 = (64, 128, 256, 512)


@dataclass
class DifferenceClassifier:
    """A fitted classifier.

    Attributes
    ----------
    network : ResNet
        Its one output is the logit of being a non-member.
    mean, std : float array (C,)
        Of each channel of the rows the network was fitted to.
    epoch : int
        The chosen epoch, from 1.
    """

    network: ResNet
    mean: np.ndarray
    std: np.ndarray
    epoch: int

    def predict(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Probability of being a non-member, float64 (n,), of batches of maps float32 (B, C, H, W): low = member."""
        device = next(self.network.parameters()).device

        def logits_of(maps: np.ndarray) -> Tensor:
            return outputs(self.network, _reader(maps, self.mean, self.std, device), np.arange(len(maps)))

        logits = torch.cat([logits_of(maps) for maps in batches])
        return logits[:, 0].double().sigmoid().numpy()  # in float32 all sure answers would tie at 1

    def save(self, folder: Path) -> None:
        """Write `difference.safetensors` and `difference.json`, all that `predict` needs, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_file(weights, folder / "difference.safetensors")
        facts = {
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "epoch": self.epoch,
            "architecture": self.network.architecture,
        }
        (folder / "difference.json").write_text(json.dumps(facts, indent=2) + "\n")


def fit_difference_classifier(
    maps: np.ndarray,
    member: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    validation_fraction: float,
    seed: int,
    device: torch.device,
    widths: Sequence[int] = RESNET18,
    blocks_per_stage: int = 2,
    progress: Progress | None = None,
) -> DifferenceClassifier:
    """Fit the classifier by stochastic gradient descent, and keep the epoch of the lowest validation loss.

    Beside the maps, which it does not copy, it holds a batch of them.

    Parameters
    ----------
    maps : float32 array (n, C, H, W)
        Difference maps of samples that are never judged; nothing else is looked at.
    member : bool array (n,)
        Which of them are members.
    validation_fraction : float
        Share of each class, in (0, 1), that chooses the epoch and is not fitted to.
    progress : Progress, optional
        Of `epochs` epochs.

    Raises
    ------
    DiffmiaError
        If the loss is not finite; `NotApplicable` if a class has fewer than two rows, one to fit to and one to validate
        on.
    """
    member = np.asarray(member, dtype=bool)
    if min(member.sum(), (~member).sum()) < 2:
        raise NotApplicable(
            f"a classifier of members needs two of each class, and was given {member.sum()} members and "
            f"{(~member).sum()} non-members"
        )
    # not the stream that a caller's `default_rng(seed)` would give, which may have made the data
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    validates = stratified_part(member, validation_fraction, generator)
    fitted, validation = np.flatnonzero(~validates), np.flatnonzero(validates)
    mean, std = _channel_statistics(maps, fitted)
    std[std == 0] = 1.0
    read = _reader(maps, mean, std, device)
    non_member = torch.from_numpy(~member).float().to(device)
    network = seeded(lambda: ResNet(maps.shape[1], 1, widths, blocks_per_stage), generator, device)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay)

    def loss_of(batch: np.ndarray) -> Tensor:
        return binary_cross_entropy_with_logits(network(read(batch))[:, 0], non_member[batch])

    lowest, best, best_epoch = np.inf, {}, 0
    for epoch in range(1, epochs + 1):
        loss = train_epoch(network, fitted, loss_of, optimizer, batch_size, generator)
        settle_batch_norm(network, read, fitted)
        logits = outputs(network, read, validation)[:, 0]
        validation_loss = binary_cross_entropy_with_logits(logits, non_member[validation].cpu()).item()
        if validation_loss < lowest:
            lowest, best, best_epoch = validation_loss, copy.deepcopy(network.state_dict()), epoch
        if progress is not None:
            progress.update(epoch, f"  loss {loss:.4f}  validation loss {validation_loss:.4f}")
    network.load_state_dict(best)
    return DifferenceClassifier(network, mean, std, best_epoch)


def stratified_part(member: np.ndarray, fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Mask (n,) that is true for a share of each class, drawn at random: at least one row, and never all."""
    chosen = np.zeros(len(member), dtype=bool)
    for value in (True, False):
        rows = generator.permutation(np.flatnonzero(member == value))
        chosen[rows[: np.clip(round(fraction * len(rows)), 1, len(rows) - 1)]] = True
    return chosen


def _channel_statistics(maps: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, float64 (C,): map by map, for all in float64 would fill the memory.

    NumPy adds them up in the same order.
    """
    values = len(rows) * maps[0, 0].size
    mean = sum(maps[row].sum(axis=(1, 2), dtype=np.float64) for row in rows) / values
    squares = sum(np.square(maps[row] - mean[:, None, None]).sum(axis=(1, 2)) for row in rows)
    return mean, np.sqrt(squares / values)


def _reader(maps: np.ndarray, mean: np.ndarray, std: np.ndarray, device: torch.device) -> Read:
    """What reads rows of maps as the network's standardised input."""
    shift, scale = (torch.from_numpy(values).float()[:, None, None] for values in (mean, std))

    def read(rows: np.ndarray) -> Tensor:
        return ((torch.from_numpy(maps[rows]) - shift) / scale).to(device)

    return read
