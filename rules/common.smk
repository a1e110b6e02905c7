"""Helpers of the rules: each a thin wrapper over the package. No rules here."""

import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from diffmia.attacks.blind import BlindAttack
from diffmia.attacks.learned import LearnedAttack
from diffmia.captions.texts import CAPTION, NONE
from diffmia.commands.arguments import check_preset
from diffmia.commands.summary import summary
from diffmia.config.config import load_config
from diffmia.errors import DiffmiaError
from diffmia.figures import FIGURES
from diffmia.figures.shown import compared_targets, is_drawn, shown_attacks, shown_searches
from diffmia.models.base import ImportedTarget, TrainedTarget
from diffmia.planning import jobs
from diffmia.planning.missing import missing_cells, report_missing
from diffmia.planning.own_files import planned_inputs
from diffmia.planning.remarks import remarks
from diffmia.tables import TABLES

try:
    check_preset(sys.argv[1:], Path(workflow.basedir))
    CONFIG = load_config(config)
except DiffmiaError as error:
    raise WorkflowError(str(error)) from None

for remark in remarks(CONFIG) if workflow.is_main_process else []:
    logger.warning(remark)

RUN = CONFIG.run
MISSING = missing_cells(CONFIG) if RUN.partial else []
LACKING = {(cell.target, cell.seed, cell.attack) for cell in MISSING}

# captions of the report read these, and a config may leave keys of theirs to their defaults
config |= CONFIG.model_dump(mode="json", include={"run", "evaluation"})


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    split="|".join(map(re.escape, CONFIG.splits)),
    target="|".join(map(re.escape, CONFIG.targets)),
    attack="|".join(map(re.escape, CONFIG.attacks)),
    figure="|".join(RUN.figures),
    seed=r"\d+",
    shard=r"\d+of\d+",
    answers="residuals|gradients|jacobians",


def scaled(amount):
    """A resource that grows with each retry."""

    def get(wildcards, attempt):
        return amount * attempt

    return get


def dataset_inputs(wildcards):
    """Files of a user's own; of a dataset that is made of others those, which the workflow prepares first."""
    spec, record = CONFIG.datasets[wildcards.dataset], f"results/datasets/{wildcards.dataset}/source.json"
    return spec.inputs() if spec.made_of() else planned_inputs(spec.inputs(), record)


def split_inputs(wildcards):
    split = wildcards.split
    return planned_inputs(CONFIG.splits[split].inputs(), f"results/splits/{split}/seed{wildcards.seed}.json")


def target_inputs(wildcards):
    target = wildcards.target
    return planned_inputs(CONFIG.targets[target].inputs(), f"results/targets/{target}/source.json")


def captioner_inputs(wildcards):
    captioner = wildcards.captioner
    return planned_inputs(CONFIG.captioners[captioner].inputs(), f"results/captions/_source/{captioner}.json")


def blind_inputs(wildcards):
    record = f"results/scores/{wildcards.target}/seed{wildcards.seed}/{wildcards.attack}.meta.json"
    return planned_inputs(CONFIG.attacks[wildcards.attack].inputs(), record)


def one_of(ids):
    """Pattern of the ids a rule makes something for; one that nothing matches where there are none."""
    return "|".join(map(re.escape, ids)) or "(?!)"


def split_dataset(file):
    """Path of a file of the dataset that a split divides."""

    def get(wildcards):
        return f"results/datasets/{CONFIG.splits[wildcards.split].dataset}/{file}"

    return get


def target_dataset(file):
    """Path of a file of the dataset that a target's split divides."""

    def get(wildcards):
        return f"results/datasets/{CONFIG.split_of(wildcards.target).dataset}/{file}"

    return get


def target_images(wildcards):
    """Images of a target that is asked about pixels; none of one that is asked about latents."""
    return [] if CONFIG.targets[wildcards.target].latent else target_dataset("images.npy")(wildcards)


def target_latents(wildcards):
    """Latents of all samples, in shards, of a target that is asked about them: those of the training that made it."""
    spec = CONFIG.targets[wildcards.target]
    folder = f"results/latents/{CONFIG.trained_as(wildcards.target)}/seed{wildcards.seed}"
    return [f"{folder}/{shard}of{spec.shards}.npy" for shard in range(spec.shards)] if spec.latent else []


def target_embeddings(wildcards):
    """Embeddings of all that a target is told in a pass."""
    told = jobs.conditions_of(CONFIG, wildcards.answers, wildcards.target)
    return [f"results/embeddings/{wildcards.target}/seed{wildcards.seed}/{condition}.npy" for condition in told]


def target_split(wildcards):
    return f"results/splits/{CONFIG.targets[wildcards.target].split}/seed{wildcards.seed}.json"


def target_description(wildcards):
    """What a target is, in the folder of the training that made it."""
    return f"results/targets/{CONFIG.trained_as(wildcards.target)}/seed{wildcards.seed}/target.json"


def trained_targets():
    """Targets that have a folder of their own, of all the run asks."""
    return list(dict.fromkeys(map(CONFIG.trained_as, CONFIG.asked_targets)))


