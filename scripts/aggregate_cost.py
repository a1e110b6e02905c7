"""Collect what each row of the metrics cost."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.evaluation.stage import aggregate_cost

        aggregate_cost(job.input.metrics, job.input.passes, job.input.scores, job.config, job.output.cost)
        job.record(inputs=list(job.input))
