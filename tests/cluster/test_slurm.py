"""The smoke preset through a real Slurm: killed on the way, and whole in the end. `make test-slurm`; nowhere else.

It installs packages and writes below /etc, so it is asked for by name.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.cluster.one_node_slurm import NoSlurm, ask, jobs, one_node_slurm
from tests.conftest import new_project
from tests.workflow.test_kills import TARGET, processes, resume_states, slow

pytestmark = pytest.mark.slurm

# what only this Slurm needs: it has no database, its jobs last seconds, and its machine may have two cores
RUN = ["--profile", "profiles/slurm", "--workflow-profile", "profiles/smoke"]
RUN += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
RUN += ["--set-threads", "train_target=1", "ask_target=1"]
LIMIT = 1500.0  # seconds to wait for anything
OUT = "results/runs/smoke"


@pytest.fixture(scope="module")
def cluster():
    try:
        with one_node_slurm():
            yield
    except NoSlurm as reason:
        pytest.skip(str(reason))


def wait_for(condition):
    """What a condition gives as soon as it gives something."""
    end = time.monotonic() + LIMIT
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError("nothing happened")
        time.sleep(0.5)
    return found


def start(project) -> subprocess.Popen:
    """Start `diffmia run` with all it starts on this side of Slurm in a group of its own."""
    with (project.folder / "run.log").open("a") as log:
        command = [sys.executable, "-m", "diffmia.cli", "run", *RUN]
        return subprocess.Popen(
            command, cwd=project.folder, env=project.environment, stdout=log, stderr=log, start_new_session=True
        )


def submitted(rule: str, state: str = "") -> list[dict[str, str]]:
    return [job for job in jobs() if f"rule_{rule}_" in f"{job['Comment']}_" and state in job["JobState"]]


@pytest.fixture(scope="module")
def project(cluster, tmp_path_factory):
    """The project after the whole preset, whose Snakemake was killed once, as was a job of it."""
    project = new_project(tmp_path_factory.mktemp("slurm") / "project")
    project.config = slow(project.config, batch_size=64)

    # Snakemake is killed on the login node; its job on the other lives on, and stands in the way of the next run
    run = start(project)
    training = wait_for(lambda: processes(project, ".train_target.py"))[0]
    wait_for(lambda: resume_states(project))
    training.suspend()
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    project.refused = project.call(sys.executable, "-m", "diffmia.cli", "run", *RUN)
    ask("scancel", "--user=root")
    wait_for(lambda: not ask("squeue", "--noheader").strip())

    # a job is killed on its node; Snakemake submits it again
    run = start(project)
    killed = wait_for(lambda: submitted("ask_target", "RUNNING"))[0]
    project.killed = killed["JobId"]
    ask("scancel", project.killed)
    project.status = run.wait(LIMIT)
    project.log = (project.folder / "run.log").read_text()
    return project


def test_a_run_beside_jobs_of_a_killed_one_is_refused_in_one_sentence(project):
    assert project.refused.returncode == 1
    last = project.refused.stdout.strip().splitlines()[-1]
    assert last.startswith("diffmia: an earlier run is still at work in this folder:")
    assert "job train_target (pid " in last


def test_a_training_that_was_killed_goes_on(project):
    assert "the last run in this folder was killed; going on where it stopped" in project.log
    logs = (project.folder / "results/_logs/train_target").rglob("*.log")
    assert "resuming after epoch" in "".join(log.read_text() for log in logs)


def test_a_killed_job_is_named_and_submitted_again_with_more_memory(project):
    assert f"SLURM-job '{project.killed}' failed, SLURM status is: 'CANCELLED'" in project.log
    described = {job["JobId"]: job for job in submitted("ask_target")}
    killed = described[project.killed]
    (again,) = [
        job for job in described.values() if job["Comment"] == killed["Comment"] and job["JobState"] == "COMPLETED"
    ]
    assert (killed["MinMemoryNode"], again["MinMemoryNode"]) == ("16000M", "32000M")


def test_everything_is_there_and_a_second_run_has_nothing_to_do(project):
    assert project.status == 0, project.log
    metrics = pd.read_csv(project.folder / OUT / "metrics.csv")
    assert {"naive", "secmi", "pia", "pian", "gsa1", "quantile", "blind_cnn"} <= set(metrics.attack)
    assert metrics[metrics.metric == "auc"].value.notna().any()
    assert "+OMS" in (project.folder / OUT / "tables/table1.md").read_text()
    assert project.plan(*RUN) == {}


def test_jobs_that_use_a_card_ask_slurm_for_one_and_others_for_none(project):
    rules = {re.match("rule_([a-z_]+?)(_wildcards|$)", job["Comment"])[1]: job for job in jobs()}
    cards = {rule: job.get("TresPerJob", "") for rule, job in rules.items()}
    assert {rule for rule, asked in cards.items() if asked == "gres:gpu:1"} >= {"train_target", "ask_target"}
    assert {rule for rule, asked in cards.items() if not asked} >= {"build_split", "evaluate_scores", "plot_figure"}
    assert rules["train_target"]["NumCPUs"] == "1"
    assert rules["train_target"]["TimeLimit"] == "2-00:00:00"


def test_the_target_was_told_that_its_cluster_has_a_card_it_cannot_see(project):
    log = (project.folder / f"results/_logs/ask_target/residuals/{TARGET}/seed0.log").read_text()
    assert "no GPU is visible; continuing on the CPU" in log
