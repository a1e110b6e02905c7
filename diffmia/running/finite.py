"""NaN and infinity end a job: a score that is no number must not be ranked, replaced or dropped."""

from __future__ import annotations

import numpy as np

from diffmia.errors import DiffmiaError


def check_finite(values: np.ndarray, sample_ids: np.ndarray, what: str) -> None:
    """Refuse NaN and infinity among the samples' values, shape (n, ...); `what` says whose values they are.

    Raises
    ------
    DiffmiaError
        With the count and the first five sample ids.
    """
    finite = np.isfinite(values)
    bad = np.asarray(sample_ids)[~finite.all(axis=tuple(range(1, finite.ndim)))]
    if len(bad):
        first = ", ".join(map(str, bad[:5]))
        raise DiffmiaError(f"{what}: {len(bad)} of {len(values)} are NaN or infinite (first sample ids: {first})")
