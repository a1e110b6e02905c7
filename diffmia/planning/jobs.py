"""What determines each job's numbers, as one canonical text.

Snakemake compares a rule's params by value to decide what to rerun, and ignores their names and what callables close
over. So every rule has one param, `job`: sorted JSON of everything that decides its output and is not a file, and of
nothing that does not (device, batch size, shards, threads). The same text stands beside the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable
from typing import Any, Literal

from diffmia.attacks.base import Answers, AttackSpec
from diffmia.config.config import Config
from diffmia.figures import FIGURES
from diffmia.figures.shown import compared_targets, mixed_groups, shown_attacks, shown_searches
from diffmia.models.base import EXACT, ImportedTarget, TargetSpec
from diffmia.models.hosted import HostedModel
from diffmia.planning import seeds
from diffmia.planning.code_digest import code_digest
from diffmia.published import PUBLISHED
from diffmia.search.probes import JacobianProbe, Question, merge
from diffmia.spec import Spec
from diffmia.tables import TABLES
from diffmia.training import version as training_version

Asked = Answers | Literal["jacobians"]  # kinds of pass: what attacks read, and what figures alone do


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


_NO_PART_OF_A_TARGET = (
    "attacks",
    "studies",
    "timesteps",
    "published_as",
    "condition",
    "shards",
    "null_targets",
    "relative_of",
    "at_epoch",
    "batch_size",
    "arithmetic",
    "gradient_batch_size",
    "gradient_checkpointing",
    "encoding_batch_size",
)


def _definition(target: TargetSpec, *without: str) -> dict[str, Any]:
    """All of a target's settings but those that only say how it is asked, shown or shared out."""
    return target.model_dump(mode="json", exclude={*_NO_PART_OF_A_TARGET, *without})


def dataset_job(config: Config, rule: str, dataset: str) -> str:
    """`download_dataset` or `prepare_dataset`."""
    spec = config.datasets[dataset]
    return _job(rule, ["diffmia.datasets.prepare", type(spec).__module__], dataset=dataset, spec=spec)


# stages that make what a text-to-image target is asked about
_OF_INPUTS = ("diffmia.encoding.latents", "diffmia.encoding.embeddings")
# what computes in other than plain float32
_OF_ARITHMETIC = ("diffmia.denoisers.precision", "diffmia.denoisers.compiled")

_ORIGIN = {"folder", "repo", "revision", "sha256"}  # of a captioner: its receipt has the files themselves


def fetch_captioner_job(config: Config, captioner: str) -> str:
    """Fetching of the files that a captioner is read from."""
    spec = config.captioners[captioner]
    definition = spec.model_dump(mode="json", include={"family", *_ORIGIN})
    modules = ["diffmia.models.fetch", type(spec).__module__]
    return _job("fetch_captioner", modules, captioner=captioner, definition=definition, known=_registered(spec))


def _registered(spec: ImportedTarget | HostedModel) -> dict[str, Any] | None:
    """What the register of published models says of a model that decides which files are taken for it, and as what."""
    return spec.published and spec.published.model_dump(include={"members_before", "revision", "sha256"})


def caption_job(config: Config, dataset: str, captioner: str) -> str:
    """Captions of a dataset's images by a captioner."""
    spec = config.captioners[captioner]
    modules = ["diffmia.captions.stage", type(spec).__module__]
    definition = spec.model_dump(mode="json", exclude={"batch_size", *_ORIGIN})
    return _job("caption_images", modules, dataset=dataset, captioner=captioner, definition=definition)


def split_job(config: Config, split: str, seed: int) -> str:
    """Drawing of a split."""
    spec = config.splits[split]
    return _job("build_split", ["diffmia.splits"], split=split, spec=spec, seed=seeds.child_seed(seed, "split"))


