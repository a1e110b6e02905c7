"""Pins: what `make run` installs, what conda would build, and what the project needs are one list."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
LOCK_LINES = [
    line for line in (REPOSITORY / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")
]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.]*)")  # no local version (+cpu), option or marker


def name_of(requirement):
    """The distribution a requirement names, in the form in which names are compared."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def pins(requirements):
    return {name_of(requirement): requirement.partition("==")[2] for requirement in requirements}


LOCK = pins(LOCK_LINES)


def test_every_line_of_the_lock_is_a_pin():
    assert [line for line in LOCK_LINES if not PIN.fullmatch(line)] == []
    assert len(LOCK) == len(LOCK_LINES)


def test_the_lock_holds_every_direct_dependency():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    direct = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {name_of(requirement) for requirement in direct} - set(LOCK) == set()
    assert {r for r in direct if "==" in r and LOCK[name_of(r)] != r.partition("==")[2]} == set()
    assert LOCK["torch"] == "2.13.0"


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("envs/*.yaml")), ids=lambda path: path.stem)
def test_an_environment_has_the_locks_versions(path):
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert [requirement for requirement in pip if not PIN.fullmatch(requirement)] == []
    assert pins(pip).items() <= LOCK.items()
    assert "python =3.11" in dependencies


def test_jobs_of_the_analysis_environment_import_no_torch():
    """It has none; and the import would take longer than most of these jobs."""
    rules = re.split(r"^rule ", "\n".join(path.read_text() for path in REPOSITORY.glob("rules/*.smk")), flags=re.M)
    scripts = [re.search(r"scripts/(\w+\.py)", rule)[1] for rule in rules if "envs/analysis.yaml" in rule]
    assert len(scripts) >= 9
    texts = [(REPOSITORY / "scripts" / name).read_text() for name in scripts]
    modules = sorted(
        {module for text in texts for module in re.findall(r"^\s+from (diffmia\.[\w.]+) import", text, re.M)}
    )
    assert "diffmia.blind.duplicates_stage" in modules
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_what_learns_without_a_device_imports_no_torch():
    modules = ("scoring.learning", "attacks.gsa", "attacks.learners.boosting", "blind.stage", "blind.statistics")
    code = f"import sys, {', '.join(f'diffmia.{name}' for name in modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
