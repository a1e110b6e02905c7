"""Training loss over the epochs, and that of the attacked weights on members and on held-out samples."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from diffmia.figures.figure import MEMBER, NEUTRAL, NON_MEMBER, STYLE, FigureData, new_figure, seeds_text, sentence

# column of training_loss.csv: what it is called, its colour and its marker
_CURVES = {
    "loss": ("Training loss, mean over the epoch", NEUTRAL, ""),
    "member_loss": ("Members, EMA weights", MEMBER, "o"),
    "auxiliary_loss": ("Held out, EMA weights", NON_MEMBER, "s"),
}


def draw(data: FigureData) -> Figure:
    """A curve for each loss and seed; losses that were measured at some epochs only are drawn through those."""
    if not data.losses:
        return sentence(data.title, "The target was not trained here: there is no training loss.")
    with matplotlib.rc_context(STYLE):
        figure = new_figure(7, 4)
        seeds = sorted(data.losses)
        figure.suptitle(f"{data.title}, {seeds_text(seeds)}")
        axes = figure.add_subplot(xlabel="Epoch", ylabel="Mean squared error", yscale="log")
        for i, seed in enumerate(seeds):
            table = data.losses[seed]
            for column, (name, colour, marker) in _CURVES.items():
                measured = table.dropna(subset=column)
                if measured.empty:
                    continue
                axes.plot(
                    measured["epoch"],
                    measured[column],
                    color=colour,
                    linewidth=1.2 if marker else 0.8,
                    marker=marker,
                    markersize=3.5,
                    label=name if i == 0 else None,
                )
        figure.legend(loc="outside lower center", ncols=len(_CURVES))
    return figure
