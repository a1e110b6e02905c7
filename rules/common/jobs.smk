"""The one param of each rule: what decides its output and is no file, as `diffmia.planning.jobs` says it."""

from diffmia.planning import jobs


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


def figure_job(wildcards):
    return jobs.figure_job(CONFIG, wildcards.figure, wildcards.target)
