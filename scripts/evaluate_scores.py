"""Judge the scores of a target under the run's attacks."""

import json

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.evaluation.stage import evaluate_scores

        facts = json.loads(job.text)
        defined = job.config.run_attacks(job.wildcards.target)
        attacks = {attack: defined[attack] for attack in facts["attacks"]}
        given = job.input
        evaluate_scores(attacks, job.config.evaluation, facts, given.scores, given.split, given.samples, job.output[0])
