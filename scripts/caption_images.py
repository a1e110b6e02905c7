"""Write a sentence about each image of a dataset."""

from diffmia.running.runtime import job_context

if __name__ == "__main__":
    with job_context(snakemake) as job:  # noqa: F821
        from diffmia.captions.stage import caption_images

        spec = job.config.captioners[job.wildcards.captioner]
        files, out, meta = job.input, job.output.captions, job.output.meta
        job.record(**caption_images(spec, files.receipt, files.images, out, meta, job.device()))
