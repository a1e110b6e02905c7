"""Scores of members and non-members with and without one more step, and whom it corrects (OMS Figure F.1)."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffmia.evaluation.thresholds import Draws
from diffmia.figures.attacks import VARIANTS, ShownAttack
from diffmia.figures.corrections import corrections, threshold_draws
from diffmia.figures.figure import MEMBER, NEUTRAL, NON_MEMBER, STYLE, FigureData, has_oms, new_figure, sentence

_BINS = 40
_MOST_CLASSES = 20  # that the bar chart has room for


def draw(data: FigureData) -> Figure:
    """A row for each attack: scores without OMS, scores with OMS, and the classes of the members it corrects.

    Of several seeds the first is shown: scores of different models share no scale.
    """
    if not data.attacks:
        return sentence(data.title, "No attack of the run belongs in this figure.")
    seed = data.seeds[0]
    with matplotlib.rc_context(STYLE):
        figure = new_figure(12, 0.9 + 2.7 * len(data.attacks))
        figure.suptitle(data.heading([seed]))
        panels = figure.subplots(len(data.attacks), 3, squeeze=False)
        for row, (attack, shown) in zip(panels, data.attacks.items(), strict=True):
            scores = data.judged(attack, seed)
            variants = VARIANTS if has_oms(scores) else VARIANTS[:1]
            for axes, variant in zip(row, variants, strict=False):
                draws = threshold_draws(scores, variant, data.evaluation, data.evaluation_seeds[seed])
                _histogram(axes, scores[variant].to_numpy(), scores["member"].to_numpy(dtype=bool), draws, shown)
                axes.set_title(shown.name(variant) + shown.threat_model, fontweight="bold")
            if "oms" in variants:
                changes = corrections(scores, data.evaluation, data.evaluation_seeds[seed])
                _corrected_classes(row[2], changes, data.label_names)
            else:
                for axes in row[1:]:
                    axes.set_axis_off()
                row[1].text(0.5, 0.5, "no score with OMS", ha="center", color=NEUTRAL, transform=row[1].transAxes)
        legends = [axes.get_legend_handles_labels() for axes in panels[:, 0]]
        marks = {label: handle for legend in legends for handle, label in zip(*legend, strict=True)}
        figure.legend(marks.values(), marks.keys(), loc="outside lower center", ncols=len(marks))
    return figure


def robust_range(scores: np.ndarray) -> tuple[float, float]:
    """Range of scores (n,) up to three interquartile ranges beyond the quartiles (Tukey's far-out fences)."""
    lower, upper = np.quantile(scores, [0.25, 0.75])
    reach = 3 * (upper - lower)
    return float(max(scores.min(), lower - reach)), float(min(scores.max(), upper + reach))


def _are_probabilities(scores: np.ndarray, shown: ShownAttack) -> bool:
    """Whether scores (n,) are what a classifier predicts: it was told who is a member, and they lie in [0, 1]."""
    return shown.supervision not in ("none", "auxiliary") and scores.min() >= 0 and scores.max() <= 1


def _histogram(axes: Axes, scores: np.ndarray, member: np.ndarray, draws: Draws, shown: ShownAttack) -> None:
    probabilities = _are_probabilities(scores, shown)
    low, high = (0, 1) if probabilities else robust_range(scores)  # probabilities heap at the ends, far from quartiles
    edges = np.histogram_bin_edges(scores, _BINS, (low, high))
    for of_class, name, colour in ((member, "Members", MEMBER), (~member, "Non-members", NON_MEMBER)):
        weights = np.full(of_class.sum(), 100 / of_class.sum())  # shares, so that unequal sets can be compared
        axes.hist(scores[of_class], edges, weights=weights, color=colour, alpha=0.55, label=name)
    thresholds = draws.thresholds[np.isfinite(draws.thresholds)]  # -inf where no threshold beat a coin
    if len(thresholds):
        axes.axvspan(thresholds.min(), thresholds.max(), color=NEUTRAL, alpha=0.15, linewidth=0)
        name = f"Threshold: median (line) and range (grey) of {len(draws.thresholds)} draws"
        axes.axvline(np.median(thresholds), color="black", linewidth=1.2, linestyle="--", label=name)
    axes.set_xlim(edges[0], edges[-1])
    outside = np.mean((scores < low) | (scores > high))
    name = "predicted probability of a non-member" if probabilities else "score"
    axes.set_xlabel(name + (f" ({100 * outside:.1f} % of the samples lie outside)" if outside else ""))
    axes.set_ylabel("% of each set")


def _corrected_classes(axes: Axes, changes: pd.DataFrame, label_names: pd.Series) -> None:
    members = changes[changes["member"]]
    classes = label_names.loc[members["sample_id"]].astype(str).to_numpy()
    counts = pd.Series(members["corrected"].to_numpy()).groupby(classes).sum()
    shown = counts if len(counts) <= _MOST_CLASSES else counts.nlargest(_MOST_CLASSES)
    axes.bar(range(len(shown)), shown, color=MEMBER)
    axes.set_xticks(range(len(shown)), shown.index, rotation=90 if max(map(len, shown.index)) > 2 else 0)
    axes.yaxis.get_major_locator().set_params(integer=True)
    few = f" (the {_MOST_CLASSES} with most, of {len(counts)})" if len(shown) < len(counts) else ""
    axes.set(xlabel=f"class{few}", ylabel="members corrected")
    axes.set_title("\n".join(_counts(changes, side) for side in (True, False)), loc="left")


def _counts(changes: pd.DataFrame, member: bool) -> str:
    side = changes[changes["member"] == member]
    corrected, newly_wrong = int(side["corrected"].sum()), int(side["newly_wrong"].sum())
    return f"{'Members' if member else 'Non-members'}: {corrected:,} corrected, {newly_wrong:,} newly wrong"
