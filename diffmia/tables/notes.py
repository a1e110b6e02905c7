"""Sentences below a table of measured numbers, so that no mark in it is left unexplained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from diffmia.evaluation.rows import NOT_APPLICABLE, SHIFT, TOLD, attack_of, split_flags, why_missing
from diffmia.tables.measured import METRICS, MISSING, span
from diffmia.tables.threat_model import threat_model_notes

if TYPE_CHECKING:
    from diffmia.config.config import Config

# by the first word of a flag
_FLAGS = {
    SHIFT: "“shift”: a blind baseline, which sees samples and no model, tells these members from these non-members "
    "better than chance, so that they differ by more than membership and the number is no evidence of it alone; table "
    "trust has what the baseline reaches.",
    TOLD: "“told” names the text that the model was told beside each sample: caption, the sample's own; none, the "
    "empty text; or that of the captioner of this name.",
    "anchor": "“anchor” says what the second iterate ε² of SecMI's noise search is attached to, which the paper leaves "
    "open: x0 is the true sample, x0hat its estimate at timestep t, xt the noised sample; table secmi_anchor has the "
    "readings of the run side by side.",
    "loss": "“loss” says which loss GSA's gradients are of with one more step, which the paper leaves open: detached "
    "is ‖ε⁰ − ε²‖² with ε¹ held constant in the second query, full is the same through both queries, training is "
    "‖ε¹ − ε²‖², concat has the gradients without OMS beside those of detached; table gsa_loss has the readings of the "
    "run side by side.",
    "recalibrated": "“recalibrated”: each threshold of the attack was shifted by a constant, so that on auxiliary "
    "samples it had not learned from it kept to its nominal FPR (split-conformal).",
}


def notes(metrics: pd.DataFrame, config: Config, attacks: Iterable[str], cells: pd.DataFrame) -> list[str]:
    """What a reader must know of the measured numbers in `cells`.

    `metrics` are their rows of `metrics.csv`, which may be none, and `attacks` the ids of rows that are asked for.
    """
    numbers = [
        "Percent. A low score means member: fixed in advance and never turned round, so an AUC may be below 50.",
        f"{samples_judged(metrics)} Unrounded values and realised FPRs are in the csv.",
        _spread(metrics, config),
        *_metrics(metrics, config),
    ]
    attacks = list(attacks)
    return [
        *(numbers if metrics["value"].notna().any() else []),
        *_marks(metrics, config, attacks, cells),
        *missing_notes(metrics, config),
        *flag_notes(metrics),
        *threat_model_notes(attacks, config),
    ]


def samples_judged(metrics: pd.DataFrame) -> str:
    """How many members and non-members of each target, and the run's seeds."""
    seeds = sorted(metrics["seed"].unique())
    judged = metrics.dropna(subset=["n_members", "n_non_members"])  # what was left out has no samples
    sizes = [
        f"{target}: {span(rows['n_members'])} members, {span(rows['n_non_members'])} non-members"
        for target, rows in judged.groupby("target", sort=False)
    ]
    judged_samples = f"Samples judged: {'; '.join(sizes)}. " if sizes else ""
    return f"{judged_samples}Run seed{'s' * (len(seeds) > 1)}: {', '.join(map(str, seeds))}."


def flag_notes(metrics: pd.DataFrame) -> list[str]:
    """What the flags of rows of `metrics.csv` mean."""
    words = {flag.split()[0] for cell in metrics["flags"].unique() for flag in split_flags(cell)}
    return [_FLAGS[word] for word in sorted(words) if word in _FLAGS]


def mark_notes(cells: pd.DataFrame) -> list[str]:
    """What the marks in printed cells mean, as far as they are there."""
    every_cell = " ".join(cells.to_numpy().ravel())
    meanings = {
        "†": "† the FPR allows fewer than 10 false positives: not reliable.",
        MISSING: f"{MISSING}: not measured, or the FPR allows no false positive.",
    }
    return [meaning for mark, meaning in meanings.items() if mark in every_cell]


