"""Texts about images where a model writes them, for models that are told one."""


rule fetch_captioner:
    input:
        captioner_inputs,
    output:
        receipt="results/captions/_source/{captioner}.json",
    log:
        "<logs>/fetch_captioner/{captioner}.log",
    benchmark:
        "<benchmarks>/fetch_captioner/{captioner}.jsonl"
    wildcard_constraints:
        captioner=one_of(CONFIG.captioners),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(1000),
        runtime=scaled(60),
    params:
        job=fetch_captioner_job,
    message:
        "Fetching and checking captioner {wildcards.captioner}"
    script:
        "../scripts/fetch_captioner.py"


rule caption_images:
    input:
        receipt="results/captions/_source/{captioner}.json",
        images="results/datasets/{dataset}/images.npy",
    output:
        # kept until the job is done: a person may have edited the captions, and then they are not written again
        captions=update("results/captions/{dataset}/{captioner}.csv"),
        meta=update("results/captions/{dataset}/{captioner}.meta.json"),
    log:
        "<logs>/caption_images/{dataset}/{captioner}.log",
    benchmark:
        "<benchmarks>/caption_images/{dataset}/{captioner}.jsonl"
    wildcard_constraints:
        captioner=one_of(CONFIG.captioners),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(240),
    params:
        job=caption_job,
    message:
        "Writing captions of {wildcards.dataset} with {wildcards.captioner}"
    script:
        "../scripts/caption_images.py"
