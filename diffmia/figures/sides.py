"""Panels that show something of members and of non-members, one for each search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffmia.figures.figure import MEMBER, NON_MEMBER, FigureData, new_figure

NOTHING = "No attack of the run that was studied on this target has all its queries at one timestep."

SIDES = {  # role: what it is called, and how it is drawn
    "member": ("Members", {"color": MEMBER, "marker": "o", "linestyle": "-"}),
    "non_member": ("Non-members", {"color": NON_MEMBER, "marker": "s", "linestyle": "--"}),
}


def pooled(data: FigureData, role: str, columns: Sequence[str]) -> np.ndarray:
    """Columns of the samples of a role at all seeds, float64 (samples, columns)."""
    return pd.concat([data.of_role(role, seed) for seed in data.seeds])[list(columns)].to_numpy()


def panels(data: FigureData, xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """A row of panels with one scale, one for each attack that is shown."""
    figure = new_figure(max(8, 1.2 + 3.4 * len(data.studied)), 4.4)  # with room for the legend
    figure.suptitle(data.residual_heading())
    axes = figure.subplots(1, len(data.studied), sharey=True, squeeze=False)[0]
    for panel in axes:
        panel.set_xlabel(xlabel)
    axes[0].set_ylabel(ylabel)
    return figure, list(axes)


def legend(figure: Figure, axes: Axes, data: FigureData, *further: Line2D) -> None:
    """The panels' common legend and `further` entries, below them."""
    handles = [*axes.get_legend_handles_labels()[0], *further]
    together = "Samples of all seeds together" if len(data.seeds) > 1 else None
    figure.legend(handles=handles, title=together, loc="outside lower center", ncols=(len(handles) + 1) // 2)