def training_job(config: Config, target: str, seed: int) -> str:
    """Training of a target. Its code is tracked by a version that is raised by hand: an edit must not cost GPU days."""
    spec = config.targets[target]
    definition = _definition(spec)
    del definition["training"]["seconds_between_saves"]
    for choice, plain in (("precision", EXACT), ("compile", False)):  # as it was before there was a choice
        if definition["training"][choice] == plain:
            del definition["training"][choice]
    return _job(
        "train_target",
        None,
        target=target,
        definition=definition,
        # a shadow that began with the target's own weights would know of it what no attacker does
        seed=seeds.child_seed(seed, "training", *([] if spec.auxiliary_half is None else [spec.auxiliary_half])),
        version=training_version.VERSION,
    )


def fetch_job(config: Config, target: str) -> str:
    """Fetching of the files that a target is imported from."""
    spec = config.targets[target]
    definition = _definition(spec, "split", "split_hash", "schedule", "model", "auxiliary_half")
    modules = ["diffmia.models.fetch", type(spec).__module__]
    return _job("fetch_target", modules, target=target, definition=definition, known=_registered(spec))


def import_job(config: Config, target: str) -> str:
    """Taking in of a target that was trained elsewhere."""
    spec = config.targets[target]
    modules = ["diffmia.targets", type(spec).__module__]
    return _job("import_target", modules, target=target, definition=_definition(spec), known=_registered(spec))


def latents_job(config: Config, target: str) -> str:
    """Latents of a dataset's images, by the autoencoder of a target; its shards are cut by whole batches."""
    batch_size = config.targets[target].encoding_batch_size
    return _job("encode_latents", ["diffmia.encoding.latents"], target=target, batch_size=batch_size)


def embedding_job(config: Config, target: str, condition: str) -> str:
    """Embeddings of the texts that a target is told under a condition."""
    spec = config.targets[target]
    epoch = {} if spec.at_epoch is None else {"at_epoch": spec.at_epoch}
    return _job("embed_captions", ["diffmia.encoding.embeddings"], target=target, condition=condition, **epoch)


def questions_of(config: Config, answers: Asked, target: str) -> list[Question]:
    """What a pass asks a target.

    Residuals: all that the attacks *defined* for it need, selected or not, so that a selection never reruns the pass.
    Gradients, which cost several times as much: what the run's attacks need, on it or as a shadow of another target.
    Jacobians: what one figure needs.
    """
    if answers == "jacobians":
        return merge(jacobian_questions(config, target))
    if answers == "residuals":
        asked = [question for spec, t in config.residual_attacks(target).values() for question in spec.questions(t)]
        return merge(asked + study_questions(config, target))
    akin = config.targets[target].relative_of or target
    related = [of for of in config.asked_targets if akin in (of, config.targets[of].relative_of)]
    asked_of = [(of, attack) for of in related for attack in config.run_attacks(of)]
    needed = [(of, attack) for of, attack in asked_of if target in learned_from(config, of, attack)]
    specs = [(config.attack(attack, of), config.timestep(attack, of)) for of, attack in needed]
    return merge([question for spec, t in specs if spec.answers == answers for question in spec.questions(t)])


def conditions_of(config: Config, answers: Asked, target: str) -> list[str]:
    """Under which conditions a pass asks a target: what it is told about each sample, if it is told anything."""
    if config.targets[target].condition is None:
        return []
    return sorted({question.condition for question in questions_of(config, answers, target)})


def study_questions(config: Config, target: str) -> list[Question]:
    """What a target is asked for figures alone."""
    studies = config.targets[target].studies
    if studies is None:
        return []
    attacks = config.studied_attacks(target)
    return studies.questions(attacks, {id_: config.timestep(id_, target) for id_ in attacks})


def jacobian_questions(config: Config, target: str) -> list[JacobianProbe]:
    """What a target is asked of its Jacobians, in the order of the timesteps; nothing if they are not studied."""
    studies = config.targets[target].studies
    return [] if studies is None else studies.jacobian_questions(config.targets[target].condition)


