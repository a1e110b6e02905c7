"""Running Snakemake so that a run that was killed goes on, and two runs never meet in one folder.

Snakemake's own lock outlives it when it is killed. `launch` holds a lock that the kernel frees with the process, so
under it a Snakemake lock with no live process behind it is known to be stale. Jobs of a killed Snakemake may live on;
they are named, and waited for by the user, not raced.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil

from diffmia.errors import DiffmiaError
from diffmia.runtime import exclusive

log = logging.getLogger(__name__)

LOCK = Path("results/_run.lock")
SNAKEMAKE_LOCKS = Path(".snakemake/locks")


def launch(arguments: list[str]) -> int:
    """Run Snakemake in this folder with `arguments`; returns its exit status.

    Raises
    ------
    DiffmiaError
        If another run, or a job that outlived one, is at work in this folder.
    """
    with exclusive(LOCK, "a run in this folder"):
        if alive := live_processes(Path.cwd()):
            raise DiffmiaError(
                f"an earlier run is still at work in this folder: {'; '.join(alive)}. Wait until it has ended, "
                "or end it with kill, and run again: what it has finished is kept"
            )
        if SNAKEMAKE_LOCKS.is_dir() and any(SNAKEMAKE_LOCKS.iterdir()):
            log.info("the last run in this folder was killed; going on where it stopped")
            subprocess.run(
                [sys.executable, "-m", "snakemake", "--unlock", "--cores", "1", "--quiet", "all"], check=True
            )
        return subprocess.run([sys.executable, "-m", "snakemake", *arguments], check=False).returncode


def live_processes(folder: Path) -> list[str]:
    """Snakemake processes, and jobs of one, that work in `folder` and are not this process' own."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
        info = process.info
        command = " ".join(info["cmdline"] or ())
        if (
            info["pid"] in mine
            or info["cwd"] != str(folder)
            or "snakemake" not in command
            or _is_shell(info["cmdline"])
        ):
            continue
        job = re.search(r"\.snakemake/scripts/[^ ]*?\.(\w+)\.py", command)
        found.append(f"{f'job {job[1]}' if job else 'snakemake'} (pid {info['pid']})")
    return found


def _is_shell(command: list[str]) -> bool:
    """Whether a command is the shell around a job, which ends with it."""
    return Path(command[0]).name in ("bash", "sh", "timeout")
