"""The stage of attacks that learn: which rows are for what, and that nothing judged reaches what is learned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from diffmia.attacks.gsa import GradientAttack
from diffmia.attacks.learned import ROC_SCORE, Rows, decision
from diffmia.attacks.learners import fitting
from diffmia.attacks.quantile import QuantileAttack
from diffmia.attacks.secmi_nns import DifferenceAttack
from diffmia.errors import DiffmiaError
from diffmia.models.ddpm_unet import DDPMUNet
from diffmia.running.failures import NotApplicable
from diffmia.scoring import learning
from diffmia.scoring.answers import Answers, read_rows
from diffmia.scoring.learning import learn_attack, training_rows

CPU = torch.device("cpu")
TENSORS = 5
LABELLED = GradientAttack(family="gsa", label="GSA", timesteps=(0, 500), labelled_fraction=0.25, trees=10)
SHADOW = LABELLED.model_copy(update={"learns_from": "shadow"})
QUANTILE = QuantileAttack(family="quantile", label="QR", epochs=1)
NNS = DifferenceAttack(family="secmi_nns", label="NNs", epochs=1, labelled_fraction=0.25)
HASHES = {"split_hash": "s", "dataset_hash": "d", "target_hash": "own"}

ROLES = np.repeat(["member", "non_member", "auxiliary"], [80, 60, 60])
SHADOW_ROLES = np.where(ROLES == "auxiliary", np.where(np.arange(200) % 2, "trained", "auxiliary"), ROLES)


def answers(spec, roles, rng):
    """A table as a pass makes it, with values that tell members from others a little, in random order of roles."""
    n = len(roles)
    shift = np.isin(roles, ["member", "trained"])[:, None]
    columns = {"sample_id": np.arange(n), "role": roles, "label": np.arange(n) % 4}
    for question in spec.questions(spec.t):
        for name in question.columns():
            width = {"gsa": TENSORS, "secmi_nns": 64, "quantile": 1}[spec.family]
            values = np.exp(rng.normal(size=(n, width)) - shift)
            columns[name] = list(values.astype(np.float32)) if question.vectors else values[:, 0]
    return pd.DataFrame(columns)


class Stage:
    """`learn_attack` on files in a folder."""

    def __init__(self, folder: Path, spec, shadows: int = 0):
        self.folder, self.spec = folder, spec
        rng = np.random.default_rng(3)
        np.save(folder / "images.npy", rng.integers(0, 256, (200, 1, 8, 8), dtype=np.uint8))
        self.tables = [answers(spec, rng.permutation(ROLES), rng)]
        own = self.tables[0]["role"]
        for _ in range(shadows):
            table = answers(spec, SHADOW_ROLES, rng)
            order = np.argsort(np.argsort(own.map({"member": 0, "non_member": 1, "auxiliary": 2}), kind="stable"))
            self.tables.append(table.iloc[order].assign(sample_id=np.arange(200)).reset_index(drop=True))
        self.hashes = [HASHES | {"target_hash": name} for name in ("own", *(f"shadow{i}" for i in range(shadows)))]

    def run(self, name="run", seed=0, spec=None, row_group_size=None):
        """Scores, facts and the bytes of what was learned."""
        folder = self.folder / name
        folder.mkdir()
        paths, descriptions = [], []
        for i, (table, hashes) in enumerate(zip(self.tables, self.hashes, strict=True)):
            paths.append(folder / f"{i}.parquet")
            content = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(hashes)
            pq.write_table(content, paths[-1], row_group_size)
            descriptions.append(folder / f"{i}.json")
            descriptions[-1].write_text(json.dumps({"target_hash": ["own", "shadow0", "shadow1"][i]}))
        out = {"scores": folder / "scores.parquet", "learned": folder / "learned"}
        spec = spec or self.spec
        facts = learn_attack(
            spec, "toy", spec.t, seed, paths, descriptions, self.folder / "images.npy", device=CPU, **out
        )
        learned = {str(p.relative_to(out["learned"])): p.read_bytes() for p in out["learned"].rglob("*") if p.is_file()}
        return pd.read_parquet(out["scores"]), facts, learned


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path, LABELLED)


def test_the_score_file_has_judged_and_training_rows(stage):
    scores, facts, _ = stage.run()
    assert list(scores.columns) == ["attack", "sample_id", "member", "role", "base", "oms"]
    role = stage.tables[0]["role"]
    assert scores["sample_id"].tolist() == stage.tables[0].loc[role != "auxiliary", "sample_id"].tolist()
    assert scores["member"].tolist() == (role[role != "auxiliary"] == "member").tolist()
    trained = scores[scores["role"] == "train"]
    assert trained["member"].all()
    assert len(trained) == 20 == facts["training_members"] == facts["training_non_members"]
    assert trained[["base", "oms"]].isna().all(axis=None)
    judged = scores[scores["role"] == "eval"]
    assert judged["base"].between(0, 1).all()
    # lower = member: the planted signal is found in that direction
    assert judged.loc[judged["member"], "base"].mean() < judged.loc[~judged["member"], "base"].mean() - 0.1
    metadata = pq.read_schema(stage.folder / "run" / "scores.parquet").metadata
    assert {key: metadata[key.encode()].decode() for key in HASHES} == HASHES


class TestTrainingRows:
    def keys(self, stage):
        return [table[["sample_id", "role", "label"]] for table in stage.tables]

    def test_labelled_are_members_and_as_many_auxiliary_samples_of_each_class_its_share(self, stage):
        (rows,) = training_rows(LABELLED, self.keys(stage), 0)
        role = stage.tables[0].set_index("sample_id")["role"]
        assert (role[rows.loc[rows["member"], "sample_id"]] == "member").all()
        assert (role[rows.loc[~rows["member"], "sample_id"]] == "auxiliary").all()
        assert rows["sample_id"].is_unique
        for member, of in (("member", True), ("auxiliary", False)):
            everyone = stage.tables[0].loc[stage.tables[0]["role"] == member, "label"].value_counts(normalize=True)
            drawn = rows.loc[rows["member"] == of, "label"].value_counts()
            assert (abs(drawn - 20 * everyone) <= 1).all()

    def test_they_hang_on_the_seed_alone(self, stage):
        keys = self.keys(stage)
        first, again = (training_rows(LABELLED, keys, 0)[0]["sample_id"].tolist() for _ in range(2))
        assert first == again != training_rows(LABELLED, keys, 1)[0]["sample_id"].tolist()
        other = LABELLED.model_copy(update={"features": "mean_loss", "trees": 3})
        assert training_rows(other, keys, 0)[0]["sample_id"].tolist() == first
        assert training_rows(NNS, keys, 0)[0]["sample_id"].tolist() == first

    def test_quantiles_learn_from_all_auxiliary_samples_and_no_member(self, stage):
        (rows,) = training_rows(QUANTILE, self.keys(stage), 0)
        role = stage.tables[0].set_index("sample_id")["role"]
        assert rows["sample_id"].tolist() == role.index[role == "auxiliary"].tolist()
        assert not rows["member"].any()

    def test_shadows_give_what_they_were_trained_on_and_what_not(self, tmp_path):
        stage = Stage(tmp_path, SHADOW, shadows=2)
        own, *shadows = training_rows(SHADOW, self.keys(stage), 0)
        assert own.empty
        for rows, table in zip(shadows, stage.tables[1:], strict=True):
            role = table.set_index("sample_id")["role"]
            assert len(rows) == 60
            assert rows["member"].tolist() == (role[rows["sample_id"]] == "trained").tolist()

    def test_too_small_a_share_is_an_error(self, stage):
        few = LABELLED.model_copy(update={"labelled_fraction": 0.001})
        with pytest.raises(DiffmiaError, match="0 of 80 members would be labelled"):
            training_rows(few, self.keys(stage), 0)

    @pytest.mark.parametrize("spec", [LABELLED, QUANTILE, NNS])
    def test_without_auxiliary_samples_there_is_nothing_to_learn_from(self, spec, stage):
        (own,) = self.keys(stage)
        with pytest.raises(NotApplicable, match="learns from auxiliary samples, and the drawn split has none"):
            training_rows(spec, [own[own["role"] != "auxiliary"]], 0)


class TestNothingLeaks:
    """Labels and features of judged samples change nothing that was learned, and labels no score."""

    @pytest.mark.parametrize(("spec", "shadows"), [(LABELLED, 0), (SHADOW, 1), (QUANTILE, 0), (NNS, 0)], ids=str)
    def test_features_of_judged_samples_change_nothing_learned(self, spec, shadows, tmp_path):
        stage = Stage(tmp_path, spec, shadows)
        before, _, learned = stage.run("before")
        assert learned
        judged = stage.tables[0]["sample_id"].isin(before.loc[before["role"] == "eval", "sample_id"])
        for name in [name for name in stage.tables[0] if ":" in name]:
            stage.tables[0].loc[judged, name] = stage.tables[0].loc[judged, name].map(lambda values: values + 1)
        after, _, again = stage.run("after")
        assert again == learned
        assert not np.allclose(after.loc[after["role"] == "eval", "base"], before.loc[before["role"] == "eval", "base"])

    @pytest.mark.parametrize("spec", [LABELLED, NNS, QUANTILE], ids=str)
    def test_labels_of_judged_samples_change_no_score(self, spec, tmp_path):
        stage = Stage(tmp_path, spec)
        before, _, learned = stage.run("before")
        judged = before.loc[before["role"] == "eval", "sample_id"]
        table = stage.tables[0].set_index("sample_id")
        # who is told is drawn among all members, so the draw is kept while all others change sides
        real = training_rows(spec, [stage.tables[0][["sample_id", "role", "label"]]], 0)
        swapped = table.loc[judged, "role"].map({"member": "non_member", "non_member": "member"})
        table.loc[judged, "role"] = swapped
        stage.tables[0] = table.reset_index()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("diffmia.scoring.learning.training_rows", lambda *_: real)
            after, _, again = stage.run("after")
        assert again == learned
        columns = [name for name in before if name.startswith(("base", "oms"))]
        pd.testing.assert_frame_equal(after[columns], before[columns])
        rows = before["role"] == "eval"
        assert (after.loc[rows, "member"] != before.loc[rows, "member"]).all()

    @pytest.mark.parametrize(("spec", "shadows"), [(LABELLED, 0), (SHADOW, 1), (QUANTILE, 0), (NNS, 0)], ids=str)
    def test_training_and_judged_samples_are_disjoint(self, spec, shadows, tmp_path):
        stage = Stage(tmp_path, spec, shadows)
        scores, _, _ = stage.run()
        keys = [table[["sample_id", "role", "label"]] for table in stage.tables]
        taken = pd.concat(training_rows(spec, keys, 0))["sample_id"]
        assert not set(taken) & set(scores.loc[scores["role"] == "eval", "sample_id"])

    def test_a_shadow_that_was_trained_on_judged_samples_is_an_error(self, tmp_path, monkeypatch):
        stage = Stage(tmp_path, SHADOW, shadows=1)
        monkeypatch.setattr("diffmia.scoring.learning._judged", lambda population, taken: population)
        stage.tables[1].loc[stage.tables[1]["role"] == "member", "role"] = "trained"
        with pytest.raises(DiffmiaError, match="80 samples are both learned from and judged"):
            stage.run()


# prints what is held at most, by NumPy and by Arrow, with a learner that holds nothing
PEAKS = """
import json, tracemalloc
from pathlib import Path
import numpy as np, pyarrow as pa
from diffmia.attacks.secmi_nns import DifferenceAttack
from diffmia.scoring.learning import learn_attack

