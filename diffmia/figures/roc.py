"""ROC curves with and without one more step, on linear and on logarithmic axes (OMS Figures D.1 and D.2)."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

from diffmia.evaluation.roc import auc, roc_curve
from diffmia.evaluation.support import RELIABLE_FROM
from diffmia.figures.attacks import VARIANTS, colour_of
from diffmia.figures.decisions import mark_decisions
from diffmia.figures.figure import NEUTRAL, STYLE, FigureData, has_oms, new_figure, sentence

_LINES = {"base": (":", 0.8), "oms": ("-", 1)}  # style, and how wide


def draw_roc(data: FigureData) -> Figure:
    """ROC curves on linear axes: dotted without OMS, solid with it."""
    if not data.attacks:
        return sentence(data.title, "No attack of the run belongs in this figure.")
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(data)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        _draw(axes, data)
        _legend(figure, axes, data)
    return figure


def draw_roc_log(data: FigureData) -> Figure:
    """ROC curves on logarithmic axes; where fewer than ten false positives decide, the ground is shaded."""
    if not data.attacks:
        return sentence(data.title, "No attack of the run belongs in this figure.")
    members, non_members = data.sizes(data.seeds)
    least_fpr = 1 / max(non_members)
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(data)
        axes.set(xscale="log", yscale="log", xlim=(least_fpr, 1.05), ylim=(1 / max(members), 1.05))
        # in log-log a straight line between two points would be no line between their rates
        _draw(axes, data, drawstyle="steps-post")
        name = f"† fewer than {RELIABLE_FROM} false positives"
        axes.axvspan(least_fpr, min(1, RELIABLE_FROM / min(non_members)), color="0.92", zorder=0, label=name)
        _legend(figure, axes, data)
    return figure


def _panel(data: FigureData) -> tuple[Figure, Axes]:
    figure = new_figure(8.6, max(4.8, 0.6 + 0.5 * len(data.attacks)))  # two lines of the legend for each
    figure.suptitle(data.heading(data.seeds))
    axes = figure.add_subplot(xlabel="False positive rate", ylabel="True positive rate")
    return figure, axes


def _draw(axes: Axes, data: FigureData, **line: str) -> None:
    width = 1.7 if len(data.seeds) == 1 else 0.9
    for attack, shown in data.attacks.items():
        per_seed = [data.judged(attack, seed) for seed in data.seeds]
        for variant in VARIANTS:
            if variant == "oms" and not has_oms(per_seed[0]):
                continue
            style, weight = _LINES[variant]
            rocs = [
                roc_curve(
                    scores.loc[scores["member"], variant].to_numpy(), scores.loc[~scores["member"], variant].to_numpy()
                )
                for scores in per_seed
            ]
            mean = 100 * np.mean([auc(roc) for roc in rocs])
            name = f"{shown.name(variant)}, {'mean ' * (len(rocs) > 1)}AUC {mean:.2f}{shown.threat_model}"
            for i, roc in enumerate(rocs):
                axes.plot(
                    roc.fpr,
                    roc.tpr,
                    linestyle=style,
                    linewidth=weight * width,
                    color=colour_of(attack),
                    label=name if i == 0 else None,
                    **line,
                )
    chance = np.geomspace(1e-6, 1, 100)  # dense, so that it is right on either kind of axis
    axes.plot(chance, chance, color=NEUTRAL, linewidth=0.8, linestyle=(0, (6, 4)), label="Chance, AUC 50")


def _legend(figure: Figure, axes: Axes, data: FigureData) -> None:
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True)) + mark_decisions(axes, data)
    figure.legend(*zip(*entries, strict=True), loc="outside right center", handler_map={tuple: HandlerTuple(None)})
