"""Collect the metrics of a run."""

import json

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.evaluation.stage import aggregate_metrics

        aggregate_metrics(job.input, job.config, job.output.metrics, json.loads(job.text).get("missing", ()))
        job.record(parts=list(job.input))
