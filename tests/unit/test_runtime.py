"""The surroundings of a job: device, threads, locks, its log, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from filelock import Timeout

from diffmia.errors import DiffmiaError
from diffmia.files.locks import exclusive
from diffmia.running.device import use_device
from diffmia.running.runtime import write_provenance

REPOSITORY = Path(__file__).parents[2]


def start(script, folder):
    """A Python process in `folder` that runs `script`."""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestDevice:
    @pytest.fixture(autouse=True)
    def _torch_as_it_was(self):
        threads, matmul, cudnn = torch.get_num_threads(), torch.backends.cuda.matmul, torch.backends.cudnn
        tf32 = matmul.allow_tf32, cudnn.allow_tf32
        yield
        torch.set_num_threads(threads)
        matmul.allow_tf32, cudnn.allow_tf32 = tf32

    @pytest.fixture(params=[True, False], ids=["a GPU", "no GPU"])
    def gpu_is_visible(self, request, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
        return request.param

    @pytest.mark.parametrize(
        ("wanted", "gpus", "with_gpu", "without"),
        [("auto", 1, "cuda", "cpu"), ("auto", 0, "cpu", "cpu"), ("cpu", 1, "cpu", "cpu"), ("cuda", 1, "cuda", None)],
    )
    def test_which_it_is(self, gpu_is_visible, monkeypatch, wanted, gpus, with_gpu, without):
        monkeypatch.setattr("diffmia.running.cards.lease_card", lambda: torch.device("cuda", 1))
        expected = with_gpu if gpu_is_visible else without
        if expected is not None:
            assert use_device(wanted, gpus, threads=1).type == expected

    @pytest.mark.parametrize(("wanted", "gpus", "warnings"), [("auto", 1, 1), ("auto", 0, 0), ("cpu", 1, 0)])
    def test_one_warning_where_a_gpu_was_granted_and_none_is_there(self, monkeypatch, caplog, wanted, gpus, warnings):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        use_device(wanted, gpus, threads=1)
        assert [record.getMessage() for record in caplog.records] == (
            ["no GPU is visible; continuing on the CPU"] * warnings
        )

    @pytest.mark.parametrize(
        ("gpus", "visible", "reason"),
        [(1, False, "no GPU is visible"), (0, True, "the job was given no gpu resource")],
    )
    def test_cuda_is_an_error_without_one(self, monkeypatch, gpus, visible, reason):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: visible)
        with pytest.raises(DiffmiaError) as caught:
            use_device("cuda", gpus, threads=1)
        assert str(caught.value) == (f"config: device is 'cuda' and {reason}; set device: auto to fall back to the CPU")

    @pytest.mark.parametrize(("granted", "cores", "used"), [(2, 8, 2), (8, 3, 3), (0, 8, 1)])
    def test_threads_are_those_granted_and_no_more_than_may_be_used(self, monkeypatch, granted, cores, used):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        use_device("cpu", 0, granted)
        assert torch.get_num_threads() == used

    def test_float32_is_strict(self):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        use_device("cpu", 0, 1)
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32


class TestExclusive:
    def test_another_process_is_refused_until_the_holder_is_dead(self, tmp_path):
        lock = tmp_path / "new" / "lock"
        holder = start(
            "from pathlib import Path; from diffmia.files.locks import exclusive\n"
            f"with exclusive(Path({str(lock)!r}), 'it'):\n"
            "    print('held', flush=True); input()",
            tmp_path,
        )
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DiffmiaError) as caught, exclusive(lock, "training of this target"):
            pass
        assert str(caught.value) == (
            f"another process is at work on training of this target (it holds {lock}); wait for it or end it"
        )
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
        with exclusive(lock, "it"):
            pass

    def test_it_is_free_after_the_block_and_after_an_error_in_it(self, tmp_path):
        with exclusive(tmp_path / "lock", "it"):
            pass
        with pytest.raises(ValueError, match="stop"), exclusive(tmp_path / "lock", "it"):
            raise ValueError("stop")
        with exclusive(tmp_path / "lock", "it"):
            pass

    def test_another_locks_timeout_in_the_block_is_not_taken_for_its_own(self, tmp_path):
        with pytest.raises(Timeout), exclusive(tmp_path / "lock", "it"):
            raise Timeout("another.lock")


JOB = """
import logging, os, subprocess, sys, warnings, yaml
from types import SimpleNamespace
from snakemake.iocontainers import OutputFiles
from diffmia.errors import DiffmiaError
from diffmia.running.runtime import job_context

snakemake = SimpleNamespace(
    rule="train_target",
    log=["logs/deep/job.log"],
    config=yaml.safe_load(open({config!r})),
    params=SimpleNamespace(job='{{"seed": 7}}'),
    wildcards=["ddpm_digits", "0"],
    input=None,
    output=OutputFiles(fromdict={{"meta": "meta.json"}}),
    resources={{"gpu": 1}},
    threads=2,
)
with job_context(snakemake) as job:
    print("said by print")
    print("said on stderr", file=sys.stderr)
    os.write(1, b"written to 1\\n")
    os.write(2, b"written to 2\\n")
    subprocess.run(["echo", "said by a child"])
    logging.getLogger("diffmia.training.trainer").info("epoch 3")
    logging.getLogger("another.library").warning("chatter")
    warnings.warn("old style")
    {last}
