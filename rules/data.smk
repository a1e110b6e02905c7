"""Images and their split into members, non-members and auxiliary samples."""


rule download_dataset:
    input:
        dataset_inputs,
    output:
        receipt="results/datasets/{dataset}/source.json",
    log:
        "<logs>/download_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/download_dataset/{dataset}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(1000),
        runtime=scaled(60),
    params:
        job=dataset_job("download_dataset"),
    message:
        "Fetching and checking dataset {wildcards.dataset}"
    script:
        "../scripts/download_dataset.py"


rule prepare_dataset:
    input:
        receipt="results/datasets/{dataset}/source.json",
    output:
        images="results/datasets/{dataset}/images.npy",
        samples="results/datasets/{dataset}/samples.parquet",
        manifest="results/datasets/{dataset}/manifest.json",
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare_dataset/{dataset}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(60),
    params:
        job=dataset_job("prepare_dataset"),
    message:
        "Preparing the images of {wildcards.dataset}"
    script:
        "../scripts/prepare_dataset.py"


rule build_split:
    input:
        files=split_inputs,
        samples=split_dataset("samples.parquet"),
        manifest=split_dataset("manifest.json"),
    output:
        "results/splits/{split}/seed{seed}.json",
    log:
        "<logs>/build_split/{split}/seed{seed}.log",
    benchmark:
        "<benchmarks>/build_split/{split}/seed{seed}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        job=split_job,
    message:
        "Drawing split {wildcards.split}, seed {wildcards.seed}"
    script:
        "../scripts/build_split.py"


rule find_duplicates:
    input:
        images=split_dataset("images.npy"),
        split="results/splits/{split}/seed{seed}.json",
    output:
        pairs="results/duplicates/{split}/seed{seed}.csv",
        meta="results/duplicates/{split}/seed{seed}.meta.json",
    log:
        "<logs>/find_duplicates/{split}/seed{seed}.log",
    benchmark:
        "<benchmarks>/find_duplicates/{split}/seed{seed}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        job=duplicates_job,
    message:
        "Looking for members of split {wildcards.split}, seed {wildcards.seed}, among its non-members"
    script:
        "../scripts/find_duplicates.py"
