"""How the cost figure marks an attack, and what a reader must know to read the marks."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from diffmia.figures.attacks import ShownAttack, colour_of
from diffmia.figures.cost_points import METRICS
from diffmia.figures.figure import NEUTRAL, FigureData, seeds_text

SIZES = {"base": 4.5, "oms": 8.0}
CHANCE_OF_DECISION = {"marker": "_", "markersize": 9, "markeredgewidth": 1.4, "linestyle": "none"}
_LINE = 150  # characters of the notes

_SHAPES = {"grey": ("o", "grey box"), "white": ("s", "white box"), "blind": ("^", "blind: sees samples alone")}
_FILLS = {  # by the first word of the supervision
    "none": ({"markerfacecolor": "white"}, "learns from no samples"),
    "auxiliary": ({"fillstyle": "bottom", "markerfacecoloralt": "white"}, "learns from auxiliary samples"),
    "shadow": ({"fillstyle": "left", "markerfacecoloralt": "white"}, "learns from shadow targets"),
    "labelled": ({"fillstyle": "full"}, "is told labels of members"),
}


def marker(shown: ShownAttack, variant: str) -> dict[str, Any]:
    """Shape by access, fill by supervision; small without OMS and large with it."""
    fill, _ = _FILLS[_word(shown)]
    return {"marker": _SHAPES[shown.access][0], "markersize": SIZES[variant], **fill}


def legend_entries(data: FigureData, points: pd.DataFrame) -> list[tuple[Line2D | tuple[Line2D, ...], str]]:
    """The attacks with their threat models; below them what size, shape and fill mean, as far as they are there."""
    shapes = {shown.access for shown in data.attacks.values()}
    fills = {_word(shown) for shown in data.attacks.values()}
    hollow = {"marker": "o", "markerfacecolor": "white"}
    return [
        *(
            (_mark(colour_of(attack), **marker(shown, "oms")), shown.label + shown.threat_model)
            for attack, shown in data.attacks.items()
        ),
        (_mark(), ""),
        (tuple(_mark(markersize=size, **hollow) for size in SIZES.values()), "without OMS, +OMS"),
        *(
            (_mark(marker=shape, markersize=SIZES["oms"], markerfacecolor="white"), text)
            for access, (shape, text) in _SHAPES.items()
            if access in shapes
        ),
        *(
            (_mark(marker="D", markersize=6.5, **fill), text)
            for supervision, (fill, text) in _FILLS.items()
            if supervision in fills
        ),
        (_mark(linestyle=(0, (6, 4)), linewidth=0.8), "chance"),
        *(
            (_mark(colour_of(attack), **CHANCE_OF_DECISION), f"chance at {data.attacks[attack].label}'s realised FPR")
            for attack in _decided(points)["attack"].unique()
        ),
    ]


def notes(data: FigureData, points: pd.DataFrame, devices: list[str]) -> list[str]:
    """Lines below the figure, so that nothing in it is left unexplained; `points` is of `cost_points`."""
    supervision = {_word(shown) for shown in data.attacks.values()}
    learning = " and what it took to learn" * (supervision != {"none"})
    shadows = ", without the training of shadow targets" * ("shadow" in supervision)
    found = [
        _spread(data) + " A backward pass counts as two queries.",
        f"Seconds, on {' and '.join(devices)}: the attack's share of its pass{learning}{shadows}.",
    ]
    decided = _decided(points)
    found += [_decision(shown.label, decided[decided["attack"] == attack]) for attack, shown in data.attacks.items()]
    if not points.loc[points["value"].notna(), "reliable"].all():
        found.append("† and faded: the FPR allows fewer than 10 false positives, so the TPR is not reliable.")
    for metric, of_metric in points[points["value"].isna()].groupby("metric"):
        names = [data.attacks[row.attack].name(row.variant) for row in of_metric.itertuples()]
        found.append(f"Left out, without a value: {METRICS[metric]} of {', '.join(names)}.")
    return [line for note in found for line in textwrap.wrap(note, _LINE)]


def _spread(data: FigureData) -> str:
    if len(data.seeds) > 1:
        return f"Means over {seeds_text(data.seeds)}; bars: one standard deviation."
    return f"Bars: {100 * data.evaluation.confidence:g} % bootstrap intervals."


def _decided(points: pd.DataFrame) -> pd.DataFrame:
    """The points that attacks decided themselves."""
    return points[points["decision"].eq(True) & points["value"].notna()]


def _decision(label: str, points: pd.DataFrame) -> str:
    """What stands behind the TPR of an attack that decides itself; nothing of others."""
    if points.empty:
        return ""
    realised = [f"{row.realised_fpr:.2f} %{' with OMS' * (row.variant == 'oms')}" for row in points.itertuples()]
    own = f"‡ TPR of {label}: of its own decisions at a nominal FPR of 1 %."
    return f"{own} Their realised FPR, which chance would have as TPR, is {', '.join(realised)}."


def _mark(colour: str = NEUTRAL, **style: Any) -> Line2D:
    return Line2D([], [], color=colour, **{"linestyle": "none", **style})


def _word(shown: ShownAttack) -> str:
    return shown.supervision.split()[0]
