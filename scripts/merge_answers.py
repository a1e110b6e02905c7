"""Join the answers about a target's shards."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.passes.merging import merge_facts, merge_shards

        facts = merge_facts(job.input.metas)
        merge_shards(job.input.tables, job.output.table)
        job.record(**facts)
