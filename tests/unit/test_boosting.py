"""GSA's classifier: what it says of a sample, and how finely."""

import numpy as np
import pytest

from diffmia.attacks.learners.boosting import fit_boosted_trees
from diffmia.running.failures import NotApplicable


def features(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.5
    return (rng.normal(size=(n, 6)) + 1.2 * member[:, None]).astype(np.float32), member


def test_the_score_is_the_libraries_probability_but_not_rounded_to_float32():
    model = fit_boosted_trees(*features(400, 0), trees=200, seed=0)
    fresh, member = features(20_000, 1)
    found = model.non_member_probability(fresh)
    theirs = model.classifier.predict_proba(model.scaler.transform(fresh))[:, 0]
    np.testing.assert_allclose(found, theirs, atol=1e-6)
    assert found[member].mean() < 0.2 < 0.8 < found[~member].mean()
    surest = np.argsort(found)[:2000]
    assert len(np.unique(found[surest])) > 2 * len(np.unique(theirs[surest]))


@pytest.mark.parametrize("member", [True, False])
def test_rows_of_one_class_are_refused(member):
    with pytest.raises(NotApplicable, match="a classifier needs both"):
        fit_boosted_trees(np.zeros((5, 2)), np.full(5, member), trees=5, seed=0)
