"""Score members and non-members with one attack."""

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.scoring import score_attack

        attack = job.wildcards.attack
        t = job.config.timestep(attack, job.wildcards.target)
        spec = job.config.attacks[attack]
        hashes = score_attack(spec, attack, t, job.input.table, job.output.scores)
        job.record(**hashes, queries_per_sample=spec.queries(t))
