"""Fetch and check what a dataset is made from."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.datasets.prepare import download_dataset

        download_dataset(job.config.datasets[job.wildcards.dataset], job.output.receipt)
