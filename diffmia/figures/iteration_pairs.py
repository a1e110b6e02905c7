"""Which pair of iterates of its noise search tells most about a sample, and which iteration makes them best."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from diffmia.figures.attacks import colour_of
from diffmia.figures.detection import NOTHING, detection, draw_chance, finish, marker_of, own_settings
from diffmia.figures.figure import STYLE, FigureData, new_figure, sentence

_NAMED = {(0, 1): "base", (0, 2): "+OMS"}
_SPREAD = 0.6  # of the attacks about the place of a residual


def draw_pairs(data: FigureData) -> Figure:
    """AUC of ||epsilon^i - epsilon^j|| for every pair, in each attack's norm and at its timestep (OMS Figure 3)."""
    return _draw(data, "Residual", lambda pair: f"{_residual(*pair)}\n{_NAMED.get(pair, '')}", _NAMED)


def draw_iterations(data: FigureData) -> Figure:
    """AUC of ||epsilon^0 - epsilon^2|| where other iterations than Picard's make epsilon^2 of as many queries."""
    return _draw(data, f"Iteration that makes $\\epsilon^2$ of {_residual(0, 2)}", _iteration, ("base", "picard"))


def _draw(data: FigureData, what: str, name_of: Callable[[Any], str], marked: Container[Any]) -> Figure:
    """AUC of each column of the attacks, side by side; places of things in `marked` are shaded."""
    if not data.studied:
        return sentence(data.title, NOTHING)
    first, *_ = data.studied.values()
    things = [thing for thing, _ in first.columns]
    with matplotlib.rc_context(STYLE):
        figure = new_figure(4.5 + 0.9 * len(things), 4.6)
        figure.suptitle(data.residual_heading())
        axes = figure.add_subplot(xlabel=what, ylabel="AUC (%)", xlim=(-0.5, len(things) - 0.5))
        for place, thing in enumerate(things):
            if thing in marked:
                axes.axvspan(place - 0.45, place + 0.45, color="0.93", zorder=0)
        for number, (attack, shown) in enumerate(data.studied.items()):
            auc = detection(data, [column for _, column in shown.columns])["auc"]
            x = np.arange(len(things)) + _SPREAD * ((number + 0.5) / len(data.studied) - 0.5)
            if len(auc) > 1:
                axes.vlines(x, auc.min(axis=0), auc.max(axis=0), color=colour_of(attack), linewidth=1)
            axes.plot(
                x,
                auc.mean(axis=0),
                color=colour_of(attack),
                marker=marker_of(data, attack),
                markersize=7,
                linestyle="none",
                label=own_settings(shown),
            )
        draw_chance(axes, "auc")
        axes.set_xticks(range(len(things)), [name_of(thing) for thing in things])
        finish(figure, axes, data, "")
    return figure


def _residual(i: int, j: int) -> str:
    return rf"$\|\epsilon^{i} - \epsilon^{j}\|$"


def _iteration(thing: str) -> str:
    """`Picard`, with what the tables call it, or `Anderson 1`."""
    if thing == "base":
        return f"none\n{_residual(0, 1)}, base"
    name, _, parameters = thing.partition("-")
    return f"{name.capitalize()}\n{parameters.replace('-', ', ')}" if parameters else f"{name.capitalize()}\n+OMS"
