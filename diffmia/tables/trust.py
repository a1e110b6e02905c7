"""What stands beside every AUC: retraining, what no model is needed for, and a model that saw neither set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from diffmia.evaluation.rows import SHIFT, attack_of, split_flags
from diffmia.tables.measured import MISSING, VARIANTS, cell, flagged, interval, number, over_seeds
from diffmia.tables.notes import flag_notes, missing_notes, samples_judged
from diffmia.tables.null_control import family_wise
from diffmia.tables.table import Table, TableInputs
from diffmia.tables.threat_model import COLUMNS, caption, threat_model, threat_model_notes, with_threat_model

if TYPE_CHECKING:
    from diffmia.config.config import Config

_TITLE = "What an AUC is worth: its excess over blind baselines, and the same attack on a model that saw neither set"
_METRICS = ("auc", "tpr_at_1_fpr")


def fill(inputs: TableInputs) -> Table:
    """Two rows (base, +OMS) for each target and attack that main tables show; blind baselines come first."""
    config = inputs.config
    data = with_threat_model(excess(inputs.metrics, config), config)
    if data.empty:
        return Table("trust", _TITLE, pd.DataFrame(), data, ["The run has no attack that belongs in this table."])
    cells = pd.DataFrame([_printed(row, config) for row in data.itertuples()])
    rows = inputs.metrics[inputs.metrics["attack"].isin(data["attack"]) & inputs.metrics["target"].isin(data["target"])]
    title = caption(_TITLE, data["attack"].unique(), config)
    lacking = missing_notes(inputs.metrics[inputs.metrics["target"].isin(config.run.targets)], config)
    remarks = [*_notes(rows, data, config), *lacking, *_duplicates(inputs)]
    return Table("trust", title, cells, data, remarks, text_columns=2 + len(COLUMNS))


def excess(metrics: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Each attack beside the best blind baseline of its target and its own AUC on the target's null controls.

    Returns
    -------
    DataFrame
        Columns target, attack, variant (base, oms); value, ci_low, ci_high, std_over_seeds (AUC, percent); blind (the
        best blind AUC) and excess (the AUC less that, or less chance if that is higher), and of TPR at 1 % FPR tpr,
        blind_tpr and excess_tpr; reliable and flags; control, null, null_low, null_high and null_contains_chance
        (family-wise; of the first control and seed that does not contain chance, or of the first).
    """
    keys = ["target", "attack", "variant"]
    rows = over_seeds(metrics[metrics["metric"].isin(_METRICS) & metrics["variant"].isin(["base", "oms"])])
    rows = rows[rows["target"].isin(config.run.targets) & rows["value"].notna()]
    specs = {id_: config.attacks[attack_of(id_, config.attacks)] for id_ in rows["attack"].unique()}
    is_main = [config.is_main(attack_of(row.attack, config.attacks), row.target) for row in rows.itertuples()]
    rows = rows[np.array(is_main, dtype=bool)]
    shown = [id_ for id_ in specs if id_ in set(rows["attack"])]
    table = rows[rows["metric"] == "auc"].drop(columns="metric")
    tprs = rows[rows["metric"] == "tpr_at_1_fpr"].rename(columns={"value": "tpr"})
    table = table.merge(tprs[[*keys, "tpr"]], how="left", on=keys)
    blind = table[table["attack"].map(lambda id_: specs[id_].access == "blind").astype(bool)]
    best = blind.groupby("target")[["value", "tpr"]].max().reindex(table["target"])
    for name, column, chance in (("", "value", 50.0), ("_tpr", "tpr", 1.0)):
        table[f"blind{name}"] = best[column].to_numpy()
        table[f"excess{name}"] = table[column] - table[f"blind{name}"].clip(lower=chance)
    controls = [(target, control) for target in config.run.targets for control in config.controls_of(target)]
    nulls = family_wise(metrics, config.controls, config.evaluation.confidence).rename(columns={"target": "control"})
    nulls = pd.DataFrame(controls, columns=["target", "control"]).merge(nulls, on="control")
    nulls = nulls.sort_values("contains_chance", kind="stable").drop_duplicates(keys)
    names = {"value": "null", "ci_low": "null_low", "ci_high": "null_high", "contains_chance": "null_contains_chance"}
    table = table.merge(nulls[[*keys, "control", *names]].rename(columns=names), how="left", on=keys)
    order = {id_: i for i, id_ in enumerate(sorted(shown, key=lambda id_: id_ not in set(blind["attack"])))}
    rank = {"target": {id_: i for i, id_ in enumerate(config.run.targets)}, "attack": order}
    return table.sort_values(
        ["target", "attack"], key=lambda column: column.map(rank[column.name]), kind="stable", ignore_index=True
    )