def told_texts():
    """Targets that are asked about latents and told texts."""
    return [target for target, spec in CONFIG.targets.items() if spec.latent]


def with_autoencoder():
    """Of those, the ones that have a folder of their own; a checkpoint has its target's autoencoder."""
    return [target for target in told_texts() if CONFIG.trained_as(target) == target]


def trained_captions(wildcards):
    """Samples with the captions that a target is trained on, if it is told any."""
    return target_dataset("samples.parquet")(wildcards) if CONFIG.targets[wildcards.target].latent else []


def captioners_table(wildcards):
    """Captions that a captioner gave the images of a target's dataset, where the condition is one."""
    if wildcards.condition in (NONE, CAPTION):
        return []
    return f"results/captions/{CONFIG.split_of(wildcards.target).dataset}/{wildcards.condition}.csv"


def target_shards(file):
    """Paths of a file of each of the target's shards."""

    def get(wildcards):
        shards = CONFIG.targets[wildcards.target].shards
        folder = f"results/{wildcards.answers}/{wildcards.target}/seed{wildcards.seed}"
        return [f"{folder}/{shard}of{shards}{file}" for shard in range(shards)]

    return get


def in_one_shard():
    """Targets that are asked in one job."""
    return [target for target, spec in CONFIG.targets.items() if spec.shards == 1]


def in_several_shards():
    """Targets that are asked in several jobs, whose answers are joined."""
    return [target for target, spec in CONFIG.targets.items() if spec.shards > 1]


def scores_of(target, seed, attacks, suffix=".parquet"):
    """Score files of attacks on a target: one for all that only read its residuals, and one for each of the others."""
    files = dict.fromkeys(CONFIG.score_file(target, seed, attack) for attack in attacks)
    return [file.removesuffix(".parquet") + suffix for file in files]


def judged_attacks(target, seed):
    """The run's attacks on a target, without those that have no scores and are not to be made."""
    return [attack for attack in CONFIG.run_attacks(target) if (target, int(seed), attack) not in LACKING]


def target_scores(wildcards):
    """Score files of the run's attacks on a target."""
    return scores_of(wildcards.target, wildcards.seed, judged_attacks(wildcards.target, wildcards.seed))


def run_scores(suffix):
    """A file of each score file of the run."""
    return [
        file
        for seed in RUN.seeds
        for target in CONFIG.asked_targets
        for file in scores_of(target, seed, judged_attacks(target, seed), suffix)
    ]


def run_metrics():
    """Metrics of each target and control of the run with attacks that can be done on them, for each seed."""
    judged = [(target, seed) for seed in RUN.seeds for target in CONFIG.asked_targets if judged_attacks(target, seed)]
    return [f"{CONFIG.out}/metrics/{target}/seed{seed}.csv" for target, seed in judged]


def transfer_scores(wildcards):
    """Score files, of all seeds, of the attacks whose thresholds are transferred between seeds of a target."""
    attacks = CONFIG.surrogates[wildcards.target]
    return [file for seed in RUN.seeds for file in scores_of(wildcards.target, seed, attacks)]


def transfer_splits(wildcards):
    return [f"results/splits/{CONFIG.targets[wildcards.target].split}/seed{seed}.json" for seed in RUN.seeds]


def table_transfers():
    """Judgements by other seeds' thresholds where a table shows them."""
    shown = CONFIG.surrogates if "threshold_transfer" in RUN.tables and not RUN.partial else []
    return [f"{CONFIG.out}/transfer/{target}.csv" for target in shown]


def learned_tables(wildcards):
    """Tables an attack learns from: the target's own first."""
    answers = CONFIG.attacks[wildcards.attack].answers
    targets = jobs.learned_from(CONFIG, wildcards.target, wildcards.attack)
    return [f"results/{answers}/{target}/seed{wildcards.seed}.parquet" for target in targets]


def learned_descriptions(wildcards):
    targets = jobs.learned_from(CONFIG, wildcards.target, wildcards.attack)
    return [f"results/targets/{target}/seed{wildcards.seed}/target.json" for target in targets]


def learning_gpu(wildcards):
    """Cards that fitting an attack uses."""
    return CONFIG.attacks[wildcards.attack].gpu


def gradient_targets():
    """Targets of the run that are asked for gradients."""
    return sorted({target for target, attack in CONFIG.pairs if CONFIG.attacks[attack].answers == "gradients"})


def run_passes(wildcards):
    """Provenance of every pass that the run's attacks read."""
    read = dict.fromkeys(
        (CONFIG.attacks[attack].answers, target, seed)
        for target, attack in CONFIG.pairs
        for seed in RUN.seeds
        if (target, seed, attack) not in LACKING
    )
    return [f"results/{answers}/{target}/seed{seed}.meta.json" for answers, target, seed in read if answers]


def dataset_job(rule):
    def get(wildcards):
        return jobs.dataset_job(CONFIG, rule, wildcards.dataset)

    return get


def fetch_captioner_job(wildcards):
    return jobs.fetch_captioner_job(CONFIG, wildcards.captioner)


def caption_job(wildcards):
    return jobs.caption_job(CONFIG, wildcards.dataset, wildcards.captioner)


