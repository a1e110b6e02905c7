"""Ask a target every probe about the samples of a shard."""

from pathlib import Path

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.residuals import compute_residuals

        number, of = map(int, job.wildcards.shard.split("of"))
        facts = compute_residuals(
            job.config.targets[job.wildcards.target],
            job.text,
            (number, of),
            target=Path(job.input.description).parent,
            images=job.input.images,
            samples=job.input.samples,
            split=job.input.split,
            out=job.output.table,
            device=job.device(),
        )
        job.record(**facts)
