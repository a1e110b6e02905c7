"""Train a model on the members of its split."""

from pathlib import Path

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.training.stage import train_target

        folder = Path(job.output.description).parent
        device = job.device()
        spec = job.config.targets[job.wildcards.target]
        files = job.input.images, job.input.split, folder
        facts = train_target(spec, job.text, job.seed, *files, device, samples=job.input.get("samples") or None)
        job.record(**facts)
