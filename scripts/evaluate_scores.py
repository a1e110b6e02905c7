"""Judge the scores of one attack."""

import json

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.evaluation.stage import evaluate_scores

        attack = job.wildcards.attack
        t = job.config.timestep(attack, job.wildcards.target)
        spec = job.config.attacks[attack]
        facts = json.loads(job.text)
        evaluate_scores(spec, job.config.evaluation, t, facts, job.input.scores, job.input.split, job.output[0])
