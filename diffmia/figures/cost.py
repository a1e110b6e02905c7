"""What the AUC and the TPR of each attack cost: model queries per sample, and seconds."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from diffmia.figures.attacks import colour_of
from diffmia.figures.cost_legend import CHANCE_OF_DECISION, legend_entries, marker, notes
from diffmia.figures.cost_points import METRICS, cost_points, devices
from diffmia.figures.figure import NEUTRAL, STYLE, FigureData, heading, new_figure, sentence

_COSTS = {"queries": "Model queries per sample", "seconds": "Seconds per 1,000 samples"}
_CHANCE = {"auc": 50, "tpr_at_1_fpr": 1}
_LEAST_RANGE = 8  # of an axis: its end by its beginning
_FADED = 0.3  # opacity of what is not reliable


def draw(data: FigureData) -> Figure:
    """AUC and TPR@1%FPR (columns) against queries and seconds (rows): each attack without and with one more step."""
    if not data.attacks:
        return sentence(data.title, "No attack of the run belongs in this figure.")
    points = cost_points(data)
    names = devices(data)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(10.2, 7.2)
        figure.get_layout_engine().set(h_pad=0.08, wspace=0.04)
        figure.suptitle(_heading(data))
        panels = figure.subplots(len(_COSTS), len(METRICS), sharex="row", sharey="col")
        for row, (cost, cost_name) in zip(panels, _COSTS.items(), strict=True):
            for axes, (metric, metric_name) in zip(row, METRICS.items(), strict=True):
                where = f" ({', '.join(names)})" * (cost == "seconds")
                axes.set(xscale="log", xlabel=cost_name + where, ylabel=f"{metric_name} (%)")
                _panel(axes, data, points[points["metric"] == metric], cost)
                axes.axhline(_CHANCE[metric], color=NEUTRAL, linewidth=0.8, linestyle=(0, (6, 4)), zorder=0)
                axes.set_xlim(_limits(points[cost]))
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
        entries = zip(*legend_entries(data, points), strict=True)
        figure.legend(*entries, loc="outside right center", handler_map={tuple: HandlerTuple(None)})
        figure.supxlabel("\n".join(notes(data, points, names)), x=0.01, ha="left", fontsize=8, color=NEUTRAL)
    return figure


def _panel(axes: Axes, data: FigureData, points: pd.DataFrame, cost: str) -> None:
    for attack, shown in data.attacks.items():
        measured = points[(points["attack"] == attack) & points["value"].notna()]
        opacity = {row.variant: 1 if row.reliable else _FADED for row in measured.itertuples()}
        if len(measured) > 1:
            axes.plot(
                measured[cost], measured["value"], color=colour_of(attack), linewidth=1.2, alpha=min(opacity.values())
            )
        for row in measured.itertuples():
            x = getattr(row, cost)
            axes.errorbar(
                x,
                row.value,
                yerr=[[row.value - row.low], [row.high - row.value]],
                label=shown.name(row.variant),
                color=colour_of(attack),
                elinewidth=0.7,
                alpha=opacity[row.variant],
                zorder=3,
                **marker(shown, row.variant),
            )
            if row.decision:  # what chance would reach at the FPR that nothing holds to the 1 % of the others
                axes.plot(
                    x, row.realised_fpr, color=colour_of(attack), alpha=opacity[row.variant], **CHANCE_OF_DECISION
                )
            if marks := "†" * (not row.reliable) + "‡" * row.decision:
                side, away = ("right", -5) if x < measured[cost].max() else ("left", 5)  # away from the other variant
                axes.annotate(
                    marks, (x, row.value), (away, 3), textcoords="offset points", ha=side, color=colour_of(attack)
                )


def _limits(costs: pd.Series) -> tuple[float, float]:
    """Range of a logarithmic axis: never so narrow that it has no round number to name."""
    low, high = costs.min(), costs.max()
    room = max(1.25, (_LEAST_RANGE * low / high) ** 0.5)
    return low / room, high * room


def _heading(data: FigureData) -> str:
    rows = data.metrics[(data.metrics["target"] == data.target) & data.metrics["attack"].isin(data.attacks)]
    return heading(data.title, rows["n_members"], rows["n_non_members"], data.seeds)
