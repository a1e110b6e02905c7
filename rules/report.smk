"""Tables and figures, from the files of earlier stages alone."""


rule render_tables:
    input:
        metrics="<out>/metrics.csv",
        splits=of_splits("results/splits/{split}/seed{seed}.json"),
        duplicates=table_duplicates(),
        transfers=table_transfers(),
    output:
        csv=collect("<out>/tables/{table}.csv", table=RUN.tables),
        md=collect("<out>/tables/{table}.md", table=RUN.tables),
        html=table_reports(),
        tex=collect("<out>/tables/{table}.tex", table=RUN.tables),
        meta="<out>/tables.meta.json",
    log:
        f"<logs>/render_tables/{RUN.name}.log",
    benchmark:
        f"<benchmarks>/render_tables/{RUN.name}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        job=tables_job,
    message:
        "Rendering the tables"
    script:
        "../scripts/render_tables.py"


rule plot_figure:
    input:
        scores=figure_scores,
        samples=target_dataset("samples.parquet"),
        manifest=target_dataset("manifest.json"),
        losses=figure_losses,
        aggregates=figure_aggregates,
        residuals=figure_residuals,
    output:
        png=report(
            "<out>/figures/{figure}.{target}.png",
            caption="captions/figure.rst",
            category=figure_category,
            subcategory="{target}",
            labels={"figure": "{figure}", "target": "{target}"},
        ),
        pdf="<out>/figures/{figure}.{target}.pdf",
        meta="<out>/figures/{figure}.{target}.meta.json",
    log:
        f"<logs>/plot_figure/{RUN.name}/{{figure}}.{{target}}.log",
    benchmark:
        f"<benchmarks>/plot_figure/{RUN.name}/{{figure}}.{{target}}.jsonl"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        job=figure_job,
    message:
        "Drawing {wildcards.figure} of {wildcards.target}"
    script:
        "../scripts/plot_figure.py"


rule tables:
    input:
        collect("<out>/tables/{table}.md", table=RUN.tables),
    localrule: True


rule figures:
    input:
        run_figures,
    localrule: True
