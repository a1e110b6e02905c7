"""Score members and non-members without a model."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.blind.stage import score_blindly

        attack = job.wildcards.attack
        spec = job.config.attacks[attack]
        device = job.device() if spec.gpu else None
        files, out = job.input, job.output.scores
        facts = score_blindly(spec, attack, job.seed, files.images, files.samples, files.split, out, device)
        job.record(**facts, files=spec.inputs(), queries_per_sample=spec.queries(None))
