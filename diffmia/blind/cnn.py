"""A blind baseline: a small residual network on the pixels of an image (as Das et al. 2024, CopyMark).

It sees what no statistic was written for: subjects, framing, texture. The number of epochs is fixed beforehand, since
nothing of a judged fold may choose it.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from diffmia.attacks.learners.fitting import outputs, seeded, settle_batch_norm, train_epoch
from diffmia.attacks.learners.resnet import ResNet
from diffmia.blind.cross_validation import out_of_fold
from diffmia.images import to_unit_range
from diffmia.progress import Progress

WIDTHS = (16, 32)  # with one block a stage: some 19,500 weights


def cnn_scores(
    images: np.ndarray,
    member: np.ndarray,
    folds: int,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    device: torch.device,
    classes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Score every sample by its pixels; lower = member. AdamW on a cosine schedule that ends at zero.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
    member : bool array (N,)
    folds, seed, classes, groups
        See `out_of_fold`.
    epochs, batch_size : int
        Passes over the other folds, samples per step.
    progress : Progress, optional
        Of `folds * epochs` epochs.

    Returns
    -------
    float64 array (N,)
        Standardised log-odds of not being a member, from a network that saw neither the sample nor its membership.

    Raises
    ------
    DiffmiaError
        If a class has fewer samples, or groups, than there are folds, or the loss is not finite.
    """
    done = itertools.count(1)

    def read(rows: np.ndarray) -> Tensor:
        return to_unit_range(images[rows]).to(device)

    def fit_predict(
        train: np.ndarray, labels: np.ndarray, judged: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        non_member = torch.zeros(len(images))
        non_member[train] = torch.from_numpy(~labels).float()
        non_member = non_member.to(device)
        network = seeded(lambda: ResNet(images.shape[1], 1, WIDTHS, blocks_per_stage=1), generator, device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

        def loss_of(batch: np.ndarray) -> Tensor:
            return binary_cross_entropy_with_logits(network(read(batch))[:, 0], non_member[batch])

        for _ in range(epochs):
            loss = train_epoch(network, train, loss_of, optimizer, batch_size, generator)
            schedule.step()
            if progress is not None:
                progress.update(next(done), f"  loss {loss:.4f}")
        settle_batch_norm(network, read, train)
        return outputs(network, read, judged)[:, 0].double().numpy()

    return out_of_fold(fit_predict, member, folds, seed, classes, groups)
