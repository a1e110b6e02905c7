"""Score members and non-members with every attack that only reads the residual table."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.scoring.reading import score_attacks

        attacks = job.config.table_attacks(job.wildcards.target)
        job.record(**score_attacks(attacks, job.input.table, job.output.scores))
