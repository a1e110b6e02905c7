"""Each attack over the p of its norm, at its own timestep."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from diffmia.figures.detection import METRICS, NOTHING, draw_variants, finish, metric_name
from diffmia.figures.figure import STYLE, FigureData, new_figure, sentence


def draw(data: FigureData) -> Figure:
    """AUC and TPR@1%FPR of each attack without and with one more step."""
    if not data.studied:
        return sentence(data.title, NOTHING)
    norms = [norm for norm, *_ in next(iter(data.studied.values())).columns]
    own = {attack: shown.norm for attack, shown in data.studied.items()}
    at = ", ".join(f"{shown.label} at t = {shown.t}" for shown in data.studied.values())
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 4.4)
        figure.suptitle(f"{data.residual_heading()}\n{at}")
        panels = figure.subplots(1, len(METRICS))
        for axes, metric in zip(panels, METRICS, strict=True):
            axes.set(xlabel="p of the norm", ylabel=f"{metric_name(data, metric)} (%)")
            axes.set_xticks(range(len(norms)), [str(norm).replace("inf", "∞") for norm in norms])
            draw_variants(axes, data, metric, {norm: x for x, norm in enumerate(norms)}, own)
        finish(figure, panels[0], data, "norm of the tables,\nfixed beforehand")
    return figure
