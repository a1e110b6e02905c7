"""`diffmia run`: one run at a time in a folder, and a killed one does not stand in the way of the next.

A stand-in for Snakemake, a module of that name in the folder, notes how it is called.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffmia import cli
from diffmia.commands import run as launch
from diffmia.commands.run import LOCK, live_processes
from diffmia.config import config
from diffmia.errors import DiffmiaError
from diffmia.files.locks import exclusive
from diffmia.running.job_status import JobStatus

REPOSITORY = Path(__file__).parents[2]
SLEEP = "import time; time.sleep(60)"
STAND_IN = """
import signal, sys, time
from pathlib import Path

import filelock

def end_in_order(*_):
    time.sleep(0.4)
    Path("ended in order").touch()
    sys.exit(1)

with open("calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + chr(10))
if "--unlock" in sys.argv:
    sys.exit(Path("broken").exists())
if "lock" in sys.argv:
    filelock.FileLock("results/_run.lock", timeout=0).acquire()
if "slow" in sys.argv:
    signal.signal(signal.SIGINT, end_in_order)
    Path("ready").touch()
    time.sleep(60)
sys.exit(3 if "fail" in sys.argv else 0)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the stand-in in it."""
    (tmp_path / "snakemake.py").write_text(STAND_IN)
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start():
    """Start a process in a folder, and end it and its children after the test."""
    started = []

    def start(folder, *command, **options):
        process = subprocess.Popen([str(c) for c in command], cwd=folder, start_new_session=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def job_script(folder, rule, text=SLEEP):
    """Path of a script as Snakemake makes it for a job."""
    script = folder / ".snakemake" / "scripts" / f"tmp1_x9abc.{rule}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(text)
    return script


def calls(folder):
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


class TestLiveProcesses:
    def test_a_job_is_named_by_its_rule(self, folder, start):
        job = start(folder, sys.executable, job_script(folder, "train_target"))
        assert live_processes(folder) == [f"job train_target (pid {job.pid})"]

    @pytest.mark.parametrize("command", [["-m", "snakemake", "slow"], ["-u", "bin/snakemake"]], ids=" ".join)
    def test_snakemake_itself(self, folder, start, command):
        (folder / "bin").mkdir()
        (folder / "bin" / "snakemake").write_text(SLEEP)
        process = start(folder, sys.executable, *command)
        assert live_processes(folder) == [f"snakemake (pid {process.pid})"]

    def test_nothing_of_another_folder(self, folder, start, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        start(elsewhere, sys.executable, job_script(elsewhere, "train_target"))
        start(folder / ".snakemake", sys.executable, job_script(folder, "train_target"))
        assert live_processes(folder) == []

    def test_no_process_that_only_reads_what_snakemake_wrote(self, folder, start):
        start(folder, sys.executable, "-c", SLEEP, "-f", ".snakemake/log/2026-01-01.snakemake.log")
        assert live_processes(folder) == []

    def test_a_job_and_not_the_shell_around_it(self, folder, start):
        script = job_script(folder, "train_target", "import os; print(os.getpid(), flush=True); " + SLEEP)
        command = f"trap true EXIT; {sys.executable} {script}"  # with something left to do, it waits for the job
        shell = start(folder, "bash", "-c", command, stdout=subprocess.PIPE, text=True)
        pid = int(shell.stdout.readline())
        assert pid != shell.pid
        assert live_processes(folder) == [f"job train_target (pid {pid})"]

    def test_not_the_processes_it_was_started_by(self, folder, start):
        look = "import pathlib, diffmia.commands.run as run; print(run.live_processes(pathlib.Path.cwd()))"
        script = job_script(
            folder, "nested", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {look!r}])"
        )
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        parent = start(folder, sys.executable, script, stdout=subprocess.PIPE, text=True, env=environment)
        assert parent.communicate()[0] == "[]\n"


class TestLaunch:
    def test_it_passes_on_arguments_and_exit_status(self, folder):
        assert launch.launch(["--cores", "2", "metrics"]) == 0
        assert launch.launch(["fail"]) == 3
        assert launch.launch(["-j4"]) == 0
        assert launch.launch(["--profile=profiles/local"]) == 0
        assert calls(folder) == ["--cores 2 metrics", "--cores all fail", "-j4", "--profile=profiles/local"]

    def test_a_config_file_that_cannot_be_read_is_refused(self, folder):
        with pytest.raises(DiffmiaError, match=r"cannot read nosuch\.yaml"):
            launch.launch(["--configfile", "nosuch.yaml"])
        assert calls(folder) == []
        assert not (folder / "results").exists()

    def test_it_is_for_the_projects_folder(self, folder):
        (folder / "Snakefile").unlink()
        with pytest.raises(DiffmiaError, match="there is no Snakefile here; run it in the project's folder"):
            launch.launch([])
        assert not (folder / "results").exists()

    def test_it_is_refused_while_a_job_of_an_earlier_run_lives(self, folder, start):
        job = start(folder, sys.executable, job_script(folder, "train_target"))
        with pytest.raises(DiffmiaError) as caught:
            launch.launch([])
        assert str(caught.value) == (
            f"an earlier run is still at work in this folder: job train_target (pid {job.pid}). "
            "Wait until it has ended, or end it (kill, or your scheduler's command), and run again: what it has "
            "finished is kept"
        )
        assert calls(folder) == []
        job.kill()
        job.wait()
        assert launch.launch([]) == 0

    def test_it_is_refused_while_a_job_on_another_machine_is_heard_of(self, folder):
        job = JobStatus.begin("train_target digits 0", Path("results/_logs/job.log"), [])
        job.host = "node17"
        job.write()
        said = rf"still at work in this folder: job train_target digits 0 \(on node17, pid {os.getpid()}\)"
        with pytest.raises(DiffmiaError, match=said):
            launch.launch(["all"])
        assert calls(folder) == []
        os.utime(job.path, (time.time() - 3600,) * 2)
        assert launch.launch(["all"]) == 0

    def test_it_is_refused_while_another_is_under_way(self, folder):
        with exclusive(LOCK, "the other"), pytest.raises(DiffmiaError, match="at work on a run in this folder"):
            launch.launch([])
        assert calls(folder) == []

    def test_it_holds_the_lock_as_long_as_snakemake_runs(self, folder, capfd):
        assert launch.launch(["lock"]) == 1
        assert "filelock" in capfd.readouterr().err  # the stand-in did not get it

    def test_a_stale_lock_of_snakemake_is_removed_first(self, folder, caplog):
        caplog.set_level(logging.INFO, "diffmia")
        (folder / ".snakemake" / "locks").mkdir(parents=True)
        (folder / ".snakemake" / "locks" / "0.input.lock").touch()
        assert launch.launch(["--cores", "2"]) == 0
        unlock, run = calls(folder)
        assert unlock.split()[0] == "--unlock"
        assert run == "--cores 2"
        assert "the last run in this folder was killed; going on where it stopped" in caplog.messages

    def test_without_one_nothing_is_unlocked(self, folder):
        (folder / ".snakemake" / "locks").mkdir(parents=True)
        launch.launch(["--cores", "2"])
        assert calls(folder) == ["--cores 2"]

    def test_a_lock_that_cannot_be_removed_is_left_to_snakemake_to_report(self, folder):
        (folder / ".snakemake" / "locks").mkdir(parents=True)
        (folder / ".snakemake" / "locks" / "0.input.lock").touch()
        (folder / "broken").touch()  # such as an error in config.yaml
        assert launch.launch(["fail"]) == 3

    def test_on_ctrl_c_snakemake_ends_in_order(self, folder, start):
        run = "import sys; from diffmia.commands.run import launch; sys.exit(launch(['slow']))"
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        process = start(folder, sys.executable, "-c", run, stderr=subprocess.PIPE, text=True, env=environment)
        end = time.monotonic() + 20
        while not (folder / "ready").exists() and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        errors = process.communicate(timeout=20)[1]
        assert (folder / "ended in order").exists()
        assert process.returncode == 1
        assert "Traceback" not in errors


class TestCommand:
    @pytest.mark.parametrize(
        ("given", "passed_on"),
        [
            (["run"], []),
            (["run", "--cores", "8", "--resources", "gpu=2"], ["--cores", "8", "--resources", "gpu=2"]),
            (["run", "-n", "metrics"], ["-n", "metrics"]),
        ],
        ids=lambda arguments: " ".join(arguments),
    )
    def test_what_follows_run_is_snakemakes(self, monkeypatch, given, passed_on):
        asked = []
        monkeypatch.setattr(launch, "launch", lambda arguments: asked.append(arguments) or 5)
        assert cli.main(given) == 5
        assert asked == [passed_on]

    def test_an_error_the_user_can_put_right_is_one_sentence(self, folder, capsys):
        with exclusive(LOCK, "the other"):
            assert cli.main(["run"]) == 1
        assert re.fullmatch(r"diffmia: another process is at work on .*\n", capsys.readouterr().err)

    def test_an_unknown_command(self, capsys):
        with pytest.raises(SystemExit) as caught:
            cli.main(["schema", "--cores", "8"])
        assert caught.value.code == 2
        assert "--cores 8" in capsys.readouterr().err

    def test_schema_renews_the_file(self, monkeypatch, tmp_path):
        monkeypatch.setattr(config, "SCHEMA_PATH", tmp_path / "schema.json")
        assert cli.main(["schema"]) == 0
        assert (tmp_path / "schema.json").read_text() == config.json_schema()
