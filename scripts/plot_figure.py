"""Draw one figure of one target."""

import json

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.figures.stage import plot_figure

        plot_figure(job.wildcards.figure, job.config, job.wildcards.target, json.loads(job.text), job.input, job.output)
        job.record(inputs=list(job.input))
