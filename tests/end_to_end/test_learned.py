"""Attacks that learn, from images to tables: small, but every file is a real one."""

from __future__ import annotations

import json
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.workflow

TARGET = "ddpm_digits_smoke"
NULL = f"{TARGET}__null"
ATTACKS = ["quantile", "secmi_nns", "gsa_concat", "gsa_shadow"]


@pytest.fixture(scope="module")
def learned(pristine, tmp_path_factory):
    """A finished run of attacks that learn, with two timesteps and few epochs; not to be changed."""
    project = pristine.copy(tmp_path_factory.mktemp("learned") / "project")
    config = project.config
    tables = ["table1", "table5", "table6", "null_control"]
    config["run"] = {"targets": [TARGET], "attacks": ATTACKS, "tables": tables, "figures": ["roc", "cost"]}
    config["splits"]["digits"] |= {"members": 64, "auxiliary": 128, "non_members": 200}
    config["targets"][TARGET]["null_targets"] = 1
    for attack in (*ATTACKS[2:], "gsa2", "gsa_oms_full"):
        config["attacks"][attack] |= {"timesteps": [100, 500]}
    config["attacks"]["quantile"]["epochs"] = config["attacks"]["secmi_nns"]["epochs"] = 2
    project.config = config
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    return project


def scores(project, target, attack):
    return pd.read_parquet(project.folder / f"results/scores/{target}/seed0/{attack}.parquet")


def test_everyone_is_judged_on_the_same_non_members(learned):
    judged = {attack: scores(learned, TARGET, attack).query("role == 'eval'") for attack in ATTACKS}
    non_members = {attack: rows.loc[~rows["member"], "sample_id"].tolist() for attack, rows in judged.items()}
    assert all(ids == non_members["quantile"] for ids in non_members.values())
    members = {attack: rows["member"].sum() for attack, rows in judged.items()}
    assert members == dict.fromkeys(ATTACKS, 51) | {"quantile": 64, "gsa_shadow": 64}
    told = [set(scores(learned, TARGET, attack).query("role == 'train'")["sample_id"]) for attack in ATTACKS[1:3]]
    assert told[0] == told[1]


def test_a_null_target_is_trained_on_one_half_and_learned_from_beside_the_other(learned):
    path = learned.folder / f"results/gradients/{NULL}/seed0.parquet"
    roles = pd.read_parquet(path, columns=["role"])["role"].value_counts().to_dict()
    assert roles == {"non_member": 200, "trained": 64, "auxiliary": 64, "member": 64}
    meta = json.loads((learned.folder / f"results/scores/{TARGET}/seed0/gsa_shadow.meta.json").read_text())
    assert (meta["training_members"], meta["training_non_members"]) == (64, 64)
    log = (learned.folder / f"results/_logs/train_target/{NULL}/seed0.log").read_text()
    assert "on 64 samples" in log


def test_a_null_target_begins_with_other_weights(learned):
    losses = [
        pd.read_csv(learned.folder / f"results/targets/{t}/seed0/training_loss.csv")["loss"] for t in (TARGET, NULL)
    ]
    assert losses[0][0] != losses[1][0]


def test_what_was_learned_is_kept(learned):
    folder = learned.folder / f"results/learned/{TARGET}/seed0"
    for attack in ATTACKS:
        for variant in ("base", "oms"):
            assert list((folder / attack / variant).iterdir()), (attack, variant)


@pytest.mark.parametrize("attack", ["quantile", "secmi_nns"])
def test_the_log_shows_how_far_the_learning_is(learned, attack):
    log = (learned.folder / f"results/_logs/learn_attack/{TARGET}/seed0/{attack}.log").read_text()
    assert len(re.findall(r"epochs 2/2 \(100 %\) .*loss \d", log)) == 2  # base and OMS


def test_metrics_have_decisions_roc_reading_and_what_is_not_applicable(learned):
    metrics = pd.read_csv(learned.folder / "results/metrics.csv")
    of = metrics[(metrics["target"] == TARGET) & (metrics["attack"] == "quantile")]
    assert set(of["metric"]) == {"tpr_at_5_fpr", "fpr_at_5_fpr", "tpr_at_1_fpr", "fpr_at_1_fpr", "tpr_at_0.1_fpr"}
    missing = of[of["metric"] == "tpr_at_0.1_fpr"]
    assert missing["value"].isna().all()
    assert missing["flags"].str.contains("not_applicable: needs 1,000 auxiliary samples and has 128").all()
    assert "auc" in set(metrics.loc[metrics["attack"] == "quantile_roc", "metric"])
    told = metrics.drop_duplicates("attack").set_index("attack")[["access", "supervision"]]
    assert tuple(told.loc["quantile"]) == ("grey", "auxiliary")
    assert tuple(told.loc["gsa_concat"]) == ("white", "labelled 20 %")
    assert tuple(told.loc["gsa_shadow"]) == ("white", "shadow")


def test_every_row_has_its_cost(learned):
    cost = pd.read_csv(learned.folder / "results/cost.csv")
    assert (cost["seconds"] > 0).all()
    assert (cost["seconds_learning"] > 0).all()
    rows = cost[cost["target"] == TARGET].set_index(["attack", "variant"])["queries"]
    assert (rows["gsa_concat", "base"], rows["gsa_concat", "oms"]) == (6, 8)
    assert (rows["quantile", "base"], rows["quantile", "oms"]) == (12, 13)


def test_tables_and_figures_say_who_was_told_what(learned):
    tables = {path.stem: path.read_text() for path in (learned.folder / "results/tables").glob("*.md")}
    assert "labelled 20 %" in tables["table6"]
    assert re.search(r"^## .*20 %", tables["table6"], re.MULTILINE)
    assert "GSA" not in tables["table1"]
    assert "1,000" in tables["table5"]
    assert NULL in tables["null_control"]
    for figure in ("roc", "cost"):
        assert (learned.folder / f"results/figures/{figure}.{TARGET}.png").stat().st_size > 5_000


def test_a_second_run_has_nothing_to_do(learned):
    assert learned.plan() == {}


def test_another_reading_of_the_gradients_asks_for_no_other(learned, tmp_path):
    project = learned.copy(tmp_path / "project")
    config = project.config
    config["run"]["attacks"] = [*ATTACKS, "gsa2"]  # the mean over timesteps of what is known
    project.config = config
    plan = project.plan("scores")
    assert plan == {"learn_attack": 2}
    config["run"]["attacks"] = [*ATTACKS, "gsa_oms_full"]
    project.config = config
    done = project.snakemake(f"results/gradients/{TARGET}/seed0.parquet")
    assert done.returncode == 0, done.stdout
    meta = json.loads((project.folder / f"results/gradients/{TARGET}/seed0.meta.json").read_text())
    assert meta["queries_made"] == 2 * 2 * meta["samples"]  # two queries at two timesteps, no other loss again
    names = pq.read_schema(project.folder / f"results/gradients/{TARGET}/seed0.parquet").names
    assert {name.split(".")[1] for name in names if name.startswith("gradients")} == {
        "base",
        "detached",
        "full",
    }
