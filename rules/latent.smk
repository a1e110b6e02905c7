"""What text-to-image targets are asked about and told: latents of images and embeddings of texts, each made once."""


rule encode_latents:
    input:
        description="results/targets/{target}/seed{seed}/target.json",
        images=target_dataset("images.npy"),
        split=target_split,
    output:
        latents="results/latents/{target}/seed{seed}/{shard}.npy",
        meta="results/latents/{target}/seed{seed}/{shard}.meta.json",
    log:
        "<logs>/encode_latents/{target}/seed{seed}/{shard}.log",
    benchmark:
        "<benchmarks>/encode_latents/{target}/seed{seed}/{shard}.jsonl"
    wildcard_constraints:
        target=one_of(with_autoencoder()),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(240),
    params:
        job=latents_job,
    message:
        "Encoding the images of {wildcards.target}, seed {wildcards.seed}, shard {wildcards.shard}"
    script:
        "../scripts/encode_latents.py"


rule embed_captions:
    input:
        description=target_description,
        samples=target_dataset("samples.parquet"),
        captions=captioners_table,
        split=target_split,
    output:
        embeddings="results/embeddings/{target}/seed{seed}/{condition}.npy",
        index="results/embeddings/{target}/seed{seed}/{condition}.index.npy",
        meta="results/embeddings/{target}/seed{seed}/{condition}.meta.json",
    log:
        "<logs>/embed_captions/{target}/seed{seed}/{condition}.log",
    benchmark:
        "<benchmarks>/embed_captions/{target}/seed{seed}/{condition}.jsonl"
    wildcard_constraints:
        target=one_of(told_texts()),
        condition="[a-z0-9_]+",
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(120),
    params:
        job=embedding_job,
    message:
        "Embedding the texts ({wildcards.condition}) of {wildcards.target}, seed {wildcards.seed}"
    script:
        "../scripts/embed_captions.py"
