"""A blind baseline on numbers of each sample: logistic regression, fitted to the other folds."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diffmia.blind.cross_validation import out_of_fold


def table_scores(
    numbers: np.ndarray,
    member: np.ndarray,
    folds: int,
    seed: int,
    classes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Score every sample by its numbers, standardised as those of the other folds; lower = member.

    Parameters
    ----------
    numbers : float array (N, F)
    member : bool array (N,)
    folds, seed, classes, groups
        See `out_of_fold`.

    Returns
    -------
    float64 array (N,)
        Standardised log-odds of not being a member, from a model that saw neither the sample nor its membership.

    Raises
    ------
    DiffmiaError
        If a class has fewer samples, or groups, than there are folds.
    """

    def fit_predict(train: np.ndarray, labels: np.ndarray, judged: np.ndarray, _: np.random.Generator) -> np.ndarray:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        return model.fit(numbers[train], ~labels).decision_function(numbers[judged])

    return out_of_fold(fit_predict, member, folds, seed, classes, groups)
