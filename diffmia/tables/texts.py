"""What a text-to-image model is told: each attack under every text of the run, beside published numbers of the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffmia.published import PUBLISHED
from diffmia.tables.measured import METRICS, MISSING, VARIANTS, cell, number, over_seeds
from diffmia.tables.notes import notes
from diffmia.tables.table import Table, TableInputs
from diffmia.tables.threat_model import COLUMNS, caption, threat_model, with_threat_model

if TYPE_CHECKING:
    from diffmia.config.config import Config

_TITLE = "Attacks on text-to-image models by the text that the model is told"
_SHOWN = ["auc", "tpr_at_1_fpr"]
_CELL = ["target", "of", "told", "variant", "metric"]  # `of`: the attack, whatever the text
_READ_APART = {"condition", "reading_of", "label", "targets"}  # what readings of one attack under other texts differ in


def fill(inputs: TableInputs) -> Table:
    """Two rows for each attack of the run that asks a target under more than one text; columns for each text."""
    config = inputs.config
    readings = pd.DataFrame(_readings(config), columns=["target", "attack", "of", "told"])
    rows = inputs.metrics.merge(readings[["target", "attack"]], on=["target", "attack"])
    rows = rows[rows["metric"].isin(_SHOWN) & (rows["variant"] != "delta")]
    data = readings.merge(over_seeds(rows), on=["target", "attack"]).merge(_published(config), on=_CELL, how="left")
    if data.empty:
        note = "The run asks no target under more than one text (an attack's condition)."
        return Table("texts", _TITLE, pd.DataFrame(), data, [note])
    texts = list(dict.fromkeys(readings["told"]))
    beside = ["", " published"] if data["published"].notna().any() else [""]
    columns = [(told, METRICS[metric] + what) for told in texts for metric in _SHOWN for what in beside]
    found = {tuple(row[key] for key in _CELL): row for _, row in data.iterrows()}
    lines = []
    for target, of, variant in data[[*_CELL[:2], "variant"]].drop_duplicates().itertuples(index=False):
        name = " ".join(filter(None, [config.attacks[of].label, VARIANTS[variant]]))
        model = threat_model(of, config) if variant == "base" else [""] * len(COLUMNS)
        shown = [found.get((target, of, told, variant, metric)) for told in texts for metric in _SHOWN]
        lines.append([target, name, *model, *_cells(shown, len(beside))])
    columns = [("", name) for name in ("Target", "Attack", *COLUMNS)] + columns
    cells = pd.DataFrame(lines, columns=pd.MultiIndex.from_tuples(columns))
    attacks = list(dict.fromkeys(readings["attack"]))
    remarks = [
        "Published numbers are the PIA paper's, of 2,500 members and 2,500 non-members; its code as published asks "
        "under classifier-free guidance and by a schedule that is not the model's."
    ]
    explained = [*notes(rows, config, attacks, cells), *(remarks if len(beside) > 1 else [])]
    title = caption(_TITLE, attacks, config)
    return Table("texts", title, cells, with_threat_model(data, config), explained, 2, 2 + len(COLUMNS))


def _cells(rows: Iterable[Any], width: int) -> list[str]:
    """What was measured and, if `width` is 2, what was published."""
    shown = []
    for row in rows:
        published = MISSING if row is None or pd.isna(row.published) else number(row.published)
        shown += [cell(row), published][:width]
    return shown


def _readings(config: Config) -> list[tuple[str, str, str, str]]:
    """(target, attack, attack but for the text, text) of the run's attacks that are asked under several texts."""
    found = []
    for target in config.run.targets:
        attacks = config.run_attacks(target).items()
        told = {id_: (_but_for_the_text(config, id_), spec.condition) for id_, (spec, _) in attacks if spec.condition}
        texts = {of: {text for other, text in told.values() if other == of} for of, _ in told.values()}
        found += [(target, id_, of, text) for id_, (of, text) in told.items() if len(texts[of]) > 1]
    return sorted(found, key=lambda reading: list(config.attacks).index(reading[2]))


def _but_for_the_text(config: Config, attack: str) -> str:
    """Id of the attack that differs from `attack` in no more than the text, or its own."""
    spec = config.attacks[attack]
    of = config.attacks.get(spec.reading_of)
    same = of is not None and of.model_dump(exclude=_READ_APART) == spec.model_dump(exclude=_READ_APART)
    return spec.reading_of if same else attack


def _published(config: Config) -> pd.DataFrame:
    """Published percentages by `_CELL`."""
    texts, results = (pd.read_csv(PUBLISHED / name) for name in ("texts.csv", "results.csv"))
    results = results.rename(columns={"target": "published_target", "attack": "of", "percent": "published"})
    published_as = {target: config.targets[target].published_as for target in config.run.targets}
    claims = [(target, *claim) for target, claims in published_as.items() for claim in claims.items()]
    claims = pd.DataFrame(claims, columns=["here", "paper", "target"])
    found = claims.merge(texts, on=["paper", "target"]).merge(results, on=["paper", "published_target"])
    return found.assign(target=found["here"])[[*_CELL, "published"]]
