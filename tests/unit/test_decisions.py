"""Decisions that attacks make themselves: against counts by hand, a literal resampling, and what the stage writes."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from diffmia.attacks.learned import decision
from diffmia.attacks.quantile import QuantileAttack
from diffmia.attacks.residual import ResidualAttack
from diffmia.errors import DiffmiaError
from diffmia.evaluation.decisions import WeightedRates, evaluate_decisions, nominal_fprs, not_applicable_rows
from diffmia.evaluation.metrics import evaluate
from diffmia.evaluation.resampling import stratified_weights
from diffmia.evaluation.rows import attack_of, join_flags, split_flags
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.stage import COLUMNS, evaluate_scores
from diffmia.scoring.reading import write_scores

SPEC = EvaluationSpec(bootstrap=150)
LEVELS = {"_at_5_fpr": 0.05, "_at_1_fpr": 0.01}
REASON = "needs 1,000 auxiliary samples and has 512"


def frame(n_members: int = 60, n_non_members: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Scores with decisions whose realised FPRs are near the nominal ones."""
    rng = np.random.default_rng(seed)
    n = n_members + n_non_members
    member = rng.permutation(np.arange(n) < n_members)
    found = {"sample_id": rng.permutation(n), "member": member, "role": "eval"}
    base = rng.normal(size=n) - 1.0 * member
    margins = {"base": base, "oms": base + 0.4 * rng.normal(size=n) - 0.5 * member}
    found |= {variant: of + 1.645 for variant, of in margins.items()}
    found |= {f"{variant}_at_5_fpr": of + 1.645 for variant, of in margins.items()}
    found |= {f"{variant}_at_1_fpr": of + 2.326 for variant, of in margins.items()}
    return pd.DataFrame(found)


