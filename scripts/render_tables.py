"""Render the tables of the run."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.tables.stage import render_tables

        files = job.input
        render_tables(job.config, files.metrics, files.splits, files.duplicates, files.transfers, job.output.csv)
        job.record(inputs=list(files))
