"""Models to attack: trained on the members of their split, or taken in."""

from diffmia.models.base import ImportedTarget, TrainedTarget


rule train_target:
    input:
        images=target_dataset("images.npy"),
        samples=trained_captions,
        split=target_split,
    output:
        description="results/targets/{target}/seed{seed}/target.json",
        losses="results/targets/{target}/seed{seed}/training_loss.csv",
        meta="results/targets/{target}/seed{seed}.meta.json",
    log:
        "<logs>/train_target/{target}/seed{seed}.log",
    benchmark:
        "<benchmarks>/train_target/{target}/seed{seed}.jsonl"
    wildcard_constraints:
        target=one_of(CONFIG.targets_of(TrainedTarget)),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(2880),
    params:
        job=training_job,
    message:
        "Training target {wildcards.target}, seed {wildcards.seed}"
    script:
        "../scripts/train_target.py"


rule fetch_target:
    input:
        target_inputs,
    output:
        receipt="results/targets/{target}/source.json",
    log:
        "<logs>/fetch_target/{target}.log",
    benchmark:
        "<benchmarks>/fetch_target/{target}.jsonl"
    wildcard_constraints:
        target=one_of(CONFIG.targets_of(ImportedTarget)),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(1000),
        runtime=scaled(60),
    params:
        job=fetch_job,
    message:
        "Fetching and checking target {wildcards.target}"
    script:
        "../scripts/fetch_target.py"


rule import_target:
    input:
        receipt="results/targets/{target}/source.json",
        split=target_split,
    output:
        description="results/targets/{target}/seed{seed}/target.json",
        meta="results/targets/{target}/seed{seed}.meta.json",
    log:
        "<logs>/import_target/{target}/seed{seed}.log",
    benchmark:
        "<benchmarks>/import_target/{target}/seed{seed}.jsonl"
    wildcard_constraints:
        target=one_of(CONFIG.targets_of(ImportedTarget)),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(8000),
        runtime=scaled(30),
    params:
        job=import_job,
    message:
        "Taking in target {wildcards.target}"
    script:
        "../scripts/import_target.py"


rule targets:
    input:
        collect("results/targets/{target}/seed{seed}/target.json", target=trained_targets(), seed=RUN.seeds),
    localrule: True
