"""Gradient boosted trees on standardised features, as GSA uses them; whatever is learned is of the training rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from diffmia.running.failures import NotApplicable


@dataclass
class BoostedTrees:
    """A fitted scaler and classifier."""

    scaler: StandardScaler
    classifier: XGBClassifier

    def non_member_probability(self, features: np.ndarray) -> np.ndarray:
        """Predicted probability of not being a member, float64 (n,), for features (n, d)."""
        # from the log odds: the probability itself is rounded to float32, in which the surest members are all alike
        log_odds = self.classifier.predict(self.scaler.transform(features), output_margin=True)
        return expit(-log_odds.astype(np.float64))

    def save(self, folder: Path) -> None:
        """Write `scaler.json` and `trees.json`."""
        scaler = {"mean": self.scaler.mean_.tolist(), "scale": self.scaler.scale_.tolist()}
        (folder / "scaler.json").write_text(json.dumps(scaler) + "\n")
        self.classifier.save_model(folder / "trees.json")


def fit_boosted_trees(features: np.ndarray, member: np.ndarray, trees: int, seed: int) -> BoostedTrees:
    """Learn from features (n, d) and membership, bool (n,), of the training rows.

    Raises
    ------
    NotApplicable
        If the rows are all of one class.
    """
    n_members = int(member.sum())
    if n_members in (0, len(member)):
        raise NotApplicable(
            f"the training rows hold {n_members} members and {len(member) - n_members} non-members; "
            "a classifier needs both"
        )
    scaler = StandardScaler().fit(features)
    # one thread: sums over several would be rounded in another order, and a score must not depend on the machine
    classifier = XGBClassifier(n_estimators=trees, random_state=seed % 2**31, n_jobs=1)
    return BoostedTrees(scaler, classifier.fit(scaler.transform(features), member))
