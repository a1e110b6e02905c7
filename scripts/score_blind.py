"""Score members and non-members by their pixels alone."""

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.blind.stage import score_blindly

        attack = job.wildcards.attack
        spec = job.config.attacks[attack]
        facts = score_blindly(
            spec, attack, job.seed, job.input.images, job.input.split, job.output.scores, job.device()
        )
        job.record(**facts, queries_per_sample=spec.queries(None))
