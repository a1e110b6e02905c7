"""Stop anywhere, lose nothing: kill -9 of a training job, of a residual job, and of Snakemake itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import psutil
import pytest

pytestmark = pytest.mark.workflow

TARGET = "ddpm_digits_smoke"
WEIGHTS = f"results/targets/{TARGET}/seed0/unet/diffusion_pytorch_model.safetensors"


def wait_for(condition: Callable[[], object], seconds: float = 240) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    raise TimeoutError("nothing happened")


def processes(project, word: str) -> list[psutil.Process]:
    """Python processes in the project's folder with an argument that ends with `word`."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or [""]
        if (
            process.info["cwd"] == str(project.folder)
            and "python" in command[0]
            and any(c.endswith(word) for c in command)
        ):
            found.append(process)
    return found


def resume_states(project) -> list:
    return list(project.folder.glob("results/_resume/*/*/*/state.pt"))


def kill(*victims: psutil.Process) -> None:
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
        wait_for(lambda victim=victim: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)


def slow(config: dict, batch_size: int) -> dict:
    """Settings that give a test the time to kill jobs in the middle; they change no number."""
    target = config["targets"][TARGET]
    target["batch_size"] = batch_size
    target["training"]["seconds_between_saves"] = 0
    return config


def test_killed_runs_go_on_and_end_with_the_same_results(fresh, finished):
    fresh.config = slow(fresh.config, batch_size=2)

    # Snakemake and `diffmia run` are killed while a target is trained: the job lives on
    run = fresh.start("residuals")
    (job,) = wait_for(lambda: processes(fresh, ".train_target.py"))
    wait_for(lambda: resume_states(fresh))
    job.suspend()  # so that it neither ends nor moves on while the test looks
    kill(*processes(fresh, "diffmia.cli"), *processes(fresh, "snakemake"))
    run.wait()

    # a run beside the orphan is refused, and names it
    refused = fresh.call(sys.executable, "-m", "diffmia.cli", "run", "--cores", "2", "residuals")
    assert refused.returncode == 1
    assert f"job train_target (pid {job.pid})" in refused.stdout
    assert "Traceback" not in refused.stdout

    # the training job is killed too; the next run removes the stale lock and resumes the training
    kill(job)
    assert resume_states(fresh)
    run = fresh.start("residuals")
    (job,) = wait_for(lambda: processes(fresh, ".ask_target.py"))
    assert "going on where it stopped" in (fresh.folder / "run.log").read_text()
    training_log = (fresh.folder / f"results/_logs/train_target/{TARGET}/seed0.log").read_text()
    assert "resuming after epoch" in training_log

    # the residual job is killed on its way; Snakemake says so and ends
    log = fresh.folder / f"results/_logs/ask_target/residuals/{TARGET}/seed0.log"
    wait_for(lambda: log.exists() and "samples asked about" in log.read_text())
    kill(job)
    assert run.wait(240) != 0
    assert not (fresh.folder / f"results/residuals/{TARGET}/seed0.parquet").exists()
    said = (fresh.folder / "run.log").read_text()
    assert (
        f"the tables lack 3 of the 3 cells (target, seed, attack) of this run:\n  naive, secmi, pia on {TARGET}" in said
    )
    assert f"killed: ask_target residuals {TARGET} 0: the job was killed" in said
    shown = fresh.call(sys.executable, "-m", "diffmia.cli", "status")
    assert shown.returncode == 0, shown.stdout
    assert f"killed   ask_target residuals {TARGET} 0  samples asked about " in shown.stdout
    assert f"results/_logs/ask_target/residuals/{TARGET}/seed0.log, at its end:" in shown.stdout
    assert "of the last run done; no run is going on in this folder" in shown.stdout

    # and once more to the end: the same bytes as a run that nobody disturbed
    fresh.config = slow(fresh.config, batch_size=512)
    assert fresh.start("metrics").wait(240) == 0, (fresh.folder / "run.log").read_text()
    for path in (WEIGHTS, f"results/residuals/{TARGET}/seed0.parquet", "results/metrics.csv"):
        assert (fresh.folder / path).read_bytes() == (finished.folder / path).read_bytes(), path
