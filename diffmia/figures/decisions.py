"""Decisions that an attack makes itself, without a threshold of ours: points in the plane of its ROC curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from diffmia.evaluation.decisions import nominal_fprs
from diffmia.figures.attacks import VARIANTS, colour_of
from diffmia.figures.figure import FigureData, has_oms


def realised_rates(scores: pd.DataFrame, variant: str) -> np.ndarray:
    """FPR and TPR, in [0, 1], of each decision in judged scores: (L, 2), in the order of `nominal_fprs`."""
    accused = scores[[variant + level for level in nominal_fprs(scores)]].to_numpy() < 0
    member = scores["member"].to_numpy(dtype=bool)
    return np.column_stack([accused[~member].mean(axis=0), accused[member].mean(axis=0)])


def mark_decisions(axes: Axes, data: FigureData) -> list[tuple[tuple[Line2D, ...], str]]:
    """Draw the decisions of every attack that makes some, and return what the legend shows and says of each.

    Hollow without OMS, filled with it. On logarithmic axes a rate of 0 stands at the edge.
    """
    edge = [axes.get_xlim()[0], axes.get_ylim()[0]] if axes.get_xscale() == "log" else [0, 0]
    entries = []
    for attack, shown in data.attacks.items():
        per_seed = [data.judged(attack, seed) for seed in data.seeds]
        if not (levels := nominal_fprs(per_seed[0])):
            continue
        marks = []
        for variant in VARIANTS if has_oms(per_seed[0]) else VARIANTS[:1]:
            points = np.concatenate([realised_rates(scores, variant) for scores in per_seed])
            (line,) = axes.plot(
                *np.maximum(points, edge).T,
                linestyle="none",
                marker="o",
                markersize=6,
                color=colour_of(attack),
                markerfacecolor="white" if variant == "base" else colour_of(attack),
                clip_on=False,
                zorder=3,
            )
            marks.append(line)
        nominal = ", ".join(f"{100 * alpha:g}" for alpha in levels.values())
        filled = " (filled: +OMS)" * (len(marks) > 1)
        entries.append((tuple(marks), f"{shown.label}: its own decisions at a\nnominal FPR of {nominal} %{filled}"))
    return entries
