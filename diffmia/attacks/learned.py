"""Attacks that are fitted on some samples before they score others: what they learn from, and how they are asked."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

from pydantic import Field

from diffmia.attacks.base import AttackSpec
from diffmia.models.base import TargetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import torch

Share = Annotated[float, Field(gt=0, lt=1)]

ROC_SCORE = ""  # name of the one score that every attack has; others are decisions (see `decision`)


def decision(alpha: float) -> str:
    """Name of an attack's own decision at a nominal FPR: a column beside its score, negative where it says member."""
    return f"_at_{100 * alpha:g}_fpr"


@dataclass(frozen=True)
class Rows:
    """Samples as a learned attack sees them: never their membership.

    Attributes
    ----------
    columns : dict
        By name, what the pass answered: float64 (n,) or float32 (n, d).
    images : uint8 array (n, C, H, W)
        The samples themselves.
    """

    columns: dict[str, np.ndarray]
    images: np.ndarray


class Fitted(Protocol):
    """A fitted attack."""

    def score(self, batches: Iterable[Rows]) -> dict[str, np.ndarray]:
        """Scores (n,) by name, `ROC_SCORE` among them, of samples that come a batch at a time; lower = member."""

    def save(self, folder: Path) -> None:
        """Write what was learned."""


class LearnedAttack(AttackSpec):
    """An attack that learns.

    What it learns from (`learns_from`):
    `auxiliary`: samples that no target saw, and nothing of any member;
    `labelled`: a share of the target's own members, and as many auxiliary samples;
    `shadow`: other targets, trained by this workflow, whose training samples it knows.
    """

    gpu: ClassVar[int]  # cards that fitting it uses

    learns_from: Literal["auxiliary", "labelled", "shadow"]
    labelled_fraction: Share = Field(0.2, description="Share of the members whose membership it is told (labelled)")

    @property
    def supervision(self) -> str:
        """See `AttackSpec.supervision`."""
        return f"labelled {100 * self.labelled_fraction:g} %" if self.learns_from == "labelled" else self.learns_from

    def lacks(self, target: TargetSpec, auxiliary: int | None) -> str | None:
        """See `AttackSpec.lacks`."""
        if self.learns_from == "shadow" and target.null_targets == 0:
            return "needs shadow targets and has none (null_targets)"
        if self.learns_from != "shadow" and auxiliary == 0:
            return "needs auxiliary samples and has none (auxiliary)"
        return None

    def not_applicable(self, auxiliary: int) -> dict[float, str]:
        """By nominal FPR, why its own decision there cannot be learned from so many auxiliary samples."""
        return {}

    @abstractmethod
    def reads(self, variant: str, t: int | None) -> list[str]:
        """Columns of the pass's table that `variant` (`base`, `oms`) learns from and scores."""

    def ranking(self, answers: Mapping[str, np.ndarray], t: int) -> list[tuple[str, np.ndarray]]:
        """See `AttackSpec.ranking`: norms of what it learns from."""
        import numpy as np

        columns = [(variant, name) for variant in self.queries(t) for name in self.reads(variant, t)]
        return [
            (variant, np.linalg.norm(answers[name].reshape(len(answers[name]), -1), axis=1))
            for variant, name in columns
        ]

    @abstractmethod
    def fit(
        self, rows: Rows, member: np.ndarray, variant: str, t: int | None, seed: int, device: torch.device | None
    ) -> Fitted:
        """Learn from training rows and their membership, bool (n,); `device` is None if `gpu` is 0."""
