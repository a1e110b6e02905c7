"""A blind baseline on numbers of each sample: logistic regression."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diffmia.blind.cross_validation import FitPredict


def logistic_regression(numbers: np.ndarray) -> FitPredict:
    """Judges rows by their numbers, float (N, F), which are standardised as those of the training rows."""

    def fit_predict(train: np.ndarray, labels: np.ndarray, judged: np.ndarray, _: np.random.Generator) -> np.ndarray:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        return model.fit(numbers[train], ~labels).decision_function(numbers[judged])

    return fit_predict
