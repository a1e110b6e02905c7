"""What a model is told of each sample under a condition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffmia.errors import DiffmiaError

NONE, CAPTION = "none", "caption"  # the conditions that need no captioner


def texts_of(condition: str, samples: Path, captions: Path | None, ids: np.ndarray) -> list[str]:
    """The text of each sample of a dataset under a condition; "" for those that are not in `ids`.

    Parameters
    ----------
    condition : str
        `none`: the empty prompt; `caption`: the dataset's own caption.
    samples : Path
        `samples.parquet` of the dataset.
    captions : Path, optional
        A captioner's table, for a condition that is its id.
    ids : int array
        Samples that are asked about.

    Raises
    ------
    DiffmiaError
        If one of them has no caption.
    """
    of_dataset = pd.read_parquet(samples)["caption"]
    texts = [""] * len(of_dataset)
    if condition == NONE:
        return texts
    for sample in sorted(ids.tolist()):
        if not isinstance(of_dataset[sample], str) or not of_dataset[sample].strip():
            raise DiffmiaError(
                f"sample {sample} of {samples} has no caption; give it one, take it out, or use condition: none or a "
                "captioner"
            )
        texts[sample] = of_dataset[sample]
    return texts
