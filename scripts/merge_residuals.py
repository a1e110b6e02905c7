"""Join the residual tables of a target's shards."""

from diffmia.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.residual_table import merge_shards
        from diffmia.residuals import merge_facts

        merge_shards(job.input.tables, job.output.table)
        job.record(**merge_facts(job.input.metas))