def split_job(wildcards):
    return jobs.split_job(CONFIG, wildcards.split, int(wildcards.seed))


def training_job(wildcards):
    return jobs.training_job(CONFIG, wildcards.target, int(wildcards.seed))


def fetch_job(wildcards):
    return jobs.fetch_job(CONFIG, wildcards.target)


def import_job(wildcards):
    return jobs.import_job(CONFIG, wildcards.target)


def latents_job(wildcards):
    return jobs.latents_job(CONFIG, wildcards.target)


def embedding_job(wildcards):
    return jobs.embedding_job(CONFIG, wildcards.target, wildcards.condition)


def pass_job(rule):
    def get(wildcards):
        return jobs.pass_job(CONFIG, rule, wildcards.answers, wildcards.target, int(wildcards.seed))

    return get


def score_job(wildcards):
    return jobs.score_job(CONFIG, wildcards.target)


def duplicates_job(wildcards):
    return jobs.duplicates_job(CONFIG, wildcards.split)


def blind_job(wildcards):
    return jobs.blind_job(CONFIG, wildcards.target, wildcards.attack, int(wildcards.seed))


def learning_job(wildcards):
    return jobs.learning_job(CONFIG, wildcards.target, wildcards.attack, int(wildcards.seed))


def evaluation_job(wildcards):
    target, seed = wildcards.target, int(wildcards.seed)
    return jobs.evaluation_job(CONFIG, target, seed, judged_attacks(target, seed))


def transfer_job(wildcards):
    return jobs.transfer_job(CONFIG, wildcards.target)


def metrics_job(wildcards):
    parts = {"missing": [cell._asdict() for cell in MISSING]} if MISSING else {}
    return jobs.selection_job(CONFIG, "aggregate_metrics", "diffmia.evaluation.stage", **parts)


def cost_job(wildcards):
    return jobs.selection_job(CONFIG, "aggregate_cost", "diffmia.evaluation.stage")


def tables_job(wildcards):
    return jobs.tables_job(CONFIG)


def table_reports():
    """The tables as a browser shows them, each with its place in the report."""
    return [report(f"{CONFIG.out}/tables/{table}.html", **shown_as(table)) for table in RUN.tables]


def shown_as(table):
    """What the report says of a table.

    One label has both its id and its title: of two, the report takes one that has two values in two results for a switch.
    """
    return {
        "caption": f"captions/tables/{table}.rst",
        "category": TABLES[table].category,
        "labels": {"table": f"{table}: {TABLES[table].title}"},
    }


def figure_category(wildcards):
    return FIGURES[wildcards.figure].category


def figure_job(wildcards):
    return jobs.figure_job(CONFIG, wildcards.figure, wildcards.target)


def table_duplicates():
    """Near-duplicates in each split of the run where a table shows them."""
    return of_splits("results/duplicates/{split}/seed{seed}.csv") if "trust" in RUN.tables else []


def of_splits(pattern):
    """A file of each split, at each seed, that attacks of the run are judged on."""
    judged = [(target, seed) for target in RUN.targets for seed in RUN.seeds if judged_attacks(target, seed)]
    splits = dict.fromkeys((CONFIG.targets[target].split, seed) for target, seed in judged)
    return [pattern.format(split=split, seed=seed) for split, seed in splits]


def figure_scores(wildcards):
    """Score files a figure shows, none if it shows no scores."""
    if not FIGURES[wildcards.figure].reads_scores:
        return []
    shown = shown_attacks(CONFIG, wildcards.target)
    return [file for seed in RUN.seeds for file in scores_of(wildcards.target, seed, shown)]


def run_figures(wildcards):
    """The run's figures, each of the targets that have something to show in it; none of a run that is not whole."""
    if RUN.partial:
        return []
    return [
        f"{CONFIG.out}/figures/{figure}.{target}.png"
        for figure in RUN.figures
        for target in RUN.targets
        if is_drawn(CONFIG, figure, target)
    ]


def figure_losses(wildcards):
    """Loss curves a figure shows, none if it shows no losses."""
    if FIGURES[wildcards.figure].reads != "losses":
        return []
    return [f"results/targets/{wildcards.target}/seed{seed}/training_loss.csv" for seed in RUN.seeds]


def figure_aggregates(wildcards):
    """Metrics and cost of the run where a figure shows them."""
    if FIGURES[wildcards.figure].reads != "metrics":
        return []
    return [f"{CONFIG.out}/metrics.csv", f"{CONFIG.out}/cost.csv"]


def figure_residuals(wildcards):
    """Tables of residuals, or of Jacobians' norms, that a figure shows; none if it shows no searches."""
    if FIGURES[wildcards.figure].reads == "jacobians":
        return [f"results/jacobians/{wildcards.target}/seed{seed}.parquet" for seed in RUN.seeds]
    if not shown_searches(CONFIG, wildcards.figure, wildcards.target):
        return []
    compared = compared_targets(CONFIG, wildcards.figure, wildcards.target).values()
    return [
        f"results/residuals/{target}/seed{seed}.parquet"
        for target in dict.fromkeys(compared or [wildcards.target])
        for seed in RUN.seeds
    ]
