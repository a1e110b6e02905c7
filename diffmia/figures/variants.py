"""Each attack on targets that differ in one quantity: how many members they have, how large they are."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffmia.figures.detection import METRICS, draw_variants, finish, metric_name
from diffmia.figures.figure import STYLE, FigureData, new_figure, sentence

NOTHING = "Nothing that differs from this target in one quantity was studied."


def draw(data: FigureData) -> Figure:
    """AUC and TPR@1%FPR of each attack without and with one more step: a row for each quantity, a place a target."""
    if not data.compared or not data.studied:
        return sentence(data.title, NOTHING)
    quantities: dict[str, list[int]] = {}
    for quantity, value in data.compared:
        quantities.setdefault(quantity, []).append(value)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 0.6 + 3.6 * len(quantities))
        figure.suptitle(data.residual_heading())
        rows = figure.subplots(len(quantities), len(METRICS), squeeze=False)
        for row, (quantity, values) in zip(rows, quantities.items(), strict=True):
            _draw_row(row, data, quantity, sorted(values))
        finish(figure, rows[0][0], data, "the target of the tables")
    return figure


def _draw_row(row: Sequence[Axes], data: FigureData, quantity: str, values: list[int]) -> None:
    """Targets evenly spaced, by ascending value."""
    place = {(quantity, value): x for x, value in enumerate(values)}
    own = next(thing for thing in place if thing in data.own)
    for axes, metric in zip(row, METRICS, strict=True):
        axes.set(xlabel=quantity.replace("_", " ").capitalize(), ylabel=f"{metric_name(data, metric)} (%)")
        axes.set_xticks(range(len(values)), [f"{value:,}" for value in values])
        draw_variants(axes, data, metric, place, dict.fromkeys(data.studied, own))
