"""Each attack over the timestep, and what one more step adds to it there (OMS Figure 2b)."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffmia.figures.detection import (
    METRICS,
    NOTHING,
    detection,
    draw_seeds,
    draw_variants,
    finish,
    metric_name,
    style,
)
from diffmia.figures.figure import NEUTRAL, STYLE, FigureData, new_figure, sentence

_OWN = "timestep of the tables,\nfixed beforehand"


def draw_auc(data: FigureData) -> Figure:
    """AUC and TPR@1%FPR of each attack without and with one more step."""
    if not data.studied:
        return sentence(data.title, NOTHING)
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(data)
        for axes, metric in zip(panels, METRICS, strict=True):
            axes.set_ylabel(f"{metric_name(data, metric)} (%)")
            timesteps = sorted({t for shown in data.studied.values() for t, *_ in shown.columns})
            own = {attack: shown.t for attack, shown in data.studied.items()}
            draw_variants(axes, data, metric, dict(zip(timesteps, timesteps, strict=True)), own)
        finish(figure, panels[0], data, _OWN)
    return figure


def draw_gain(data: FigureData) -> Figure:
    """What one more step adds to the AUC and to the TPR@1%FPR, in percentage points."""
    if not data.studied:
        return sentence(data.title, NOTHING)
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(data)
        for axes, metric in zip(panels, METRICS, strict=True):
            axes.set_ylabel(f"Δ {metric_name(data, metric)}, +OMS less base (points)")
            for attack, shown in data.studied.items():
                timesteps, base, oms = zip(*shown.columns, strict=True)
                gain = detection(data, oms)[metric] - detection(data, base)[metric]
                draw_seeds(axes, timesteps, gain, shown.t, **style(data, attack, "oms"), label=shown.label)
            axes.axhline(0, color=NEUTRAL, linewidth=0.8, zorder=0, label="no difference")
        finish(figure, panels[0], data, _OWN)
    return figure


def _panels(data: FigureData) -> tuple[Figure, list[Axes]]:
    figure = new_figure(11, 4.4)
    figure.suptitle(data.residual_heading())
    return figure, list(figure.subplots(1, len(METRICS), subplot_kw={"xlabel": "Timestep t"}))
