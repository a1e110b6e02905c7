"""Render one table of the run."""

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.tables.stage import render_table

        files = job.input
        render_table(job.wildcards.table, job.config, files.metrics, files.splits, files.duplicates, job.output)
        job.record(inputs=list(job.input))
