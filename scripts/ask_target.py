"""Ask a target everything that attacks need to know about its samples, or about those of a shard."""

from pathlib import Path

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.files.images import open_images
        from diffmia.passes.inputs import Latents, Pixels
        from diffmia.passes.stage import run_shard

        spec, given = job.config.targets[job.wildcards.target], job.input
        inputs = Latents(given.latents, given.embeddings) if spec.latent else Pixels(open_images(given.images))
        number, of = map(int, job.wildcards.get("shard", "0of1").split("of"))
        facts = run_shard(
            job.wildcards.answers,
            spec,
            job.text,
            (number, of),
            target=Path(given.description).parent,
            inputs=inputs,
            samples=given.samples,
            split=given.split,
            out=job.output.table,
            device=job.device(),
            attacks=job.config.residual_attacks(job.wildcards.target),
        )
        job.record(**facts)
