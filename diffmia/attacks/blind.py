"""Blind baselines: attacks that never ask the model, so that what they find is no membership (arXiv 2406.16201)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from diffmia.attacks.base import AttackSpec
from diffmia.models.base import TargetSpec
from diffmia.probes import Question

if TYPE_CHECKING:
    import numpy as np
    import torch


class BlindAttack(AttackSpec):
    """Members told from non-members by their pixels alone, by classifiers fitted to other folds of both.

    Where one is above chance, the two sets differ by more than membership, and so may what an attack sees.
    """

    access: ClassVar = "blind"
    answers: ClassVar = None
    learns_from: ClassVar = "folds"
    gpu: ClassVar[int] = 0

    folds: int = Field(5, ge=2, description="Folds of the cross-validation; each sample is judged by a fit without it")

    @property
    def supervision(self) -> str:
        """See `AttackSpec.supervision`."""
        return "cross-validated"

    def refuses(self, target: TargetSpec, t: int | None, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`; no target is asked."""
        return None

    def questions(self, t: int | None) -> list[Question]:
        """See `AttackSpec.questions`."""
        return []

    def queries(self, t: int | None) -> dict[str, int]:
        """See `AttackSpec.queries`; there is no step to add one to."""
        return {"base": 0}

    @abstractmethod
    def score(
        self,
        images: np.ndarray,
        member: np.ndarray,
        classes: np.ndarray | None,
        groups: np.ndarray | None,
        seed: int,
        device: torch.device | None,
    ) -> np.ndarray:
        """Log-odds (N,) of not being a member, of images uint8 (N, C, H, W).

        Membership (N,) is that of the samples in other folds, over which the members of each of `classes` (N,) are
        spread evenly if the split fixed their number; or, if it drew whole groups, those of `groups` (N,), none of
        which is cut. `device` is None if `gpu` is 0.
        """


class BlindStatistics(BlindAttack):
    """Logistic regression on statistics of pixels and colours, and on the size of the image as a PNG."""

    family: Literal["blind_statistics"]

    def score(
        self,
        images: np.ndarray,
        member: np.ndarray,
        classes: np.ndarray | None,
        groups: np.ndarray | None,
        seed: int,
        device: torch.device | None,
    ) -> np.ndarray:
        """See `BlindAttack.score`."""
        from diffmia.blind.statistics import statistics_scores

        return statistics_scores(images, member, self.folds, seed, classes, groups)


class BlindCNN(BlindAttack):
    """A small convolutional network on pixels."""

    gpu: ClassVar[int] = 1

    family: Literal["blind_cnn"]
    epochs: PositiveInt = Field(5, description="Passes over a fold's training samples; none is chosen on the others")
    batch_size: PositiveInt = Field(64, description="Images per step")
    learning_rate: float = Field(3e-3, gt=0, description="Learning rate at the start, which falls to 0 by a cosine")
    weight_decay: NonNegativeFloat = Field(0.01, description="Weight decay")

    def score(
        self,
        images: np.ndarray,
        member: np.ndarray,
        classes: np.ndarray | None,
        groups: np.ndarray | None,
        seed: int,
        device: torch.device,
    ) -> np.ndarray:
        """See `BlindAttack.score`."""
        from diffmia.blind.cnn import cnn_scores

        return cnn_scores(
            images,
            member,
            self.folds,
            seed,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            device=device,
            classes=classes,
            groups=groups,
        )