class Sums:
    def score(self, batches):
        return {"": np.concatenate([next(iter(rows.columns.values())).sum(axis=1) for rows in batches])}

    def save(self, folder):
        pass

DifferenceAttack.fit = lambda *_: Sums()
spec = DifferenceAttack(family="secmi_nns", label="NNs", labelled_fraction=0.1)
table, target, images, *out = map(Path, ("table.parquet", "target.json", "images.npy", "scores.parquet", "learned"))
tracemalloc.start()
learn_attack(spec, "toy", spec.t, 0, [table], [target], images, *out, device=None)
print(json.dumps([tracemalloc.get_traced_memory()[1], pa.default_memory_pool().max_memory()]))
"""


class TestReading:
    """A variant's training rows are held, and judged rows come a batch at a time, which no number shows."""

    @pytest.mark.parametrize(("spec", "shadows"), [(LABELLED, 0), (SHADOW, 2), (QUANTILE, 0), (NNS, 0)], ids=str)
    def test_neither_blocks_nor_batches_change_a_number(self, spec, shadows, tmp_path, monkeypatch):
        stage = Stage(tmp_path, spec, shadows)
        for module in (learning, fitting):
            monkeypatch.setattr(module, "BATCH", 30)
        in_parts, _, learned = stage.run("parts", row_group_size=7)
        monkeypatch.setattr(learning, "even_batches", lambda ids, _: [ids])
        whole, _, again = stage.run("whole")
        pd.testing.assert_frame_equal(in_parts, whole, check_exact=True)
        assert learned == again

    def test_a_sample_that_was_not_asked_about_is_named(self, tmp_path):
        content = {"sample_id": [3, 4], "role": "member", "label": 0, "v": [1.0, 2.0]}
        pd.DataFrame(content).to_parquet(tmp_path / "table.parquet")
        with pytest.raises(DiffmiaError, match=r"table\.parquet has no answers about sample 5; ask the target again"):
            read_rows([(Answers(tmp_path / "table.parquet", ["v"]), np.array([4, 5]))], ["v"], np.zeros((9, 1, 2, 2)))

    def test_rows_are_those_asked_for_in_their_order(self, tmp_path):
        rng = np.random.default_rng(0)
        numbers, vectors = rng.random((2, 20)), rng.random((2, 20, 3)).astype(np.float32)
        ids, images = np.arange(40, 60), rng.integers(0, 256, (60, 1, 2, 2), dtype=np.uint8)
        tables = []
        for i in range(2):
            tables.append(tmp_path / f"{i}.parquet")
            content = {"sample_id": ids, "role": "member", "label": 0, "a.b:1": numbers[i], "v": list(vectors[i])}
            pd.DataFrame(content).to_parquet(tables[-1], row_group_size=6)
        asked = [np.array([57, 40, 41]), np.array([45, 46, 59, 52])]
        chosen = [(Answers(table, ["v", "a.b:1"]), of) for table, of in zip(tables, asked, strict=True)]
        rows = read_rows(chosen, ["v", "a.b:1"], images)
        for name, values in (("a.b:1", numbers), ("v", vectors)):
            expected = np.concatenate([values[i][of - 40] for i, of in enumerate(asked)])
            np.testing.assert_array_equal(rows.columns[name], expected)
            assert rows.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(rows.images, images[np.concatenate(asked)])

    def test_memory_holds_the_training_rows_of_a_variant_and_a_batch(self, tmp_path):
        """Of 4,000 samples with maps of 4 kB under each variant; in a process of its own, which knows its peak."""
        rng = np.random.default_rng(0)
        maps = rng.random((4000, 1024), dtype=np.float32)
        keys = {"sample_id": np.arange(4000), "role": rng.permutation(np.repeat(ROLES, 20)), "label": 0}
        table = pa.Table.from_pandas(pd.DataFrame(keys), preserve_index=False).replace_schema_metadata(HASHES)
        for variant in ("base", "oms"):
            (name,) = NNS.reads(variant, NNS.t)
            offsets = np.arange(0, maps.size + 1, maps.shape[1], dtype=np.int32)
            table = table.append_column(name, pa.ListArray.from_arrays(offsets, maps.ravel()))
        pq.write_table(table, tmp_path / "table.parquet", row_group_size=100)
        np.save(tmp_path / "images.npy", rng.integers(0, 256, (4000, 1, 32, 32), dtype=np.uint8))
        (tmp_path / "target.json").write_text(json.dumps(HASHES))
        done = subprocess.run([sys.executable, "-c", PEAKS], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert max(json.loads(done.stdout)) < maps.nbytes / 2


class TestQuantileDecisions:
    def test_every_learnable_level_has_a_decision_and_the_others_a_reason(self, tmp_path):
        scores, facts, _ = Stage(tmp_path, QUANTILE).run()
        assert [name for name in scores if name.startswith("base")] == ["base", "base_at_5_fpr"]
        assert [name for name in scores if name.startswith("oms")] == ["oms", "oms_at_5_fpr"]
        assert json.loads(facts["not_applicable"]) == {
            "_at_1_fpr": "needs 100 auxiliary samples and has 60",
            "_at_0.1_fpr": "needs 1,000 auxiliary samples and has 60",
        }
        pd.testing.assert_series_equal(scores["base"], scores["base_at_5_fpr"], check_names=False)

    @pytest.mark.parametrize(
        ("auxiliary", "left"), [(1000, [0.05, 0.01, 0.001]), (999, [0.05, 0.01]), (100, [0.05, 0.01]), (20, [0.05])]
    )
    def test_a_level_needs_one_sample_expected_below_it(self, auxiliary, left):
        assert [alpha for alpha in QUANTILE.alphas if alpha not in QUANTILE.not_applicable(auxiliary)] == left

    def test_recalibration_needs_as_many_in_each_part(self):
        spec = QUANTILE.model_copy(update={"recalibrate": 0.4})
        assert "0.01" in str(spec.not_applicable(249))
        assert 0.01 not in spec.not_applicable(250)

    def test_no_level_left_is_an_error(self, tmp_path):
        stage = Stage(tmp_path, QUANTILE)
        with pytest.raises(DiffmiaError, match=r"no alpha is left .*: 0\.001 needs 1,000 auxiliary samples and has 60"):
            stage.run(spec=QUANTILE.model_copy(update={"alphas": (0.001,)}))

    def test_recalibration_shifts_every_decision_by_one_constant(self, tmp_path):
        spec = QUANTILE.model_copy(update={"recalibrate": 0.5, "alphas": (0.05,)})
        stage = Stage(tmp_path, spec)
        _, _, learned = stage.run()
        offsets = json.loads(learned["base/offsets.json"])
        assert set(offsets) == {"0.05"}
        assert offsets["0.05"] != 0


class TestBadInput:
    def test_features_of_another_target(self, stage):
        stage.hashes[0] |= {"target_hash": "another"}
        with pytest.raises(DiffmiaError, match=r"0\.parquet holds answers of target another, and .* is own"):
            stage.run()
        assert not (stage.folder / "run" / "scores.parquet").exists()

    def test_tables_of_different_splits(self, tmp_path):
        stage = Stage(tmp_path, SHADOW, shadows=1)
        stage.hashes[1] |= {"split_hash": "another"}
        with pytest.raises(DiffmiaError, match="are of different splits"):
            stage.run()

    def test_a_table_without_what_the_attack_reads(self, stage):
        stage.tables[0] = stage.tables[0].drop(columns=LABELLED.reads("oms", None)[0])
        with pytest.raises(DiffmiaError, match=r"0\.parquet has no column .*gradients\.detached"):
            stage.run()

    def test_training_rows_of_one_class(self, tmp_path):
        stage = Stage(tmp_path, SHADOW, shadows=1)
        stage.tables[1]["role"] = stage.tables[1]["role"].replace("trained", "member")
        with pytest.raises(
            DiffmiaError, match="the training rows hold 0 members and 30 non-members; a classifier needs"
        ):
            stage.run()


@pytest.mark.parametrize(
    ("spec", "nulls", "auxiliary", "lack"),
    [
        (LABELLED, 0, 5, None),
        (LABELLED, 0, None, None),
        (LABELLED, 1, 0, "needs auxiliary samples and has none (auxiliary)"),
        (QUANTILE, 0, 0, "needs auxiliary samples and has none (auxiliary)"),
        (SHADOW, 1, 5, None),
        (SHADOW, 0, 5, "needs shadow targets and has none (null_targets)"),
    ],
)
def test_what_a_target_lacks(spec, nulls, auxiliary, lack):
    target = DDPMUNet(
        family="ddpm_unet", split="toy", model={"channels": [32]}, training={"epochs": 1}, null_targets=nulls
    )
    assert spec.lacks(target, auxiliary) == lack


class TestGradientFeatures:
    """concat: tensors x timesteps; mean_norm: GSA2; mean_loss: GSA1."""

    @pytest.mark.parametrize("oms", ["detached", "concat"])
    @pytest.mark.parametrize(
        ("features", "width"), [("concat", 2 * TENSORS), ("mean_norm", TENSORS), ("mean_loss", TENSORS)]
    )
    def test_by_hand(self, features, width, oms):
        from diffmia.attacks.learned import Rows

        spec = LABELLED.model_copy(update={"features": features, "oms": oms})
        rng = np.random.default_rng(0)
        names = [name for question in spec.questions(None) for name in question.columns()]
        rows = Rows({name: rng.random((3, TENSORS)).astype(np.float32) for name in names}, np.zeros((3, 1, 8, 8)))

        def of(loss):
            name = f"gradients.{loss}.t0-500"
            per_t = [rows.columns[f"{name}:t{t}"] for t in (0, 500)]
            return {
                "concat": np.hstack(per_t),
                "mean_norm": (per_t[0] + per_t[1]) / 2,
                "mean_loss": rows.columns[f"{name}:mean"],
            }[features]

        np.testing.assert_allclose(spec.matrix(rows, "base"), of("base"))
        expected = of("detached") if oms == "detached" else np.hstack([of("base"), of("detached")])
        np.testing.assert_allclose(spec.matrix(rows, "oms"), expected)
        assert spec.matrix(rows, "base").shape == (3, width)

    @pytest.mark.parametrize(
        ("oms", "base", "with_oms"), [("detached", 30, 40), ("training", 30, 40), ("full", 30, 60), ("concat", 30, 60)]
    )
    def test_queries_count_a_backward_pass_as_two(self, oms, base, with_oms):
        spec = GradientAttack(family="gsa", label="GSA", oms=oms)
        assert spec.queries(None) == {"base": base, "oms": with_oms}


@pytest.mark.parametrize(
    ("spec", "base", "oms"),
    [
        (QUANTILE, "inverted.t100.k10:0-1:l2", "inverted.t100.k10:0-2:l2"),
        (NNS, "inverted.t100.k10:0-1:map", "inverted.t100.k10:0-2:map"),
    ],
    ids=["quantile", "secmi_nns"],
)
def test_each_variant_reads_the_residual_it_is_named_after(spec, base, oms):
    assert (spec.reads("base", 100), spec.reads("oms", 100)) == ([base], [oms])


def test_what_shadows_teach_tells_members_of_the_target(tmp_path):
    scores, _, _ = Stage(tmp_path, SHADOW, shadows=2).run()
    means = scores.groupby("member")[["base", "oms"]].mean()
    assert (means.loc[True] < means.loc[False] - 0.1).all()


class Recalled:
    """Regressors that know by heart what they were fitted to, and nothing else."""

    def __init__(self, images, errors, levels, **_):
        self.levels, self.known = levels, {image.tobytes(): np.log(e) for image, e in zip(images, errors, strict=True)}

    def predict(self, images):
        guesses = np.array([self.known.get(image.tobytes(), 0.0) for image in images])
        return guesses[:, None] - np.arange(len(self.levels))


def numbered(first, n):
    """Images that differ."""
    return np.arange(first, first + n, dtype="<u8").view(np.uint8).reshape(n, 1, 2, 4)


@pytest.mark.parametrize(("recalibrate", "expected"), [(0.5, (0.05, 0.01)), (0.0, (0.5, 0.309))])
def test_a_decision_compares_the_log_t_error_with_its_quantile(recalibrate, expected, monkeypatch):
    """Of errors e with log e^2 ~ N(0, 4), P(log e^2 < 0) = 1/2 and P(log e^2 < -1) = Phi(-1/2)."""
    monkeypatch.setattr("diffmia.attacks.learners.quantiles.fit_quantiles", Recalled)
    spec = QuantileAttack(family="quantile", label="QR", alphas=(0.05, 0.01), recalibrate=recalibrate)
    (name,) = spec.reads("base", 100)
    errors = np.exp(np.random.default_rng(0).normal(size=20_000))
    auxiliary, fresh = (Rows({name: e}, numbered(i * 10_000, 10_000)) for i, e in enumerate(np.split(errors, 2)))
    fitted = spec.fit(auxiliary, np.zeros(10_000, dtype=bool), "base", 100, 0, torch.device("cpu"))
    scores = fitted.score([fresh])
    accused = [(scores[decision(alpha)] < 0).mean() for alpha in spec.alphas]
    assert accused == pytest.approx(expected, rel=0.25)
    np.testing.assert_array_equal(scores[ROC_SCORE], scores[decision(0.05)])  # the largest alpha


def test_what_is_drawn_while_learning_hangs_on_the_seed(tmp_path):
    """Of quantile regression the rows are the same with every seed; a bag of two draws among them."""
    stage = Stage(tmp_path, QUANTILE.model_copy(update={"bag": 2}))
    first, again, other = (stage.run(name, seed)[2] for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == again
    assert first["base/quantiles.safetensors"] != other["base/quantiles.safetensors"]


def test_rows_are_in_the_order_asked_for_within_a_block_too(tmp_path):
    content = {"sample_id": range(6), "role": "member", "label": 0, "v": np.arange(6.0)}
    pd.DataFrame(content).to_parquet(tmp_path / "table.parquet", row_group_size=4)
    ids = np.array([5, 2, 0, 3])
    found = read_rows([(Answers(tmp_path / "table.parquet", ["v"]), ids)], ["v"], np.zeros((6, 1, 2, 2)))
    assert found.columns["v"].tolist() == ids.tolist()
