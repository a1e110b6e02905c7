"""PIA's own form in continuous time (arXiv 2305.18355, Eq. 14): how far the probability flow moves the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from diffmia.attacks.base import TableAttack, beyond_the_last
from diffmia.models.base import TargetSpec
from diffmia.search.probes import Drift, Norm, Probe

if TYPE_CHECKING:
    import pandas as pd


class ProbabilityFlowAttack(TableAttack):
    """||dx/dt||_p at x_t of PIA's initial noise, and with OMS at x_t of the noise after one step.

    Up to a factor that all samples share this is ||x_t - epsilon / sigma_t||_p: a residual of the state, where OMS E.5
    takes one of the noise.
    """

    access: ClassVar = "grey"

    family: Literal["probability_flow"]
    t: PositiveInt = Field(description="Timestep of the query")
    norm: Norm = Field(description="p of the norm: 1 to 6 or inf")

    def lacks(self, target: TargetSpec, auxiliary: int | None) -> str | None:
        """See `AttackSpec.lacks`."""
        return None if target.schedule.kind == "vp_sde" else "is for targets in continuous time (vp_sde)"

    def refuses(self, target: TargetSpec, t: int, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`."""
        return beyond_the_last(target, t)

    def questions(self, t: int) -> list[Drift]:
        """See `AttackSpec.questions`."""
        return [Drift(of=Probe(start="proximal", t=t, condition=self.told))]

    def queries(self, t: int) -> dict[str, int]:
        """See `AttackSpec.queries`."""
        (question,) = self.questions(t)
        return {"base": question.of.queries(1), "oms": question.of.queries(2)}

    def score(self, residuals: pd.DataFrame, t: int) -> pd.DataFrame:
        """See `TableAttack.score`."""
        (question,) = self.questions(t)
        chosen = {"base": question.column(1, self.norm), "oms": question.column(2, self.norm)}
        return residuals[list(chosen.values())].set_axis(list(chosen), axis="columns")
