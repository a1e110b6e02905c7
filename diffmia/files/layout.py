"""Where files lie: prepared datasets, and those of a seed, `<anything>/<id>/seed<n>[.suffixes]`, or below that."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

PREPARED = Path("results/datasets")
RESIDUAL_SCORES = "residuals"  # name of the file with the scores of all attacks that only read the residual table


def prepared_files(dataset: str) -> tuple[Path, Path, Path]:
    """The images of a dataset, a row about each, and its manifest."""
    folder = PREPARED / dataset
    return folder / "images.npy", folder / "samples.parquet", folder / "manifest.json"


def id_and_seed(path: str | Path) -> tuple[str, int]:
    """The id and the run seed in a path such as `results/splits/digits/seed0.json`."""
    parts = Path(path).parts
    place = next(index for index in reversed(range(len(parts))) if re.match(r"seed\d+(\.|$)", parts[index]))
    return parts[place - 1], int(parts[place].removeprefix("seed").partition(".")[0])


def by_id_and_seed(paths: Iterable[str | Path]) -> dict[tuple[str, int], Path]:
    """Paths keyed by `id_and_seed`."""
    return {id_and_seed(path): Path(path) for path in paths}
