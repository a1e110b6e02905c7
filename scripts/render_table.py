"""Render one table of the run."""

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.tables.stage import render_table

        render_table(job.wildcards.table, job.config, job.input.metrics, job.input.splits, job.output)
        job.record(inputs=list(job.input))
