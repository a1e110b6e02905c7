"""What is left of ASR and TPR where the threshold comes from another seed's target (PIA paper, Table 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from diffmia.tables.measured import KEYS, MISSING, VARIANTS, cell, number, over_seeds
from diffmia.tables.notes import mark_notes, samples_judged
from diffmia.tables.table import Table, TableInputs
from diffmia.tables.threat_model import COLUMNS, caption, threat_model, threat_model_notes, with_threat_model

if TYPE_CHECKING:
    from diffmia.config.config import Config

_TITLE = "Thresholds from a surrogate: chosen on another seed's target, judged on this one"
_FPR = "tpr_at_1_fpr"  # the one that is printed


def fill(inputs: TableInputs) -> Table:
    """Two rows (base, +OMS) for each target and attack with thresholds; data: one row for each pair of seeds."""
    config, pairs = inputs.config, inputs.transfers
    if pairs.empty:
        return Table("threshold_transfer", _TITLE, pd.DataFrame(), pairs, [_nothing(config)])
    data = with_threat_model(pairs, config)
    own = over_seeds(inputs.metrics)
    own = {key: row for key, row in zip(own[KEYS].itertuples(index=False, name=None), own.itertuples(), strict=True)}
    moved = {key: _spread(rows) for key, rows in pairs.groupby(KEYS, sort=False)}
    rows = pairs[["target", "attack", "variant"]].drop_duplicates().itertuples(index=False, name=None)
    cells = pd.DataFrame([_printed(*row, own, moved, config) for row in rows])
    attacks = data["attack"].unique()
    remarks = _notes(inputs, cells, pairs) + threat_model_notes(attacks, config)
    title = caption(_TITLE, attacks, config)
    return Table("threshold_transfer", title, cells, data, remarks, text_columns=2 + len(COLUMNS))


def _spread(rows: pd.DataFrame) -> dict[str, Any]:
    """Means over pairs of seeds, missing if one pair's is, and the standard deviation of the value."""
    means = rows[["value", "realised_fpr"]].mean(skipna=False)
    return {**means, "std": rows["value"].std(ddof=1), "reliable": rows["reliable"].all()}


def _printed(target: str, attack: str, variant: str, own: dict, moved: dict, config: Config) -> dict[str, str]:
    first = variant == "base"
    line = {
        "Target": target if first else "",
        "Attack": config.attacks[attack].label if first else VARIANTS[variant],
        **dict(zip(COLUMNS, threat_model(attack, config) if first else [""] * len(COLUMNS), strict=True)),
    }
    for metric, name in (("asr", "ASR"), (_FPR, "TPR@1%FPR")):
        key = (target, attack, variant, metric)
        line |= {name: cell(own.get(key)), f"{name}, transferred": _cell(moved.get(key))}
    fpr = moved.get((target, attack, variant, _FPR))
    return line | {
        "Realised FPR": MISSING if fpr is None or pd.isna(fpr["realised_fpr"]) else number(fpr["realised_fpr"])
    }


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or pd.isna(found["value"]):
        return MISSING
    return f"{number(found['value'])}{'' if found['reliable'] else '†'} ± {number(found['std'])}"


def _nothing(config: Config) -> str:
    if len(config.run.seeds) < 2:
        return (
            "The run has one seed, and a surrogate is the same target trained with another: give run.seeds two or more."
        )
    if config.run.partial:
        return "The tables are of what is there (run.partial), and thresholds are moved between seeds that are whole."
    return "No target of the run was trained here, on a split drawn anew for each seed, so none has a surrogate."


def _notes(inputs: TableInputs, cells: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    seeds = len(inputs.config.run.seeds)
    shown = inputs.metrics[
        inputs.metrics["target"].isin(pairs["target"]) & inputs.metrics["attack"].isin(pairs["attack"])
    ]
    return [
        "Percent. ASR: as in table 1, with thresholds from a tenth of the target's own samples, whose membership the "
        "attacker would have to know. TPR@1%FPR: the largest there is, with a threshold chosen on the samples judged.",
        "Transferred: the threshold with the best balanced accuracy, and the one with an FPR of at most 1 %, on the "
        f"samples of another seed's target; means over the {seeds * (seeds - 1)} ordered pairs of seeds, ± their "
        "standard deviation (pairs share targets, so it says less than as many independent ones would). Realised FPR: "
        "what the second threshold has on the target judged; where it is far from 1 the TPR beside it is of that FPR.",
        samples_judged(shown),
        *mark_notes(cells),
    ]
