"""Bad input ends in one clear sentence and a non-zero exit, with nothing half-written, through a workflow too.

What each sentence says is tested where it is made, in tests/unit.
"""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.workflow

TARGET = "ddpm_digits_smoke"


def refused(project, *arguments: str) -> str:
    """What a run that must fail says."""
    done = project.snakemake(*arguments)
    assert done.returncode != 0, done.stdout
    return done.stdout


def made(project, pattern: str) -> list[str]:
    return [str(path) for path in (project.folder / "results").rglob(pattern)]


def test_a_wrong_config_names_the_key_before_anything_runs(fresh):
    config = fresh.config
    config["targets"][TARGET]["spilt"] = "digits"
    fresh.config = config
    output = refused(fresh)
    assert f"config: unknown key 'spilt' in targets.{TARGET}; did you mean 'split'?" in output
    assert "Traceback" not in output
    assert not (fresh.folder / "results").exists()


def test_a_misspelt_preset_is_not_taken_for_the_default(fresh):
    output = refused(fresh, "-n", "--workflow-profile", "profiles/smok")
    assert "there is no preset 'profiles/smok'; did you mean 'profiles/smoke'?" in output
    assert "Traceback" not in output


def test_an_archive_with_another_checksum(fresh):
    (fresh.folder / "archive.tar.gz").write_bytes(b"not what was promised")
    config = fresh.config
    config["datasets"]["cifar10"] |= {"archive": "archive.tar.gz", "sha256": "0" * 64}
    fresh.config = config
    output = refused(fresh, "results/datasets/cifar10/images.npy")
    assert "sha256" in output
    assert "Traceback" not in output
    assert not made(fresh, "images.npy")


def test_a_run_that_fails_says_which_cells_its_tables_lack_and_why(fresh):
    fresh.config = fresh.config | {"minutes_per_job": 1e-6}
    output = refused(fresh, "tables", "--keep-going")
    reason = "timed out: download_dataset digits: not done after 1e-06 minutes; raise minutes_per_job in the config"
    lacking = f"the tables lack 3 of the 3 cells (target, seed, attack) of this run:\n  naive, secmi, pia on {TARGET}"
    assert f"{lacking}, seed 0\n    {reason}" in output
    assert "Traceback" not in output
    assert not made(fresh, "*.parquet")
    shown = fresh.call(sys.executable, "-m", "diffmia.cli", "status").stdout
    assert "timed out  download_dataset digits" in shown
    assert "results/_logs/download_dataset/digits.log, at its end:\n    " in shown
