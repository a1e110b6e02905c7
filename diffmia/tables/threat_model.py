"""What an attacker is given: the columns Access and Supervision of every table of attacks, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from diffmia.evaluation.rows import attack_of

if TYPE_CHECKING:
    from diffmia.attacks.base import AttackSpec
    from diffmia.config.config import Config

COLUMNS = ("Access", "Supervision")

_SEES = {
    "blind": "samples alone",
    "grey": "what noise the model predicts at inputs and timesteps of its choice",
    "white": "the model's weights and gradients too",
}
_LEARNS_FROM = {
    "folds": "the membership of the other folds' samples; each is judged by a fit without it",
    "auxiliary": "samples that the target never saw",
    "labelled": "the membership of that share of the target's own members, and as many auxiliary samples",
    "shadow": "other targets, trained on auxiliary samples, and what each was trained on",
}


def specs_of(row_ids: Iterable[str], config: Config) -> dict[str, AttackSpec]:
    """Attacks that rows of `metrics.csv` belong to, by their ids."""
    return {attack: config.attacks[attack] for attack in (attack_of(id_, config.attacks) for id_ in row_ids)}


def threat_model(row_id: str, config: Config) -> list[str]:
    """What stands in the columns."""
    (spec,) = specs_of([row_id], config).values()
    return [spec.access, spec.supervision]


def with_threat_model(data: pd.DataFrame, config: Config) -> pd.DataFrame:
    """A table's data with columns `access` and `supervision` after its `attack`."""
    models = [threat_model(attack, config) for attack in data["attack"]]
    columns = pd.DataFrame(models, columns=[name.lower() for name in COLUMNS], index=data.index)
    place = data.columns.get_loc("attack") + 1
    return pd.concat([data.iloc[:, :place], columns, data.iloc[:, place:]], axis="columns")


def caption(title: str, row_ids: Iterable[str], config: Config) -> str:
    """A table's title, which says so where an attack was told of members of the target itself."""
    specs = specs_of(row_ids, config).values()
    told = {spec.supervision: f"{100 * spec.labelled_fraction:g} %" for spec in specs if _labelled(spec)}
    if not told:
        return title
    names = " or ".join(f"“{supervision}”" for supervision in told)
    whom = "the attacks" if all(map(_labelled, specs)) else f"attacks with supervision {names}"
    return f"{title}; {whom} are told the membership of {' or '.join(told.values())} of the members"


def threat_model_notes(row_ids: Iterable[str], config: Config) -> list[str]:
    """What the words in the columns mean, as far as they are there."""
    specs = specs_of(row_ids, config).values()
    seen = dict.fromkeys(f"{spec.access}, {_SEES[spec.access]}" for spec in specs)
    learners = [spec for spec in specs if hasattr(spec, "learns_from")]
    learned = dict.fromkeys(f"{spec.supervision}, {_LEARNS_FROM[spec.learns_from]}" for spec in learners)
    found = [f"Access, what the attack sees: {'; '.join(seen)}."]
    if learned:
        found.append(f"Supervision, what the attack learned from: {'; '.join(learned)}.")
    if any(map(_labelled, specs)):
        found.append(
            "Members whose membership an attack was told are not judged, so it is judged on fewer members than "
            "others; all are judged on the same non-members."
        )
    return found


def _labelled(spec: AttackSpec) -> bool:
    return getattr(spec, "learns_from", None) == "labelled"
