"""Bad input ends in one clear sentence and a non-zero exit, with nothing half-written."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from hashlib import sha256

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytestmark = pytest.mark.workflow

TARGET = "ddpm_digits_smoke"


def refused(project, *arguments: str) -> str:
    """What a run that must fail says."""
    done = project.snakemake(*arguments)
    assert done.returncode != 0, done.stdout
    return done.stdout


def made(project, pattern: str) -> list[str]:
    return [str(path) for path in (project.folder / "results").rglob(pattern)]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (
            lambda config: config["targets"][TARGET].update(spilt="digits"),
            f"config: unknown key 'spilt' in targets.{TARGET}; did you mean 'split'?",
        ),
        (
            lambda config: config["run"].update(attacks=["naiv"]),
            "config: run.attacks names 'naiv', which is not defined; did you mean 'naive'? Defined: naive, secmi, pia",
        ),
        (
            lambda config: config["attacks"]["secmi"].update(t=995),
            f"config: attack 'secmi' cannot be run on target '{TARGET}'",
        ),
    ],
)
def test_a_wrong_config_names_the_key_before_anything_runs(fresh, edit, sentence):
    config = fresh.config
    config["targets"][TARGET].pop("timesteps")
    edit(config)
    fresh.config = config
    output = refused(fresh)
    assert sentence in output
    assert "Traceback" not in output
    assert not (fresh.folder / "results").exists()


def test_more_samples_than_the_dataset_has(fresh):
    config = fresh.config
    config["splits"]["digits"] |= {"members": 1500, "auxiliary": 512}
    fresh.config = config
    output = refused(fresh, "targets")
    assert "dataset 'digits' has 1797 samples, and the split asks for 1500 members, 512 auxiliary" in output
    assert not made(fresh, "seed0.json")


def with_archive(project, data: bytes, checksum: str | None = None) -> None:
    (project.folder / "archive.tar.gz").write_bytes(data)
    config = project.config
    digest = checksum or sha256(data).hexdigest()
    config["datasets"]["cifar10"] |= {"archive": "archive.tar.gz", "sha256": digest}
    project.config = config


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


RECORD = bytes(3073)
GOOD = archive(
    {
        "cifar-10-batches-bin/batches.meta.txt": b"\n".join(f"class{i}".encode() for i in range(10)),
        "cifar-10-batches-bin/data_batch_1.bin": RECORD * 4,
    }
)


@pytest.mark.parametrize(
    ("data", "checksum", "words"),
    [
        (GOOD[: len(GOOD) // 2], None, "archive.tar.gz"),
        (GOOD, "0" * 64, "sha256"),
        (archive({"../escaped.bin": RECORD}), None, "../escaped.bin"),
    ],
    ids=["truncated", "wrong checksum", "escaping member"],
)
def test_a_bad_archive(fresh, data, checksum, words):
    with_archive(fresh, data, checksum)
    output = refused(fresh, "results/datasets/cifar10/images.npy")
    assert words in output
    assert "Traceback" not in output
    assert not made(fresh, "images.npy")
    assert not list(fresh.folder.parent.rglob("escaped.bin"))


def test_images_of_mixed_sizes_and_an_empty_folder(fresh):
    config = fresh.config
    config["datasets"] |= {name: {"source": "folder", "root": name} for name in ("mixed", "empty")}
    fresh.config = config
    (fresh.folder / "empty").mkdir()
    for name, size in (("a", 8), ("b", 9)):
        path = fresh.folder / "mixed" / name / "1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(path)
    output = refused(fresh, "-k", *(f"results/datasets/{name}/images.npy" for name in ("mixed", "empty")))
    assert "a/1.png" in output
    assert "b/1.png" in output
    assert "empty" in output
    assert not made(fresh, "images.npy")


def test_a_target_is_not_scored_against_another_split(project):
    manifest = next((project.folder / "results/splits/digits").glob("seed0.json"))
    content = json.loads(manifest.read_text())
    content["split_hash"] = "0" * 64
    manifest.write_text(json.dumps(content))
    shutil.rmtree(project.folder / "results/residuals")
    # only the residual job is asked for, as by someone who copies files about: the split's own rule would make it anew
    table = f"results/residuals/{TARGET}/seed0.parquet"
    output = refused(project, table, "--allowed-rules", "ask_target")
    assert "was trained on split" in output
    assert not (project.folder / table).exists()


def test_scores_that_are_no_numbers(project):
    table_path = project.folder / f"results/residuals/{TARGET}/seed0.parquet"
    table = pq.read_table(table_path)
    index = table.column_names.index("gaussian.t100:0-1:l2")
    values = table.column(index).to_numpy().copy()
    values[:3] = np.nan
    table = table.set_column(index, table.column_names[index], [values])
    pq.write_table(table, table_path)
    output = refused(project, f"results/scores/{TARGET}/seed0/residuals.parquet", "--allowed-rules", "score_attacks")
    assert "base scores of attack 'naive': 3 of 1285 are NaN or infinite (first sample ids: " in output


def test_a_run_that_fails_says_which_cells_its_tables_lack_and_why(fresh):
    fresh.config = fresh.config | {"minutes_per_job": 1e-4}
    output = refused(fresh, "tables", "--keep-going")
    reason = "timed out: download_dataset digits: not done after 0.0001 minutes; raise minutes_per_job in the config"
    lacking = f"the tables lack 3 of the 3 cells (target, seed, attack) of this run:\n  naive, secmi, pia on {TARGET}"
    assert f"{lacking}, seed 0\n    {reason}" in output
    assert "Traceback" not in output
    assert not made(fresh, "*.parquet")
    shown = fresh.call(sys.executable, "-m", "diffmia.cli", "status").stdout
    assert "timed out  download_dataset digits" in shown
    assert "results/_logs/download_dataset/digits.log, at its end:\n    " in shown
