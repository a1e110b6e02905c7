"""A blind baseline: a small residual network on the pixels of an image (as Das et al. 2024, CopyMark).

It sees what no statistic was written for: subjects, framing, texture. The number of epochs is fixed beforehand, since
nothing of a judged fold may choose it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from diffmia.attacks.learners.fitting import outputs, seeded, settle_batch_norm, train_epoch
from diffmia.attacks.learners.resnet import ResNet
from diffmia.blind.cross_validation import FitPredict
from diffmia.files.images import to_unit_range

WIDTHS = (16, 32)  # with one block a stage: some 19,500 weights


def network(
    images: np.ndarray,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    device: torch.device,
) -> FitPredict:
    """Judges rows by their pixels. AdamW on a cosine schedule that ends at zero.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
    epochs, batch_size : int
        Passes over the training rows, samples per step.

    Raises
    ------
    DiffmiaError
        When it is fitted, if the loss is not finite.
    """

    def read(rows: np.ndarray) -> Tensor:
        return to_unit_range(images[rows]).to(device)

    def fit_predict(
        train: np.ndarray, labels: np.ndarray, judged: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        non_member = torch.zeros(len(images))
        non_member[train] = torch.from_numpy(~labels).float()
        non_member = non_member.to(device)
        model = seeded(lambda: ResNet(images.shape[1], 1, WIDTHS, blocks_per_stage=1), generator, device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

        def loss_of(batch: np.ndarray) -> Tensor:
            return binary_cross_entropy_with_logits(model(read(batch))[:, 0], non_member[batch])

        for _ in range(epochs):
            train_epoch(model, train, loss_of, optimizer, batch_size, generator)
            schedule.step()
        settle_batch_norm(model, read, train)
        return outputs(model, read, judged)[:, 0].double().numpy()

    return fit_predict
