"""Train a model on the members of its split."""

from pathlib import Path

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.training_stage import train_target

        folder = Path(job.output.description).parent
        device = job.device()
        spec = job.config.targets[job.wildcards.target]
        facts = train_target(spec, job.text, job.seed, job.input.images, job.input.split, folder, device)
        job.record(**facts)
