"""The loss-based attacks: one residual of a noise search, before and after one more step (OMS, Appendix E.1).

NA, PIA, PIAN and SecMI differ only in the initial noise, the timestep and the norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from diffmia.attacks.base import TableAttack, beyond_the_last
from diffmia.models.base import TargetSpec
from diffmia.probes import BASE_PAIR, OMS_PAIR, Anchor, Norm, Probe, Start, column

if TYPE_CHECKING:
    import pandas as pd


class ResidualAttack(TableAttack):
    """||epsilon^0 - epsilon^1||_p, and with OMS ||epsilon^0 - epsilon^2||_p."""

    access: ClassVar = "grey"

    family: Literal["residual"]
    start: Start = Field(description="Initial noise epsilon^0")
    t: NonNegativeInt = Field(description="Timestep of the query; of an inverted start, where epsilon^0 is taken")
    norm: Norm = Field(description="p of the norm: 1 to 6 or inf")
    k: PositiveInt | None = Field(None, description="Step of the DDIM inversion (inverted start only)")
    anchor: Anchor = Field("x0", description="What epsilon^2 of an inverted start is attached to: x0, x0hat or xt")
    draw: NonNegativeInt = Field(0, description="Which Gaussian draw (gaussian start only)")

    @model_validator(mode="after")
    def _keys_belong_to_the_start(self) -> ResidualAttack:
        if (self.start == "inverted") != (self.k is not None):
            raise ValueError("k is needed with start: inverted, and only there")
        if self.start != "inverted" and self.anchor != "x0":
            raise ValueError("anchor is for start: inverted")
        if self.start != "gaussian" and self.draw:
            raise ValueError("draw is for start: gaussian")
        return self

    def flags(self, variant: str) -> list[str]:
        """See `AttackSpec.flags`; which reading of SecMI's second step a number belongs to."""
        return [f"anchor {self.anchor}"] if self.start == "inverted" and variant != "base" else []

    def refuses(self, target: TargetSpec, t: int, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`."""
        if self.k and t % self.k:
            return f"its timestep {t} is not a multiple of its inversion step k = {self.k}"
        return beyond_the_last(target, t + (self.k or 0))

    def questions(self, t: int) -> list[Probe]:
        """See `AttackSpec.questions`."""
        return [Probe(start=self.start, t=t, n=OMS_PAIR[1], draw=self.draw, k=self.k or 0, anchor=self.anchor)]

    def queries(self, t: int) -> dict[str, int]:
        """See `AttackSpec.queries`."""
        (probe,) = self.questions(t)
        return {"base": probe.queries(BASE_PAIR[1]), "oms": probe.queries(OMS_PAIR[1])}

    def score(self, residuals: pd.DataFrame, t: int) -> pd.DataFrame:
        """See `TableAttack.score`."""
        (probe,) = self.questions(t)
        chosen = {"base": column(probe, BASE_PAIR, self.norm), "oms": column(probe, OMS_PAIR, self.norm)}
        return residuals[list(chosen.values())].set_axis(list(chosen), axis="columns")
