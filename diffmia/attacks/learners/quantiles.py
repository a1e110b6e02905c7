"""Quantile regression of an error given the image (Tang et al. 2024, arXiv 2312.05140; OMS Appendix E.2).

The regressor learns, from non-members, the lower-tail alpha-quantile q_alpha(x) of the error of an image like x. An
image is called a member if its error is below its quantile, which is so for a share alpha of non-members. (OMS E.2
prints "1 - alpha quantile"; with members below it, that would accuse nearly everybody. Its Section 4.3 has it right.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import softplus

from diffmia.attacks.learners.fitting import outputs, seeded, settle_batch_norm, train_epoch
from diffmia.attacks.learners.resnet import ResNet
from diffmia.errors import DiffmiaError
from diffmia.files.images import to_unit_range
from diffmia.running.progress import Progress

WIDTHS = (16,)  # with one block a stage: on 8x8 images, larger ones learn 512 rows by heart


@dataclass
class QuantileModel:
    """A fitted bag of regressors.

    Attributes
    ----------
    networks : nn.ModuleList of ResNet
        The regressors; `ordered_heads` of their outputs are standardised quantiles.
    levels : tuple of float
        Levels alpha, descending.
    mean, std : float
        Of the training rows' log errors.
    """

    networks: nn.ModuleList
    levels: tuple[float, ...]
    mean: float
    std: float

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Quantiles of the log error given each image.

        Parameters
        ----------
        images : uint8 array (n, C, H, W)

        Returns
        -------
        float64 array (n, len(levels)), never increasing along a row
            "Log error below it" is the bag's majority vote, see `lower_median`.
        """
        device = next(self.networks.parameters()).device
        rows = np.arange(len(images))

        def read(batch: np.ndarray) -> Tensor:
            return to_unit_range(images[batch]).to(device)

        bag = [ordered_heads(outputs(network, read, rows)).double().numpy() for network in self.networks]
        return self.mean + self.std * lower_median(np.stack(bag))

    def save(self, folder: Path) -> None:
        """Write `quantiles.safetensors` and `quantiles.json`, all that `predict` needs, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.cpu().contiguous() for name, value in self.networks.state_dict().items()}
        save_file(weights, folder / "quantiles.safetensors")
        facts = {
            "levels": list(self.levels),
            "mean": self.mean,
            "std": self.std,
            "bag": len(self.networks),
            "architecture": self.networks[0].architecture,
        }
        (folder / "quantiles.json").write_text(json.dumps(facts, indent=2) + "\n")


def fit_quantiles(
    images: np.ndarray,
    errors: np.ndarray,
    levels: Sequence[float],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    bag: int,
    seed: int,
    device: torch.device,
    widths: Sequence[int] = WIDTHS,
    blocks_per_stage: int = 1,
    progress: Progress | None = None,
) -> QuantileModel:
    """Fit quantiles of the log error given the image, with AdamW on a cosine schedule that ends at zero.

    Parameters
    ----------
    images : uint8 array (n, C, H, W)
        Non-members that are never judged; nothing else is looked at.
    errors : float64 array (n,)
        Their errors, above zero. Quantiles carry over through the logarithm, which is monotone.
    levels : sequence of float
        Levels alpha in (0, 1), strictly descending.
    bag : int
        Regressors, each fitted to a bootstrap resample of the rows; 1 fits one regressor to the rows themselves.
    progress : Progress, optional
        Of `bag * epochs` epochs.

    Raises
    ------
    DiffmiaError
        If errors are not finite and positive, or the loss is not finite.
    ValueError
        If the levels are not strictly descending in (0, 1).
    """
    levels = tuple(map(float, levels))
    if not all(high > low for high, low in zip((1.0, *levels), (*levels, 0.0), strict=True)):
        raise ValueError(f"levels {levels} are not strictly descending in (0, 1)")
    errors = np.asarray(errors, dtype=np.float64)
    bad = int((~(np.isfinite(errors) & (errors > 0))).sum())
    if bad:
        raise DiffmiaError(f"{bad} of {len(errors)} errors are not finite and above zero, so they have no logarithm")
    logs = np.log(errors)
    mean, std = float(logs.mean()), float(logs.std()) or 1.0
    targets = torch.from_numpy((logs - mean) / std).float().to(device)

    def read(rows: np.ndarray) -> Tensor:
        return to_unit_range(images[rows]).to(device)

    def fit_one(regressor: int) -> ResNet:
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(regressor,)))
        rows = np.arange(len(images)) if bag == 1 else generator.integers(len(images), size=len(images))
        network = seeded(lambda: ResNet(images.shape[1], len(levels), widths, blocks_per_stage), generator, device)
        start_at_marginal_quantiles(network, targets[rows], levels)
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

        def loss_of(batch: np.ndarray) -> Tensor:
            return pinball_loss(targets[batch], ordered_heads(network(read(batch))), levels)

        for epoch in range(1, epochs + 1):
            loss = train_epoch(network, rows, loss_of, optimizer, batch_size, generator)
            schedule.step()
            if progress is not None:
                progress.update(regressor * epochs + epoch, f"  regressor {regressor + 1}  loss {loss:.4f}")
        settle_batch_norm(network, read, rows)
        return network

    return QuantileModel(nn.ModuleList(fit_one(regressor) for regressor in range(bag)), levels, mean, std)


def ordered_heads(raw: Tensor) -> Tensor:
    """Raw outputs (B, k) to quantiles (B, k) that cannot cross: the first is free, each next one is below the last."""
    return torch.cat([raw[:, :1], raw[:, :1] - softplus(raw[:, 1:]).cumsum(dim=1)], dim=1)


def pinball_loss(targets: Tensor, quantiles: Tensor, levels: Sequence[float]) -> Tensor:
    """Mean over targets y (B,), summed over levels, of max(a (y - q), (a - 1) (y - q)); quantiles q are (B, k)."""
    alpha = torch.tensor(levels, dtype=quantiles.dtype, device=quantiles.device)
    excess = targets[:, None] - quantiles
    return torch.maximum(alpha * excess, (alpha - 1) * excess).sum(dim=1).mean()


def start_at_marginal_quantiles(network: ResNet, targets: Tensor, levels: Sequence[float]) -> None:
    """Let every image start from the quantiles of the targets (n,): the best guess of one that sees no image.

    A small fit has few steps, and the pinball loss of a small level hardly pulls at a head that is too high. Random
    weights in the head would make guesses at the start that a few hundred rows do not correct.
    """
    quantiles = np.quantile(targets.double().cpu().numpy(), levels)
    gaps = np.maximum(quantiles[:-1] - quantiles[1:], 1e-3)  # ties have a gap of zero, which softplus never reaches
    biases = np.concatenate([quantiles[:1], np.log(np.expm1(gaps))])  # the inverse of softplus
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.from_numpy(biases))


def lower_median(quantiles: np.ndarray) -> np.ndarray:
    """The lower median over a bag, (m, ...) to (...): what a majority vote of its regressors compares with.

    More than half of m regressors say "below my quantile" exactly if the value is below the (floor(m / 2) + 1)-th
    largest quantile, which is the ceil(m / 2)-th smallest: the median of an odd bag, the lower of the middle two of an
    even one.
    """
    return np.sort(quantiles, axis=0)[(len(quantiles) - 1) // 2]
