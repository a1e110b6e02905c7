"""A rerun does exactly what changed."""

from __future__ import annotations

import json
import os
import re

import pytest

pytestmark = pytest.mark.workflow

SAMPLES = 1797
TARGET = "ddpm_digits_smoke"


def change(project, edit) -> None:
    config = project.config
    edit(config)
    project.config = config


def queries_made(project) -> int:
    return json.loads((project.folder / f"results/residuals/{TARGET}/seed0.meta.json").read_text())["queries_made"]


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.plan() == {}


def test_touched_files_rerun_nothing(project):
    for path in project.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path)
    assert project.plan() == {}


def test_keys_in_another_order_rerun_nothing(project):
    def reverse(node):
        return {key: reverse(node[key]) for key in reversed(node)} if isinstance(node, dict) else node

    project.config = reverse(project.config)
    assert project.plan() == {}


def test_performance_keys_rerun_nothing(project):
    def faster(config):
        config["targets"][TARGET]["batch_size"] = 7
        config["targets"][TARGET]["training"]["seconds_between_saves"] = 1
        config["device"] = "cpu"

    change(project, faster)
    assert project.plan() == {}


def test_another_norm_rescores_and_asks_the_model_nothing(project):
    change(project, lambda config: config["attacks"]["pia"].update(norm=5))
    # what reads scores: tables come from metrics.csv; of the figures the ROC alone shows scores
    reads = ("score_attacks", "evaluate_scores", "aggregate_metrics", "aggregate_cost", "render_tables", "plot_figure")
    assert project.plan() == dict.fromkeys(reads, 1)


def test_two_numbers_swapped_are_noticed(project):
    def swap(config):
        secmi = config["attacks"]["secmi"]
        secmi["k"], secmi["norm"] = 2, 10 // 5  # k 10 -> 2: the trajectory changes, the norm does not

    change(project, swap)
    assert project.plan()["ask_target"] == 1


def test_another_timestep_asks_for_that_timestep_alone(project):
    change(project, lambda config: config["targets"][TARGET]["timesteps"].update(naive=120))
    plan = project.plan("residuals")
    assert plan == {"ask_target": 1}
    done = project.snakemake("residuals")
    assert done.returncode == 0, done.stdout
    assert queries_made(project) == 2 * SAMPLES  # epsilon^1 and epsilon^2 at t = 120, and nothing else


def test_an_attack_more_costs_its_own_queries(project):
    def add(config):
        config["attacks"]["naive_t300"] = {**config["attacks"]["naive"], "label": "NA (t = 300)", "t": 300}
        config["run"]["attacks"] = [*config["run"]["attacks"], "naive_t300"]

    change(project, add)
    done = project.snakemake("metrics")
    assert done.returncode == 0, done.stdout
    assert queries_made(project) == 2 * SAMPLES
    rows = (project.folder / "results/metrics.csv").read_text()
    assert f"{TARGET},digits," in rows
    assert ",naive_t300,oms,300," in rows


def test_an_attack_less_asks_and_scores_nothing(project):
    change(project, lambda config: config["run"].update(attacks=["naive", "pia"]))
    plan = project.plan()
    assert set(plan) == {"evaluate_scores", "aggregate_metrics", "aggregate_cost", "render_tables", "plot_figure"}


def test_an_attack_that_is_defined_is_probed_before_it_is_selected(project):
    change(project, lambda config: config["run"].update(attacks=["naive", "secmi", "pia", "pian"]))
    plan = project.plan()
    assert not {"ask_target", "score_attacks"} & set(plan)  # scored before it is selected, too
    assert plan["evaluate_scores"] == 1


def test_a_change_of_code_reruns_what_it_decides_and_a_comment_does_not(project):
    module = project.folder / "diffmia/evaluation/delong.py"
    module.write_text(module.read_text() + "\n# a remark\n")
    assert project.plan() == {}
    module.write_text(module.read_text() + "\nEXTRA = 1\n")
    plan = project.plan("metrics")
    assert plan == {"evaluate_scores": 1, "aggregate_metrics": 1, "aggregate_cost": 1}


def partial_table(project) -> str:
    """Table 1 of the scores that are there."""
    done = project.snakemake("tables", "--config", "run={partial: true}")
    assert done.returncode == 0, done.stdout
    return (project.folder / "results/tables/table1.md").read_text()


def test_what_failed_is_in_the_tables_by_its_kind_and_is_made_by_the_next_run(fresh):
    def diverge(config):
        config["targets"][TARGET]["training"] |= {"learning_rate": 1e30, "gradient_clip": None}
        config["run"] |= {"attacks": ["naive", "blind_statistics"], "tables": ["table1"]}

    change(fresh, diverge)
    failed = fresh.snakemake("tables", "--keep-going")
    assert failed.returncode != 0
    lacking = f"lack 1 of the 2 cells (target, seed, attack) of this run:\n  naive on {TARGET}, seed 0\n"
    assert f"{lacking}    failed: train_target {TARGET} 0: the training loss is " in failed.stdout
    assert not (fresh.folder / "results/tables").exists()

    table = partial_table(fresh)
    assert re.search(r"^\| NA .*\| +failed \| +failed \|$", table, re.MULTILINE)
    assert f"- failed: no scores of NA on {TARGET}, seed 0: train_target {TARGET} 0: the training loss is " in table
    judged = (fresh.folder / "results/metrics.csv").read_text()
    assert ",blind_statistics,base,,,auc," in judged

    # nothing of it is taken for a result: the next run does what failed, and all that shows it, again
    last = ("aggregate_metrics", "evaluate_scores", "render_tables")
    assert fresh.plan("tables") == dict.fromkeys(("train_target", "ask_target", "score_attacks", *last), 1)


def test_a_target_whose_files_are_not_there_leaves_the_others_their_tables(project):
    """Without them Snakemake would plan nothing that needs them, and take the earlier run's tables for this one's."""
    lacking = "ddpm_lsun_cat"
    change(project, lambda config: config["run"].update(targets=[TARGET, lacking], tables=["table1", "tablec1"]))
    failed = project.snakemake("tables", "--keep-going")
    said = "datasets.lsun_cat names 'data/lsun/cat', and there is no such file or folder"
    assert failed.returncode != 0
    assert f"config: {said}" in failed.stdout
    reason = "failed: download_dataset lsun_cat: dataset folder data/lsun/cat does not exist"
    assert f"on {lacking}, seed 0\n    {reason}" in failed.stdout

    table = partial_table(project)
    assert re.search(r"^\| NA +\| .* \d\d\.\d\d .*failed", table, re.MULTILINE)
    assert f"- failed: no scores of NA on {lacking}, seed 0: download_dataset lsun_cat: dataset folder" in table
    sets = (project.folder / "results/tables/tablec1.md").read_text()
    assert f"| {TARGET}" in sets
    assert f"- Left out, since no attack on it has scores: {lacking}, seed 0." in sets
