"""How noise searches go on: the steps they take, and how far they are from where they end (OMS Figures 1 and B.1b)."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffmia.figures.figure import STYLE, FigureData, sentence
from diffmia.figures.sides import NOTHING, SIDES, legend, panels, pooled


def draw_residuals(data: FigureData) -> Figure:
    """||delta^n|| = ||epsilon^n - epsilon^{n-1}|| over n, beside the distance of two independent draws of noise."""
    return _draw(data, r"$\|\delta^n\|_2 = \|\epsilon^n - \epsilon^{n-1}\|_2$", distance=True)


def draw_errors(data: FigureData) -> Figure:
    """||epsilon^n - epsilon^N|| over n: the last iterate stands for the fixed point."""
    if not data.studied:
        return sentence(data.title, NOTHING)
    last = len(next(iter(data.studied.values())).columns)
    return _draw(data, rf"$\|\epsilon^n - \epsilon^{{{last}}}\|_2$", distance=False)


def _draw(data: FigureData, ylabel: str, distance: bool) -> Figure:
    """Medians and interquartile ranges of members and of non-members, of all seeds together."""
    if not data.studied:
        return sentence(data.title, NOTHING)
    with matplotlib.rc_context(STYLE):
        figure, row = panels(data, "Iteration n", ylabel)
        for axes, shown in zip(row, data.studied.values(), strict=True):
            n, columns = zip(*shown.columns, strict=True)
            axes.set(title=f"{shown.search}, t = {shown.t}", yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            for role, (name, style) in SIDES.items():
                lower, median, upper = np.quantile(pooled(data, role, columns), [0.25, 0.5, 0.75], axis=0)
                axes.plot(n, median, **style, markersize=3.5, linewidth=1.3, label=f"{name}, median")
                axes.fill_between(
                    n, lower, upper, color=style["color"], alpha=0.25, linewidth=0, label=f"{name}, middle half"
                )
            if distance and data.pixels:
                expected = np.sqrt(2 * data.pixels)
                label = rf"$\sqrt{{2d}}$ = {expected:.1f}: two independent draws"
                axes.axhline(expected, color="black", linewidth=1, linestyle=":", zorder=0, label=label)
        legend(figure, row[0], data)
    return figure
