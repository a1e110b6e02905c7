"""Ask a target everything that attacks need to know about its samples, or about those of a shard."""

from pathlib import Path

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.passes.stage import run_shard

        number, of = map(int, job.wildcards.get("shard", "0of1").split("of"))
        facts = run_shard(
            job.wildcards.answers,
            job.config.targets[job.wildcards.target],
            job.text,
            (number, of),
            target=Path(job.input.description).parent,
            images=job.input.images,
            samples=job.input.samples,
            split=job.input.split,
            out=job.output.table,
            device=job.device(),
            attacks=job.config.table_attacks(job.wildcards.target),
        )
        job.record(**facts)
