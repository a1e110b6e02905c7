"""What every attack says of itself in `config.yaml`, whatever its family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from diffmia.datasets.base import About
from diffmia.models.base import TargetSpec
from diffmia.search.probes import UNCONDITIONAL, Norm, Question
from diffmia.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd

Answers = Literal["residuals", "gradients"]


class AttackSpec(Spec):
    """A way to score samples, with and without one more step (OMS); a low score means member, always."""

    access: ClassVar[Literal["blind", "grey", "white"]]
    answers: ClassVar[Answers | None] = "residuals"  # kind of pass that asks its questions, if it has any
    needs: ClassVar[About | None] = None  # what it reads of samples besides pixels: left out where a dataset has none

    label: str = Field(description="Name in tables and figures")
    reading_of: str | None = Field(
        None,
        description="Id of the attack this is another reading of, and that main tables and figures have in its place",
    )
    targets: tuple[str, ...] | None = Field(
        None, description="Ids of the only targets it is for, with those that are made from them; null for all"
    )
    t: NonNegativeInt | None = Field(None, description="Timestep it asks the model at; a target may name another")
    condition: str | None = Field(
        None,
        description="What it tells a text-to-image target: none, caption or a captioner's id; null: what the target is "
        "told by itself. An attack that names one is not done on other targets",
    )
    norm: Norm | None = Field(None, description="p of the norm it measures residuals in: 1 to 6 or inf")

    @property
    def told(self) -> str:
        """The condition of its questions."""
        return self.condition or UNCONDITIONAL

    @property
    def supervision(self) -> str:
        """What it is told of samples' membership besides the model: `none`, `auxiliary`, `labelled 20 %`, `shadow`."""
        return "none"

    def flags(self, variant: str) -> list[str]:
        """What a reader must know of the numbers of a variant (`base`, `oms`, `delta`)."""
        return []

    def lacks(self, target: TargetSpec, auxiliary: int | None) -> str | None:
        """What this attack would need of `target` and is not there: then it is left out on it, and said so.

        `auxiliary` is the number of auxiliary samples the target leaves, None if it is not known yet.
        """
        return None

    @abstractmethod
    def refuses(self, target: TargetSpec, t: int | None, auxiliary: int | None) -> str | None:
        """Why this attack's settings are wrong for `target` at timestep `t`, or None if they are right."""

    @abstractmethod
    def questions(self, t: int | None) -> list[Question]:
        """What it needs a pass to ask the model, at timestep `t` if it has one."""

    @abstractmethod
    def queries(self, t: int | None) -> dict[str, int]:
        """Model evaluations per sample that each variant costs alone: `base` and, if it has one more step, `oms`.

        A backward pass counts as two.
        """

    def ranking(self, answers: Mapping[str, np.ndarray], t: int) -> list[tuple[str, np.ndarray]]:
        """By variant, numbers (n,) that must keep their order where a pass is made in faster arithmetic.

        `answers` are those to its questions, by column, each (n,) or (n, d).
        """
        return []


class TableAttack(AttackSpec):
    """An attack that is a function of columns of the residual table."""

    @abstractmethod
    def score(self, residuals: pd.DataFrame, t: int) -> pd.DataFrame:
        """Columns `base` and `oms` (float64; all missing where there is none) for each row of the residual table."""

    def ranking(self, answers: Mapping[str, np.ndarray], t: int) -> list[tuple[str, np.ndarray]]:
        """See `AttackSpec.ranking`: the scores themselves."""
        import pandas as pd

        scores = self.score(pd.DataFrame({name: of for name, of in answers.items() if of.ndim == 1}), t)
        return [(variant, scores[variant].to_numpy()) for variant in self.queries(t)]


def beyond_the_last(target: TargetSpec, t: int) -> str | None:
    """Why `target` cannot be asked at timestep `t`, or None if it can."""
    if t > (last := target.schedule.last_timestep):
        return f"it asks the model at timestep {t}, and the target's last is {last}"
    return None