def learned_from(config: Config, target: str, attack: str) -> list[str]:
    """Ids of the targets whose answers an attack on `target` reads: its own, then those of the shadows it uses."""
    uses_shadows = config.attacks[attack].supervision == "shadow"
    return [target, *(config.null_targets(target) if uses_shadows else ())]


def pass_job(config: Config, rule: str, answers: Asked, target: str, seed: int) -> str:
    """`ask_target` about one shard, or `merge_answers`, of a kind of pass."""
    spec = config.targets[target]
    kind = f"diffmia.passes.{answers}"
    stage = "diffmia.passes.merging" if rule == "merge_answers" else "diffmia.passes.stage"
    # samples of each side; all of all roles where there is none
    limit = {"limit": spec.studies.jacobian_samples} if answers == "jacobians" and spec.studies else {}
    # what decides the numbers themselves: finished pieces of a pass are kept as long as its digest stands
    arithmetic = _arithmetic(config, target) if answers == "residuals" else {}
    numerics = [
        kind,
        type(spec).__module__,
        *(_OF_INPUTS if spec.latent else ()),
        *(_OF_ARITHMETIC if arithmetic else ()),
    ]
    return _job(
        rule,
        [stage, kind, type(spec).__module__],
        numerics=code_digest(*numerics),
        answers=answers,
        target=target,
        definition=_definition(spec, "training"),
        **({} if spec.at_epoch is None else {"at_epoch": spec.at_epoch}),
        questions=[_plain(question) for question in questions_of(config, answers, target)],
        seed=seeds.child_seed(seed, "noise"),
        **arithmetic,
        **limit,
    )


def _arithmetic(config: Config, target: str) -> dict[str, Any]:
    """How a target is asked on devices where that is not in plain float32, and the attacks whose ranks allow it."""
    faster = config.targets[target].arithmetic.model_dump(mode="json", exclude_defaults=True)
    return {"arithmetic": faster, "gated": _read_by(config.residual_attacks(target))} if faster else {}


def score_job(config: Config, target: str) -> str:
    """Scores of a target under all attacks that only read its residuals."""
    attacks = config.table_attacks(target)
    return _job(
        "score_attacks",
        ["diffmia.scoring.reading", *_modules_of(spec for spec, _ in attacks.values())],
        target=target,
        attacks=_read_by(attacks),
    )


def _read_by(attacks: dict[str, tuple[AttackSpec, int | None]]) -> dict[str, Any]:
    """What decides the scores of attacks, by id."""
    return {id_: {"spec": _scored_by(spec), "timestep": t} for id_, (spec, t) in attacks.items()}


def _modules_of(specs: Iterable[AttackSpec]) -> list[str]:
    return sorted({type(spec).__module__ for spec in specs})


def _scored_by(spec: AttackSpec) -> dict[str, Any]:
    """All of an attack's settings but how it is shown; its timestep may be a target's own."""
    return spec.model_dump(mode="json", exclude={"label", "reading_of", "targets", "t"})


def learning_job(config: Config, target: str, attack: str, seed: int) -> str:
    """An attack that learns: what it learned, and its scores."""
    spec = config.attack(attack, target)
    return _job(
        "learn_attack",
        ["diffmia.scoring.learning", type(spec).__module__],
        target=target,
        attack=attack,
        spec=_scored_by(spec),
        timestep=config.timestep(attack, target),
        seed=seeds.child_seed(seed, "learning"),
    )


def duplicates_job(config: Config, split: str) -> str:
    """Search for near-duplicates between a split's members and non-members."""
    return _job("find_duplicates", ["diffmia.blind.duplicates_stage"], split=split, spec=config.duplicates)


