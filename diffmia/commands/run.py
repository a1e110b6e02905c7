"""Running Snakemake so that a run that was killed goes on, and two runs never meet in one folder.

Snakemake's own lock outlives it when it is killed. `launch` holds a lock that the kernel frees with the process, so
under it a Snakemake lock with no live process behind it is known to be stale. Jobs of a killed Snakemake may live on;
they are named, and waited for by the user, not raced.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from diffmia.commands.arguments import check_config_files, values_of
from diffmia.errors import DiffmiaError
from diffmia.files.locks import exclusive
from diffmia.running.job_status import read_statuses

log = logging.getLogger(__name__)

LOCK = Path("results/_run.lock")
SNAKEFILE = Path("Snakefile")
HOW_MANY = ("--cores", "-c", "--jobs", "-j", "--profile")  # arguments that say how many jobs may run at once
SNAKEMAKE_LOCKS = Path(".snakemake/locks")


def launch(arguments: list[str]) -> int:
    """Run Snakemake in this folder with `arguments`; returns its exit status.

    Raises
    ------
    DiffmiaError
        If another run, or a job that outlived one, is at work in this folder; or a config file cannot be read.
    """
    if not (SNAKEFILE.exists() or values_of(arguments, "--snakefile", "-s")):
        raise DiffmiaError(f"there is no {SNAKEFILE} here; run it in the project's folder")
    check_config_files(arguments)
    arguments = arguments if any(said.startswith(HOW_MANY) for said in arguments) else ["--cores", "all", *arguments]
    with exclusive(LOCK, "a run in this folder"):
        if alive := [*live_processes(Path.cwd()), *_live_elsewhere()]:
            raise DiffmiaError(
                f"an earlier run is still at work in this folder: {'; '.join(alive)}. Wait until it has ended, "
                "or end it (kill, or your scheduler's command), and run again: what it has finished is kept"
            )
        if SNAKEMAKE_LOCKS.is_dir() and any(SNAKEMAKE_LOCKS.iterdir()):
            log.info("the last run in this folder was killed; going on where it stopped")
            subprocess.run(
                [sys.executable, "-m", "snakemake", "--unlock", "--cores", "1", "--quiet", "all"], check=False
            )
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    """Run Snakemake to its end; on Ctrl-C, which it gets too, it ends in order and is waited for."""
    with subprocess.Popen([sys.executable, "-m", "snakemake", *arguments]) as snakemake:
        while True:
            with suppress(KeyboardInterrupt):
                return snakemake.wait()


def _live_elsewhere() -> list[str]:
    """Jobs of this folder on other machines that said a moment ago that they run."""
    jobs = [job for job in read_statuses() if job.state == "running" and job.host != socket.gethostname()]
    return [f"job {job.job} (on {job.host}, pid {job.pid})" for job in jobs]


def live_processes(folder: Path) -> list[str]:
    """Snakemake processes, and jobs of one, that work in `folder` and are not this process' own."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        info = process.info
        if info["pid"] not in mine and info["cwd"] == str(folder) and (work := _work(info["cmdline"])):
            found.append(f"{work} (pid {info['pid']})")
    return found


def _work(command: list[str] | None) -> str | None:
    """What a command does, if it is Snakemake or a job of it, and not a shell around one or a reader of its files."""
    if not command or Path(command[0]).name in ("bash", "sh", "timeout"):  # ends with what it is around
        return None
    for argument in command:
        if job := re.search(r"\.snakemake/scripts/[^/ ]*\.(\w+)\.py$", argument):
            return f"job {job[1]}"
    return "snakemake" if "snakemake" in [Path(argument).name for argument in command[:3]] else None
