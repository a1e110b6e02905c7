"""SecMI_NNs (Duan et al. 2023): a ResNet-18 on the pixels of |x_t - x~_t|, told the membership of some samples."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from diffmia.attacks.base import beyond_the_last
from diffmia.attacks.learned import ROC_SCORE, LearnedAttack, Rows, Share
from diffmia.models.base import TargetSpec
from diffmia.running.progress import Progress
from diffmia.search.probes import BASE_PAIR, OMS_PAIR, Anchor, DifferenceMap, Probe

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import torch

    from diffmia.attacks.learners.difference import DifferenceClassifier

log = logging.getLogger(__name__)


class DifferenceAttack(LearnedAttack):
    """The predicted probability of not being a member, from |epsilon^0 - epsilon^1|, with OMS |epsilon^0 - epsilon^2|.

    SecMI's |x_t - x~_t| is a constant times the former at one timestep, and the maps are standardised.
    """

    access: ClassVar = "grey"
    gpu: ClassVar[int] = 1

    family: Literal["secmi_nns"]
    learns_from: Literal["labelled"] = Field("labelled", description="Labels of a share of the members")
    t: NonNegativeInt = Field(100, description="Timestep of SecMI's t-error")
    k: PositiveInt = Field(10, description="Step of the DDIM inversion")
    anchor: Anchor = Field("x0", description="What epsilon^2 is attached to: x0, x0hat or xt")
    epochs: PositiveInt = Field(15, description="Passes over the labelled samples")
    batch_size: PositiveInt = Field(128, description="Samples per step")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum")
    weight_decay: NonNegativeFloat = Field(5e-4, description="Weight decay")
    validation_fraction: Share = Field(0.2, description="Share of the labelled samples that chooses the epoch")

    def flags(self, variant: str) -> list[str]:
        """See `AttackSpec.flags`."""
        return [f"anchor {self.anchor}"] if variant != "base" else []

    def lacks(self, target: TargetSpec, auxiliary: int | None) -> str | None:
        """See `AttackSpec.lacks`."""
        if target.latent:
            return "reads maps of the shape of the images, and the target's are of latents"
        return super().lacks(target, auxiliary)

    def refuses(self, target: TargetSpec, t: int, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`."""
        if t % self.k:
            return f"its timestep {t} is not a multiple of its inversion step k = {self.k}"
        return beyond_the_last(target, t + self.k)

    def questions(self, t: int) -> list[DifferenceMap]:
        """See `AttackSpec.questions`."""
        search = {"start": "inverted", "t": t, "n": OMS_PAIR[1], "k": self.k, "anchor": self.anchor}
        return [DifferenceMap(of=Probe(**search, condition=self.told))]

    def queries(self, t: int) -> dict[str, int]:
        """See `AttackSpec.queries`; the classifier is no part of the model."""
        (question,) = self.questions(t)
        return {"base": question.of.queries(BASE_PAIR[1]), "oms": question.of.queries(OMS_PAIR[1])}

    def reads(self, variant: str, t: int) -> list[str]:
        """See `LearnedAttack.reads`."""
        (question,) = self.questions(t)
        return [question.column((BASE_PAIR if variant == "base" else OMS_PAIR)[1])]

    def fit(
        self, rows: Rows, member: np.ndarray, variant: str, t: int, seed: int, device: torch.device
    ) -> FittedDifferences:
        """See `LearnedAttack.fit`."""
        from diffmia.attacks.learners.difference import fit_difference_classifier

        (name,) = self.reads(variant, t)
        classifier = fit_difference_classifier(
            _maps(rows, name),
            member,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            validation_fraction=self.validation_fraction,
            seed=seed,
            device=device,
            progress=Progress(log, "epochs", self.epochs),
        )
        return FittedDifferences(classifier, name)


@dataclass
class FittedDifferences:
    """A classifier of the maps in one column."""

    classifier: DifferenceClassifier
    column: str

    def score(self, batches: Iterable[Rows]) -> dict[str, np.ndarray]:
        """See `Fitted.score`."""
        return {ROC_SCORE: self.classifier.predict(_maps(rows, self.column) for rows in batches)}

    def save(self, folder: Path) -> None:
        """See `Fitted.save`."""
        self.classifier.save(folder)


def _maps(rows: Rows, column: str) -> np.ndarray:
    """Maps float32 (n, C, H, W), of the shape of the images."""
    return rows.columns[column].reshape(rows.images.shape)
