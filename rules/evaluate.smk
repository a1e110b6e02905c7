"""Scores judged: one file of metrics for each target and seed, and the aggregates of the run."""


rule evaluate_scores:
    input:
        scores=target_scores,
        split=target_split,
        samples=target_dataset("samples.parquet"),
    output:
        "<out>/metrics/{target}/seed{seed}.csv",
    log:
        f"<logs>/evaluate_scores/{RUN.name}/{{target}}/seed{{seed}}.log",
    benchmark:
        f"<benchmarks>/evaluate_scores/{RUN.name}/{{target}}/seed{{seed}}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        job=evaluation_job,
    message:
        "Judging the attacks on {wildcards.target}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate_scores.py"


rule aggregate_metrics:
    input:
        run_metrics(),
    output:
        metrics="<out>/metrics.csv",
        meta="<out>/metrics.meta.json",
    log:
        f"<logs>/aggregate_metrics/{RUN.name}.log",
    benchmark:
        f"<benchmarks>/aggregate_metrics/{RUN.name}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        job=metrics_job,
    message:
        "Collecting metrics"
    script:
        "../scripts/aggregate_metrics.py"


rule transfer_thresholds:
    input:
        scores=transfer_scores,
        splits=transfer_splits,
    output:
        "<out>/transfer/{target}.csv",
    log:
        f"<logs>/transfer_thresholds/{RUN.name}/{{target}}.log",
    benchmark:
        f"<benchmarks>/transfer_thresholds/{RUN.name}/{{target}}.jsonl"
    wildcard_constraints:
        target=one_of(CONFIG.surrogates),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(10),
    params:
        job=transfer_job,
    message:
        "Judging {wildcards.target} by thresholds of its other seeds"
    script:
        "../scripts/transfer_thresholds.py"


rule aggregate_cost:
    input:
        metrics="<out>/metrics.csv",
        passes=run_passes,
        scores=run_scores(".meta.json"),
    output:
        cost="<out>/cost.csv",
        meta="<out>/cost.meta.json",
    log:
        f"<logs>/aggregate_cost/{RUN.name}.log",
    benchmark:
        f"<benchmarks>/aggregate_cost/{RUN.name}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        job=cost_job,
    message:
        "Collecting costs"
    script:
        "../scripts/aggregate_cost.py"


rule metrics:
    input:
        "<out>/metrics.csv",
        "<out>/cost.csv",
    localrule: True
