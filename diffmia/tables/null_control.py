"""The AUC of every attack on models that saw neither set, and whether it could be chance."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffmia.evaluation.rows import attack_of
from diffmia.tables.measured import MISSING, VARIANTS, flagged, interval, number
from diffmia.tables.notes import flag_notes, missing_notes, samples_judged
from diffmia.tables.table import Table, TableInputs
from diffmia.tables.threat_model import COLUMNS, caption, threat_model, threat_model_notes, with_threat_model

if TYPE_CHECKING:
    from diffmia.config.config import Config

_TITLE = "AUC on null controls: models that were trained on neither the members nor the non-members"
_CHANCE = 50.0


def family_wise(metrics: pd.DataFrame, controls: Sequence[str], confidence: float) -> pd.DataFrame:
    """AUCs on each control with intervals that all hold at once, with probability `confidence` at least.

    value +- z(1 - (1 - confidence) / (2 m)) std (Bonferroni), with the bootstrap's std and m the number of AUCs on
    that control: one for each attack and each ROC of one, base and oms, and seed.

    Parameters
    ----------
    metrics : DataFrame
        Rows of `metrics.csv`.
    controls : sequence of str
        Ids of targets.
    confidence : float
        In (0, 1).

    Returns
    -------
    DataFrame
        Columns target, seed, attack, variant (base, oms), value, std, comparisons (m), ci_low, ci_high (percent),
        contains_chance (bool), n_members, n_non_members and flags.
    """
    chosen = metrics["target"].isin(controls) & (metrics["metric"] == "auc") & (metrics["variant"] != "delta")
    rows = metrics[chosen & metrics["value"].notna()].reset_index(drop=True)
    comparisons = rows.groupby("target")["value"].transform("size")
    reach = comparisons.map(lambda m: NormalDist().inv_cdf(1 - (1 - confidence) / (2 * m))) * rows["std"]
    low, high = rows["value"] - reach, rows["value"] + reach
    contains = (low <= _CHANCE) & (high >= _CHANCE)
    rows = rows.assign(comparisons=comparisons, ci_low=low, ci_high=high, contains_chance=contains)
    keys = ["target", "seed", "attack", "variant"]
    numbers = ["value", "std", "comparisons", "ci_low", "ci_high", "contains_chance", "n_members", "n_non_members"]
    return rows[[*keys, *numbers, "flags"]]


def fill(inputs: TableInputs) -> Table:
    """Two rows for each control, seed and attack: base and +OMS."""
    config = inputs.config
    data = family_wise(inputs.metrics, config.controls, config.evaluation.confidence)
    data = with_threat_model(data, config)
    lacking = missing_notes(inputs.metrics[inputs.metrics["target"].isin(config.controls)], config)
    if data.empty:
        none = "No target of the run has a null control (null_targets, or checkpoint_epochs with 0)."
        remarks = lacking if config.controls else [none]
        return Table("null_control", _TITLE, pd.DataFrame(), data, remarks)
    found = {(row.target, row.seed, row.attack, row.variant): row for row in data.itertuples()}
    shown = data[["target", "seed", "attack"]].drop_duplicates().itertuples(index=False)
    lines = [
        _printed(*key, variant, found.get((*key, variant)), config) for key in shown for variant in ("base", "oms")
    ]
    cells = pd.DataFrame(lines)
    remarks = _notes(data, config) + lacking
    if MISSING in cells.to_numpy():
        remarks.append(f"{MISSING}: the attack has no score after one more step.")
    title = caption(_TITLE, data["attack"].unique(), config)
    return Table("null_control", title, cells, data, remarks, block=2, text_columns=2 + len(COLUMNS))


def _printed(target: str, seed: int, attack: str, variant: str, row: Any, config: Config) -> dict[str, str]:
    first = variant == "base"
    of = attack_of(attack, config.attacks)
    label = config.attacks[of].label + (", ROC" if attack != of else "")
    model = threat_model(attack, config) if first else [""] * len(COLUMNS)
    return {
        "Control": target if first else "",
        "Attack": label if first else VARIANTS[variant] + flagged([row.flags] if row else []),
        **dict(zip(COLUMNS, model, strict=True)),
        "Seed": str(seed) if first else "",
        "AUC": f"{number(row.value)} {interval(row.ci_low, row.ci_high)}" if row else MISSING,
        "Contains 50": ("yes" if row.contains_chance else "NO") if row else MISSING,
    }


def _notes(data: pd.DataFrame, config: Config) -> list[str]:
    confidence = config.evaluation.confidence
    counts = [
        f"{target}: m = {len(rows)}, of which {(~rows['contains_chance']).sum()} do not contain 50"
        for target, rows in data.groupby("target", sort=False)
    ]
    found = [
        "A control is like a target, but was trained on half of the auxiliary samples (`__null`) or not at all "
        "(`__epoch0`), so it knows neither members nor non-members. An interval without 50, which is chance, points to "
        "a leak in how attacks are made or judged, or to a shift between members and non-members.",
        samples_judged(data),
        f"In square brackets: family-wise {100 * confidence:g} % interval, value ± z(1 − {1 - confidence:.3g}/2m) · "
        "std, with the std of the bootstrap and m the number of AUCs on the control: of each attack, without and with "
        "OMS, with each seed. If all of them were chance, all m would contain 50 with a probability of at least "
        f"{100 * confidence:g} %.",
        f"{'; '.join(counts)}.",
    ]
    if not set(data["attack"]) <= set(config.attacks):
        found.append("An attack's own decisions have no AUC; ROC: that of the score behind them.")
    return found + flag_notes(data) + threat_model_notes(data["attack"].unique(), config)
