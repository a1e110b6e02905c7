"""Each attack as non-members of another origin take the place of others, step by step (CopyMark, arXiv 2411.15640).

An attack on membership has the same AUC whatever the non-members are; one that is led by the shift between the origin
of the members and that of the non-members rises with the share of those that differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from diffmia.blind import STANDARD_ERROR_FACTOR
from diffmia.evaluation.delong import auc_test
from diffmia.figures.attacks import VARIANTS
from diffmia.figures.detection import draw_chance, style
from diffmia.figures.figure import NEUTRAL, STYLE, FigureData, has_oms, heading, new_figure, sentence

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
FEWEST = 2  # samples of a side that have a variance


def draw(data: FigureData) -> Figure:
    """AUC of each attack without and with one more step, and of each blind baseline, over the share replaced."""
    if not data.attacks:
        return sentence(data.title, "No attack of the run belongs in this figure.")
    sizes = [len(_mixtures(data, attack, seed)[0]) for attack in data.attacks for seed in data.seeds]
    first, *others = data.non_member_groups
    if min(sizes) < FEWEST:
        return sentence(data.title, f"Fewer than {FEWEST} judged non-members are of {first}, or of other groups.")
    with matplotlib.rc_context(STYLE):
        figure = new_figure(9.4, max(4.8, 0.6 + 0.5 * len(data.attacks)))  # two lines of the legend for each
        figure.suptitle(heading(data.title, data.sizes(data.seeds)[0], sizes, data.seeds))
        axes = figure.add_subplot(
            xlabel=f"Non-members of {first} replaced by {', '.join(others)} (%)", ylabel="AUC (%)"
        )
        axes.set_xticks([100 * share for share in SHARES])
        for attack in data.attacks:
            _draw_attack(axes, data, attack)
        draw_chance(axes, "auc")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
        figure.supxlabel("\n".join(_notes(data)), x=0.01, ha="left", fontsize=8, color=NEUTRAL)
    return figure


def mixtures(groups: pd.Series, order: Sequence[str], seed: int) -> list[np.ndarray]:
    """Non-members at each of `SHARES`, equally many at every step, drawn by `seed`.

    Parameters
    ----------
    groups : Series
        Group of each judged non-member, by sample_id.
    order : sequence of str
        The group that is replaced, then those that replace it.
    seed : int

    Returns
    -------
    list of int arrays (n,)
        Sample ids, n the smaller of the numbers of samples of the first group and of all others. What a step takes in
        stays, and what it leaves out does not come back. Of several other groups each step has equally many, give or
        take one, as long as there are any left.
    """
    stream = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))  # bootstrap's is the key (0,)
    drawn = groups.sort_index().iloc[stream.permutation(len(groups))]
    own, further = drawn[drawn == order[0]], drawn[drawn.isin(order[1:])]
    further = further.iloc[np.argsort(further.groupby(further).cumcount(), kind="stable")]  # one of each in turn
    size = min(len(own), len(further))
    replaced = [round(share * size) for share in SHARES]
    return [np.concatenate([further.index[:k], own.index[k:size]]) for k in replaced]


def _mixtures(data: FigureData, attack: str, seed: int) -> list[np.ndarray]:
    """`mixtures` of the non-members that an attack is judged on."""
    judged = data.judged(attack, seed)
    groups = data.groups[judged.loc[~judged["member"].astype(bool), "sample_id"]]
    return mixtures(groups, data.non_member_groups, data.evaluation_seeds[seed])


def _draw_attack(axes: Axes, data: FigureData, attack: str) -> None:
    blind = data.attacks[attack].access == "blind"
    for variant in VARIANTS if has_oms(data.judged(attack, data.seeds[0])) else VARIANTS[:1]:
        per_seed = [_curve(data, attack, variant, seed) for seed in data.seeds]
        auc, low, high = 100 * np.mean(per_seed, axis=0)
        drawn = style(data, attack, variant) | ({"linestyle": ":"} if blind else {})
        x = [100 * share for share in SHARES]
        label = data.attacks[attack].name(variant) + data.attacks[attack].threat_model
        axes.plot(x, auc, **drawn, label=label)
        axes.fill_between(x, low, high, color=drawn["color"], alpha=0.1, linewidth=0, zorder=1)


def _curve(data: FigureData, attack: str, variant: str, seed: int) -> np.ndarray:
    """AUC at each of `SHARES` and its interval, in [0, 1]: (3, len(SHARES))."""
    judged = data.judged(attack, seed).set_index("sample_id")
    scores, member = judged[variant], judged["member"].to_numpy(dtype=bool)
    z = ndtri((1 + data.evaluation.confidence) / 2)
    widened = STANDARD_ERROR_FACTOR if data.attacks[attack].access == "blind" else 1.0
    found = []
    for ids in _mixtures(data, attack, seed):
        test = auc_test(scores[member].to_numpy(), scores[ids].to_numpy())
        found.append(0.5 + test.delta + z * widened * test.standard_error * np.array([0, -1, 1]))
    return np.clip(np.transpose(found), 0, 1)


def _notes(data: FigureData) -> list[str]:
    means = "Means over seeds of the AUC and of its interval. " * (len(data.seeds) > 1)
    notes = [
        f"{means}Bands: {100 * data.evaluation.confidence:g} % intervals (DeLong; of blind baselines √2 as wide, since "
        "each fold is judged by what was fitted to the others). A rise is shift, not membership."
    ]
    if any(shown.access == "blind" for shown in data.attacks.values()):
        notes.append("Blind baselines (dotted) were fitted once, to members and non-members of all groups.")
    return notes
