"""What a text-to-image model is told: each attack under every text of the run, beside published numbers of the same."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffmia.tables.measured import KEYS, METRICS, MISSING, VARIANTS, cell, number, over_seeds
from diffmia.tables.notes import notes
from diffmia.tables.table import Table, TableInputs
from diffmia.tables.threat_model import COLUMNS, caption, threat_model, with_threat_model

if TYPE_CHECKING:
    from diffmia.config import Config

_TITLE = "Attacks on text-to-image models by the text that the model is told"
_SHOWN = ["auc", "tpr_at_1_fpr"]
_READ_APART = {"condition", "reading_of", "label", "targets"}  # what readings of one attack under other texts differ in


def fill(inputs: TableInputs) -> Table:
    """Two rows for each attack of the run that asks a target under more than one text; columns for each text."""
    config = inputs.config
    readings = pd.DataFrame(_readings(config), columns=["target", "attack", "of", "told"])
    data = readings.merge(over_seeds(inputs.metrics[inputs.metrics["metric"].isin(_SHOWN)]), on=KEYS[:2])
    data = data[data["variant"] != "delta"].merge(
        _published(config), on=["target", "of", "told", *KEYS[2:]], how="left"
    )
    if data.empty:
        note = "The run asks no target under more than one text (an attack's condition)."
        return Table("texts", _TITLE, pd.DataFrame(), data, [note])
    texts = list(dict.fromkeys(readings["told"]))
    beside = [""] + (["published"] if data["published"].notna().any() else [])
    columns = [(told, " ".join(filter(None, [METRICS[m], what]))) for told in texts for m in _SHOWN for what in beside]
    found = {tuple(row[key] for key in ("target", "of", "told", *KEYS[2:])): row for _, row in data.iterrows()}
    lines = []
    for target, of, variant in dict.fromkeys(zip(data["target"], data["of"], data["variant"], strict=True)):
        name = " ".join(filter(None, [config.attacks[of].label, VARIANTS[variant]]))
        model = threat_model(of, config) if variant == "base" else [""] * len(COLUMNS)
        shown = [found.get((target, of, told, variant, metric)) for told in texts for metric in _SHOWN]
        lines.append([target, name, *model, *_cells(shown, beside)])
    first = [("", name) for name in ("Target", "Attack", *COLUMNS)]
    cells = pd.DataFrame(lines, columns=pd.MultiIndex.from_tuples(first + columns))
    rows = inputs.metrics.merge(readings[["target", "attack"]], on=["target", "attack"])
    rows = rows[rows["metric"].isin(_SHOWN)]
    remarks = ["A text: caption, the samples' own; none, the empty text; or that of the captioner of this name."]
    if "published" in beside:
        remarks.append(
            "Published numbers are the PIA paper's, of 2,500 members and 2,500 non-members; its code asks "
            "under classifier-free guidance and a schedule that is not the model's, and this one does not."
        )
    attacks = list(dict.fromkeys(readings["attack"]))
    explained = [*notes(rows, config, attacks, cells), *remarks]
    data = with_threat_model(data, config)
    return Table("texts", caption(_TITLE, attacks, config), cells, data, explained, 2, 2 + len(COLUMNS))


def _cells(rows: Iterable[Any], beside: list[str]) -> list[str]:
    """What was measured, and what was published if that is shown beside it."""
    shown = []
    for row in rows:
        of_row = [cell(row), MISSING if row is None or pd.isna(row.published) else number(row.published)]
        shown += of_row[: len(beside)]
    return shown


def _readings(config: Config) -> list[tuple[str, str, str, str]]:
    """(target, attack, attack it is a reading of, text) of the run's attacks under each text; only where texts differ."""
    found = []
    for target in config.run.targets:
        told = {id_: (_asked_as(config, id_), spec.condition) for id_, (spec, _) in config.run_attacks(target).items()}
        told = {id_: of for id_, of in told.items() if of[1] is not None}
        several = {of for of, _ in told.values() if len({text for other, text in told.values() if other == of}) > 1}
        found += [(target, id_, of, text) for id_, (of, text) in told.items() if of in several]
    return sorted(found, key=lambda reading: list(config.run.attacks).index(reading[2]))


def _asked_as(config: Config, attack: str) -> str:
    """Id of the attack that `attack` is but for the text: its own, if it is no reading of one under another."""
    spec = config.attacks[attack]
    of = config.attacks.get(spec.reading_of)
    same = of is not None and of.model_dump(exclude=_READ_APART) == spec.model_dump(exclude=_READ_APART)
    return spec.reading_of if same else attack


def _published(config: Config) -> pd.DataFrame:
    """Published percentages by target, attack (`of`), text, variant and metric."""
    read = [pd.read_csv(resources.files("diffmia") / "published" / f"{name}.csv") for name in ("texts", "results")]
    texts, results = (
        read[0],
        read[1].rename(columns={"target": "published_target", "attack": "of", "percent": "published"}),
    )
    claims = [
        (target, *claim) for target in config.run.targets for claim in config.targets[target].published_as.items()
    ]
    claims = pd.DataFrame(claims, columns=["at", "paper", "target"])
    found = claims.merge(texts, on=["paper", "target"]).merge(results, on=["paper", "published_target"])
    return found.assign(target=found["at"])[["target", "of", "told", *KEYS[2:], "published"]]
