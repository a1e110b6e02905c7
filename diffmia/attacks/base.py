"""What every attack says of itself in `config.yaml`, whatever its family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from diffmia.models.base import TargetSpec
from diffmia.probes import Norm, Probe
from diffmia.spec import Spec

if TYPE_CHECKING:
    import pandas as pd


class AttackSpec(Spec):
    """A way to score samples, with and without one more step (OMS); a low score means member, always."""

    access: ClassVar[Literal["blind", "grey", "white"]]
    supervision: ClassVar[str] = "none"

    label: str = Field(description="Name in tables and figures")
    reading_of: str | None = Field(
        None, description="Id of the attack this is another reading of; kept out of the main tables and figures"
    )

    t: NonNegativeInt | None = Field(None, description="Timestep it asks the model at; a target may name another")
    norm: Norm | None = Field(None, description="p of the norm it measures residuals in: 1 to 6 or inf")

    def flags(self, variant: str) -> list[str]:
        """What a reader must know of the numbers of a variant (`base`, `oms`, `delta`)."""
        return []

    @abstractmethod
    def refuses(self, target: TargetSpec, t: int) -> str | None:
        """Why this attack cannot be run on `target` at timestep `t`, or None if it can."""

    @abstractmethod
    def queries(self, t: int) -> dict[str, int]:
        """Model evaluations per sample that each variant costs alone: `base` and, if it has one more step, `oms`."""


class TableAttack(AttackSpec):
    """An attack that is a function of columns of the residual table."""

    @abstractmethod
    def probes(self, t: int) -> list[Probe]:
        """What it needs to ask the model at timestep `t`."""

    @abstractmethod
    def score(self, residuals: pd.DataFrame, t: int) -> pd.DataFrame:
        """Columns `base` and `oms` (float64; all missing where there is none) for each row of the residual table."""
