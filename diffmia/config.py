"""`config.yaml` as typed, cross-checked values, with errors that say which key is wrong and what would be right."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, StringConstraints, ValidationError, field_validator

import diffmia.attacks
import diffmia.datasets
import diffmia.models
from diffmia.attacks.base import AttackSpec
from diffmia.config_errors import explain
from diffmia.datasets.base import DatasetSpec
from diffmia.errors import DiffmiaError
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.figures import FIGURES
from diffmia.models.base import ImportedTarget, TargetSpec
from diffmia.spec import Spec, union_of
from diffmia.splits import ClassBalancedSplit, FileSplit, GroupSplit, RandomSplit
from diffmia.tables import TABLES

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]
AnyDataset = union_of(diffmia.datasets, DatasetSpec, "source")
AnySplit = Annotated[ClassBalancedSplit | RandomSplit | GroupSplit | FileSplit, Field(discriminator="method")]
AnyTarget = union_of(diffmia.models, TargetSpec, "family")
AnyAttack = union_of(diffmia.attacks, AttackSpec, "family")

PUBLISHED = Path(__file__).with_name("published")
SCHEMA_PATH = Path(__file__).with_name("config.schema.json")


class RunSpec(Spec):
    """What to do: the only section a preset changes."""

    name: Id = Field("default", description="Aggregates go to results/ for `default`, else to results/runs/<name>/")
    targets: tuple[str, ...] = Field(min_length=1, description="Ids of the targets to attack")
    attacks: tuple[str, ...] = Field(min_length=1, description="Ids of the attacks to run on each of them")
    seeds: tuple[NonNegativeInt, ...] = Field((0,), min_length=1, description="Run seeds; each trains its own targets")
    tables: tuple[Literal[tuple(TABLES)], ...] = Field(tuple(TABLES), description="Tables to render")
    figures: tuple[Literal[tuple(FIGURES)], ...] = Field(tuple(FIGURES), description="Figures to draw for each target")

    @field_validator("targets", "attacks", "seeds", "tables", "figures")
    @classmethod
    def _each_once(cls, selected: tuple) -> tuple:
        if twice := sorted({str(one) for one in selected if selected.count(one) > 1}):
            raise ValueError(f"{', '.join(twice)} is there more than once")
        return selected


class Config(Spec):
    """The whole of `config.yaml`: definitions by id, and the selection to run."""

    run: RunSpec
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto: CUDA for jobs with gpu > 0 where one is visible, else the CPU; cuda: fail without one",
    )
    datasets: dict[Id, AnyDataset] = Field(description="Where images come from")
    splits: dict[Id, AnySplit] = Field(description="Members, non-members and auxiliary samples")
    targets: dict[Id, AnyTarget] = Field(description="Models to attack")
    attacks: dict[Id, AnyAttack] = Field(description="Attacks")
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec, description="How scores are judged")

    @property
    def out(self) -> str:
        """Folder of the run's aggregates: metrics, cost, tables and figures."""
        return "results" if self.run.name == "default" else f"results/runs/{self.run.name}"

    def timestep(self, attack: str, target: str) -> int:
        """When `target` is probed by `attack`: the target's own choice, else the attack's."""
        return self.targets[target].timesteps.get(attack, self.attacks[attack].t)

    def refusal(self, attack: str, target: str) -> str | None:
        """Why `attack` cannot be run on `target`, or None if it can."""
        return self.attacks[attack].refuses(self.targets[target], self.timestep(attack, target))

    def targets_of(self, kind: type[TargetSpec]) -> list[str]:
        """Ids of the targets that are trained (`TrainedTarget`) or imported (`ImportedTarget`)."""
        return [id_ for id_, spec in self.targets.items() if isinstance(spec, kind)]

    def attacks_of(self, kind: type[AttackSpec]) -> list[str]:
        """Ids of the attacks of a kind, e.g. those that read the residual table (`TableAttack`)."""
        return [id_ for id_, spec in self.attacks.items() if isinstance(spec, kind)]

    def split_of(self, target: str) -> AnySplit:
        """The split whose members `target` is trained on."""
        return self.splits[self.targets[target].split]


def load_config(raw: dict[str, Any]) -> Config:
    """Validate the merged configuration.

    Raises
    ------
    DiffmiaError
        Naming the key, what is wrong with it, the accepted values and, for a misspelling, the nearest one.
    """
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise DiffmiaError(explain(error, Config)) from error
    _check_references(config)
    return config


def json_schema() -> str:
    """The JSON schema of `config.yaml`, for editors; kept beside this file, and a test compares the two."""
    schema = Config.model_json_schema()
    for section in schema["properties"].values():
        if "patternProperties" in section:  # definitions by id: no other keys
            section["additionalProperties"] = False
    return json.dumps(schema, indent=2) + "\n"


def published_targets() -> dict[str, list[str]]:
    """Names of the targets in each paper's published results, by paper id."""
    with PUBLISHED.joinpath("results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["target"] != "average"]
    return {paper: sorted({r["target"] for r in rows if r["paper"] == paper}) for paper in {r["paper"] for r in rows}}


def _check_references(config: Config) -> None:
    published = published_targets()
    for target in config.run.targets:
        _known("run.targets", target, config.targets)
    for attack in config.run.attacks:
        _known("run.attacks", attack, config.attacks)
    for id_, split in config.splits.items():
        _known(f"splits.{id_}.dataset", split.dataset, config.datasets)
    for id_, target in config.targets.items():
        _known(f"targets.{id_}.split", target.split, config.splits)
        for attack in target.timesteps:
            _known(f"targets.{id_}.timesteps", attack, config.attacks)
        for paper, name in target.published_as.items():
            where = f"targets.{id_}.published_as"
            _known(where, paper, published)
            _known(f"{where}.{paper}", name, published[paper])
    for id_, attack in config.attacks.items():
        if attack.reading_of is not None:
            _known(f"attacks.{id_}.reading_of", attack.reading_of, config.attacks)
    for id_ in config.run.targets:
        drawn = not isinstance(config.split_of(id_), FileSplit)
        if isinstance(config.targets[id_], ImportedTarget) and drawn and len(config.run.seeds) > 1:
            raise DiffmiaError(
                f"config: target '{id_}' was trained once, on one split, and each of the run's seeds draws another; "
                "give its split by method: file, or run one seed"
            )
    for attack in config.run.attacks:
        for target in config.run.targets:
            if reason := config.refusal(attack, target):
                raise DiffmiaError(f"config: attack '{attack}' cannot be run on target '{target}': {reason}")


def _known(where: str, id_: str, known: Iterable[str]) -> None:
    known = list(known)
    if id_ not in known:
        near = difflib.get_close_matches(id_, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise DiffmiaError(f"config: {where} names '{id_}', which is not defined{hint} Defined: {', '.join(known)}")
