"""The surroundings of a job: its log, its threads and device, its errors, and what it leaves about how it was made."""

from __future__ import annotations

import json
import logging
import os
import platform
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffmia import __version__
from diffmia.config.config import Config, load_config
from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.running.failures import Failure, OutOfMemory, Stopped, TimedOut
from diffmia.running.job_status import JobStatus

if TYPE_CHECKING:
    import torch

log = logging.getLogger("diffmia")

RECORDED_PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "xgboost-cpu",
    "snakemake",
)


@dataclass(frozen=True)
class Job:
    """A Snakemake job as a script sees it."""

    config: Config
    text: str  # canonical JSON of everything that decides the result
    wildcards: Any
    input: Any
    output: Any
    gpus: int
    threads: int
    status: JobStatus

    @property
    def seed(self) -> int:
        """The seed the job's own random draws grow from."""
        return json.loads(self.text)["seed"]

    def device(self) -> torch.device:
        """See `diffmia.running.device.use_device`."""
        from diffmia.running.device import use_device

        with _untimed():
            device = use_device(self.config.device, self.gpus, self.threads)
        self.status.runs_on(_place(device))
        return device

    def record(self, **facts: Any) -> None:
        """Write the job's `meta` output: how the result was made."""
        write_provenance(self.output.meta, self.text, **facts)


@contextmanager
def job_context(snakemake: Any) -> Iterator[Job]:
    """Run a job with all its output, native libraries' included, in its log, and its progress on the terminal too.

    An error the user can put right ends the job with its one sentence; of any other the log has the traceback. What
    becomes of the job stands beside its log (`diffmia.running.job_status`), in the words of `diffmia status`.
    """
    log_path = Path(snakemake.log[0])
    log_path.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    with log_path.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # so that nothing printed is lost when the job is killed
    name = " ".join([snakemake.rule, *map(str, snakemake.wildcards)])
    _log_to(sys.stderr, terminal, name)
    status = JobStatus.begin(name, log_path, map(str, snakemake.output))
    try:
        config = load_config(snakemake.config)
        with status.beating(), _told_to_end(), _at_most(config.minutes_per_job), _memory_errors():
            yield Job(
                config,
                snakemake.params.job,
                snakemake.wildcards,
                snakemake.input,
                snakemake.output,
                int(snakemake.resources.get("gpu", 0)),
                snakemake.threads,
                status,
            )
    except (DiffmiaError, _Interruption) as caught:
        error = caught.failure if isinstance(caught, _Interruption) else caught
        log.error("%s", error)
        status.end(error.kind if isinstance(error, Failure) else "failed", str(error))
        raise SystemExit(1) from None
    except Exception as error:
        traceback.print_exc()
        log.error("%s: %s (traceback in %s)", type(error).__name__, error, log_path)
        status.end("failed", f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None
    status.end()


def _place(device: torch.device) -> str:
    """What a job runs on; of a card also which one, as nvidia-smi calls it."""
    import torch

    from diffmia.running.device import device_name

    if device.type != "cuda":
        return device_name(device)
    return f"{device_name(device)} (GPU-{torch.cuda.get_device_properties(device).uuid})"


class _Interruption(BaseException):
    """A failure from outside, at any moment; like Ctrl-C, nobody on the way takes it for an error of theirs."""

    def __init__(self, failure: Failure):
        super().__init__(failure)
        self.failure = failure


@contextmanager
def _told_to_end() -> Iterator[None]:
    """End the block where the job is told to end, as a scheduler does some seconds before it kills it."""

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows tidies up and says what happened
        failure = Stopped(
            "the job was told to end (SIGTERM) before it was done, by a scheduler at its time limit (`runtime`) or "
            "by somebody; what it has finished is kept, and it goes on from there when it is run again"
        )
        raise _Interruption(failure)

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)  # after an error the process ends, and first says so undisturbed


@contextmanager
def _at_most(minutes: float | None) -> Iterator[None]:
    """End the block with an error if it takes longer than it may."""
    if minutes is None:
        yield
        return

    def give_up(*_: Any) -> None:
        failure = f"not done after {minutes:g} minutes; raise minutes_per_job in the config, or set it to null"
        raise _Interruption(TimedOut(failure))

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _untimed() -> Iterator[None]:
    """The block takes nothing of the time that a job may take: to wait for a card is no work."""
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Say in a sentence that there was too little memory, of the device or of the machine."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":  # torch may not be loaded
            raise
        traceback.print_exc()
        said = (str(error).splitlines() or ["MemoryError."])[0]
        raise OutOfMemory(
            f"the job needs more memory than there is: {said} Run it on a machine, or a card, with more"
        ) from error


def _log_to(file: Any, terminal: Any, name: str) -> None:
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for stream, form in ((file, "%(asctime)s %(levelname)s %(message)s"), (terminal, f"[{name}] %(message)s")):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(form))
        if stream is terminal:
            handler.addFilter(logging.Filter("diffmia"))  # libraries' chatter stays in the log
        root.addHandler(handler)


def write_provenance(path: str | Path, job: str, **facts: Any) -> None:
    """Write how a result was made: its resolved job, the versions of what made it, and `facts`."""
    record = {
        "job": json.loads(job),
        **facts,
        "versions": {"python": platform.python_version(), "diffmia": __version__, **_versions()},
        "machine": platform.platform(),
    }
    with atomic_path(path) as scratch:
        scratch.write_text(json.dumps(record, indent=2, default=str) + "\n")


def _versions() -> dict[str, str]:
    """Versions of the packages that matter, where they are installed: an environment holds what its rules need."""
    found = {}
    for name in RECORDED_PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
