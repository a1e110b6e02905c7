"""The figure stage: from the run's score files, loss curves or residuals to one figure of one target."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ImportString, TypeAdapter

from diffmia.evaluation.rows import read_metrics
from diffmia.figures import FIGURES
from diffmia.figures.attacks import ShownAttack, StudiedAttack
from diffmia.figures.figure import FigureData, save
from diffmia.files.layout import id_and_seed
from diffmia.scoring.reading import read_scores

if TYPE_CHECKING:
    from diffmia.config.config import Config

_READERS = {"metrics.csv": read_metrics, "cost.csv": pd.read_csv}


def plot_figure(name: str, config: Config, target: str, job: dict, inputs: Any, out: Any) -> None:
    """Write `out.png` and `out.pdf` of a figure.

    Parameters
    ----------
    name : str
        One of `FIGURES`.
    config : Config
    target : str
        Id of the target it is of.
    job : dict
        The attacks it shows, by id, and the seeds; where it mixes them, the groups of the non-members.
    inputs : object
        `scores`, `losses`, `aggregates` (metrics.csv, cost.csv) and `residuals`: paths, empty where the figure does not
        read them. `samples` and `manifest`: files of the dataset.
    out : object
        Paths `png` and `pdf`.
    """
    draw = TypeAdapter(ImportString).validate_python(FIGURES[name].function)
    studied = {attack: _studied(shown) for attack, shown in job["studied"]}
    jacobians = {t: names for t, names in job.get("jacobians", [])}
    read = [*(shown.names for shown in studied.values()), *jacobians.values()]
    columns = ["role", *dict.fromkeys(itertools.chain.from_iterable(read))]
    residuals: dict[str, dict[int, pd.DataFrame]] = {}
    for path in inputs.residuals:
        of, seed = id_and_seed(path)
        residuals.setdefault(of, {})[seed] = pd.read_parquet(path, columns=columns)
    compared = {_thing(thing): of for thing, of in job["compared"]}
    about = pd.read_parquet(inputs.samples).set_index("sample_id")
    mixed, shape = job.get("non_member_groups", ()), json.loads(Path(inputs.manifest).read_text())["shape"]
    data = FigureData(
        target=target,
        title=f"{FIGURES[name].title}, {target}",
        seeds=job["seeds"],
        attacks={attack: ShownAttack(**shown) for attack, shown in job["attacks"]},
        scores={
            (attack, id_and_seed(path)[1]): scores
            for path in inputs.scores
            for attack, scores in read_scores(path).items()
        },
        label_names=about["label_name"],
        **({"groups": about["group"], "non_member_groups": mixed} if mixed else {}),
        losses={id_and_seed(path)[1]: pd.read_csv(path) for path in inputs.losses},
        **{Path(path).stem: _READERS[Path(path).name](path) for path in inputs.aggregates},
        evaluation=config.evaluation,
        evaluation_seeds={int(seed): child for seed, child in job["evaluation_seeds"].items()},
        studied=studied,
        residuals=residuals.get(target, {}),
        compared={thing: residuals[of] for thing, of in compared.items()},
        own=[thing for thing, of in compared.items() if of == target],
        jacobians=jacobians,
        pixels=0 if config.targets[target].latent else math.prod(shape),  # noise of latents has not the images' size
    )
    save(draw(data), out.png, out.pdf)


def _studied(shown: dict[str, Any]) -> StudiedAttack:
    """An attack as the job's text has it, where there are no tuples."""
    return StudiedAttack(**{**shown, "columns": [[_thing(thing), *names] for thing, *names in shown["columns"]]})


def _thing(written: Any) -> Any:
    return tuple(written) if isinstance(written, list) else written
