"""diffmia: membership inference attacks on diffusion models, from images to tables."""

from snakemake.utils import min_version

from diffmia.commands.summary import summary
from diffmia.planning.missing import report_missing

min_version("9.20.0")


configfile: "config.yaml"


include: "rules/common/config.smk"
include: "rules/common/target_files.smk"
include: "rules/common/run_files.smk"
include: "rules/common/jobs.smk"


pathvars:
    out=CONFIG.out,
    logs="results/_logs",
    benchmarks="results/_benchmarks",


report: "rules/captions/workflow.rst"


include: "rules/data.smk"
include: "rules/caption.smk"
include: "rules/target.smk"
include: "rules/latent.smk"
include: "rules/attack.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.metrics.input,
    localrule: True


onsuccess:
    print(summary(CONFIG))


onerror:
    print(report_missing(CONFIG))
