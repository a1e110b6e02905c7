"""Quantile regression (Tang et al., arXiv 2312.05140; OMS Appendix E.2): a threshold of its own for every sample.

A network learns, from samples nobody was trained on, the lower alpha-quantile of SecMI's t-error given the image. A
sample whose t-error lies below it is called a member: of non-members a share of about alpha. OMS prints the
1 - alpha quantile, which would accuse that share of non-members; Section 4.3's alpha-quantile is meant.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from diffmia.attacks.base import beyond_the_last
from diffmia.attacks.learned import ROC_SCORE, LearnedAttack, Rows, Share, decision
from diffmia.errors import DiffmiaError
from diffmia.models.base import TargetSpec
from diffmia.running.failures import NotApplicable
from diffmia.running.progress import Progress
from diffmia.search.probes import BASE_PAIR, OMS_PAIR, Anchor, Probe, column

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import torch

    from diffmia.attacks.learners.quantiles import QuantileModel

log = logging.getLogger(__name__)


class QuantileAttack(LearnedAttack):
    """log t-error - q_alpha(x), with the t-error of SecMI, and with OMS that after one more step.

    Its own decision at each alpha is "member if that is negative". As a score, that of the largest alpha is used.
    """

    access: ClassVar = "grey"
    gpu: ClassVar[int] = 1

    family: Literal["quantile"]
    learns_from: Literal["auxiliary"] = Field("auxiliary", description="Samples that the target never saw")
    t: NonNegativeInt = Field(100, description="Timestep of SecMI's t-error")
    k: PositiveInt = Field(10, description="Step of the DDIM inversion")
    anchor: Anchor = Field("x0", description="What epsilon^2 is attached to: x0, x0hat or xt")
    alphas: tuple[Share, ...] = Field((0.05, 0.01, 0.001), min_length=1, description="Nominal FPRs, one head each")
    epochs: PositiveInt = Field(30, description="Passes over the auxiliary samples")
    batch_size: PositiveInt = Field(64, description="Samples per step")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate")
    weight_decay: NonNegativeFloat = Field(1.0, description="Weight decay")
    bag: PositiveInt = Field(1, description="Regressors, each of a bootstrap resample, that decide by majority")
    recalibrate: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the auxiliary samples kept for split-conformal recalibration; 0: none. It is drawn "
        "sample by sample: of a split by group its guarantee does not hold",
    )

    @field_validator("alphas")
    @classmethod
    def _largest_first(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if list(alphas) != sorted(set(alphas), reverse=True):
            raise ValueError("must be different, and the largest first")
        return alphas

    def flags(self, variant: str) -> list[str]:
        """See `AttackSpec.flags`."""
        anchored = [f"anchor {self.anchor}"] if variant != "base" else []
        return anchored + (["recalibrated"] if self.recalibrate else [])

    def refuses(self, target: TargetSpec, t: int, auxiliary: int | None) -> str | None:
        """See `AttackSpec.refuses`."""
        if t % self.k:
            return f"its timestep {t} is not a multiple of its inversion step k = {self.k}"
        if auxiliary and not self._learnable(auxiliary):
            return self._nothing_learnable(auxiliary)
        return beyond_the_last(target, t + self.k)

    def not_applicable(self, auxiliary: int) -> dict[float, str]:
        """See `LearnedAttack.not_applicable`: an alpha below which less than one of the samples lies."""
        needed = {alpha: self._needed(alpha) for alpha in self.alphas}
        return {
            alpha: f"needs {least:,} auxiliary samples and has {auxiliary:,}"
            for alpha, least in needed.items()
            if auxiliary < least
        }

    def _learnable(self, auxiliary: int) -> tuple[float, ...]:
        skipped = self.not_applicable(auxiliary)
        return tuple(alpha for alpha in self.alphas if alpha not in skipped)

    def _nothing_learnable(self, auxiliary: int) -> str:
        easiest = self.alphas[0]
        return f"no alpha is left to learn a quantile at: {easiest:g} {self.not_applicable(auxiliary)[easiest]}"

    def _needed(self, alpha: float) -> int:
        """Fewest auxiliary samples of which one is expected below the quantile, in each part they are cut into."""
        share = min(self.recalibrate, 1 - self.recalibrate) or 1
        return math.ceil(1 / (alpha * share) - 1e-9)

    def questions(self, t: int) -> list[Probe]:
        """See `AttackSpec.questions`."""
        search = {"start": "inverted", "t": t, "n": OMS_PAIR[1], "k": self.k, "anchor": self.anchor}
        return [Probe(**search, condition=self.told)]

    def queries(self, t: int) -> dict[str, int]:
        """See `AttackSpec.queries`; the regressors are no part of the model."""
        (probe,) = self.questions(t)
        return {"base": probe.queries(BASE_PAIR[1]), "oms": probe.queries(OMS_PAIR[1])}

    def reads(self, variant: str, t: int) -> list[str]:
        """See `LearnedAttack.reads`."""
        (probe,) = self.questions(t)
        return [column(probe, BASE_PAIR if variant == "base" else OMS_PAIR, 2)]

    def fit(
        self, rows: Rows, member: np.ndarray, variant: str, t: int, seed: int, device: torch.device
    ) -> FittedQuantiles:
        """See `LearnedAttack.fit`; `member` is False throughout."""
        import numpy as np

        from diffmia.attacks.learners.conformal import conformal_offset
        from diffmia.attacks.learners.quantiles import fit_quantiles

        if member.any():
            raise DiffmiaError("quantile regression learns from non-members, and was given members")
        (name,) = self.reads(variant, t)
        t_errors = rows.columns[name] ** 2
        levels = self._learnable(len(member))
        if not levels:
            raise NotApplicable(self._nothing_learnable(len(member)))
        shuffled = np.random.default_rng(seed).permutation(len(member))
        held = round(self.recalibrate * len(member))
        kept, used = np.sort(shuffled[:held]), np.sort(shuffled[held:])
        model = fit_quantiles(
            rows.images[used],
            t_errors[used],
            levels,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            bag=self.bag,
            seed=seed,
            device=device,
            progress=Progress(log, "epochs", self.bag * self.epochs),
        )
        offsets = np.zeros(len(levels))
        if held:
            margins = np.log(t_errors[kept])[:, None] - model.predict(rows.images[kept])
            offsets = np.array([conformal_offset(of, alpha) for of, alpha in zip(margins.T, levels, strict=True)])
        return FittedQuantiles(model, name, offsets)


@dataclass
class FittedQuantiles:
    """Regressors of the log t-error's quantiles, and what recalibration adds to each (n_levels,)."""

    model: QuantileModel
    column: str
    offsets: np.ndarray

    def score(self, batches: Iterable[Rows]) -> dict[str, np.ndarray]:
        """See `Fitted.score`."""
        import numpy as np

        margins = np.concatenate(
            [2 * np.log(rows.columns[self.column])[:, None] - self.model.predict(rows.images) for rows in batches]
        )
        margins -= self.offsets
        decisions = {decision(alpha): of for alpha, of in zip(self.model.levels, margins.T, strict=True)}
        return {ROC_SCORE: margins[:, 0]} | decisions

    def save(self, folder: Path) -> None:
        """See `Fitted.save`."""
        self.model.save(folder)
        (folder / "offsets.json").write_text(json.dumps(dict(zip(self.model.levels, self.offsets, strict=True))) + "\n")
