"""Take in a model that was trained elsewhere."""

from pathlib import Path

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.targets import import_target

        spec = job.config.targets[job.wildcards.target]
        out = Path(job.output.description).parent
        job.record(**import_target(spec, job.input.receipt, job.input.split, out))
