"""`diffmia status`: what runs in this folder, how far it is, where; and how jobs that failed or were killed ended.

Read from what is on disk and from the table of processes, so it may be asked while a run is going and after it.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path

from tabulate import tabulate

from diffmia.commands.run import live_processes
from diffmia.running.job_status import JobStatus, read_statuses

SNAKEMAKE_LOGS = Path(".snakemake/log")
TAIL = 5  # last lines of a log that are shown of a job that failed
HEADER = ("state", "job", "progress", "left", "took", "device")
_PROGRESS = re.compile(r"INFO (?P<done>.+? \d+/\d+ \(\d+ %\)).*  ETA (?P<left>\d+) s$")  # as `Progress` writes it
_STEPS = re.compile(r"^(\d+) of (\d+) steps \(", re.MULTILINE)  # as Snakemake does


def status(everything: bool = False) -> str:
    """A table of jobs, the ends of logs of those that failed or were killed, and how far the last run is.

    Jobs that ended well are left out but for `everything`; so are failures whose outputs someone made since.
    """
    jobs = [job for job in read_statuses() if not _made_since(job)]
    shown = [job for job in jobs if everything or job.state != "done"]
    parts = [tabulate([_row(job) for job in shown], HEADER, disable_numparse=True)] if shown else []
    parts += [_end(job) for job in shown if job.state in ("failed", "killed")]
    return "\n\n".join([*parts, _run(jobs)])


def _row(job: JobStatus) -> tuple[str, ...]:
    took = timedelta(seconds=round((job.ended or time.time()) - job.born))
    last = _progress(Path(job.log))
    if job.state == "failed" and job.kind:
        return job.kind, job.job, "", "", str(took), job.device or ""
    if last is None or job.state == "done":
        return job.state, job.job, "", "", str(took), job.device or ""
    left = str(timedelta(seconds=last[1])) if job.state == "running" else ""
    return job.state, job.job, last[0], left, str(took), job.device or ""


def _progress(log: Path) -> tuple[str, int] | None:
    """What is done by the last line of progress in a log, and the seconds that are left by now."""
    for line in reversed(_last_lines(log, 50)):
        if said := _PROGRESS.search(line):
            age = time.time() - log.stat().st_mtime
            return said["done"], max(0, round(int(said["left"]) - age))
    return None


def _end(job: JobStatus) -> str:
    """Why a job has no result, and the last of what it said."""
    lines = [f"    {line}" for line in _last_lines(Path(job.log), TAIL)]
    return "\n".join([f"{job.job}: {job.why}", f"  {job.log}, at its end:", *lines])


def _last_lines(log: Path, count: int) -> list[str]:
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 200 * count))
        return file.read().decode(errors="replace").splitlines()[-count:]


def _made_since(job: JobStatus) -> bool:
    """Whether all that a job should have made is there, and younger than its end."""
    paths = [Path(output) for output in job.outputs]
    failed = job.state in ("failed", "killed") and job.ended is not None
    return failed and bool(paths) and all(path.exists() and path.stat().st_mtime > job.ended for path in paths)


def _run(jobs: list[JobStatus]) -> str:
    """How far the last run is, and whether it is still going."""
    logs = sorted(SNAKEMAKE_LOGS.glob("*.log"), key=lambda path: path.stat().st_mtime)
    steps = _STEPS.findall(logs[-1].read_text(errors="replace")) if logs else []
    done = "{} of {} jobs of the last run done".format(*steps[-1]) if steps else "no job of the last run is done yet"
    if not jobs and not steps:
        return "nothing was run in this folder"
    going = live_processes(Path.cwd())
    return f"{done}; {'it is going on' if going else 'no run is going on in this folder'}"
