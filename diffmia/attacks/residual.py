"""The loss-based attacks: one residual of a noise search, before and after one more step (OMS, Appendix E.1).

NA, PIA, PIAN and SecMI differ only in the initial noise, the timestep and the norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from diffmia.attacks.base import TableAttack, beyond_the_last
from diffmia.models.base import TargetSpec
from diffmia.search.iterations import PICARD, parse
from diffmia.search.probes import BASE_PAIR, OMS_PAIR, Anchor, Norm, Probe, Start, column

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
    t_init: NonNegativeInt = Field(
        0, description="Timestep of the first query, about the sample itself (all starts but gaussian)"
    )
    draw: NonNegativeInt = Field(0, description="Which Gaussian draw (gaussian start only)")

    iteration: str = Field(
        "picard", description="What epsilon^2 is made by, from two queries; a table of them is in docs/design.md"
    )

    @field_validator("iteration")
    @classmethod
    def _iteration_is_known(cls, iteration: str) -> str:
        parse(iteration)
        return iteration

    @model_validator(mode="after")
    def _keys_belong_to_the_start(self) -> ResidualAttack:
        if (self.start == "inverted") != (self.k is not None):
            raise ValueError("k is needed with start: inverted, and only there")
        if self.start != "inverted" and self.anchor != "x0":
            raise ValueError("anchor is for start: inverted")
        if self.start != "gaussian" and self.draw:
            raise ValueError("draw is for start: gaussian")
        if self.start == "gaussian" and self.t_init:
            raise ValueError("t_init is for starts that ask about the sample itself, and gaussian does not")
        if self.start == "inverted" and self.iteration != PICARD:
            raise ValueError("iteration is for starts whose queries are at one timestep, and those of inverted are not")
        return self

    def lacks(self, target: TargetSpec, auxiliary: int | None) -> str | None:
        """See `AttackSpec.lacks`; in discrete time the first timestep has noise to predict."""
        late = self.t_init and target.schedule.kind != "vp_sde"
        return "asks first at a later time, for targets in continuous time (vp_sde)" if late else None

    def flags(self, variant: str) -> list[str]:
        """See `AttackSpec.flags`; where the first query is, and which reading of SecMI's second step it is."""
        found = [f"first query at {self.t_init}"] if self.t_init else []
        if variant != "base":
            found += [f"anchor {self.anchor}"] if self.start == "inverted" else []
            found += [f"iteration {self.iteration}"] if self.iteration != PICARD else []
        return found

    def refuses(self, target: TargetSpec, t: int, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`."""
        if self.k and t % self.k:
            return f"its timestep {t} is not a multiple of its inversion step k = {self.k}"
        if self.t_init >= (self.k or t) > 0:
            return f"its first query, at {self.t_init}, does not come before the next, at {self.k or t}"
        return beyond_the_last(target, t + (self.k or 0))

    def probe(self, t: int, n: int = OMS_PAIR[1], iteration: str | None = None) -> Probe:
        """Its search at timestep `t`, of `n` steps, by its own iteration if no other is given."""
        return Probe(
            start=self.start,
            t=t,
            n=n,
            draw=self.draw,
            k=self.k or 0,
            anchor=self.anchor,
            t_init=self.t_init,
            condition=self.told,
            iteration=iteration or self.iteration,
        )

    def questions(self, t: int) -> list[Probe]:
        """See `AttackSpec.questions`."""
        return [self.probe(t)]

    def queries(self, t: int) -> dict[str, int]:
        """See `AttackSpec.queries`."""
        (probe,) = self.questions(t)
        return {"base": probe.queries(BASE_PAIR[1]), "oms": probe.queries(OMS_PAIR[1])}

    def score(self, residuals: pd.DataFrame, t: int) -> pd.DataFrame:
        """See `TableAttack.score`."""
        (probe,) = self.questions(t)
        chosen = {"base": column(probe, BASE_PAIR, self.norm), "oms": column(probe, OMS_PAIR, self.norm)}
        return residuals[list(chosen.values())].set_axis(list(chosen), axis="columns")
