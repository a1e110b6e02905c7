"""How a network is fitted to images in memory and asked about others: the steps that all learned attacks share.

What is random comes from a NumPy generator of the fit; the global generators are neither used nor disturbed. So on a
CPU with equal threads the same rows and seed give the same bits, whatever ran before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from diffmia.attacks.learners.batches import BATCH, even_batches
from diffmia.errors import DiffmiaError

Read = Callable[[np.ndarray], Tensor]  # row numbers (B,) -> the network's inputs (B, C, H, W)


def seeded(build: Callable[[], nn.Module], generator: np.random.Generator, device: torch.device) -> nn.Module:
    """The network that `build` makes, with initial weights that `generator` alone decides."""
    with torch.random.fork_rng(devices=[]):  # on the CPU, so that a GPU starts from the same weights
        torch.default_generator.manual_seed(int(generator.integers(2**63)))
        return build().to(device)


def train_epoch(
    network: nn.Module,
    rows: np.ndarray,
    loss_of: Callable[[np.ndarray], Tensor],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    generator: np.random.Generator,
) -> float:
    """Take one step for each batch of the rows (n,), in an order drawn from `generator`; returns the mean loss.

    Raises
    ------
    DiffmiaError
        If the loss is not finite.
    """
    network.train()
    total = 0.0
    for batch in even_batches(generator.permutation(rows), batch_size):
        loss = loss_of(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    if not np.isfinite(total):
        raise DiffmiaError(f"the loss of an attack's network is {total} after an epoch; lower its learning_rate")
    return total / len(rows)


def settle_batch_norm(network: nn.Module, read: Read, rows: np.ndarray) -> None:
    """Set every batch norm's statistics to those of the rows (n,) under the present weights.

    A running average needs hundreds of steps to forget where it began, and a fit to a hundred rows takes fewer.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    network.train()
    with torch.no_grad():
        for batch in even_batches(rows, BATCH):
            network(read(batch))


def outputs(network: nn.Module, read: Read, rows: np.ndarray) -> Tensor:
    """What the network says of each row, (n, outputs), on the CPU; in eval mode, so no row depends on another."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(read(batch)).cpu() for batch in even_batches(rows, BATCH)])
