"""How strongly the map of a noise search contracts at each of its iterates (OMS Figure 1, top)."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from diffmia.figures.figure import NEUTRAL, STYLE, FigureData, new_figure, sentence
from diffmia.figures.sides import SIDES, pooled

NOTHING = "The norm of the Jacobian was not studied on this target."
NOTE = (
    "Search from Gaussian noise. Norms are estimated by power iteration: lower bounds.\n"
    "Box: middle half and median; whiskers: smallest and largest sample."
)
OFFSETS = {"member": -0.2, "non_member": 0.2}  # side by side at each iterate
WIDTH = 0.34


def draw(data: FigureData) -> Figure:
    """Spectral norms of df/d epsilon at epsilon^0, epsilon^1, … of members and non-members, a panel a timestep."""
    if not data.jacobians:
        return sentence(data.title, NOTHING)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(max(8, 3 + 3.2 * len(data.jacobians)), 4.4)
        figure.suptitle(data.residual_heading())
        figure.supxlabel(NOTE, fontsize=9, color=NEUTRAL)
        row = figure.subplots(1, len(data.jacobians), sharey=True, squeeze=False)[0]
        for axes, (t, columns) in zip(row, data.jacobians.items(), strict=True):
            iterates = range(len(columns))
            for role, (name, style) in SIDES.items():
                axes.boxplot(
                    pooled(data, role, columns),
                    positions=[i + OFFSETS[role] for i in iterates],
                    widths=WIDTH,
                    whis=(0, 100),
                    manage_ticks=False,
                    patch_artist=True,
                    boxprops={"facecolor": style["color"], "edgecolor": "black", "linewidth": 0.8},
                    medianprops={"color": "black", "linewidth": 1.3},
                    label=name,
                )
            axes.axhline(1, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=0, label="1: contraction below")
            axes.set(title=f"t = {t}", xlabel="Iterate", xlim=(-0.6, len(columns) - 0.4))
            axes.set_xticks(iterates, [rf"$\epsilon^{{{i}}}$" for i in iterates])
        row[0].set_ylabel(r"$\|\partial f / \partial\epsilon\|_2$")
        together = "All seeds together" if len(data.seeds) > 1 else None
        handles = row[0].get_legend_handles_labels()[0]
        figure.legend(handles=handles, title=together, loc="outside right upper")  # the note stands below
    return figure
