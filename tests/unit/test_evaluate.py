"""The rows that the evaluation stage hands on."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from diffmia.errors import DiffmiaError
from diffmia.evaluation.delong import auc_test, paired_auc_test
from diffmia.evaluation.metrics import evaluate
from diffmia.evaluation.roc import auc, roc_curve, tpr_at_fpr
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.stage import COST_COLUMNS, aggregate_cost

SPEC = EvaluationSpec(bootstrap=200)
NUMBERS = ["value", "std", "ci_low", "ci_high"]
METRICS = ["auc", "asr", "tpr_at_5_fpr", "tpr_at_1_fpr", "tpr_at_0.1_fpr"]


def frame(n_members: int = 200, n_non_members: int = 1000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_members + n_non_members
    member = rng.permutation(np.arange(n) < n_members)
    base = rng.normal(size=n) + 0.8 * ~member
    oms = base + 0.2 * rng.normal(size=n) + 0.3 * ~member
    return pd.DataFrame({"sample_id": np.arange(n), "member": member, "role": "eval", "base": base, "oms": oms})


def table(scores: pd.DataFrame, spec: EvaluationSpec = SPEC, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(evaluate(scores, spec, seed)).set_index(["variant", "metric"])


def test_rows_and_keys():
    rows = evaluate(frame(), SPEC, 0)
    assert [(row["variant"], row["metric"]) for row in rows] == [
        (variant, metric) for variant in ("base", "oms", "delta") for metric in METRICS
    ]
    assert list(rows[0]) == [
        *("variant", "metric", "value", "std", "ci_low", "ci_high", "p_value"),
        *("n_members", "n_non_members", "realised_fpr", "reliable"),
    ]
    assert all(row["n_members"] == 200 and row["n_non_members"] == 1000 for row in rows)


def test_values_are_percent_of_the_exact_ones():
    scores, rows = frame(), table(frame())
    for variant in ("base", "oms"):
        roc = roc_curve(scores[variant][scores["member"]].to_numpy(), scores[variant][~scores["member"]].to_numpy())
        assert rows.loc[(variant, "auc"), "value"] == pytest.approx(100 * auc(roc))
        for metric, alpha in zip(METRICS[2:], SPEC.fprs, strict=True):
            got = rows.loc[(variant, metric), ["value", "realised_fpr"]]
            np.testing.assert_allclose(got.to_numpy(float), 100 * np.array(tpr_at_fpr(roc, alpha)))
        assert 50 < rows.loc[(variant, "asr"), "value"] < rows.loc[(variant, "auc"), "value"]
        assert 0 < rows.loc[(variant, "asr"), "realised_fpr"] < 100
        assert np.isnan(rows.loc[(variant, "auc"), "realised_fpr"])


def test_delta_is_the_paired_difference_in_points():
    rows = table(frame())
    difference = rows.loc["oms", "value"] - rows.loc["base", "value"]
    np.testing.assert_allclose(rows.loc["delta", "value"], difference, atol=1e-12)
    assert rows.loc["delta", "realised_fpr"].isna().all()
    assert rows.loc[("delta", "auc"), "std"] < 0.5 * np.hypot(*rows.loc[(["base", "oms"], "auc"), "std"])
    # the draws are shared, so the thresholds' luck cancels
    same = frame()
    same["oms"] = 2 * same["base"]
    np.testing.assert_array_equal(table(same).loc["delta", NUMBERS], 0.0)


def test_intervals_surround_the_value_and_widen_with_confidence():
    narrow, wide = table(frame(), EvaluationSpec(bootstrap=200, confidence=0.5)), table(frame())
    low, high = wide["ci_low"], wide["ci_high"]
    assert ((low <= wide["value"]) & (wide["value"] <= high)).drop("tpr_at_0.1_fpr", level="metric").all()
    assert (high - low > narrow["ci_high"] - narrow["ci_low"]).all()


def test_p_values():
    scores, rows = frame(), table(frame())
    base, oms = ([scores[v][c].to_numpy() for c in (scores["member"], ~scores["member"])] for v in ("base", "oms"))
    assert rows.loc[("base", "auc"), "p_value"] == auc_test(*base).p_value
    assert rows.loc[("oms", "auc"), "p_value"] == auc_test(*oms).p_value
    assert rows.loc[("delta", "auc"), "p_value"] == paired_auc_test(*base, *oms).p_value
    assert rows.drop("auc", level="metric")["p_value"].isna().all()


def test_direction_is_fixed():
    reversed_scores = frame()
    reversed_scores[["base", "oms"]] *= -1
    straight, flipped = table(frame())["value"], table(reversed_scores)["value"]
    for variant in ("base", "oms"):
        assert straight[variant, "auc"] > 60
        assert flipped[variant, "auc"] == pytest.approx(100 - straight[variant, "auc"])
        assert flipped[variant, "asr"] < 52
        assert flipped[variant, "tpr_at_5_fpr"] < 5


@pytest.mark.parametrize(
    ("n_non_members", "metric", "shown", "reliable"),
    [
        (19, "tpr_at_5_fpr", False, False),
        (20, "tpr_at_5_fpr", True, False),
        (199, "tpr_at_5_fpr", True, False),
        (200, "tpr_at_5_fpr", True, True),
        (99, "tpr_at_1_fpr", False, False),
        (100, "tpr_at_1_fpr", True, False),
        (999, "tpr_at_1_fpr", True, False),
        (1000, "tpr_at_1_fpr", True, True),
        (999, "tpr_at_0.1_fpr", False, False),
        (1000, "tpr_at_0.1_fpr", True, False),
        (9999, "tpr_at_0.1_fpr", True, False),
        (10000, "tpr_at_0.1_fpr", True, True),
        (99, "auc", True, True),
        (99, "asr", True, True),
    ],
)
def test_support_decides_what_is_shown_and_what_is_reliable(n_non_members, metric, shown, reliable):
    rows = table(frame(20, n_non_members), EvaluationSpec(bootstrap=100)).xs(metric, level="metric")
    assert rows[NUMBERS].notna().all(axis=None) == shown
    assert rows[NUMBERS].isna().all(axis=None) == (not shown)
    assert (rows["reliable"] == reliable).all()
    if metric.startswith("tpr"):
        assert rows.loc[["base", "oms"], "realised_fpr"].notna().all() == shown


def test_the_same_seed_gives_the_same_rows_whatever_their_order():
    pd.testing.assert_frame_equal(table(frame()), table(frame().sample(frac=1, random_state=1)))
    once, again = table(frame(), seed=1), table(frame(), seed=2)
    np.testing.assert_array_equal(once["value"].drop("asr", level=1), again["value"].drop("asr", level=1))
    assert once.loc[("base", "asr"), "value"] != again.loc[("base", "asr"), "value"]
    assert once.loc[("base", "auc"), "ci_low"] != again.loc[("base", "auc"), "ci_low"]


def test_training_rows_are_not_judged():
    train = frame(50, 50, seed=9).assign(role="train", base=np.nan, oms=np.nan)
    train["sample_id"] += 10_000
    pd.testing.assert_frame_equal(table(pd.concat([frame(), train], ignore_index=True)), table(frame()))


@pytest.mark.parametrize("empty", [np.nan, None])
def test_an_attack_without_oms_has_base_rows_only(empty):
    rows = table(frame().assign(oms=empty))
    assert set(rows.index.get_level_values("variant")) == {"base"}
    pd.testing.assert_frame_equal(rows, table(frame()).loc[["base"]])


@pytest.mark.parametrize(("column", "bad"), [("base", np.nan), ("base", -np.inf), ("oms", np.inf), ("oms", np.nan)])
def test_scores_that_are_not_finite_are_refused_with_count_and_ids(column, bad):
    scores = frame()
    scores.loc[[700, 3, 42, 8, 9, 10], column] = bad
    with pytest.raises(
        DiffmiaError, match=rf"^{column} scores: 6 of 1200 .*NaN or infinite.*sample ids: 3, 8, 9, 10, 42\)"
    ):
        evaluate(scores, SPEC, 0)


@pytest.mark.parametrize("missing", [True, False])
def test_a_class_without_rows_is_refused(missing):
    scores = frame()
    scores.loc[scores["member"] == missing, "role"] = "train"
    with pytest.raises(DiffmiaError, match="0 members" if missing else "0 non-members"):
        evaluate(scores, SPEC, 0)


def test_handfuls_and_perfect_separation_are_judged():
    scores = frame(2, 2)
    scores["base"] = np.where(scores["member"], 0.0, 1.0)
    rows = table(scores)
    assert rows.loc[("base", "auc"), ["value", "ci_high"]].tolist() == [100.0, 100.0]
    assert np.isnan(rows.loc[("base", "auc"), "p_value"])


def test_settings_reach_what_they_name():
    few = table(frame(), EvaluationSpec(bootstrap=100))
    more = table(frame(), EvaluationSpec(bootstrap=300))
    asr = few.index.get_level_values("metric") == "asr"
    assert (few["std"] == more["std"])[asr].all()  # of the threshold draws, not of the bootstrap
    assert (few["std"] != more["std"])[~asr].all()
    for setting in ({"threshold_fraction": 0.3}, {"threshold_repeats": 3}):
        changed = table(frame(), EvaluationSpec(bootstrap=100, **setting))
        assert (changed["value"] != few["value"])[asr].all()
        assert (changed["value"] == few["value"])[~asr].all()


@pytest.mark.parametrize("wrong", [{"bootstrap": 99}, {"confidence": 1.0}, {"threshold_repeats": 1}, {"fprs": [0.0]}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        EvaluationSpec(**wrong)


def test_other_fprs_name_their_metrics():
    rows = table(frame(), EvaluationSpec(bootstrap=100, fprs=(0.07, 0.005)))
    assert list(rows.loc["base"].index) == ["auc", "asr", "tpr_at_7_fpr", "tpr_at_0.5_fpr"]


ANSWERS = {"pia": "residuals", "quantile": "residuals", "gsa": "gradients"}
QUERIES = {"pia": (2, 3), "quantile": (12, 13), "quantile_roc": (12, 13), "gsa": (30, 40)}
EVALUATIONS = {"residuals": 20, "gradients": 60}


class TestCost:
    @pytest.fixture
    def cost(self, tmp_path):
        """Costs of two targets and two seeds, by target, seed, attack and variant."""
        rows, passes, scores = [], [], []
        for place, (target, seed) in enumerate([("one", 0), ("one", 1), ("two", 0), ("two", 1)]):
            for answers, evaluations in EVALUATIONS.items():
                facts = {
                    "seconds": 10.0 + place,
                    "evaluations_per_sample": evaluations,
                    "samples": 100,
                    "device": answers,
                }
                passes.append(self.written(tmp_path / f"results/{answers}/{target}/seed{seed}.meta.json", facts))
            for attack in ANSWERS:
                seconds = {"base": 1.5 + place, "oms": 2.5 + place}
                facts = {} if attack == "pia" else {"seconds_learning": seconds, "device": f"card {attack}"}
                path = tmp_path / f"results/scores/{target}/seed{seed}/{attack}.meta.json"
                scores.append(self.written(path, {"job": {}, **facts}))
            rows += [
                {"target": target, "dataset": "d", "seed": seed, "attack": id_, "variant": variant, "queries": queries}
                for id_, of_variants in QUERIES.items()
                for variant, queries in zip(("base", "oms", "delta"), (*of_variants, of_variants[1]), strict=True)
                for _ in range(2)  # metrics
            ]
        pd.DataFrame(rows).to_csv(tmp_path / "metrics.csv", index=False)
        config = SimpleNamespace(attacks={id_: SimpleNamespace(answers=of) for id_, of in ANSWERS.items()})
        aggregate_cost(tmp_path / "metrics.csv", passes[::-1], scores[::-1], config, tmp_path / "cost.csv")
        return pd.read_csv(tmp_path / "cost.csv").set_index(["target", "seed", "attack", "variant"])

    def written(self, path, facts):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts))
        return path

    def test_a_row_for_each_variant_but_delta(self, cost):
        assert list(cost.reset_index()[COST_COLUMNS]) == COST_COLUMNS
        assert len(cost) == 2 * 2 * len(QUERIES) * 2
        assert cost.index.is_unique
        assert set(cost.index.get_level_values("variant")) == {"base", "oms"}

    def test_seconds_are_a_share_of_the_pass_the_attack_reads(self, cost):
        assert cost.loc[("one", 0, "pia", "oms"), "seconds"] == pytest.approx(10 * 3 / 20)
        assert cost.loc[("one", 1, "quantile", "base"), "seconds"] == pytest.approx(11 * 12 / 20, abs=1e-3)
        assert cost.loc[("two", 1, "gsa", "oms"), "seconds"] == pytest.approx(13 * 40 / 60, abs=1e-3)
        assert cost.loc[("two", 1, "gsa", "oms"), "device"] == "gradients"
        assert cost.loc[("two", 0, "pia", "base"), "seconds_of_pass"] == 12.0

    def test_seconds_of_learning_are_those_of_the_variant(self, cost):
        assert cost.loc[("one", 1, "gsa", "base"), "seconds_learning"] == 2.5
        assert cost.loc[("two", 1, "gsa", "oms"), "seconds_learning"] == 5.5
        assert cost.loc[("two", 1, "gsa", "oms"), "device_learning"] == "card gsa"

    def test_attacks_that_do_not_learn_take_no_time_for_it(self, cost):
        found = cost.xs("pia", level="attack")
        assert (found["seconds_learning"] == 0).all()
        assert found["device_learning"].isna().all()

    def test_the_roc_of_an_attack_costs_what_its_decisions_cost(self, cost):
        pd.testing.assert_frame_equal(cost.xs("quantile_roc", level="attack"), cost.xs("quantile", level="attack"))
