"""The figure stage: from the run's score files or loss curves to one figure of one target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ImportString, TypeAdapter

from diffmia.evaluation.rows import read_metrics
from diffmia.figures import FIGURES
from diffmia.figures.attacks import ShownAttack
from diffmia.figures.figure import FigureData, save
from diffmia.layout import id_and_seed

if TYPE_CHECKING:
    from diffmia.config import Config

_READERS = {"metrics.csv": read_metrics, "cost.csv": pd.read_csv}


def plot_figure(
    name: str,
    config: Config,
    target: str,
    job: dict,
    scores: Sequence[Path],
    losses: Sequence[Path],
    aggregates: Sequence[Path],
    samples: Path,
    out: Any,
) -> None:
    """Write `out.png` and `out.pdf` of a figure; `job` has the attacks it shows, by id, and the seeds.

    `scores`, `losses` and `aggregates` (metrics.csv, cost.csv) are empty where the figure does not read them.
    """
    draw = TypeAdapter(ImportString).validate_python(FIGURES[name].function)
    data = FigureData(
        target=target,
        title=target,
        seeds=job["seeds"],
        attacks={attack: ShownAttack(**shown) for attack, shown in job["attacks"]},
        scores={(Path(path).stem, id_and_seed(path)[1]): pd.read_parquet(path) for path in scores},
        label_names=pd.read_parquet(samples).set_index("sample_id")["label_name"],
        losses={id_and_seed(path)[1]: pd.read_csv(path) for path in losses},
        **{Path(path).stem: _READERS[Path(path).name](path) for path in aggregates},
        evaluation=config.evaluation,
        evaluation_seeds={int(seed): child for seed, child in job["evaluation_seeds"].items()},
    )
    save(draw(data), out.png, out.pdf)
