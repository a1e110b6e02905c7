"""`config.yaml` as typed, cross-checked values, with errors that say which key is wrong and what would be right."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, StringConstraints, ValidationError

import diffmia.attacks
import diffmia.captions
import diffmia.datasets
import diffmia.models
from diffmia.attacks.base import AttackSpec, TableAttack
from diffmia.attacks.residual import ResidualAttack
from diffmia.blind.spec import DuplicatesSpec
from diffmia.captions.base import CaptionerSpec
from diffmia.captions.texts import CAPTION
from diffmia.config.checks import check_definitions, check_run, check_studies
from diffmia.config.errors import explain
from diffmia.config.files import read_yaml
from diffmia.config.relatives import checkpoint_ids, null_ids, with_relatives
from diffmia.datasets.base import DatasetSpec
from diffmia.errors import DiffmiaError
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.figures import FIGURES
from diffmia.files.layout import RESIDUAL_SCORES
from diffmia.models.base import TargetSpec, TrainedTarget
from diffmia.search.iterations import PICARD
from diffmia.spec import Distinct, Spec, union_of
from diffmia.splits import BoundarySplit, ClassBalancedSplit, FileSplit, GroupSplit, GroupsSplit, RandomSplit
from diffmia.tables import TABLES

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]
AnyDataset = union_of(diffmia.datasets, DatasetSpec, "source")
AnySplit = Annotated[
    ClassBalancedSplit | RandomSplit | GroupSplit | GroupsSplit | BoundarySplit | FileSplit,
    Field(discriminator="method"),
]
AnyTarget = union_of(diffmia.models, TargetSpec, "family")
AnyCaptioner = union_of(diffmia.captions, CaptionerSpec, "family")
AnyAttack = union_of(diffmia.attacks, AttackSpec, "family")

CONFIG_FILE = Path("config.yaml")
SCHEMA_PATH = Path(__file__).with_name("schema.json")


class RunSpec(Spec):
    """What to do: the only section a preset changes."""

    name: Id = Field("default", description="Aggregates go to results/ for `default`, else to results/runs/<name>/")
    targets: Distinct[str] = Field(min_length=1, description="Ids of the targets to attack")
    attacks: Distinct[str] = Field(min_length=1, description="Ids of the attacks to run on each of them")
    seeds: Distinct[NonNegativeInt] = Field((0,), min_length=1, description="Run seeds; each trains its own targets")
    partial: bool = Field(
        False,
        description="Make the tables of the scores that are there, and no others: where a job failed, the tables have "
        "how and why in the place of a number. No figures are drawn",
    )
    tables: Distinct[Literal[tuple(TABLES)]] = Field(tuple(TABLES), description="Tables to render")
    figures: Distinct[Literal[tuple(FIGURES)]] = Field(tuple(FIGURES), description="Figures to draw for each target")


class Config(Spec):
    """The whole of `config.yaml`: definitions by id, and the selection to run."""

    run: RunSpec
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto: CUDA for jobs with gpu > 0 where one is visible, else the CPU; cuda: fail without one",
    )
    minutes_per_job: PositiveFloat | None = Field(
        None, description="Longest a job may take before it is given up as timed out; null for as long as it takes"
    )
    datasets: dict[Id, AnyDataset] = Field(description="Where images come from")
    splits: dict[Id, AnySplit] = Field(description="Members, non-members and auxiliary samples")
    targets: dict[Id, AnyTarget] = Field(description="Models to attack")
    captioners: dict[Id, AnyCaptioner] = Field(
        default_factory=dict, description="Models that write a sentence about an image; the id is a condition"
    )
    attacks: dict[Id, AnyAttack] = Field(description="Attacks")
    duplicates: DuplicatesSpec = Field(
        default_factory=DuplicatesSpec, description="When a member and a non-member count as near-duplicates"
    )
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec, description="How scores are judged")

    @property
    def out(self) -> str:
        """Folder of the run's aggregates: metrics, cost, tables and figures."""
        return "results" if self.run.name == "default" else f"results/runs/{self.run.name}"

    @functools.cached_property
    def controls(self) -> list[str]:
        """Ids of the null controls of the run's targets, on which some of its attacks are done."""
        found = [control for target in self.run.targets for control in self.controls_of(target)]
        found = [control for control in dict.fromkeys(found) if control not in self.run.targets]
        return [control for control in found if self.done_on(control, self.run.attacks)]

    def controls_of(self, target: str) -> list[str]:
        """Ids of a target's null controls: its first null target, and itself before training where that is kept."""
        like = self.targets[target].relative_of or target
        untrained = checkpoint_ids(like, self.targets[like]).get(0)
        return [*self.null_targets(target)[:1], *([] if untrained is None else [untrained])]

    def null_targets(self, target: str) -> list[str]:
        """Ids of the targets like `target` that saw no member; of such a one the same."""
        like = self.targets[target].relative_of or target
        return null_ids(like, self.targets[like])

    def checkpoints(self, target: str) -> dict[int, str]:
        """Ids of a target at several epochs of its training, the last of which is itself; none if only that is kept."""
        spec = self.targets[target]
        earlier = {} if spec.relative_of is not None else checkpoint_ids(target, spec)
        return earlier | {spec.training.epochs: target} if earlier else {}

    def trained_as(self, target: str) -> str:
        """Id of the target whose folder has the weights of `target`: another one's if it is a checkpoint."""
        spec = self.targets[target]
        return target if spec.at_epoch is None else spec.relative_of

    @functools.cached_property
    def asked_targets(self) -> list[str]:
        """Ids of the run's targets and of their null controls."""
        return [*self.run.targets, *self.controls]

    @functools.cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """(target, attack) of the run: every attack on every target and control that has what it needs."""
        return [pair for pair in self._every_pair if self.lack(*pair) is None]

    @functools.cached_property
    def left_out(self) -> dict[tuple[str, str], str]:
        """(target, attack) of the run that is not done, and what the target lacks for it."""
        return {pair: reason for pair in self._every_pair if (reason := self.lack(*pair)) is not None}

    @functools.cached_property
    def _every_pair(self) -> list[tuple[str, str]]:
        return [(target, attack) for target in self.asked_targets for attack in self.done_on(target, self.run.attacks)]

    @functools.cached_property
    def _attacks_done(self) -> dict[str, list[str]]:
        done: dict[str, list[str]] = {}
        for target, attack in self.pairs:
            done.setdefault(target, []).append(attack)
        return done

    def model_copy(self, **changes: Any) -> Config:
        """A copy with changes, of which nothing that was worked out before is taken over."""
        copied = super().model_copy(**changes)
        for name, value in vars(Config).items():
            if isinstance(value, functools.cached_property):
                vars(copied).pop(name, None)
        return copied

    def done_on(self, target: str, attacks: Iterable[str]) -> list[str]:
        """Those of `attacks` that are done on `target`: all, but if it names the ones that are, or they their targets.

        Blind baselines ask no model, so they are done on every target but those that are made from another one. Of a
        checkpoint only the residuals are asked for.
        """
        spec = self.targets[target]
        like = spec.relative_of or target
        possible = [
            attack
            for attack in attacks
            if (only := self.attacks[attack].targets) is None or like in only
            if spec.at_epoch is None or isinstance(self.attacks[attack], TableAttack)
        ]
        blind = {attack for attack in possible if self.attacks[attack].access == "blind"}
        return [
            attack
            for attack in possible
            if (spec.relative_of is None if attack in blind else spec.attacks is None or attack in spec.attacks)
        ]

    def residual_attacks(self, target: str) -> dict[str, tuple[AttackSpec, int]]:
        """Attacks, by id and with their timesteps, that read residuals and are *defined* for `target`.

        Selected or not: its residuals do not depend on the selection.
        """
        reading = [a for a, spec in self.attacks.items() if spec.answers == "residuals"]
        possible = [a for a in self.done_on(target, reading) if self.lack(target, a) is None]
        return {a: (self.attack(a, target), self.timestep(a, target)) for a in possible if not self.refusal(a, target)}

    def table_attacks(self, target: str) -> dict[str, tuple[TableAttack, int]]:
        """Those of them that do nothing but read: like residuals, their scores do not depend on the selection."""
        return {a: of for a, of in self.residual_attacks(target).items() if isinstance(of[0], TableAttack)}

    def studied_attacks(self, target: str) -> dict[str, ResidualAttack]:
        """Attacks that figures of the timestep and of convergence show, by id: defined, and no other reading of one.

        Of those that go on by another iteration than Picard's there is no more than the second iterate to show.
        """
        specs = {id_: self.attack(id_, target) for id_ in self.done_on(target, self.attacks_of(ResidualAttack))}
        shown = {id_: spec for id_, spec in specs.items() if spec.reading_of is None and spec.iteration == PICARD}
        return {id_: spec for id_, spec in shown.items() if self.refusal(id_, target) is None}

    def run_attacks(self, target: str) -> dict[str, tuple[AttackSpec, int | None]]:
        """The run's attacks on `target` by id, with their timesteps."""
        return {a: (self.attack(a, target), self.timestep(a, target)) for a in self._attacks_done.get(target, ())}

    @functools.cached_property
    def surrogates(self) -> dict[str, list[str]]:
        """Attacks by run target whose thresholds another seed's target can choose: it was trained on other members.

        A target that was trained elsewhere, or on a split that is read from a file, has no such other.
        """
        if len(self.run.seeds) < 2:
            return {}
        trained = [id_ for id_ in self.run.targets if isinstance(self.targets[id_], TrainedTarget)]
        drawn = [id_ for id_ in trained if not isinstance(self.split_of(id_), FileSplit)]
        attacks = {id_: [a for a in self.run_attacks(id_) if self._has_thresholds(a, id_)] for id_ in drawn}
        return {id_: of_target for id_, of_target in attacks.items() if of_target}

    def _has_thresholds(self, attack: str, target: str) -> bool:
        return self.attacks[attack].access != "blind" and self.is_main(attack, target)

    def is_main(self, attack: str, target: str) -> bool:
        """Whether main tables and figures show an attack on `target`: it is another reading of none that is done on it.

        So a reading stands in the place of its attack where that one is not done.
        """
        read = [attack]  # and what it is a reading of, and that in turn
        while (of := self.attacks[read[-1]].reading_of) is not None and of not in read:
            read.append(of)
        done = self._attacks_done.get(target, ())
        return len(read) == 1 or (attack in done and not set(read[1:]) & set(done))

    def score_file(self, target: str, seed: int, attack: str) -> str:
        """Where scores of an attack are: in one file for all that only read residuals, else in one of its own."""
        name = RESIDUAL_SCORES if isinstance(self.attacks[attack], TableAttack) else attack
        return f"results/scores/{target}/seed{seed}/{name}.parquet"

    def lack(self, target: str, attack: str) -> str | None:
        """What `target` would need for `attack` and has not, or None if it has all."""
        spec, of = self.attacks[attack], self.targets[target]
        if spec.condition is not None and of.condition is None:
            return "tells a text, for targets that are told one"
        known = self.datasets[self.split_of(target).dataset].known_in(self.datasets)
        needs = "captions" if spec.condition == CAPTION else spec.needs
        if needs is not None and needs not in known:
            return f"needs {needs} of the samples and has none"
        if getattr(spec, "learns_from", None) == "labelled" and isinstance(self.split_of(target), GroupSplit):
            # all members that it is not told of are of the groups of those it is, and no non-member is
            return "learns from single members, and the split keeps groups whole: groups would tell it the others"
        return spec.lacks(of, self._auxiliary(target))

    def attack(self, attack: str, target: str) -> AttackSpec:
        """An attack as it is done on `target`: what it tells the target is the target's own choice, if not its own."""
        spec, told = self.attacks[attack], self.targets[target].condition
        if told is None or spec.condition is not None or spec.access == "blind":
            return spec
        return spec.model_copy(update={"condition": told})

    def timestep(self, attack: str, target: str) -> int | None:
        """When `target` is probed by `attack`: the target's own choice, else the attack's."""
        return self.targets[target].timesteps.get(attack, self.attacks[attack].t)

    def refusal(self, attack: str, target: str) -> str | None:
        """Why `attack` cannot be run on `target`, or None if it can."""
        t = self.timestep(attack, target)
        return self.attacks[attack].refuses(self.targets[target], t, self._auxiliary(target))

    def _auxiliary(self, target: str) -> int | None:
        """Auxiliary samples a target leaves for attacks that learn, None if only the drawn split tells."""
        size = self.split_of(target).auxiliary_size()
        return size if size is None or self.targets[target].auxiliary_half is None else size - size // 2

    def targets_of(self, kind: type[TargetSpec]) -> list[str]:
        """Ids of the targets that are trained (`TrainedTarget`) or imported (`ImportedTarget`), without checkpoints."""
        return [id_ for id_, spec in self.targets.items() if isinstance(spec, kind) and spec.at_epoch is None]

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
    check_definitions(config)
    check_studies(config)
    config = config.model_copy(update={"targets": with_relatives(config.targets)})
    check_run(config)
    return config


def read_config(further: Iterable[Path] = ()) -> Config:
    """The configuration of this folder, for commands that run no workflow; `further` files go over it, in their order.

    Raises
    ------
    DiffmiaError
        If there is no such file, or they are no valid configuration.
    """
    if not CONFIG_FILE.exists():
        raise DiffmiaError(f"cannot read {CONFIG_FILE}: No such file or directory; run it in the project's folder")
    raw = read_yaml(CONFIG_FILE)
    for path in further:
        from snakemake.utils import update_config

        update_config(raw, read_yaml(path))
    return load_config(raw)


def json_schema() -> str:
    """The JSON schema of `config.yaml`, for editors; kept beside this file, and a test compares the two."""
    schema = Config.model_json_schema()
    for section in schema["properties"].values():
        if "patternProperties" in section:  # definitions by id: no other keys
            section["additionalProperties"] = False
    return json.dumps(schema, indent=2) + "\n"
