"""What became of each job: a small file beside its log, kept by the job itself.

Snakemake forgets a job when it ends, and says nothing of one while it runs. `diffmia status` reads these files, and so
does the list of what a run lacks. A job that was killed had no chance to say so: it says that it runs, and does not.
On this machine the table of processes tells; of another one, that the file, which a job touches now and then, is old.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ValidationError

from diffmia.files.atomic import atomic_path

LOGS = Path("results/_logs")
SUFFIX = ".status.json"
SECONDS_BETWEEN_BEATS = 20.0
SECONDS_OF_SILENCE = 120.0  # several beats, and longer than a shared file system hides a change


class JobStatus(BaseModel):
    """A job that ran or runs."""

    job: str  # its rule and its wildcards
    log: str
    outputs: tuple[str, ...]
    host: str
    pid: int
    born: float  # when the process was started: another one may have its number later
    state: Literal["running", "done", "failed", "killed"] = "running"
    kind: str | None = None  # of failure: `kind` of the error
    reason: str | None = None  # the error's sentence
    device: str | None = None
    ended: float | None = None

    @classmethod
    def begin(cls, job: str, log: Path, outputs: Iterable[str]) -> JobStatus:
        """The status of this process, as a job that begins."""
        born = psutil.Process().create_time()
        status = cls(
            job=job, log=str(log), outputs=tuple(outputs), host=socket.gethostname(), pid=os.getpid(), born=born
        )
        status.write()
        return status

    def runs_on(self, device: str) -> None:
        """Say where it runs."""
        self.device = device
        self.write()

    def end(self, kind: str | None = None, reason: str | None = None) -> None:
        """Say that it is done or, if there is a kind of failure, that it failed."""
        self.state, self.kind, self.reason = ("done" if kind is None else "failed"), kind, reason
        self.ended = time.time()
        self.write()

    @property
    def path(self) -> Path:
        """Where it is kept, beside the log."""
        return Path(self.log).with_suffix(SUFFIX)

    def write(self) -> None:
        """Put it where it is kept."""
        with atomic_path(self.path) as scratch:
            scratch.write_text(self.model_dump_json(indent=2) + "\n")

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Within the block the file is touched now and then, for those who cannot see this process."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(SECONDS_BETWEEN_BEATS):
                with suppress(OSError):  # somebody removes logs; the job goes on
                    os.utime(self.path)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def why(self) -> str:
        """Why there is no result, in words; of a job that ended well or runs, its state."""
        return f"{self.kind}: {self.reason}" if self.state == "failed" else self.state


def read_statuses() -> list[JobStatus]:
    """The last status of every job with a log in this folder, from the first to begin to the last."""
    found = [status for path in LOGS.rglob(f"*{SUFFIX}") if (status := _read(path))]
    return sorted(found, key=lambda status: status.born)


def _read(path: Path) -> JobStatus | None:
    """A status, None if it cannot be read."""
    try:
        status = JobStatus.model_validate(json.loads(path.read_text()))
        silent = time.time() - path.stat().st_mtime
    except (OSError, json.JSONDecodeError, ValidationError):  # somebody removes logs, or another version wrote it
        return None
    if status.state == "running" and not _lives(status, silent):
        status.state, status.ended = "killed", _last_written(status)
    return status


def _lives(status: JobStatus, silent: float) -> bool:
    if status.host != socket.gethostname():
        return silent < SECONDS_OF_SILENCE
    try:
        process = psutil.Process(status.pid)
        return abs(process.create_time() - status.born) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _last_written(status: JobStatus) -> float:
    """When the job last said something, or began if it has no log any more."""
    log = Path(status.log)
    return log.stat().st_mtime if log.exists() else status.born
