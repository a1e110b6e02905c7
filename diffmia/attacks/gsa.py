"""GSA (Pang et al., arXiv 2308.06405; OMS Appendix E.3): how much the loss pulls at every parameter tensor.

The norms of the gradients of the training loss, one for each tensor and timestep, are the features of a gradient
boosted classifier. With OMS the loss is that after one more step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from diffmia.attacks.base import Answers, beyond_the_last
from diffmia.attacks.learned import ROC_SCORE, LearnedAttack, Rows
from diffmia.models.base import TargetSpec
from diffmia.search.probes import GradientLoss, GradientProbe
from diffmia.spec import Distinct

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import torch

    from diffmia.attacks.learners.boosting import BoostedTrees


class GradientAttack(LearnedAttack):
    """The predicted probability of not being a member, by gradient boosted trees on gradient norms."""

    access: ClassVar = "white"
    answers: ClassVar[Answers] = "gradients"
    gpu: ClassVar[int] = 0

    family: Literal["gsa"]
    learns_from: Literal["labelled", "shadow"] = Field("labelled", description="Labels of members, or shadow targets")
    features: Literal["concat", "mean_norm", "mean_loss"] = Field(
        "concat",
        description="concat: tensors x timesteps (OMS); mean_norm: mean over timesteps (GSA2); mean_loss: of the mean "
        "loss (GSA1)",
    )
    timesteps: Distinct[NonNegativeInt] = Field(
        tuple(range(0, 1000, 100)), min_length=1, description="Timesteps of the loss, each with a draw of its own"
    )
    oms: Literal["detached", "full", "training", "concat"] = Field(
        "detached",
        description="Loss with one more step. detached: ||e0 - e2||^2 with e1 constant in the second query; full: "
        "through both; training: ||e1 - e2||^2; concat: the features of base and detached side by side",
    )
    trees: PositiveInt = Field(200, description="Boosting rounds of the classifier")

    def flags(self, variant: str) -> list[str]:
        """See `AttackSpec.flags`; which reading of the loss after one more step a number belongs to."""
        return [f"loss {self.oms}"] if variant != "base" else []

    def refuses(self, target: TargetSpec, t: int | None, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`."""
        return beyond_the_last(target, max(self.timesteps))

    def questions(self, t: int | None) -> list[GradientProbe]:
        """See `AttackSpec.questions`."""
        return list(dict.fromkeys([*self._probes("base"), *self._probes("oms")]))

    def _probes(self, variant: str) -> list[GradientProbe]:
        losses: tuple[GradientLoss, ...] = ("base",)
        if variant == "oms":
            losses = ("base", "detached") if self.oms == "concat" else (self.oms,)
        return [GradientProbe(loss=loss, timesteps=self.timesteps, condition=self.told) for loss in losses]

    def queries(self, t: int | None) -> dict[str, int]:
        """See `AttackSpec.queries`; `base` and `detached` of `concat` share the first query."""
        shared = len(self.timesteps) if self.oms == "concat" else 0
        alone = {variant: sum(probe.cost() for probe in self._probes(variant)) for variant in ("base", "oms")}
        return alone | {"oms": alone["oms"] - shared}

    def reads(self, variant: str, t: int | None) -> list[str]:
        """See `LearnedAttack.reads`."""
        probes = self._probes(variant)
        if self.features == "mean_loss":
            return [probe.mean_column for probe in probes]
        return [name for probe in probes for name in probe.timestep_columns]

    def fit(
        self, rows: Rows, member: np.ndarray, variant: str, t: int | None, seed: int, device: torch.device | None
    ) -> FittedTrees:
        """See `LearnedAttack.fit`."""
        from diffmia.attacks.learners.boosting import fit_boosted_trees

        return FittedTrees(self, variant, fit_boosted_trees(self.matrix(rows, variant), member, self.trees, seed))

    def matrix(self, rows: Rows, variant: str) -> np.ndarray:
        """Features of a variant, float32 (n, d): for each of its losses, norms of tensors (x timesteps)."""
        import numpy as np

        per_loss = len(self.reads("base", None))
        columns = [rows.columns[name] for name in self.reads(variant, None)]
        if self.features == "mean_norm":
            columns = [np.mean(columns[i : i + per_loss], axis=0) for i in range(0, len(columns), per_loss)]
        return np.concatenate(columns, axis=1)


@dataclass
class FittedTrees:
    """Trees that tell members from non-members by the features of one variant of an attack."""

    attack: GradientAttack
    variant: str
    trees: BoostedTrees

    def score(self, batches: Iterable[Rows]) -> dict[str, np.ndarray]:
        """See `Fitted.score`."""
        import numpy as np

        matrices = (self.attack.matrix(rows, self.variant) for rows in batches)
        return {ROC_SCORE: np.concatenate([self.trees.non_member_probability(matrix) for matrix in matrices])}

    def save(self, folder: Path) -> None:
        """See `Fitted.save`."""
        self.trees.save(folder)
