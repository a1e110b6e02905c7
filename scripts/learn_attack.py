"""Fit an attack that learns, and score members and non-members with it."""

from pathlib import Path

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.scoring.learning import learn_attack

        attack = job.wildcards.attack
        spec = job.config.attack(attack, job.wildcards.target)
        t = job.config.timestep(attack, job.wildcards.target)
        facts = learn_attack(
            spec,
            attack,
            t,
            job.seed,
            tables=job.input.tables,
            descriptions=job.input.descriptions,
            images=job.input.images,
            scores=job.output.scores,
            learned=Path(job.output.learned),
            device=job.device() if spec.gpu else None,
        )
        job.record(**facts, queries_per_sample=spec.queries(t))
