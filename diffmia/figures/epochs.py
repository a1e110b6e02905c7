"""Each attack over the epochs of the target's training (OMS Figure 2a)."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from diffmia.figures.detection import METRICS, NOTHING, draw_variants, finish, metric_name
from diffmia.figures.figure import STYLE, FigureData, new_figure, sentence


def draw(data: FigureData) -> Figure:
    """AUC and TPR@1%FPR of each attack without and with one more step, of the EMA weights after some epochs.

    Epoch 0 is the model before training.
    """
    if not data.studied:
        return sentence(data.title, NOTHING)
    epochs = list(data.compared)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 4.4)
        figure.suptitle(data.residual_heading())
        panels = figure.subplots(1, len(METRICS), subplot_kw={"xlabel": "Epoch"})
        for axes, metric in zip(panels, METRICS, strict=True):
            axes.set_ylabel(f"{metric_name(data, metric)} (%)")
            x_of, own = dict(zip(epochs, epochs, strict=True)), dict.fromkeys(data.studied, max(epochs))
            draw_variants(axes, data, metric, x_of, own)
        finish(figure, panels[0], data, "the target of the tables:\nthe last epoch")
    return figure
