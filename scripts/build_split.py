"""Draw members, non-members and auxiliary samples."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.splits import build_split

        build_split(
            job.config.splits[job.wildcards.split], job.seed, job.input.samples, job.input.manifest, job.output[0]
        )
