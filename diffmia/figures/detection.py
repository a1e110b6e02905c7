"""How well a column of the residual table tells members from non-members, and how figures draw that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffmia.evaluation.roc import auc, false_positive_budget, roc_curve, tpr_at_fpr
from diffmia.evaluation.support import RELIABLE_FROM
from diffmia.figures.attacks import VARIANTS, StudiedAttack, colour_of
from diffmia.figures.figure import NEUTRAL, FigureData

METRICS = {"auc": "AUC", "tpr": "TPR@1%FPR"}
CHANCE = {"auc": 50, "tpr": 1}
NOTHING = "No attack of the run has noise searches that were studied on this target."

OWN = {"markersize": 9, "markeredgecolor": "black", "markeredgewidth": 1.3, "linestyle": "none", "zorder": 4}
_DASHES = {"base": "--", "oms": "-"}
_MARKERS = "osD^vPX*"
_FPR = 0.01


def detection(data: FigureData, columns: Sequence[str], things: Sequence[Any] | None = None) -> dict[str, np.ndarray]:
    """AUC and TPR@1%FPR (percent) of columns, lower = member, of members against non-members.

    Each column is that of the target which the thing in its place stands for (`FigureData.compared`), if any does.

    Returns
    -------
    dict
        By the names of METRICS, float64 arrays (seeds, columns). A TPR is NaN where its FPR allows no false positive.
    """
    found = np.empty((len(METRICS), len(data.seeds), len(columns)))
    for i, seed in enumerate(data.seeds):
        for j, (column, thing) in enumerate(zip(columns, things or [None] * len(columns), strict=True)):
            members, non_members = (data.of_role(role, seed, thing)[column] for role in ("member", "non_member"))
            allowed = false_positive_budget(len(non_members), _FPR)
            roc = roc_curve(members.to_numpy(), non_members.to_numpy())
            found[:, i, j] = auc(roc), tpr_at_fpr(roc, _FPR)[0] if allowed else np.nan
    return dict(zip(METRICS, 100 * found, strict=True))


def marker_of(data: FigureData, attack: str) -> str:
    """The marker of an attack, so that it is known without its colour."""
    return _MARKERS[list(data.studied or data.attacks).index(attack) % len(_MARKERS)]


def style(data: FigureData, attack: str, variant: str) -> dict[str, Any]:
    """Dashed and hollow without one more step, solid and filled with it."""
    colour = colour_of(attack)
    return {
        "color": colour,
        "marker": marker_of(data, attack),
        "markerfacecolor": "white" if variant == "base" else colour,
        "linestyle": _DASHES[variant],
        "markersize": 4.5,
        "linewidth": 1.4,
    }


def draw_seeds(axes: Axes, x: Sequence[float], values: np.ndarray, own: float, **drawn: Any) -> Line2D:
    """The mean over seeds of values (seeds, len(x)), a band of their range, and the value at the attack's own x marked.

    Returns
    -------
    Line2D
        The mean.
    """
    mean = values.mean(axis=0)
    (line,) = axes.plot(x, mean, **drawn)
    if len(values) > 1:
        ends = values.min(axis=0), values.max(axis=0)
        axes.fill_between(x, *ends, color=drawn["color"], alpha=0.1, linewidth=0, zorder=1)
    axes.plot([own], [mean[list(x).index(own)]], **{**drawn, **OWN, "label": None})
    return line


def draw_chance(axes: Axes, metric: str) -> None:
    """A line where chance is."""
    axes.axhline(CHANCE[metric], color=NEUTRAL, linewidth=0.8, linestyle=(0, (6, 4)), zorder=0, label="chance")


def draw_variants(axes: Axes, data: FigureData, metric: str, x_of: dict[Any, float], own: dict[str, Any]) -> None:
    """A metric of each attack without and with one more step over what its columns are of, and chance.

    `x_of` says where each of those things stands on the axis, and `own` which of them is each attack's own. Columns of
    other things are left out.
    """
    for attack, shown in data.studied.items():
        things, *columns = zip(*[columns for columns in shown.columns if columns[0] in x_of], strict=True)
        x = [x_of[thing] for thing in things]
        for variant, names in zip(VARIANTS, columns, strict=True):
            values = detection(data, names, things)[metric]
            label = shown.label + " +OMS" * (variant == "oms")
            draw_seeds(axes, x, values, x_of[own[attack]], **style(data, attack, variant), label=label)
    draw_chance(axes, metric)


def finish(figure: Figure, axes: Axes, data: FigureData, own: str) -> None:
    """Legend on the right, with what the large marks are, and what must be known to read the figure below it."""
    handles, labels = axes.get_legend_handles_labels()
    if own:
        handles.append(Line2D([], [], color=NEUTRAL, marker="o", **OWN))
        labels.append(own)
    figure.legend(handles, labels, loc="outside right center")
    notes = []
    if len(data.seeds) > 1:
        notes.append("Means over seeds; bands and bars: from the lowest to the highest seed.")
    if any("†" in axes.get_ylabel() for axes in figure.axes):
        notes.append(f"† The FPR allows fewer than {RELIABLE_FROM} false positives: not reliable.")
    if notes:
        figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=8, color=NEUTRAL)


def metric_name(data: FigureData, metric: str) -> str:
    """`AUC`, or `TPR@1%FPR`, with † where it rests on too few false positives."""
    return METRICS[metric] + "†" * (metric == "tpr" and unreliable(data))


def unreliable(data: FigureData) -> bool:
    """Whether a TPR rests on fewer than ten false positives at some seed."""
    return bool(false_positive_budget(min(data.sizes_of_role("non_member")), _FPR) < RELIABLE_FROM)


def own_settings(shown: StudiedAttack) -> str:
    """`NA (t = 350, ℓ2)`."""
    return f"{shown.label} (t = {shown.t}, {norm_name(shown.norm)})"


def norm_name(norm: int | str) -> str:
    """`ℓ2`, or `ℓ∞`."""
    return f"ℓ{str(norm).replace('inf', '∞')}"
