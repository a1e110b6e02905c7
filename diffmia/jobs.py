"""What determines each job's numbers, as one canonical text.

Snakemake compares a rule's params by value to decide what to rerun, and ignores their names and what callables close
over. So every rule has one param, `job`: sorted JSON of everything that decides its output and is not a file, and of
nothing that does not (device, batch size, shards, threads). The same text stands beside the result.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from diffmia import seeds, training_version
from diffmia.attacks.base import TableAttack
from diffmia.code_digest import code_digest
from diffmia.config import PUBLISHED, Config
from diffmia.figures import FIGURES
from diffmia.models.base import TargetSpec
from diffmia.probes import Probe, merge
from diffmia.spec import Spec
from diffmia.tables import TABLES


def _job(rule: str, modules: list[str] | None, /, **parts: Any) -> str:
    """Canonical text of a job of `rule`; `modules` are those whose code, with all they import, decides the result.

    None: the code is not part of the job.
    """
    job = {"rule": rule, **{key: _plain(part) for key, part in parts.items()}}
    if modules is not None:
        job["code"] = code_digest(*modules, script=rule)
    return json.dumps(job, sort_keys=True)


def _plain(part: Any) -> Any:
    return part.model_dump(mode="json") if isinstance(part, Spec) else part


def _definition(target: TargetSpec, *without: str) -> dict[str, Any]:
    """All of a target's settings but those that only say how it is asked, shown or shared out."""
    return target.model_dump(mode="json", exclude={"timesteps", "published_as", "shards", "batch_size", *without})


def dataset_job(config: Config, rule: str, dataset: str) -> str:
    """`download_dataset` or `prepare_dataset`."""
    spec = config.datasets[dataset]
    return _job(rule, ["diffmia.datasets.prepare", type(spec).__module__], dataset=dataset, spec=spec)


def split_job(config: Config, split: str, seed: int) -> str:
    """Drawing of a split."""
    spec = config.splits[split]
    return _job("build_split", ["diffmia.splits"], split=split, spec=spec, seed=seeds.child_seed(seed, "split"))


def training_job(config: Config, target: str, seed: int) -> str:
    """Training of a target. Its code is tracked by a version that is raised by hand: an edit must not cost GPU days."""
    spec = config.targets[target]
    definition = _definition(spec)
    del definition["training"]["seconds_between_saves"]
    return _job(
        "train_target",
        None,
        target=target,
        definition=definition,
        seed=seeds.child_seed(seed, "training"),
        version=training_version.VERSION,
    )


def import_job(config: Config, target: str) -> str:
    """Taking in of a target that was trained elsewhere."""
    spec = config.targets[target]
    definition = _definition(spec)
    return _job("import_target", ["diffmia.targets", type(spec).__module__], target=target, definition=definition)


def probes_of(config: Config, target: str) -> list[Probe]:
    """Everything the attacks *defined* for a target ask, selected or not, so that a selection never reruns the pass."""
    readers = config.attacks_of(TableAttack)
    servable = [attack for attack in readers if config.refusal(attack, target) is None]
    return merge([p for attack in servable for p in config.attacks[attack].probes(config.timestep(attack, target))])


def residual_job(config: Config, rule: str, target: str, seed: int) -> str:
    """`compute_residuals` of one shard or `merge_residuals`."""
    spec = config.targets[target]
    return _job(
        rule,
        ["diffmia.residuals", type(spec).__module__],
        # what decides the numbers themselves: finished pieces of a pass are kept as long as this stands
        numerics=code_digest("diffmia.residual_batch", type(spec).__module__),
        target=target,
        definition=_definition(spec, "training"),
        probes=[_plain(probe) for probe in probes_of(config, target)],
        seed=seeds.child_seed(seed, "noise"),
    )


def score_job(config: Config, target: str, attack: str) -> str:
    """Scores of one attack on one target."""
    spec = config.attacks[attack]
    return _job(
        "score_attack",
        ["diffmia.scoring", type(spec).__module__],
        target=target,
        attack=attack,
        spec=spec.model_dump(mode="json", exclude={"label", "reading_of", "t"}),
        timestep=config.timestep(attack, target),
    )


def evaluation_job(config: Config, target: str, attack: str, seed: int) -> str:
    """Metrics of one attack on one target."""
    return _job(
        "evaluate_scores",
        ["diffmia.evaluation.stage", type(config.attacks[attack]).__module__],
        target=target,
        attack=attack,
        dataset=config.split_of(target).dataset,
        spec=config.evaluation,
        run_seed=seed,
        seed=seeds.child_seed(seed, "evaluation"),
    )


def selection_job(config: Config, rule: str, *modules: str, **parts: Any) -> str:
    """An aggregate, a table or a figure: what is selected and how it is shown."""
    attacks = {id_: config.attacks[id_] for id_ in config.run.attacks}
    targets = {id_: config.targets[id_].published_as for id_ in config.run.targets}
    return _job(
        rule,
        list(modules),
        **parts,
        attacks={id_: {"label": spec.label, "reading_of": spec.reading_of} for id_, spec in attacks.items()},
        order=list(config.run.attacks),
        targets=targets,
        seeds=list(config.run.seeds),
        evaluation=config.evaluation,
    )


def table_job(config: Config, table: str) -> str:
    """A table of the run."""
    module = TABLES[table].partition(":")[0]
    published = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(PUBLISHED.glob("*.csv")))).hexdigest()
    return selection_job(config, "render_table", module, "diffmia.tables.stage", table=table, published=published)


def figure_job(config: Config, figure: str, target: str) -> str:
    """A figure of one target of the run."""
    entry = FIGURES[figure]
    return _job(
        "plot_figure",
        [entry.function.partition(":")[0], "diffmia.figures.stage"],
        figure=figure,
        target=target,
        attacks=list(shown_attacks(config).items()) if entry.reads == "scores" else [],
        seeds={seed: seeds.child_seed(seed, "evaluation") for seed in config.run.seeds},
        evaluation=config.evaluation if entry.reads == "scores" else None,
    )


def shown_attacks(config: Config) -> dict[str, str]:
    """Labels of the run's attacks that figures show, by id: all that are not another reading of one."""
    specs = {id_: config.attacks[id_] for id_ in config.run.attacks}
    return {id_: spec.label for id_, spec in specs.items() if spec.reading_of is None}
