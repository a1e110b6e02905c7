"""Fetch and check the files that a target is imported from."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.models.fetch import fetch_model

        fetch_model(job.config.targets[job.wildcards.target], job.output.receipt)
