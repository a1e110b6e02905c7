"""What every figure is drawn from, how it looks, and how it is saved: the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffmia.evaluation.spec import EvaluationSpec
from diffmia.figures.attacks import ShownAttack, StudiedAttack
from diffmia.files.atomic import atomic_path
from diffmia.tables.measured import span

STYLE = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 11,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "pdf.fonttype": 42,  # text stays text, and can be searched and edited
}

MEMBER, NON_MEMBER, NEUTRAL = "#0072B2", "#E69F00", "#666666"


@dataclass(frozen=True)
class FigureData:
    """Everything about one target that a figure may show; what it does not show may be left out.

    Attributes
    ----------
    target, title : str
        Id of the target, and what the figure calls it.
    seeds : sequence of int
        Run seeds.
    attacks : dict
        By id, in the order of the run, those that `Config.is_main` says figures show.
    scores : dict
        Score files by (attack, seed).
    label_names : Series
        Name of the class by sample_id.
    groups : Series
        Group by sample_id.
    non_member_groups : sequence of str
        Those that the split took non-members from, in its order.
    losses : dict
        `training_loss.csv` by seed.
    metrics, cost : DataFrame
        `metrics.csv` and `cost.csv` of the run, all its targets and attacks.
    evaluation : EvaluationSpec
        How scores are judged.
    evaluation_seeds : dict
        By run seed, the seed that the evaluation stage was given.
    studied : dict
        Attacks whose noise searches are shown, by id, in the order of the run.
    residuals : dict
        Residual tables by seed: role, and the columns that `studied` names; or tables of Jacobians' norms.
    compared : dict
        The same of several targets, by what each stands for (an epoch, a quantity and its value) and seed, in place of
        `residuals`.
    own : collection
        Those of these things that stand for the target itself.
    jacobians : dict
        By timestep, the columns of the norms at epsilon^0, epsilon^1, ….
    pixels : int
        d = C * H * W of the target's images; 0 of a target that is asked about something else.
    """

    target: str
    title: str
    seeds: Sequence[int]
    attacks: dict[str, ShownAttack] = field(default_factory=dict)
    scores: dict[tuple[str, int], pd.DataFrame] = field(default_factory=dict)
    label_names: pd.Series = field(default_factory=lambda: pd.Series(dtype=str))
    groups: pd.Series = field(default_factory=lambda: pd.Series(dtype=str))
    non_member_groups: Sequence[str] = ()
    losses: dict[int, pd.DataFrame] = field(default_factory=dict)
    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)
    cost: pd.DataFrame = field(default_factory=pd.DataFrame)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)
    evaluation_seeds: dict[int, int] = field(default_factory=dict)
    studied: dict[str, StudiedAttack] = field(default_factory=dict)
    residuals: dict[int, pd.DataFrame] = field(default_factory=dict)
    compared: dict[Any, dict[int, pd.DataFrame]] = field(default_factory=dict)
    own: Collection[Any] = ()
    jacobians: dict[int, Sequence[str]] = field(default_factory=dict)
    pixels: int = 0

    def judged(self, attack: str, seed: int) -> pd.DataFrame:
        """The scores that the evaluation stage judges, in its order."""
        scores = self.scores[attack, seed]
        return scores[scores["role"] == "eval"].sort_values("sample_id", ignore_index=True)

    def sizes(self, seeds: Sequence[int]) -> tuple[list[int], list[int]]:
        """Members and non-members that each attack is judged on at each of the seeds: fewer where it is told labels."""
        members = [self.judged(attack, seed)["member"].to_numpy(bool) for attack in self.attacks for seed in seeds]
        return [int(of.sum()) for of in members], [int((~of).sum()) for of in members]

    def heading(self, seeds: Sequence[int]) -> str:
        """`heading` of a figure of scores of some of the seeds."""
        return heading(self.title, *self.sizes(seeds), seeds)

    def of_role(self, role: str, seed: int, thing: Any = None) -> pd.DataFrame:
        """Residuals of the samples of a role, member or non_member; of the target that `thing` stands for, if any."""
        residuals = self.compared.get(thing, self.residuals)[seed]
        return residuals[residuals["role"] == role]

    def sizes_of_role(self, role: str) -> list[int]:
        """How many samples of a role there are at each seed, of each target whose residuals are shown."""
        return [len(self.of_role(role, seed, thing)) for thing in self.compared or [None] for seed in self.seeds]

    def residual_heading(self) -> str:
        """`heading` of a figure of residuals of all seeds."""
        return heading(self.title, self.sizes_of_role("member"), self.sizes_of_role("non_member"), self.seeds)


def heading(title: str, members: Sequence[int], non_members: Sequence[int], seeds: Sequence[int]) -> str:
    """Title of a figure: the target, how many samples were judged, and the seeds."""
    return f"{title}\n{span(members)} members, {span(non_members)} non-members, {seeds_text(seeds)}"


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 0`, or `seeds 0, 1, 2`."""
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, with no state shared with any other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def sentence(title: str, text: str) -> Figure:
    """A figure that says why there is nothing to see."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(6, 2)
        figure.suptitle(title)
        figure.text(0.5, 0.4, text, ha="center", va="center", color=NEUTRAL)
    return figure


def has_oms(scores: pd.DataFrame) -> bool:
    """Whether an attack has a score with one more step."""
    return not np.isnan(scores["oms"].to_numpy(dtype=float, na_value=np.nan)).all()


def save(figure: Figure, png: str | Path, pdf: str | Path) -> None:
    """Write a figure in both formats, each whole or not at all, and without the time or the tool in them."""
    with matplotlib.rc_context(STYLE):
        with atomic_path(png) as scratch:
            figure.savefig(scratch, format="png", dpi=200, metadata={"Software": None})
        with atomic_path(pdf) as scratch:
            nothing = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(scratch, format="pdf", metadata=nothing)
