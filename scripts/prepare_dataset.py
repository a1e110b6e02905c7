"""Write a dataset's images, labels and hash."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.datasets.prepare import prepare_dataset

        prepare_dataset(
            job.config.datasets[job.wildcards.dataset],
            job.input.receipt,
            job.output.images,
            job.output.samples,
            job.output.manifest,
        )
