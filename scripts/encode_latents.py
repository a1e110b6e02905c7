"""Make latents of a dataset's images, or of a shard of them, with a target's autoencoder."""

from pathlib import Path

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.encoding.latents import encode_latents

        number, of = map(int, job.wildcards.shard.split("of"))
        facts = encode_latents(
            job.config.targets[job.wildcards.target],
            (number, of),
            target=Path(job.input.description).parent,
            images=job.input.images,
            split=job.input.split,
            out=job.output.latents,
            device=job.device(),
        )
        job.record(**facts)
