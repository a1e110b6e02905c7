"""By how much a step of a noise search is shorter than the one before it (OMS Figure B.1a)."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffmia.figures.detection import OWN
from diffmia.figures.figure import NEUTRAL, STYLE, FigureData, sentence
from diffmia.figures.sides import NOTHING, SIDES, legend, panels, pooled


def draw(data: FigureData) -> Figure:
    """||epsilon^1 - epsilon^2||_2 / ||epsilon^0 - epsilon^1||_2 over the timestep: mean and largest of each side.

    A ratio below 1 is a step that contracts. It bounds the contraction constant from below: other pairs of points may
    contract less.
    """
    if not data.studied:
        return sentence(data.title, NOTHING)
    ylabel = r"$\|\epsilon^1 - \epsilon^2\|_2\ /\ \|\epsilon^0 - \epsilon^1\|_2$"
    with matplotlib.rc_context(STYLE):
        figure, row = panels(data, "Timestep t", ylabel)
        for axes, shown in zip(row, data.studied.values(), strict=True):
            timesteps, second, first = zip(*shown.columns, strict=True)
            axes.set_title(shown.search)
            own = timesteps.index(shown.t)
            for role, (name, style) in SIDES.items():
                ratios = pooled(data, role, second) / pooled(data, role, first)
                mean = ratios.mean(axis=0)
                axes.plot(timesteps, mean, **style, markersize=4, linewidth=1.3, label=f"{name}, mean")
                largest = {**style, "linestyle": ":", "markerfacecolor": "white"}
                axes.plot(
                    timesteps, ratios.max(axis=0), **largest, markersize=4, linewidth=1.3, label=f"{name}, largest"
                )
                axes.plot([shown.t], [mean[own]], **{**style, **OWN})
            axes.axhline(1, color=NEUTRAL, linewidth=0.8, zorder=0, label="1: no contraction")
        own_mark = Line2D([], [], color=NEUTRAL, marker="o", **OWN, label="timestep of the tables, fixed beforehand")
        legend(figure, row[0], data, own_mark)
    return figure
