"""Embed the texts that a target is told of a dataset's samples, with its text encoder."""

from pathlib import Path

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.encoding.embeddings import embed_captions

        captions = job.input.get("captions")
        facts = embed_captions(
            job.config.targets[job.wildcards.target],
            job.wildcards.condition,
            target=Path(job.input.description).parent,
            samples=job.input.samples,
            captions=captions or None,
            split=job.input.split,
            out=job.output.embeddings,
            index=job.output.index,
            device=job.device(),
        )
        job.record(**facts)