def blind_job(config: Config, target: str, attack: str, seed: int) -> str:
    """Scores of a blind baseline on the split of a target."""
    spec = config.attacks[attack]
    return _job(
        "score_blind",
        ["diffmia.blind.stage", type(spec).__module__],
        target=target,
        attack=attack,
        spec=_scored_by(spec),
        seed=seeds.child_seed(seed, "blind"),
    )


def evaluation_job(config: Config, target: str, seed: int, judged: Container[str] | None = None) -> str:
    """Metrics of the run's attacks on one target; only of those in `judged`, if there is such a list."""
    attacks = {id_: of for id_, of in config.run_attacks(target).items() if judged is None or id_ in judged}
    return _job(
        "evaluate_scores",
        ["diffmia.evaluation.stage", *_modules_of(spec for spec, _ in attacks.values())],
        target=target,
        attacks=list(attacks),  # in the order of their rows
        settings=_read_by(attacks),
        dataset=config.split_of(target).dataset,
        spec=config.evaluation,
        run_seed=seed,
        seed=seeds.child_seed(seed, "evaluation"),
    )


def transfer_job(config: Config, target: str) -> str:
    """Judgement of a target's scores by thresholds of its other seeds."""
    return _job(
        "transfer_thresholds",
        ["diffmia.evaluation.stage"],
        target=target,
        attacks=config.surrogates[target],
        spec=config.evaluation,
        run_seeds=list(config.run.seeds),
    )


def selection_job(config: Config, rule: str, *modules: str, **parts: Any) -> str:
    """An aggregate, a table or a figure: what is selected and how it is shown."""
    attacks = {id_: config.attacks[id_] for id_ in config.run.attacks}
    targets = {id_: config.targets[id_].published_as for id_ in config.run.targets}
    return _job(
        rule,
        list(modules),
        **parts,
        attacks={id_: spec.model_dump(mode="json") for id_, spec in attacks.items()},
        order=list(config.run.attacks),
        targets=targets,
        controls=config.controls,
        left_out=[[*pair, reason] for pair, reason in config.left_out.items()],
        seeds=list(config.run.seeds),
        evaluation=config.evaluation,
    )


def tables_job(config: Config) -> str:
    """The tables of the run: all are made of its metrics, and so change together."""
    modules = [TABLES[table].function.partition(":")[0] for table in config.run.tables]
    numbers = b"".join(path.read_bytes() for path in sorted(PUBLISHED.glob("*.csv")))
    parts = {
        "tables": config.run.tables,
        "published": hashlib.sha256(numbers).hexdigest(),
        "duplicates": config.duplicates,
    }
    return selection_job(config, "render_tables", "diffmia.tables.stage", *modules, **parts)


def figure_job(config: Config, figure: str, target: str) -> str:
    """A figure of one target of the run."""
    entry = FIGURES[figure]
    attacks = shown_attacks(config, target) if entry.reads_scores or entry.reads == "metrics" else {}
    if entry.reads == "metrics":  # what asks no model costs no query
        attacks = {id_: shown for id_, shown in attacks.items() if shown.access != "blind"}
    judged = config.run.seeds if entry.reads_scores else ()
    jacobians = [[probe.of.t, probe.columns()] for probe in jacobian_questions(config, target)]
    return _job(
        "plot_figure",
        [entry.function.partition(":")[0], "diffmia.figures.stage"],
        figure=figure,
        target=target,
        attacks=[[id_, shown._asdict()] for id_, shown in attacks.items()],
        studied=[[id_, shown._asdict()] for id_, shown in shown_searches(config, figure, target).items()],
        compared=list(compared_targets(config, figure, target).items()),
        seeds=list(config.run.seeds),
        evaluation_seeds={seed: seeds.child_seed(seed, "evaluation") for seed in judged},
        evaluation=config.evaluation if entry.reads_scores or entry.reads == "metrics" else None,
        **({"non_member_groups": mixed_groups(config, target)} if entry.reads == "mixed_scores" else {}),
        **({"jacobians": jacobians} if entry.reads == "jacobians" else {}),
    )
