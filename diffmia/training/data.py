"""What a model is trained on: samples as it takes them, with what it is told of each; and the plain kind, images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffmia.files.images import open_images, to_unit_range
from diffmia.splits import TRAINED

if TYPE_CHECKING:
    from diffmia.models.base import TrainedTarget

Drawn = tuple[Tensor, Tensor | None]  # x0, float32 (B, C, H, W), and what the model is told of each, if anything


class TrainingSet(ABC):
    """Samples of one kind, in memory."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def batch(self, rows: np.ndarray) -> Drawn:
        """The samples in these rows, (B,), as they are."""

    @abstractmethod
    def augmented(self, rows: np.ndarray, generator: torch.Generator) -> Drawn:
        """The samples in these rows as an epoch sees them; what is changed at random is drawn from its generator."""


class PixelSet(TrainingSet):
    """Images, uint8 (N, C, H, W), for a model that is told nothing; mirrored half of the time where that is asked."""

    def __init__(self, images: np.ndarray, horizontal_flip: bool = False):
        self.images, self.horizontal_flip = images, horizontal_flip

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: np.ndarray) -> Drawn:
        """See `TrainingSet.batch`; in [-1, 1]."""
        return to_unit_range(self.images[rows]), None

    def augmented(self, rows: np.ndarray, generator: torch.Generator) -> Drawn:
        """See `TrainingSet.augmented`."""
        x0, told = self.batch(rows)
        if self.horizontal_flip:
            flip = torch.rand(len(x0), generator=generator) < 0.5
            x0 = torch.where(flip[:, None, None, None], x0.flip(-1), x0)
        return x0, told


@dataclass(frozen=True)
class TrainingData:
    """What one target is trained on, and auxiliary samples to compare its loss with; `auxiliary` may be empty.

    Non-members have no place here.
    """

    members: TrainingSet
    auxiliary: TrainingSet

    def save_parts(self, folder: Path) -> None:
        """Write what of the target was made before its training, below its folder; of a model of pixels nothing."""


@dataclass(frozen=True)
class TrainingFiles:
    """What a training is prepared from: `samples` only where the target is told captions."""

    images: Path
    samples: Path | None
    split: dict  # its manifest
    roles: Mapping[str, np.ndarray]  # ids as the target sees them
    resume: Path  # folder that a killed job goes on from

    @property
    def trained(self) -> np.ndarray:
        """Ids of the samples that the target is trained on."""
        return self.roles.get(TRAINED, self.roles["member"])


def prepare_pixels(spec: TrainedTarget, files: TrainingFiles, device: torch.device) -> TrainingData:
    """The images of a split, for a model of pixels."""
    pixels = open_images(files.images)
    flips = spec.training.horizontal_flip
    return TrainingData(*(PixelSet(pixels[ids], flips) for ids in (files.trained, files.roles["auxiliary"])))