"""


class Ended:
    """A job that ran with `last` as its last statement: its log, what the terminal saw, its exit status."""

    def __init__(self, folder, last, config=REPOSITORY / "config.yaml"):
        process = start(JOB.format(config=str(config), last=last), folder)
        self.stdout, self.terminal = process.communicate()
        self.status = process.returncode
        self.log = (folder / "logs/deep/job.log").read_text()
        self.said = json.loads((folder / "logs/deep/job.status.json").read_text())
        self.folder = folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Ended(tmp_path_factory.mktemp("job"), "job.record(seed=job.seed, gpus=job.gpus, threads=job.threads)")


class TestJob:
    def test_it_ends_well(self, done):
        assert done.status == 0
        assert done.stdout == ""

    @pytest.mark.parametrize(
        "line", ["said by print", "said on stderr", "written to 1", "written to 2", "said by a child"]
    )
    def test_all_output_lands_in_the_log_alone(self, done, line):
        assert done.log.count(line) == 1
        assert line not in done.terminal

    def test_progress_is_on_the_terminal_and_in_the_log(self, done):
        assert done.terminal == "[train_target ddpm_digits 0] epoch 3\n"
        assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO epoch 3$", done.log, re.MULTILINE)

    @pytest.mark.parametrize("line", ["chatter", "old style"])
    def test_what_libraries_log_and_warn_of_stays_in_the_log(self, done, line):
        assert line in done.log

    def test_the_record_of_how_the_result_was_made(self, done):
        record = json.loads((done.folder / "meta.json").read_text())
        assert record["job"] == {"seed": 7}
        assert (record["seed"], record["gpus"], record["threads"]) == (7, 1, 2)
        assert {"python", "diffmia", "numpy", "torch"} <= set(record["versions"])

    def test_an_error_the_user_can_put_right_is_one_sentence(self, tmp_path):
        ended = Ended(tmp_path, "raise DiffmiaError('the disk is full; free some space')")
        assert ended.status == 1
        assert ended.terminal.splitlines()[1:] == ["[train_target ddpm_digits 0] the disk is full; free some space"]
        assert "ERROR the disk is full; free some space" in ended.log
        assert "Traceback" not in ended.log

    def test_any_other_error_is_one_line_and_its_traceback_is_in_the_log(self, tmp_path):
        ended = Ended(tmp_path, "{}['nowhere']")
        assert ended.status == 1
        assert ended.terminal.splitlines()[1:] == [
            "[train_target ddpm_digits 0] KeyError: 'nowhere' (traceback in logs/deep/job.log)"
        ]
        assert "Traceback (most recent call last)" in ended.log
        assert "KeyError: 'nowhere'" in ended.log

    def test_how_it_ended_stands_beside_its_log(self, done, tmp_path):
        assert done.said["state"] == "done"
        assert done.said["job"] == "train_target ddpm_digits 0"
        assert done.said["outputs"] == ["meta.json"]
        assert Ended(tmp_path, "raise DiffmiaError('no')").said["reason"] == "no"

    def test_any_other_error_is_a_failure_too(self, tmp_path):
        said = Ended(tmp_path, "{}['nowhere']").said
        assert (said["state"], said["kind"], said["reason"]) == ("failed", "failed", "KeyError: 'nowhere'")

    def test_it_says_where_it_runs(self, tmp_path):
        assert Ended(tmp_path, "job.device()").said["device"].startswith("cpu x")

    @pytest.mark.parametrize(
        "cause", ["import torch; raise torch.OutOfMemoryError('Tried to allocate 2 GiB.')", "bytes(2**62)"]
    )
    def test_too_little_memory_is_a_kind_of_its_own(self, tmp_path, cause):
        ended = Ended(tmp_path, cause)
        assert (ended.status, ended.said["kind"]) == (1, "out of memory")
        assert "the job needs more memory than there is" in ended.terminal.splitlines()[-1]
        assert "Traceback" in ended.log

    def test_a_job_that_takes_too_long_is_given_up(self, tmp_path):
        config = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {"minutes_per_job": 0.001}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        ended = Ended(tmp_path, "import time; time.sleep(60)", config=tmp_path / "config.yaml")
        assert (ended.status, ended.said["kind"]) == (1, "timed out")
        assert "not done after 0.001 minutes; raise minutes_per_job" in ended.terminal

    def test_to_wait_for_a_card_takes_none_of_its_time(self, tmp_path):
        config = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {"minutes_per_job": 0.02}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        lines = [
            "import signal, time, diffmia.running.device as of",
            "of.use_device = lambda *_: time.sleep(2) or __import__('torch').device('cpu')",
            "job.device()",
            "assert signal.getitimer(signal.ITIMER_REAL)[0] > 0",
        ]
        assert Ended(tmp_path, "; ".join(lines), config=tmp_path / "config.yaml").status == 0

    def test_a_job_that_is_told_to_end_says_so(self, tmp_path):
        """Also where it was just within what takes every error for one of its own, and when it is told twice."""
        told = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
        tried = f"try: {told}\n    except Exception: time.sleep(60)\n    finally: os.kill(os.getpid(), signal.SIGTERM)"
        ended = Ended(tmp_path, f"import os, signal, time\n    {tried}")
        assert (ended.status, ended.said["kind"], ended.said["state"]) == (1, "stopped", "failed")
        assert "the job was told to end (SIGTERM) before it was done" in ended.terminal

    def test_an_invalid_config_is_one_sentence_too(self, tmp_path):
        (tmp_path / "config.yaml").write_text("run: {}")
        ended = Ended(tmp_path, "pass", config=tmp_path / "config.yaml")
        assert ended.status == 1
        assert "[train_target ddpm_digits 0] config: key 'targets' is missing in run" in ended.terminal
        assert "Traceback" not in ended.terminal + ended.log


def test_provenance_holds_facts_that_are_no_plain_values(tmp_path):
    write_provenance(tmp_path / "meta.json", "{}", folder=Path("results"), numbers=(1, 2))
    record = json.loads((tmp_path / "meta.json").read_text())
    assert record["folder"] == "results"
    assert record["numbers"] == [1, 2]
