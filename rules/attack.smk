"""What attacks ask of a target, once for all of them, and the scores they read from the answers."""


rule compute_residuals:
    input:
        description="results/targets/{target}/seed{seed}/target.json",
        images=target_dataset("images.npy"),
        samples=target_dataset("samples.parquet"),
        split=target_split,
    output:
        table="results/residuals/{target}/seed{seed}/{shard}.parquet",
        meta="results/residuals/{target}/seed{seed}/{shard}.meta.json",
    log:
        "<logs>/compute_residuals/{target}/seed{seed}/{shard}.log",
    benchmark:
        "<benchmarks>/compute_residuals/{target}/seed{seed}/{shard}.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(240),
    params:
        job=residual_job("compute_residuals"),
    message:
        "Probing {wildcards.target}, seed {wildcards.seed}, shard {wildcards.shard}"
    script:
        "../scripts/compute_residuals.py"


rule merge_residuals:
    input:
        tables=target_shards(".parquet"),
        metas=target_shards(".meta.json"),
    output:
        table="results/residuals/{target}/seed{seed}.parquet",
        meta="results/residuals/{target}/seed{seed}.meta.json",
    log:
        "<logs>/merge_residuals/{target}/seed{seed}.log",
    benchmark:
        "<benchmarks>/merge_residuals/{target}/seed{seed}.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        job=residual_job("merge_residuals"),
    message:
        "Joining the residuals of {wildcards.target}, seed {wildcards.seed}"
    script:
        "../scripts/merge_residuals.py"


rule score_attack:
    input:
        table="results/residuals/{target}/seed{seed}.parquet",
    output:
        scores="results/scores/{target}/seed{seed}/{attack}.parquet",
        meta="results/scores/{target}/seed{seed}/{attack}.meta.json",
    log:
        "<logs>/score_attack/{target}/seed{seed}/{attack}.log",
    benchmark:
        "<benchmarks>/score_attack/{target}/seed{seed}/{attack}.jsonl"
    wildcard_constraints:
        attack=one_of(CONFIG.attacks_of(TableAttack)),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(10),
    params:
        job=score_job,
    message:
        "Scoring {wildcards.target}, seed {wildcards.seed}, with {wildcards.attack}"
    script:
        "../scripts/score_attack.py"


rule residuals:
    input:
        collect("results/residuals/{target}/seed{seed}.parquet", target=RUN.targets, seed=RUN.seeds),
    localrule: True


rule scores:
    input:
        collect(
            "results/scores/{target}/seed{seed}/{attack}.parquet",
            target=RUN.targets,
            seed=RUN.seeds,
            attack=RUN.attacks,
        ),
    localrule: True
