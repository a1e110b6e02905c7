"""Which scores, tables and figures a run has, and what each of them reads."""

from diffmia.figures import FIGURES
from diffmia.figures.shown import compared_targets, is_drawn, shown_attacks, shown_searches
from diffmia.planning import jobs
from diffmia.tables import TABLES


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


def table_duplicates():
    """Near-duplicates in each split of the run where a table shows them; of a run that is not whole those there are."""
    found = of_splits("results/duplicates/{split}/seed{seed}.csv") if "trust" in RUN.tables else []
    return [path for path in found if Path(path).exists() or not RUN.partial]


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
