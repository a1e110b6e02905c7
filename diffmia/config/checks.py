"""What must hold between the parts of a config, which each by itself may be right.

Each check raises a `DiffmiaError` that names the key, what is wrong with it and what would be right.
"""

from __future__ import annotations

import csv
import difflib
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from diffmia.attacks.base import beyond_the_last
from diffmia.captions.texts import CAPTION, NONE
from diffmia.datasets.joined import check_parts
from diffmia.errors import DiffmiaError
from diffmia.evaluation.rows import ROC
from diffmia.files.layout import RESIDUAL_SCORES
from diffmia.models.base import ImportedTarget
from diffmia.published import PUBLISHED
from diffmia.search.studies import StudiesSpec
from diffmia.splits import FileSplit, GroupsSplit

if TYPE_CHECKING:
    from diffmia.config.config import Config


def published_targets() -> dict[str, list[str]]:
    """Names of the targets in each paper's published results, by paper id."""
    with PUBLISHED.joinpath("results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["target"] != "average"]
    return {paper: sorted({r["target"] for r in rows if r["paper"] == paper}) for paper in {r["paper"] for r in rows}}


def check_definitions(config: Config) -> None:
    """Definitions name what is defined, and do not contradict each other."""
    published = published_targets()
    for id_, dataset in config.datasets.items():
        for part in dataset.made_of():
            _known(f"datasets.{id_}.parts", part, config.datasets)
    check_parts(config.datasets)
    for id_ in (NONE, CAPTION):
        if id_ in config.captioners:
            raise DiffmiaError(f"config: captioners.{id_} is the name of a condition that needs none; choose another")
    conditions = (NONE, CAPTION, *config.captioners)
    for id_, split in config.splits.items():
        _known(f"splits.{id_}.dataset", split.dataset, config.datasets)
        parts = config.datasets[split.dataset].made_of()
        for key in ("member_groups", "non_member_groups") if isinstance(split, GroupsSplit) and parts else ():
            for group in getattr(split, key):
                _known(f"splits.{id_}.{key}", group, parts)
    for id_, target in config.targets.items():
        _known(f"targets.{id_}.split", target.split, config.splits)
        if target.condition is not None:
            _known(f"targets.{id_}.condition", target.condition, conditions)
        if target.null_targets and config.splits[target.split].auxiliary_size() == 0:
            raise DiffmiaError(
                f"config: targets.{id_}.null_targets is {target.null_targets}, and null targets are trained on "
                f"auxiliary samples, of which split '{target.split}' has none (auxiliary)"
            )
        for key, attacks in (("timesteps", target.timesteps), ("attacks", target.attacks or ())):
            for attack in attacks:
                _known(f"targets.{id_}.{key}", attack, config.attacks)
        for paper, name in target.published_as.items():
            where = f"targets.{id_}.published_as"
            _known(where, paper, published)
            _known(f"{where}.{paper}", name, published[paper])
    for id_, attack in config.attacks.items():
        if attack.condition is not None:
            _known(f"attacks.{id_}.condition", attack.condition, conditions)
        if attack.reading_of is not None:
            _known(f"attacks.{id_}.reading_of", attack.reading_of, config.attacks)
        if id_ == RESIDUAL_SCORES:
            raise DiffmiaError(f"config: attacks.{id_} is the name of the file with several attacks; choose another")
        if (of := id_.removesuffix(ROC)) != id_ and of in config.attacks:
            raise DiffmiaError(f"config: attacks.{id_} is the name of a reading of attack '{of}'; choose another")


def check_run(config: Config) -> None:
    """The selection is of what is defined, and can be done."""
    for target in config.run.targets:
        _known("run.targets", target, config.targets)
    for attack in config.run.attacks:
        _known("run.attacks", attack, config.attacks)
        # of the run's attacks only: who replaces the targets need not take out the attacks that were for them
        for target in config.attacks[attack].targets or ():
            _known(f"attacks.{attack}.targets", target, config.targets)
    for id_ in config.asked_targets:
        drawn = not isinstance(config.split_of(id_), FileSplit)
        if isinstance(config.targets[id_], ImportedTarget) and drawn and len(config.run.seeds) > 1:
            raise DiffmiaError(
                f"config: target '{id_}' was trained once, on one split, and each of the run's seeds draws another; "
                "give its split by method: file, or run one seed"
            )
        if not config.done_on(id_, config.run.attacks):
            raise DiffmiaError(
                f"config: none of the run's attacks is done on target '{id_}' (targets.{id_}.attacks and the attacks' "
                f"own targets say which are); take '{id_}' out of run.targets, or select one of "
                f"{', '.join(config.done_on(id_, config.attacks))}"
            )
        known = config.datasets[config.split_of(id_).dataset].known_in(config.datasets)
        if config.targets[id_].condition == CAPTION and "captions" not in known:
            raise DiffmiaError(
                f"config: target '{id_}' is told captions, and dataset '{config.split_of(id_).dataset}' has none; set "
                f"targets.{id_}.condition to none or to a captioner's id"
            )
    for target, attack in config.pairs:
        if reason := config.refusal(attack, target):
            raise DiffmiaError(f"config: attack '{attack}' cannot be run on target '{target}': {reason}")
    if not config.pairs:
        target, attack = next(iter(config.left_out))
        raise DiffmiaError(
            f"config: nothing is left to run: attack '{attack}' {config.left_out[target, attack]} on target '{target}'"
        )


def check_studies(config: Config) -> None:
    """What figures alone ask can be asked."""
    for id_, target in config.targets.items():
        studies = target.studies or StudiesSpec()
        where = f"config: targets.{id_}.studies"
        for quantity, variants in studies.variants.items():
            for variant in variants.values():
                _known(f"targets.{id_}.studies.variants.{quantity}", variant, config.targets)
            if list(variants.values()).count(id_) != 1:
                raise DiffmiaError(f"{where}.variants.{quantity} must have '{id_}' itself at one value")
        for t, (attack, spec) in itertools.product(studies.timesteps, config.studied_attacks(id_).items()):
            if reason := spec.refuses(target, t, None):
                raise DiffmiaError(f"{where}.timesteps has {t}, where attack '{attack}' cannot be asked: {reason}")
        for t in studies.jacobian_timesteps if studies.jacobian_samples else ():
            if reason := beyond_the_last(target, t):
                raise DiffmiaError(f"{where}.jacobian_timesteps has {t}: {reason}")


def _known(where: str, id_: str, known: Iterable[str]) -> None:
    known = list(known)
    if id_ not in known:
        near = difflib.get_close_matches(id_, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        written = [name for name in known if "__" not in name]
        made = " and the targets that are made from them (__null, __epoch<N>)" * (len(written) < len(known))
        raise DiffmiaError(
            f"config: {where} names '{id_}', which is not defined{hint} Defined: {', '.join(written)}{made}"
        )