def _printed(row: Any, config: Config) -> dict[str, str]:
    first = row.variant == "base"
    of = attack_of(row.attack, config.attacks)
    label = config.attacks[of].label + (", ROC" if row.attack != of else "")
    flags = [row.flags] if not first else [SHIFT] * (SHIFT in split_flags(row.flags))
    model = threat_model(row.attack, config) if first else [""] * len(COLUMNS)
    is_blind = config.attacks[of].access == "blind"
    null = MISSING
    if pd.notna(row.null):
        null = f"{number(row.null)} {interval(row.null_low, row.null_high)}{'' if row.null_contains_chance else ' NO'}"
    return {
        "Target": row.target if first else "",
        "Attack": (label if first else VARIANTS[row.variant]) + flagged(flags),
        **dict(zip(COLUMNS, model, strict=True)),
        "AUC": cell(row),
        "Best blind": number(row.blind) if pd.notna(row.blind) and not is_blind else MISSING,
        "Excess": number(row.excess, signed=True) if pd.notna(row.excess) and not is_blind else MISSING,
        "TPR@1%FPR": number(row.tpr) if pd.notna(row.tpr) else MISSING,
        "Excess (TPR)": number(row.excess_tpr, signed=True) if pd.notna(row.excess_tpr) and not is_blind else MISSING,
        "Null control": null,
    }


def _notes(rows: pd.DataFrame, data: pd.DataFrame, config: Config) -> list[str]:
    found = [
        "Percent. Best blind: the highest AUC of the run's blind baselines on the same samples. Excess: the AUC less "
        "that, or less 50 where that is higher, and the same of TPR at 1 % FPR, whose chance is 1; what is left of an "
        "attack when what needs no model is taken away.",
        "Null control: the same attack on a model that was trained on neither set, with its family-wise interval as in "
        "table null_control; NO where it does not contain 50, which is chance. Of several controls the first that does "
        "not is shown, or else the first. n/a: the target has no null control (null_targets, checkpoint_epochs: 0), or "
        "the attack asks no model or was not done on it.",
        "Intervals are of the samples judged alone; ± is the standard deviation over seeds, each with a split, a "
        "training and noise of its own. Of blind baselines they are √2 as wide as their bootstrap's, since each fold "
        "is judged by what was fitted to the others.",
        samples_judged(rows),
    ]
    if (seeds := rows["seed"].nunique()) == 1:
        found.append("One seed: how much a retrained model would move the numbers is not measured here.")
    else:
        found.append(f"Spread over {seeds} seeds.")
    if not _any_blind(data["attack"], config):
        found.append("The run has no blind baseline, so nothing says that the two sets differ in membership alone.")
    return found + flag_notes(rows) + threat_model_notes(data["attack"].unique(), config)


def _duplicates(inputs: TableInputs) -> list[str]:
    """How many members have a near-duplicate among the non-members, by split and seed."""
    spec, found = inputs.config.duplicates, []
    for (split, seed), pairs in inputs.duplicates.items():
        members = inputs.manifests[split, seed]["counts"]["member"]
        found.append(
            f"{pairs['member'].nunique()} of {members:,} members in split {split}, seed {seed}, "
            f"{pairs['exact'].sum()} pairs being equal"
        )
    if not found:
        return ["Near-duplicates of members were not looked for."] if inputs.config.run.partial else []
    return [
        f"Near-duplicates of members among non-members (difference hashes {spec.bits} bits of 64 apart at most, and "
        f"pixels {spec.rms:g} of 255 grey levels, root mean square): {'; '.join(found)}."
    ]


def _any_blind(attacks: Iterable[str], config: Config) -> bool:
    return any(config.attacks[attack_of(id_, config.attacks)].access == "blind" for id_ in attacks)
