"""What jobs say of themselves beside their logs, and how it is shown."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from diffmia.cli import main
from diffmia.commands import status as status_module
from diffmia.commands.status import status
from diffmia.running import job_status
from diffmia.running.job_status import SECONDS_OF_SILENCE, JobStatus, read_statuses
from diffmia.running.progress import Progress

LOG = Path("results/_logs/train_target/digits/seed0.log")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOG.parent.mkdir(parents=True)


def say(*lines, log=LOG):
    log.write_text("".join(f"2026-01-01 00:00:00,000 INFO {line}\n" for line in lines))


def begin(log=LOG, outputs=("made",), job="train_target digits 0"):
    return JobStatus.begin(job, log, outputs)


def row(text, job):
    return next(line for line in text.splitlines() if job in line)


def test_a_job_that_runs_shows_its_progress_what_is_left_and_its_device():
    begin().runs_on("H100 (GPU-1f)")
    say(
        "epoch 10/50 (20 %)  step 40  loss 0.1000  ETA 9 s",
        "epoch 20/50 (40 %)  step 80  loss 0.0900  ETA 3700 s",
        "so",
    )
    line = row(status(), "train_target digits 0")
    assert re.fullmatch(
        r"running +train_target digits 0 +epoch 20/50 \(40 %\) +1:01:(39|40) +\d+:\d\d:\d\d +H100 \(GPU-1f\)",
        line.rstrip(),
    )


def test_what_is_left_is_told_by_the_pace_since_the_first_part(caplog, monkeypatch):
    """For the first of a hundred kernels were compiled, a minute long; each of the others takes ten seconds."""
    now = iter([0, 60, 70, 80])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with caplog.at_level("INFO"):
        progress = Progress(logging.getLogger("diffmia"), "epoch", 100)
        for epoch in (1, 2, 3):
            progress.update(epoch)
    assert [line.rpartition("ETA ")[2] for line in caplog.messages] == ["5940 s", "980 s", "970 s"]


def test_what_was_done_before_is_no_part_of_the_pace(caplog, monkeypatch):
    now = iter([0, 10])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with caplog.at_level("INFO"):
        Progress(logging.getLogger("diffmia"), "epoch", 100, 50).update(60, "  loss 0.1")
    assert caplog.messages == ["epoch 60/100 (60 %)  loss 0.1  ETA 40 s"]


def test_what_is_left_shrinks_as_time_goes_by():
    begin()
    say("epoch 10/50 (20 %)  ETA 60 s")
    os.utime(LOG, (time.time() - 45, time.time() - 45))
    assert " 0:00:15 " in row(status(), "train_target") or " 0:00:14 " in row(status(), "train_target")


def test_what_is_done_is_shown_on_demand_alone():
    begin().end()
    assert "train_target" not in status()
    assert row(status(everything=True), "train_target").startswith("done ")


def test_a_job_that_failed_shows_its_kind_and_the_end_of_its_log():
    begin().end("out of memory", "a batch of one does not fit")
    say(*(f"line {number}" for number in range(9)))
    shown = status()
    assert row(shown, "train_target").startswith("out of memory ")
    assert f"train_target digits 0: out of memory: a batch of one does not fit\n  {LOG}, at its end:" in shown
    assert "line 8" in shown
    assert "line 3" not in shown


def test_a_failure_is_forgotten_once_somebody_made_its_outputs():
    begin().end("failed", "for nothing")
    Path("made").touch()
    os.utime("made", (time.time() + 1, time.time() + 1))
    assert "for nothing" not in status()


def test_a_job_whose_process_is_gone_was_killed():
    begin = f"JobStatus.begin('train_target', Path({str(LOG)!r}), [])"
    script = f"from diffmia.running.job_status import *; {begin}; print(); input()"
    job = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    job.stdout.readline()
    assert [one.state for one in read_statuses()] == ["running"]
    job.send_signal(signal.SIGKILL)
    while psutil.Process(job.pid).status() != psutil.STATUS_ZOMBIE:  # dead, and not yet reaped
        time.sleep(0.01)
    assert [one.state for one in read_statuses()] == ["killed"]
    job.communicate()
    assert [one.state for one in read_statuses()] == ["killed"]
    assert row(status(), "train_target").startswith("killed ")


def test_another_process_with_the_same_number_is_not_taken_for_it():
    one = begin()
    one.born -= 3600
    one.write()
    assert [one.state for one in read_statuses()] == ["killed"]


def test_a_job_of_another_machine_runs_as_long_as_it_is_heard_of():
    one = begin()
    one.host, one.born = "another", one.born - 3600
    one.write()
    assert [one.state for one in read_statuses()] == ["running"]
    os.utime(one.path, (time.time() - SECONDS_OF_SILENCE - 1,) * 2)
    assert [one.state for one in read_statuses()] == ["killed"]
    assert row(status(), "train_target").startswith("killed ")


def test_a_job_is_heard_of_while_it_works_and_no_longer(monkeypatch):
    monkeypatch.setattr(job_status, "SECONDS_BETWEEN_BEATS", 0.01)
    one = begin()

    def is_heard_of():
        os.utime(one.path, (0, 0))
        for _ in range(1000):  # ten seconds at most, of a machine that does other work
            time.sleep(0.01)
            if one.path.stat().st_mtime > 0:
                return True
        return False

    with one.beating():
        assert is_heard_of()
        one.path.unlink()  # as one who tidies up logs does
        time.sleep(0.05)
        one.write()
        assert is_heard_of()
    os.utime(one.path, (0, 0))
    time.sleep(0.05)
    assert one.path.stat().st_mtime == 0


def test_a_status_of_another_version_is_passed_over():
    begin()
    LOG.with_name("seed1.status.json").write_text(json.dumps({"job": "old"}))
    LOG.with_name("seed2.status.json").write_text("{")
    assert len(read_statuses()) == 1


def test_how_far_the_run_is_comes_from_its_newest_log(monkeypatch):
    assert status() == "nothing was run in this folder"
    Path(".snakemake/log").mkdir(parents=True)
    Path(".snakemake/log/1.snakemake.log").write_text("90 of 90 steps (100%) done\n")
    os.utime(".snakemake/log/1.snakemake.log", (1, 1))
    Path(".snakemake/log/2.snakemake.log").write_text("1 of 237 steps (1%) done\n2 of 237 steps (1%) done\n")
    assert status() == "2 of 237 jobs of the last run done; no run is going on in this folder"
    monkeypatch.setattr(status_module, "live_processes", lambda folder: ["snakemake (pid 1)"])
    assert status().endswith("; it is going on")


def test_the_command_prints_it(capsys):
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "nothing was run in this folder\n"
