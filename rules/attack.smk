"""What attacks ask of a target, once for all of them, and the scores they make of the answers."""

from diffmia.attacks.blind import BlindAttack
from diffmia.attacks.learned import LearnedAttack


rule ask_target:
    input:
        description=target_description,
        images=target_images,
        latents=target_latents,
        embeddings=target_embeddings,
        samples=target_dataset("samples.parquet"),
        split=target_split,
    output:
        table="results/{answers}/{target}/seed{seed}.parquet",
        meta="results/{answers}/{target}/seed{seed}.meta.json",
    log:
        "<logs>/ask_target/{answers}/{target}/seed{seed}.log",
    benchmark:
        "<benchmarks>/ask_target/{answers}/{target}/seed{seed}.jsonl"
    wildcard_constraints:
        target=one_of(in_one_shard()),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(16000),
        runtime=scaled(240),
    params:
        job=pass_job("ask_target"),
    message:
        "Asking {wildcards.target}, seed {wildcards.seed}, for {wildcards.answers}"
    script:
        "../scripts/ask_target.py"


use rule ask_target as ask_shard with:
    output:
        table="results/{answers}/{target}/seed{seed}/{shard}.parquet",
        meta="results/{answers}/{target}/seed{seed}/{shard}.meta.json",
    log:
        "<logs>/ask_shard/{answers}/{target}/seed{seed}/{shard}.log",
    benchmark:
        "<benchmarks>/ask_shard/{answers}/{target}/seed{seed}/{shard}.jsonl"
    wildcard_constraints:
        target=one_of(in_several_shards()),
    message:
        "Asking {wildcards.target}, seed {wildcards.seed}, for {wildcards.answers} of shard {wildcards.shard}"


rule merge_answers:
    input:
        tables=target_shards(".parquet"),
        metas=target_shards(".meta.json"),
    output:
        table="results/{answers}/{target}/seed{seed}.parquet",
        meta="results/{answers}/{target}/seed{seed}.meta.json",
    log:
        "<logs>/merge_answers/{answers}/{target}/seed{seed}.log",
    benchmark:
        "<benchmarks>/merge_answers/{answers}/{target}/seed{seed}.jsonl"
    wildcard_constraints:
        target=one_of(in_several_shards()),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        job=pass_job("merge_answers"),
    message:
        "Joining the {wildcards.answers} of {wildcards.target}, seed {wildcards.seed}"
    script:
        "../scripts/merge_answers.py"


rule score_attacks:
    input:
        table="results/residuals/{target}/seed{seed}.parquet",
    output:
        scores="results/scores/{target}/seed{seed}/residuals.parquet",
        meta="results/scores/{target}/seed{seed}/residuals.meta.json",
    log:
        "<logs>/score_attacks/{target}/seed{seed}.log",
    benchmark:
        "<benchmarks>/score_attacks/{target}/seed{seed}.jsonl"
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
        "Scoring {wildcards.target}, seed {wildcards.seed}, with the attacks that read its residuals"
    script:
        "../scripts/score_attacks.py"


rule learn_attack:
    input:
        tables=learned_tables,
        descriptions=learned_descriptions,
        images=target_dataset("images.npy"),
    output:
        scores="results/scores/{target}/seed{seed}/{attack}.parquet",
        meta="results/scores/{target}/seed{seed}/{attack}.meta.json",
        learned=directory("results/learned/{target}/seed{seed}/{attack}"),
    log:
        "<logs>/learn_attack/{target}/seed{seed}/{attack}.log",
    benchmark:
        "<benchmarks>/learn_attack/{target}/seed{seed}/{attack}.jsonl"
    wildcard_constraints:
        attack=one_of(CONFIG.attacks_of(LearnedAttack)),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        gpu=learning_gpu,
        mem_mb=scaled(8000),
        runtime=scaled(120),
    params:
        job=learning_job,
    message:
        "Fitting {wildcards.attack} on {wildcards.target}, seed {wildcards.seed}"
    script:
        "../scripts/learn_attack.py"


rule score_blind:
    input:
        files=blind_inputs,
        images=target_dataset("images.npy"),
        samples=target_dataset("samples.parquet"),
        split=target_split,
    output:
        scores="results/scores/{target}/seed{seed}/{attack}.parquet",
        meta="results/scores/{target}/seed{seed}/{attack}.meta.json",
    log:
        "<logs>/score_blind/{target}/seed{seed}/{attack}.log",
    benchmark:
        "<benchmarks>/score_blind/{target}/seed{seed}/{attack}.jsonl"
    wildcard_constraints:
        attack=one_of(CONFIG.attacks_of(BlindAttack)),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        gpu=learning_gpu,
        mem_mb=scaled(8000),
        runtime=scaled(120),
    params:
        job=blind_job,
    message:
        "Scoring {wildcards.target}, seed {wildcards.seed}, with {wildcards.attack}, which sees no model"
    script:
        "../scripts/score_blind.py"


rule residuals:
    input:
        collect("results/residuals/{target}/seed{seed}.parquet", target=CONFIG.asked_targets, seed=RUN.seeds),
    localrule: True


rule gradients:
    input:
        collect("results/gradients/{target}/seed{seed}.parquet", target=gradient_targets(), seed=RUN.seeds),
    localrule: True


rule scores:
    input:
        run_scores(".parquet"),
    localrule: True
