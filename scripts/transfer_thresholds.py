"""Judge a target by thresholds that its other seeds choose."""

import json

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.evaluation.stage import transfer_of_target

        facts, files = json.loads(job.text), job.input
        transfer_of_target(
            facts["attacks"], job.config.evaluation, facts["target"], files.scores, files.splits, job.output[0]
        )
