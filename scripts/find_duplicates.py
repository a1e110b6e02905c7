"""Look for near-duplicates of members among non-members."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.blind.duplicates_stage import find_duplicates

        found = find_duplicates(job.config.duplicates, job.input.images, job.input.split, job.output.pairs)
        job.record(**found)
