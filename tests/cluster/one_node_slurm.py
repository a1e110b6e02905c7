"""A Slurm of one node on this machine, from the distribution's packages.

`python -m tests.cluster.one_node_slurm COMMAND` runs a command beside it. It has two cards that are plain files, and
more memory than the machine may have: what is tested is what jobs ask for. Needs root, and Debian or what is like it.
Without a database of accounts `sacct` cannot answer, so Snakemake needs `--slurm-status-command squeue`. No systemd and
no cgroups, so that it runs in a container.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ETC = Path("/etc/slurm")  # the executor plugin clears SLURM_CONF from the environment of what it starts
PACKAGES = ("munge", "slurm-wlm")
DAEMONS = ("munged", "slurmctld", "slurmd")
SECONDS = 60  # to start in

OURS = "# written by tests/cluster/one_node_slurm.py, which removes it when it ends\n"
SLURM_CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
MpiDefault=none
MinJobAge=86400
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=40000 Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GRES_CONF = "Name=gpu File={folder}/card0\nName=gpu File={folder}/card1\n"


class NoSlurm(Exception):
    """Why there can be none on this machine."""


def install() -> None:
    """Install Slurm and munge where they are missing."""
    if not sys.platform.startswith("linux") or os.getuid() != 0:
        raise NoSlurm("a Slurm can only be started by root on Linux")
    present = [path for path in (ETC / "slurm.conf", ETC / "gres.conf") if path.exists()]
    if not all(path.read_text().startswith(OURS) for path in present):  # ours is left by a test that was killed
        raise NoSlurm(f"this machine has a Slurm of its own ({ETC})")
    if all(map(shutil.which, DAEMONS)):
        return
    if not shutil.which("apt-get"):
        raise NoSlurm("Slurm is not installed, and there is no apt-get to install it with")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stderr.strip() or "no reason given").splitlines()
            raise NoSlurm(f"apt-get {command[0]} failed: {said[-1]}")


@contextmanager
def one_node_slurm() -> Iterator[None]:
    """Install and start it, wait until its node is idle, and end it and all its jobs after the block.

    Raises
    ------
    NoSlurm
        Where it cannot be installed.
    """
    install()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        folder.chmod(0o755)
        facts = {"folder": folder, "host": socket.gethostname().split(".")[0], "cores": max(2, os.cpu_count())}
        facts |= dict(zip(("controller_port", "node_port"), free_ports(2), strict=True))
        ETC.mkdir(exist_ok=True)
        for name, text in (("slurm.conf", SLURM_CONF), ("gres.conf", GRES_CONF)):
            (ETC / name).write_text(OURS + text.format(**facts))
            stack.callback((ETC / name).unlink)
        for name in ("card0", "card1"):
            (folder / name).touch()
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        files = {"key-file": key, "socket": folder / "munge.socket"}
        files |= {f"{kind}-file": folder / f"munged.{kind}" for kind in ("pid", "log", "seed")}
        start(stack, folder, "munged", "--force", "--foreground", *(f"--{name}={path}" for name, path in files.items()))
        wait_until(files["socket"].exists, folder)
        start(stack, folder, "slurmctld", "-D")
        start(stack, folder, "slurmd", "-D")
        wait_until(lambda: ask("sinfo", "--noheader", "--format=%T").strip() == "idle", folder)
        stack.callback(end_all_jobs)
        yield


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start(stack: ExitStack, folder: Path, name: str, *arguments: str) -> None:
    """Start a daemon in the foreground; the stack ends it."""
    output = stack.enter_context((folder / f"{name}.out").open("w"))
    daemon = subprocess.Popen([shutil.which(name), *arguments], stdout=output, stderr=output)
    stack.callback(daemon.wait)
    stack.callback(daemon.terminate)


def wait_until(condition, folder: Path) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            said = "".join(path.read_text() for path in folder.glob("*.out"))
            raise TimeoutError(f"Slurm does not start:\n{said}")
        time.sleep(0.2)


def ask(*command: str) -> str:
    """What a command of Slurm answers; nothing while there is nobody to answer."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def jobs() -> list[dict[str, str]]:
    """All jobs, ended ones too, as `scontrol` describes them."""
    lines = ask("scontrol", "--oneliner", "show", "job").splitlines()
    return [dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines if "JobId=" in line]


def end_all_jobs() -> None:
    ask("scancel", "--full", "--signal=KILL", "--user=root")
    ask("scancel", "--user=root")
    end = time.monotonic() + SECONDS
    while ask("squeue", "--noheader").strip() and time.monotonic() < end:
        time.sleep(0.2)


if __name__ == "__main__":
    with one_node_slurm():
        sys.exit(subprocess.run(sys.argv[1:] or ["sinfo"]).returncode)