def missing_notes(metrics: pd.DataFrame, config: Config) -> list[str]:
    """What has no scores since a job failed, and why."""
    rows = metrics.drop_duplicates(["target", "seed", "attack"])
    found = [(row, why) for row in rows.itertuples() if (why := why_missing(row.flags)) is not None]
    return [
        f"{kind}: no scores of {config.attacks[row.attack].label} on {row.target}, seed {row.seed}: "
        f"{reason.rstrip('.')}. The next run makes them, and this table, again."
        for row, (kind, reason) in found
    ]


def _spread(metrics: pd.DataFrame, config: Config) -> str:
    if metrics["seed"].nunique() > 1:
        return (
            "Values are means over the seeds, each with its own split, training and noise, and ± is their standard "
            "deviation. The bootstrap intervals of single seeds, which leave training out, are in metrics.csv."
        )
    evaluation = config.evaluation
    return (
        f"In square brackets: {100 * evaluation.confidence:g} % confidence interval, percentile bootstrap of "
        f"{evaluation.bootstrap:,} resamples of {_resampled(metrics, config)}, stratified by membership and, for Δ, "
        "paired; of a rate no narrower than the exact binomial one. That of the ASR adds the variance of its random "
        "thresholds, and is still a little too narrow where samples are few. With one seed, the variation of split, "
        "training and noise is not in it."
    )


def _resampled(metrics: pd.DataFrame, config: Config) -> str:
    """What a bootstrap of these rows draws again."""
    methods = {config.split_of(target).method for target in metrics["target"].unique()}
    whole = "whole groups (what the split drew whole) where the split is by group, and else " * ("by_group" in methods)
    return f"{whole}the samples"


def _metrics(metrics: pd.DataFrame, config: Config) -> list[str]:
    """What ASR, TPR and FPR are."""
    evaluation, found = config.evaluation, []
    if (metrics["metric"] == "asr").any():
        found.append(
            f"ASR: mean balanced accuracy of {evaluation.threshold_repeats} thresholds, each chosen on "
            f"{100 * evaluation.threshold_fraction:g} % of the samples and judged on the others."
        )
    tpr_of = set(metrics.loc[metrics["metric"].str.startswith("tpr"), "attack"])
    decided = {id_ for id_ in metrics.loc[metrics["metric"].str.startswith("fpr"), "attack"] if id_ in config.attacks}
    if tpr_of - decided:
        whose = " of a ROC" if decided else ""
        found.append(f"TPR{whose}: the largest at an FPR no higher than the one named.")
    if decided:
        labels = ", ".join(config.attacks[id_].label for id_ in config.attacks if id_ in decided)
        found.append(
            f"TPR of {labels}: the share of members that the attack's own decision at the named nominal FPR calls "
            "members. Nothing holds that decision to its nominal FPR; the FPR it has on the non-members judged is "
            "realised, not chosen."
        )
    return found


def _marks(metrics: pd.DataFrame, config: Config, attacks: list[str], cells: pd.DataFrame) -> list[str]:
    found = mark_notes(cells)
    if any(MISSING in cell for cell in cells.to_numpy().ravel()):
        found += _left_out(config, attacks) + _not_applicable(metrics, config)
    return found


def _left_out(config: Config, attacks: list[str]) -> list[str]:
    """Which attacks were not run on which targets, and why."""
    return [
        f"{MISSING} of {config.attacks[attack].label} on {target}: the attack {reason}."
        for (target, attack), reason in config.left_out.items()
        if attack in attacks and target in config.run.targets
    ]


def _not_applicable(metrics: pd.DataFrame, config: Config) -> list[str]:
    """Which decisions could not be learned, and why."""
    found = []
    for (attack, target, metric), rows in metrics.groupby(["attack", "target", "metric"], sort=False):
        reasons = {
            flag.removeprefix(f"{NOT_APPLICABLE}: ")
            for cell in rows["flags"].unique()
            for flag in split_flags(cell)
            if flag.startswith(NOT_APPLICABLE)
        }
        label = config.attacks[attack_of(attack, config.attacks)].label
        found += [
            f"{MISSING} of {label} on {target} under {METRICS[metric]}: the attack {reason}."
            for reason in sorted(reasons)
        ]
    return found
