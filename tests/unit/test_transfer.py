"""Thresholds of another seed's target, against counts made by hand and by brute force."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from diffmia.errors import DiffmiaError
from diffmia.evaluation.roc import roc_curve, tpr_at_fpr
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.stage import transfer_of_target
from diffmia.evaluation.transfer import threshold_at_fpr, transfer_thresholds
from diffmia.scoring.reading import write_scores

SPEC = EvaluationSpec(fprs=(0.25, 0.01))


def frame(members: list[float], non_members: list[float], oms: float | None = None) -> pd.DataFrame:
    base = np.array([*members, *non_members], dtype=float)
    return pd.DataFrame(
        {
            "sample_id": range(len(base)),
            "member": [True] * len(members) + [False] * len(non_members),
            "role": "eval",
            "base": base,
            "oms": np.nan if oms is None else base + oms,
        }
    )


def rows(*scores: pd.DataFrame, spec: EvaluationSpec = SPEC) -> pd.DataFrame:
    found = pd.DataFrame(transfer_thresholds(dict(enumerate(scores)), spec))
    return found.set_index(["surrogate_seed", "seed", "variant", "metric"])


def test_by_hand():
    # on seed 0 the best threshold is 2.5 (all members, no non-member); with one false positive of four it is 3
    surrogate, target = frame([1, 2], [3, 4, 5, 6]), frame([1, 2.8, 9, 9], [2.4, 2.6, 2.7, 8])
    found = rows(surrogate, target)
    assert found.loc[(0, 1, "base", "asr"), ["value", "realised_fpr"]].tolist() == [50.0, 25.0]
    assert found.loc[(0, 1, "base", "tpr_at_25_fpr"), ["value", "realised_fpr"]].tolist() == [50.0, 75.0]
    # the other way round: 2.4 is the largest score of seed 1 with one false positive of four at most
    assert found.loc[(1, 0, "base", "tpr_at_25_fpr"), ["value", "realised_fpr"]].tolist() == [100.0, 0.0]


def test_the_threshold_is_that_of_the_tpr_it_names():
    rng = np.random.default_rng(0)
    for _ in range(50):
        members, non_members = rng.integers(0, 12, 15).astype(float), rng.integers(3, 15, 20).astype(float)
        roc = roc_curve(members, non_members)
        for alpha in (0.0, 0.05, 0.1, 0.5, 1.0):
            threshold = threshold_at_fpr(roc, alpha)
            assert (members <= threshold).mean() == pytest.approx(tpr_at_fpr(roc, alpha)[0])
            higher = np.concatenate([members, non_members])
            higher = higher[higher > threshold]
            assert (non_members <= threshold).mean() <= alpha
            assert all((non_members <= other).mean() > alpha for other in higher)


def test_a_target_like_its_surrogate_keeps_its_numbers():
    rng = np.random.default_rng(1)
    one, other = (frame(rng.normal(0, 1, 4000), rng.normal(1.5, 1, 4000), oms=0.0) for _ in range(2))
    found = rows(one, other, spec=EvaluationSpec(fprs=(0.05,)))
    for pair in ((0, 1), (1, 0)):
        for variant in ("base", "oms"):
            asr, tpr = (found.loc[(*pair, variant, metric)] for metric in ("asr", "tpr_at_5_fpr"))
            assert asr["value"] == pytest.approx(77.3, abs=1.5)  # Phi(0.75)
            assert tpr["realised_fpr"] == pytest.approx(5.0, abs=1.0)
            assert tpr["value"] == pytest.approx(44.2, abs=3.0)  # Phi(1.5 + Phi^-1(0.05))


def test_a_surrogate_whose_scores_lie_elsewhere_shows_in_the_realised_fpr():
    rng = np.random.default_rng(2)
    members, non_members = rng.normal(0, 1, 1000), rng.normal(1, 1, 1000)
    found = rows(frame(members, non_members), frame(members - 3, non_members - 3), spec=EvaluationSpec(fprs=(0.05,)))
    assert found.loc[(0, 1, "base", "tpr_at_5_fpr"), "realised_fpr"] > 50
    assert found.loc[(1, 0, "base", "tpr_at_5_fpr"), "realised_fpr"] == 0


def test_the_smaller_side_decides_what_an_fpr_can_support():
    rng = np.random.default_rng(3)
    small, large = (frame(rng.normal(0, 1, 50), rng.normal(1, 1, n)) for n in (90, 2000))
    found = rows(small, large)
    assert found.xs("tpr_at_1_fpr", level="metric")["value"].isna().all()
    assert found.xs("tpr_at_25_fpr", level="metric")["reliable"].all()
    assert not rows(*(frame([0, 1], list(range(2, 14))),) * 2).xs("tpr_at_25_fpr", level="metric")["reliable"].any()


def test_every_ordered_pair_of_seeds_once():
    scores = [frame([0, 1], [2, 3, 4, 5], oms=1.0)] * 3
    found = rows(*scores)
    pairs = found.index.droplevel(["variant", "metric"]).unique()
    assert sorted(pairs) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert found.index.is_unique


def test_samples_an_attack_was_told_choose_nothing_and_are_not_judged():
    told = frame([9, 9, 9], [0, 0, 0]).assign(role="train")
    clean, other = frame([1, 2], [3, 4, 5, 6]), frame([1, 3], [2, 4, 7, 8])
    pd.testing.assert_frame_equal(rows(pd.concat([clean, told]), pd.concat([other, told])), rows(clean, other))


def test_the_stage_joins_the_files_of_all_seeds(tmp_path):
    """Files named as the workflow names them, with another attack's scores among those asked for."""
    rng = np.random.default_rng(2)
    frames = {attack: [frame(*rng.normal(size=(2, 40)), oms=0.5) for _ in range(2)] for attack in ("naive", "pia")}
    scores, splits = [], []
    for seed in range(2):
        split = tmp_path / f"splits/digits/seed{seed}.json"
        split.parent.mkdir(parents=True, exist_ok=True)
        split.write_text(json.dumps({"split_hash": f"hash{seed}"}))
        splits.append(split)
        path = tmp_path / f"scores/one/seed{seed}/residuals.parquet"
        path.parent.mkdir(parents=True)
        write_scores(
            pd.concat([of[seed].assign(attack=id_) for id_, of in frames.items()]), {"split_hash": f"hash{seed}"}, path
        )
        scores.append(path)
    transfer_of_target(["pia"], SPEC, "one", scores, splits, tmp_path / "one.csv")
    found = pd.read_csv(tmp_path / "one.csv")
    expected = pd.DataFrame(transfer_thresholds(dict(enumerate(frames["pia"])), SPEC))
    assert (found["attack"] == "pia").all()
    for column in expected:
        assert found[column].tolist() == pytest.approx(expected[column].tolist(), nan_ok=True), column
    splits[1].write_text(json.dumps({"split_hash": "another"}))
    with pytest.raises(DiffmiaError, match="holds scores of split hash1, and they are to be judged by split another"):
        transfer_of_target(["pia"], SPEC, "one", scores, splits, tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_a_score_at_the_threshold_is_a_member():
    surrogate, target = frame([1, 2], [3, 4, 5, 6]), frame([3, 3, 9, 9], [3, 7, 7, 7])
    found = pd.DataFrame(transfer_thresholds({0: surrogate, 1: target}, SPEC))
    row = found.set_index(["seed", "metric"]).loc[(1, "tpr_at_25_fpr")]
    assert row[["value", "realised_fpr"]].tolist() == [50.0, 25.0]
