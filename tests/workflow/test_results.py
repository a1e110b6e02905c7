"""What a finished run leaves: files, schemas, provenance, the summary and the report."""

from __future__ import annotations

import json
import re
import zipfile

import pandas as pd
import pyarrow.parquet as pq
import pytest

from diffmia.evaluation.stage import COLUMNS, COST_COLUMNS

pytestmark = pytest.mark.workflow

TARGET = "ddpm_digits_smoke"


def test_nothing_is_written_outside_results(finished, pristine):
    before = {path.name for path in pristine.folder.iterdir()}
    after = {path.name for path in finished.folder.iterdir()}
    assert after - before == {"results", ".snakemake"}


def test_metrics_and_cost_have_their_columns_and_rows(finished):
    metrics = pd.read_csv(finished.folder / "results/metrics.csv")
    assert list(metrics.columns) == COLUMNS
    assert set(metrics["variant"]) == {"base", "oms", "delta"}
    assert set(metrics["metric"]) == {"auc", "asr", "tpr_at_5_fpr", "tpr_at_1_fpr", "tpr_at_0.1_fpr"}
    assert len(metrics) == 3 * 3 * 5
    assert set(metrics["n_members"]) == {256}
    assert set(metrics["n_non_members"]) == {1029}
    queries = metrics.drop_duplicates(["attack", "variant"]).set_index(["attack", "variant"])["queries"]
    assert {a: (queries[a, "base"], queries[a, "oms"]) for a in ("naive", "pia", "secmi")} == {
        "naive": (1, 2),
        "pia": (2, 3),
        "secmi": (12, 13),
    }
    dagger = metrics[(metrics["metric"] == "tpr_at_0.1_fpr")]
    assert not dagger["reliable"].any()  # 1,029 non-members allow one false positive
    cost = pd.read_csv(finished.folder / "results/cost.csv")
    assert list(cost.columns) == COST_COLUMNS
    assert len(cost) == 3 * 2


def test_score_and_residual_files_have_their_columns(finished):
    scores = pd.read_parquet(finished.folder / f"results/scores/{TARGET}/seed0/residuals.parquet")
    assert list(scores.columns) == ["attack", "sample_id", "member", "role", "base", "oms"]
    assert {"naive", "secmi", "pia", "pian"} < set(scores["attack"])  # all that are defined
    assert scores[scores["attack"] == "pia"]["member"].sum() == 256
    residuals = pq.read_schema(finished.folder / f"results/residuals/{TARGET}/seed0.parquet")
    assert residuals.names[:3] == ["sample_id", "role", "label"]
    assert "gaussian.t100:0-2:l2" in residuals.names
    assert {b"split_hash", b"target_hash", b"schema_version"} <= set(residuals.metadata)


def test_every_result_has_its_provenance_beside_it(finished):
    results = finished.folder / "results"
    for meta in (
        f"targets/{TARGET}/seed0.meta.json",
        f"residuals/{TARGET}/seed0.meta.json",
        f"scores/{TARGET}/seed0/residuals.meta.json",
        "metrics.meta.json",
        "tables.meta.json",
        f"figures/roc.{TARGET}.meta.json",
    ):
        record = json.loads((results / meta).read_text())
        assert record["job"]
        assert {"python", "diffmia", "numpy"} <= set(record["versions"])
    record = json.loads((results / f"residuals/{TARGET}/seed0.meta.json").read_text())
    assert record["queries_made"] == record["evaluations_per_sample"] * 1797
    assert record["device"].startswith("cpu")


def test_tables_and_figures_are_there_in_every_format(finished):
    results = finished.folder / "results"
    for name in ("table1", "tablec1"):
        assert {path.suffix for path in (results / "tables").glob(f"{name}.*")} == {".csv", ".md", ".html", ".tex"}
    for name in ("roc", "training_loss"):
        for suffix in ("png", "pdf"):
            assert (results / "figures" / f"{name}.{TARGET}.{suffix}").stat().st_size > 5_000


def test_a_run_shows_progress_and_ends_with_the_main_table(finished):
    assert re.search(r"\[train_target .*\] epoch \d+/20 .* loss .* ETA", finished.log)
    assert "| Attack" in finished.log
    assert "results/figures/roc" in finished.log
    log = (finished.folder / f"results/_logs/train_target/{TARGET}/seed0.log").read_text()
    assert "epoch 20/20" in log


def test_the_report_holds_every_figure_and_table(finished, tmp_path):
    done = finished.snakemake("--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        names = " ".join(archive.namelist())
    for name in ("table1", "tablec1", "roc", "training_loss"):
        assert name in names