def table(scores: pd.DataFrame, spec: EvaluationSpec = SPEC, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(evaluate_decisions(scores, spec, seed)).set_index(["variant", "metric"])


def by_hand() -> pd.DataFrame:
    """Of 4 members, 3 are accused without OMS and 1 with it; of 1,000 non-members 7 and 20. A zero is no accusation."""
    index = np.arange(1004)
    found = {"sample_id": index, "member": index < 4, "role": "eval", "base": 0.0, "oms": 0.0}
    for variant, (members, non_members) in {"base": (3, 7), "oms": (1, 20)}.items():
        accused = (index < members) | (index >= 1004 - non_members)
        found[f"{variant}_at_1_fpr"] = np.where(accused, -0.5, 0.0)
    return pd.DataFrame(found)


class TestJudging:
    def test_counts_by_hand(self):
        rows = table(by_hand())
        assert rows["value"].to_dict() == pytest.approx(
            {
                **{("base", "tpr_at_1_fpr"): 75.0, ("base", "fpr_at_1_fpr"): 0.7},
                **{("oms", "tpr_at_1_fpr"): 25.0, ("oms", "fpr_at_1_fpr"): 2.0},
                **{("delta", "tpr_at_1_fpr"): -50.0, ("delta", "fpr_at_1_fpr"): 1.3},
            }
        )
        realised = rows["realised_fpr"].dropna().to_dict()
        assert realised == pytest.approx({("base", "tpr_at_1_fpr"): 0.7, ("oms", "tpr_at_1_fpr"): 2.0})
        assert (rows[["n_members", "n_non_members"]].to_numpy() == [4, 1000]).all()
        assert rows["p_value"].isna().all()

    def test_rows_are_those_of_evaluate(self):
        rows, others = evaluate_decisions(frame(), SPEC, 0), evaluate(frame(), SPEC, 0)
        assert {tuple(row) for row in rows} == {tuple(others[0])}
        assert [(row["variant"], row["metric"]) for row in rows] == [
            (variant, f"{rate}{level}")
            for variant in ("base", "oms", "delta")
            for rate in ("tpr", "fpr")
            for level in LEVELS
        ]

    def test_training_rows_are_not_judged(self):
        train = by_hand().assign(role="train", base=np.nan, oms=np.nan, base_at_1_fpr=np.nan, oms_at_1_fpr=np.nan)
        train["sample_id"] += 10_000
        pd.testing.assert_frame_equal(table(pd.concat([train, by_hand()], ignore_index=True)), table(by_hand()))

    def test_weighted_rates_are_those_of_the_resampled_arrays(self):
        scores = frame()
        member = scores["member"].to_numpy()
        accepted = scores[[f"base{level}" for level in LEVELS]].to_numpy() < 0
        weights = np.concatenate(list(stratified_weights(member, 40, seed=1)))
        for row, found in zip(weights.astype(int), WeightedRates(accepted, member)(weights), strict=True):
            whose, said = np.repeat(member, row), np.repeat(accepted, row, axis=0)
            literal = [*said[whose].mean(axis=0), *said[~whose].mean(axis=0)]
            np.testing.assert_allclose(found, literal, rtol=0, atol=1e-15)

    def test_the_bootstrap_is_a_literal_loop_over_the_draws_of_evaluate(self):
        scores = frame().sort_values("sample_id")
        member = scores["member"].to_numpy()
        accused = {variant: scores[f"{variant}_at_1_fpr"].to_numpy() < 0 for variant in ("base", "oms")}
        generator = np.random.default_rng(np.random.SeedSequence(3).spawn(1)[0])
        loop = {variant: [] for variant in (*accused, "delta")}
        for _ in range(SPEC.bootstrap):
            drawn = [
                stratum[generator.integers(len(stratum), size=len(stratum))]
                for stratum in (np.flatnonzero(member), np.flatnonzero(~member))
            ]
            rates = {variant: [100 * of[ids].mean() for ids in drawn] for variant, of in accused.items()}
            for variant in accused:
                loop[variant].append(rates[variant])
            loop["delta"].append(np.subtract(rates["oms"], rates["base"]))
        rows = table(frame(), seed=3)
        for variant, drawn in loop.items():
            for metric, numbers in zip(("tpr_at_1_fpr", "fpr_at_1_fpr"), np.array(drawn).T, strict=True):
                found = rows.loc[(variant, metric)]
                assert found["std"] == pytest.approx(numbers.std(ddof=1), abs=1e-12)
                low, high = np.quantile(numbers, [0.025, 0.975])
                if variant != "delta":
                    judged = scores[scores["member"] == metric.startswith("tpr")]
                    hits = int((judged[f"{variant}_at_1_fpr"] < 0).sum())
                    exact = binomtest(hits, len(judged)).proportion_ci(0.95, "exact")
                    low, high = min(low, 100 * exact.low), max(high, 100 * exact.high)
                assert [found["ci_low"], found["ci_high"]] == pytest.approx([low, high])

    def test_it_shares_its_resamples_with_evaluate(self):
        scores = frame()
        for variant in (
            "base",
            "oms",
        ):  # a score that is the decision, which accuses no non-member: AUC = (1 + TPR) / 2
            accused = scores["member"] & (scores[f"{variant}_at_5_fpr"] < 0)
            scores[variant] = scores[f"{variant}_at_5_fpr"] = np.where(accused, -1.0, 1.0)
        rows = table(scores, seed=5).xs("tpr_at_5_fpr", level="metric")
        aucs = pd.DataFrame(evaluate(scores, SPEC, 5)).set_index(["variant", "metric"]).xs("auc", level="metric")
        for column in ("value", "std"):
            np.testing.assert_allclose(
                2 * aucs[column], rows[column] + 100 * ((column == "value") & (rows.index != "delta")), atol=1e-10
            )

    def test_delta_is_the_paired_difference(self):
        rows = table(frame())
        np.testing.assert_allclose(
            rows.loc["delta", "value"], rows.loc["oms", "value"] - rows.loc["base", "value"], atol=1e-12
        )
        same = frame()
        for level in LEVELS:
            same[f"oms{level}"] = same[f"base{level}"]
        assert (table(same).loc["delta", ["value", "std", "ci_low", "ci_high"]] == 0.0).all(axis=None)
        assert (rows.loc["delta", "std"] > 0).all()

    @pytest.mark.parametrize(
        ("n_non_members", "level", "shown", "reliable"),
        [
            (19, "_at_5_fpr", False, False),
            (20, "_at_5_fpr", True, False),
            (199, "_at_5_fpr", True, False),
            (200, "_at_5_fpr", True, True),
            (99, "_at_1_fpr", False, False),
            (999, "_at_1_fpr", True, False),
            (1000, "_at_1_fpr", True, True),
        ],
    )
    def test_support_decides_as_for_a_roc(self, n_non_members, level, shown, reliable):
        rows = table(frame(20, n_non_members), EvaluationSpec(bootstrap=100))
        for metric in (f"tpr{level}", f"fpr{level}"):
            found = rows.xs(metric, level="metric")
            assert found[["value", "std", "ci_low", "ci_high"]].notna().all(axis=None) == shown
            assert found["value"].isna().all() == (not shown)
            assert (found["reliable"] == reliable).all()

    @pytest.mark.parametrize(("column", "bad"), [("base_at_1_fpr", np.nan), ("oms_at_5_fpr", -np.inf)])
    def test_decisions_that_are_not_finite_are_refused_with_count_and_ids(self, column, bad):
        scores = frame().sort_values("sample_id", ignore_index=True)
        scores.loc[[700, 3, 42, 8, 9, 10], column] = bad
        with pytest.raises(DiffmiaError, match=rf"^{column} decisions: 6 of 1060 .*sample ids: 3, 8, 9, 10, 42\)"):
            evaluate_decisions(scores, SPEC, 0)

    def test_an_attack_without_oms_has_base_rows_only(self):
        rows = table(frame().assign(oms=np.nan, oms_at_5_fpr=np.nan, oms_at_1_fpr=np.nan))
        pd.testing.assert_frame_equal(rows, table(frame()).loc[["base"]])

    def test_names_say_the_nominal_fpr(self):
        alphas = (0.05, 0.01, 0.001, 0.025, 1e-7)
        columns = [variant + decision(alpha) for alpha in alphas for variant in ("base", "oms")]
        found = nominal_fprs(pd.DataFrame(columns=["sample_id", "base", "oms", *columns]))
        assert list(found) == [decision(alpha) for alpha in alphas]
        assert list(found.values()) == pytest.approx(alphas)
        assert nominal_fprs(pd.DataFrame(columns=["sample_id", "member", "role", "base", "oms"])) == {}

    def test_what_could_not_be_learned_has_rows_that_say_why(self):
        rows = not_applicable_rows(frame(), {"_at_0.1_fpr": REASON})
        assert [(row["variant"], row["metric"]) for row in rows] == [(v, "tpr_at_0.1_fpr") for v in ("base", "oms")]
        for row in rows:
            assert row["flags"] == [f"not_applicable: {REASON}"]
            assert not row["reliable"]
            assert np.isnan([row[key] for key in ("value", "std", "ci_low", "ci_high", "realised_fpr")]).all()
            assert (row["n_members"], row["n_non_members"]) == (60, 1000)


def split_and_samples(folder, split_hash: str, method: str = "random", groups=None):
    """A split's manifest and its dataset's table, of 2,000 samples."""
    manifest, samples = folder / "split.json", folder / "samples.parquet"
    manifest.write_text(json.dumps({"split_hash": split_hash, "method": method}))
    pd.DataFrame({"sample_id": np.arange(2000), "group": groups}).to_parquet(samples)
    return manifest, samples


class TestStage:
    QUANTILE = QuantileAttack(family="quantile", label="QR", recalibrate=0.4)
    RESIDUAL = ResidualAttack(family="residual", label="NA", start="gaussian", t=100, norm=2)

    def rows(self, folder, spec, scores, **metadata) -> pd.DataFrame:
        write_scores(scores.assign(attack="mine"), {"split_hash": "f" * 64, **metadata}, folder / "scores.parquet")
        given = split_and_samples(folder, "f" * 64)
        job = {"target": "one", "dataset": "digits", "seed": 7, "run_seed": 0}
        scores, out = [folder / "scores.parquet"], folder / "out.csv"
        evaluate_scores({"mine": (spec, 100)}, SPEC, job, scores, *given, out)
        return pd.read_csv(out)

    def test_scores_of_cross_validation_are_widened(self, tmp_path):
        class Blind(ResidualAttack):
            access: ClassVar = "blind"

        scores = frame(60, 100)[["sample_id", "member", "role", "base", "oms"]]
        spec = Blind(**self.RESIDUAL.model_dump())
        found = self.rows(tmp_path, spec, scores)
        expected = pd.DataFrame(evaluate(scores, SPEC, 7, widened=2**0.5))
        assert (expected["std"] > pd.DataFrame(evaluate(scores, SPEC, 7))["std"])[expected["metric"] == "auc"].all()
        for column in ("std", "ci_low", "p_value"):
            np.testing.assert_allclose(found[column], expected[column])

    def test_what_a_split_drew_whole_is_resampled_whole(self, tmp_path):
        scores = frame(60, 100)[["sample_id", "member", "role", "base", "oms"]]
        write_scores(scores.assign(attack="mine"), {"split_hash": "f"}, tmp_path / "scores.parquet")
        person = np.arange(2000) // 4
        job = {"target": "one", "dataset": "lfw", "seed": 7, "run_seed": 0}
        for method, groups in (("by_group", pd.Series(person)), ("class_balanced", None)):
            given = split_and_samples(tmp_path, "f", method, person)
            paths = [tmp_path / "scores.parquet"], *given, tmp_path / "out.csv"
            evaluate_scores({"mine": (self.RESIDUAL, 100)}, SPEC, job, *paths)
            expected = pd.DataFrame(evaluate(scores, SPEC, 7, groups=groups))
            for column in ("value", "std", "ci_low", "ci_high"):
                np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")[column], expected[column])

    def test_each_attack_is_judged_by_its_own_scores_in_the_order_asked_for(self, tmp_path):
        one, two = (frame(60, 100, seed)[["sample_id", "member", "role", "base", "oms"]] for seed in (1, 2))
        paths = tmp_path / "both.parquet", tmp_path / "more.parquet"
        write_scores(pd.concat([one.assign(attack="one"), two.assign(attack="two")]), {"split_hash": "f"}, paths[0])
        write_scores(one.assign(attack="unasked"), {"split_hash": "f"}, paths[1])
        given = split_and_samples(tmp_path, "f")
        job = {"target": "one", "dataset": "digits", "seed": 7, "run_seed": 0}
        attacks = {"two": (self.RESIDUAL, 100), "one": (self.RESIDUAL, 50)}
        evaluate_scores(attacks, SPEC, job, paths, *given, tmp_path / "out.csv")
        rows = pd.read_csv(tmp_path / "out.csv")
        assert rows["attack"].drop_duplicates().tolist() == ["two", "one"]
        for attack, scores in (("one", one), ("two", two)):
            found = rows[rows["attack"] == attack]["value"]
            np.testing.assert_allclose(found, pd.DataFrame(evaluate(scores, SPEC, 7))["value"])
        with pytest.raises(DiffmiaError, match=r"both\.parquet, .*more\.parquet have no scores of attack 'three'"):
            evaluate_scores({"three": attacks["one"]}, SPEC, job, paths, *given, tmp_path / "x.csv")
        assert not (tmp_path / "x.csv").exists()

    def test_decisions_have_the_attacks_id_and_its_score_another(self, tmp_path):
        skipped = json.dumps({"_at_0.1_fpr": REASON})
        rows = self.rows(tmp_path, self.QUANTILE, frame(), not_applicable=skipped)
        assert list(rows.columns) == COLUMNS
        own, roc = (rows[rows["attack"] == id_] for id_ in ("mine", "mine_roc"))
        assert len(own) + len(roc) == len(rows)
        assert set(own["metric"]) == {f"{r}{level}" for r in ("tpr", "fpr") for level in LEVELS} | {"tpr_at_0.1_fpr"}
        assert set(roc["metric"]) == {"auc", "asr", "tpr_at_5_fpr", "tpr_at_1_fpr", "tpr_at_0.1_fpr"}
        assert own["value"].notna().sum() == 3 * 4
        decided = pd.DataFrame(evaluate_decisions(frame(), SPEC, 7))["value"]
        np.testing.assert_allclose(own["value"].dropna(), decided)
        np.testing.assert_allclose(roc["value"], pd.DataFrame(evaluate(frame(), SPEC, 7))["value"])
        assert set(rows["supervision"]) == {"auxiliary"}
        assert set(rows.loc[rows["variant"] == "base", "queries"]) == {12}
        assert set(rows.loc[rows["variant"] != "base", "queries"]) == {13}

    def test_flags_can_be_told_apart(self, tmp_path):
        skipped = json.dumps({"_at_0.1_fpr": REASON})
        rows = self.rows(tmp_path, self.QUANTILE, frame(), not_applicable=skipped)
        flags = rows.set_index(["attack", "variant", "metric"])["flags"]
        assert flags["mine", "base", "tpr_at_1_fpr"] == "recalibrated"
        assert split_flags(flags["mine_roc", "delta", "auc"]) == ["anchor x0", "recalibrated"]
        reason = f"not_applicable: {REASON}"
        assert split_flags(flags["mine", "base", "tpr_at_0.1_fpr"]) == ["recalibrated", reason]
        assert split_flags(flags["mine", "oms", "tpr_at_0.1_fpr"]) == ["anchor x0", "recalibrated", reason]

    def test_an_attack_whose_decisions_could_all_be_learned(self, tmp_path):
        rows = self.rows(tmp_path, self.QUANTILE, frame(), not_applicable="{}")
        assert rows["value"].notna().all()
        assert not rows["flags"].str.contains("not_applicable").any()

    @pytest.mark.parametrize("metadata", [{}, {"not_applicable": "{}"}])
    def test_an_ordinary_attack_has_rows_of_its_own_alone(self, tmp_path, metadata):
        scores = frame()[["sample_id", "member", "role", "base", "oms"]]
        rows = self.rows(tmp_path, self.RESIDUAL, scores, **metadata)
        assert set(rows["attack"]) == {"mine"}
        assert rows["flags"].isna().all()
        np.testing.assert_allclose(rows["value"], pd.DataFrame(evaluate(scores, SPEC, 7))["value"])


class TestReadingRows:
    def test_a_roc_belongs_to_its_attack(self):
        assert attack_of("quantile", {"quantile"}) == "quantile"
        assert attack_of("quantile_roc", {"quantile"}) == "quantile"
        assert attack_of("my_roc", {"my_roc": 1, "my": 2}) == "my_roc"

    @pytest.mark.parametrize("flags", [[], ["anchor x0"], ["loss full", f"not_applicable: {REASON}"]])
    def test_flags_come_back(self, flags):
        assert split_flags(join_flags(flags)) == flags

    def test_a_missing_cell_has_no_flags(self):
        assert split_flags(float("nan")) == split_flags(None) == []


def test_decisions_on_people_are_as_sure_as_their_number():
    index = np.arange(400)
    found = {"sample_id": index, "member": index < 40, "role": "eval", "base": 0.0, "oms": np.nan}
    scores = pd.DataFrame(found | {"base_at_5_fpr": np.where(index < 20, -1.0, 1.0)})  # half of the members
    plain, whole = (
        pd.DataFrame(evaluate_decisions(scores, EvaluationSpec(bootstrap=400), 0, groups)).set_index("metric")
        for groups in (None, pd.Series(index // 4))
    )
    assert whole.loc["tpr_at_5_fpr", "std"] == pytest.approx(2 * plain.loc["tpr_at_5_fpr", "std"], rel=0.2)
    exact = binomtest(0, 90).proportion_ci(0.95, "exact")
    assert whole.loc["fpr_at_5_fpr", ["ci_low", "ci_high"]].tolist() == pytest.approx([0, 100 * exact.high])


def test_rows_say_the_run_seed_and_the_targets_own_timestep(tmp_path):
    scores = frame(60, 100)[["sample_id", "member", "role", "base", "oms"]]
    write_scores(scores.assign(attack="mine"), {"split_hash": "f"}, tmp_path / "scores.parquet")
    job = {"target": "one", "dataset": "digits", "seed": 7, "run_seed": 3}
    files = [tmp_path / "scores.parquet"], *split_and_samples(tmp_path, "f"), tmp_path / "out.csv"
    evaluate_scores({"mine": (TestStage.RESIDUAL, 50)}, SPEC, job, *files)
    found = pd.read_csv(tmp_path / "out.csv")
    assert found[["seed", "timestep", "norm"]].drop_duplicates().to_numpy().tolist() == [[3, 50, 2]]


def test_own_decisions_are_resampled_as_the_split_was_drawn(tmp_path):
    person = np.arange(2000) // 4
    write_scores(frame().assign(attack="mine"), {"split_hash": "f"}, tmp_path / "scores.parquet")
    job = {"target": "one", "dataset": "lfw", "seed": 7, "run_seed": 0}
    files = [tmp_path / "scores.parquet"], *split_and_samples(tmp_path, "f", "by_group", person), tmp_path / "out.csv"
    evaluate_scores({"mine": (TestStage.QUANTILE, 100)}, SPEC, job, *files)
    found = pd.read_csv(tmp_path / "out.csv").query("attack == 'mine'")
    expected = pd.DataFrame(evaluate_decisions(frame(), SPEC, 7, pd.Series(person)))
    np.testing.assert_allclose(found["std"], expected["std"])
