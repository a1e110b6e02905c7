"""A copy of the project in a folder of its own, and one finished run of it that tests start from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config.yaml", "rules", "scripts", "envs", "profiles", "diffmia")

# One thread is fastest here: these tensors are small, and two threads that wait for each other on a core that other
# workers (`make test`) use take ten times as long. Read by torch when it is imported; a run's jobs have as many threads
# as Snakemake gives them.
os.environ["OMP_NUM_THREADS"] = "1"
ALONE = "PYTEST_XDIST_WORKER" not in os.environ
CORES = "2" if ALONE else "1"

# the smoke target with fewer attacks, tables and figures: all kinds of job, in few jobs
SELECTION = {
    "targets": ["ddpm_digits_smoke"],
    "attacks": ["naive", "secmi", "pia"],
    "tables": ["table1", "tablec1"],
    "figures": ["roc", "training_loss"],
}


@dataclass
class Project:
    """A working folder with the project in it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.folder), "DIFFMIA_CACHE": str(self.folder / "cache")}

    @property
    def config(self) -> dict:
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    @config.setter
    def config(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run Snakemake to its end; its output is in `stdout`."""
        return self.call(sys.executable, "-m", "snakemake", "--cores", CORES, *arguments)

    def call(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start `diffmia run`, as `make run` does."""
        with (self.folder / "run.log").open("a") as log:
            command = [sys.executable, "-m", "diffmia.cli", "run", "--cores", CORES, *arguments]
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def plan(self, *arguments: str) -> dict[str, int]:
        """Number of jobs of each rule that a run would do, without the rules that only name a stage."""
        done = self.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stdout
        if "Nothing to be done" in done.stdout:
            return {}
        table = done.stdout[done.stdout.rindex("Job stats:") :]
        jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
        stages = ("total", "all", "targets", "residuals", "gradients", "scores", "metrics", "tables", "figures")
        return {name: count for name, count in jobs.items() if name not in stages}

    def copy(self, folder: Path) -> Project:
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def new_project(folder: Path) -> Project:
    folder.mkdir()
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    return Project(folder)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Project:
    """The project with a small selection, nothing run; not to be changed."""
    project = new_project(tmp_path_factory.mktemp("pristine") / "project")
    config = project.config | {"run": SELECTION}
    config["targets"]["ddpm_digits_smoke"]["null_targets"] = 0  # end_to_end/test_learned.py has one
    project.config = config
    return project


@pytest.fixture(scope="session")
def finished(pristine, tmp_path_factory) -> Project:
    """The same after a whole run, made by the first worker that wants it; not to be changed."""
    shared = tmp_path_factory.getbasetemp() if ALONE else tmp_path_factory.getbasetemp().parent
    project, log = Project(shared / "finished"), shared / "finished.log"
    with FileLock(shared / "finished.lock"):
        if not log.exists():
            shutil.rmtree(project.folder, ignore_errors=True)  # of a worker whose run failed
            done = pristine.copy(project.folder).snakemake()
            assert done.returncode == 0, done.stdout
            log.write_text(done.stdout)
    project.log = log.read_text()
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished run, to be changed."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def fresh(pristine, tmp_path) -> Project:
    """A copy of the project in which nothing was run, to be changed."""
    return pristine.copy(tmp_path / "project")
