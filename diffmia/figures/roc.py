"""ROC curves with and without one more step, on linear and on logarithmic axes (OMS Figures D.1 and D.2)."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffmia.evaluation.roc import auc, roc_curve
from diffmia.figures.figure import NEUTRAL, STYLE, FigureData, colour_of, has_oms, new_figure, sentence

_LINESTYLES = {"base": ":", "oms": "-"}
_RELIABLE_FROM = 10  # false positives; the tables mark a TPR that rests on fewer


def draw_roc(data: FigureData) -> Figure:
    """ROC curves on linear axes: dotted without OMS, solid with it."""
    if not data.attacks:
        return sentence(data.title, "No attack of the run belongs in this figure.")
    with matplotlib.rc_context(STYLE):
        figure, axes = _panel(data)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        _draw(axes, data)
        figure.legend(loc="outside right center")
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
        name = f"† fewer than {_RELIABLE_FROM} false positives"
        axes.axvspan(least_fpr, min(1, _RELIABLE_FROM / min(non_members)), color="0.92", zorder=0, label=name)
        figure.legend(loc="outside right center")
    return figure


def _panel(data: FigureData) -> tuple[Figure, Axes]:
    figure = new_figure(7.2, 4.6)
    figure.suptitle(data.heading(data.seeds))
    axes = figure.add_subplot(xlabel="False positive rate", ylabel="True positive rate")
    return figure, axes


def _draw(axes: Axes, data: FigureData, **line: str) -> None:
    width = 1.8 if len(data.seeds) == 1 else 0.9
    for attack, label in data.attacks.items():
        per_seed = [data.judged(attack, seed) for seed in data.seeds]
        for variant, style in _LINESTYLES.items():
            if variant == "oms" and not has_oms(per_seed[0]):
                continue
            rocs = [
                roc_curve(
                    scores.loc[scores["member"], variant].to_numpy(), scores.loc[~scores["member"], variant].to_numpy()
                )
                for scores in per_seed
            ]
            mean = 100 * np.mean([auc(roc) for roc in rocs])
            name = f"{label}{' +OMS' * (variant == 'oms')}, {'mean ' * (len(rocs) > 1)}AUC {mean:.2f}"
            for i, roc in enumerate(rocs):
                axes.plot(
                    roc.fpr,
                    roc.tpr,
                    linestyle=style,
                    linewidth=width,
                    color=colour_of(attack),
                    label=name if i == 0 else None,
                    **line,
                )
    chance = np.geomspace(1e-6, 1, 100)  # dense, so that it is right on either kind of axis
    axes.plot(chance, chance, color=NEUTRAL, linewidth=0.8, linestyle=(0, (6, 4)), label="Chance, AUC 50")
