"""What a run will lack, said before it begins: files that it names and that are not there, figures that stay empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diffmia.attacks.blind import BlindAttack
from diffmia.config.config import Config
from diffmia.figures.shown import is_drawn
from diffmia.models.base import ImportedTarget
from diffmia.planning.jobs import conditions_of


def remarks(config: Config) -> list[str]:
    """A sentence on each; none of them ends a run, of which a part may be asked for."""
    absent = [
        f"config: {where} names '{path}', and there is no such file or folder ({guide} says what belongs there)"
        for where, guide, paths in _own_files(config)
        for path in paths
        if not Path(path).exists()
    ]
    empty = [
        f"config: run.figures: '{figure}' has nothing to show of any of the run's targets, and is not drawn"
        for figure in config.run.figures
        if not any(is_drawn(config, figure, target) for target in config.run.targets)
    ]
    return [*absent, *empty]


def _own_files(config: Config) -> Iterator[tuple[str, str, list[str]]]:
    """Where the config names files of the user's own that the run reads, the guide to them, and their paths."""
    targets = dict.fromkeys(map(config.trained_as, config.asked_targets))
    splits = dict.fromkeys(config.targets[target].split for target in targets)
    waiting = [config.splits[split].dataset for split in splits]
    datasets: dict[str, None] = {}
    while waiting:
        id_ = waiting.pop()
        datasets[id_] = None
        waiting += config.datasets[id_].made_of()
    told = {condition for target in targets for condition in conditions_of(config, "residuals", target)}
    for id_ in datasets:
        if not config.datasets[id_].made_of():  # what it is made of the workflow makes
            yield f"datasets.{id_}", "docs/data.md", config.datasets[id_].inputs()
    for id_ in splits:
        yield f"splits.{id_}", "docs/data.md", config.splits[id_].inputs()
    for id_ in targets:
        if isinstance(spec := config.targets[id_], ImportedTarget):
            yield f"targets.{id_}", "docs/targets.md", spec.inputs()
    for id_ in sorted(told & set(config.captioners)):
        yield f"captioners.{id_}", "docs/targets.md", config.captioners[id_].inputs()
    for id_ in config.run.attacks:
        if isinstance(spec := config.attacks[id_], BlindAttack):
            yield f"attacks.{id_}", "config.yaml", spec.inputs()
