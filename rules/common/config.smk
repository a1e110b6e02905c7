"""What all rules know: the config, what of it is missing, and what wildcards stand for. No rules here."""

import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from diffmia.commands.arguments import check_preset
from diffmia.config.config import load_config
from diffmia.errors import DiffmiaError
from diffmia.planning.missing import missing_cells
from diffmia.planning.remarks import remarks

try:
    check_preset(sys.argv[1:], Path(workflow.basedir))
    CONFIG = load_config(config)
except DiffmiaError as error:
    raise WorkflowError(str(error)) from None

for remark in remarks(CONFIG) if workflow.is_main_process else []:
    logger.warning(remark)

RUN = CONFIG.run
MISSING = missing_cells(CONFIG) if RUN.partial else []
LACKING = {(cell.target, cell.seed, cell.attack) for cell in MISSING}

# captions of the report read these, and a config may leave keys of theirs to their defaults
config |= CONFIG.model_dump(mode="json", include={"run", "evaluation"})


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    split="|".join(map(re.escape, CONFIG.splits)),
    target="|".join(map(re.escape, CONFIG.targets)),
    attack="|".join(map(re.escape, CONFIG.attacks)),
    figure="|".join(RUN.figures),
    seed=r"\d+",
    shard=r"\d+of\d+",
    answers="residuals|gradients|jacobians",


def scaled(amount):
    """A resource that grows with each retry."""

    def get(wildcards, attempt):
        return amount * attempt

    return get


def one_of(ids):
    """Pattern of the ids a rule makes something for; one that nothing matches where there are none."""
    return "|".join(map(re.escape, ids)) or "(?!)"
