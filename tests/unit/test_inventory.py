"""`diffmia data`: what is there is listed, and what is no longer what it was is found."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from diffmia.cli import main
from diffmia.commands.data import listing
from diffmia.config.config import read_config
from diffmia.datasets.base import Download
from diffmia.datasets.cifar10 import Cifar10
from diffmia.datasets.prepare import download_dataset, prepare_dataset
from tests.unit.prepared import OUTPUTS, copy_of, encoded, write_tar, write_tree

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
NAMES = "".join(f"class{label}\n" for label in range(10)).encode()
ARCHIVE = {"a/batches.meta.txt": NAMES, "a/data_batch_1.bin": bytes(3073 * 3), "a/test_batch.bin": bytes(3073)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with every kind of dataset, and an official archive that is ten kilobytes small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFMIA_CACHE", str(tmp_path / "cache"))
    official = write_tar(tmp_path / "official.tar.gz", ARCHIVE)
    checksum = "sha256:" + hashlib.sha256(official.read_bytes()).hexdigest()
    monkeypatch.setattr(Cifar10, "official", (Download("http://127.0.0.1:9/small.tar.gz", checksum, 2**21, 2**20),))
    datasets = {
        "digits": {"source": "digits"},
        "cifar10": {"source": "cifar10"},
        "mine": {"source": "folder", "root": "images"},
        "copy": {"source": "cifar10", **copy_of(official)},
    }
    write_tree(tmp_path / "images", {"a/1.png": encoded(1), "b/2.png": encoded(2)})
    config = SHIPPED | {"datasets": SHIPPED["datasets"] | datasets}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return tmp_path


def download(folder):
    (folder / "cache").mkdir()
    (folder / "cache/small.tar.gz").write_bytes((folder / "official.tar.gz").read_bytes())


def prepare(id_):
    spec, place = read_config().datasets[id_], Path("results/datasets") / id_
    download_dataset(spec, place / "source.json")
    prepare_dataset(spec, place / "source.json", *(place / name for name in OUTPUTS))


def test_datasets_of_another_config_file_are_known_too(folder, capsys):
    (folder / "mine.yaml").write_text("datasets: {further: {source: folder, root: images}, digits: {size: 16}}")
    assert main(["data", "list", "--configfile", "mine.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "further" in shown
    assert "digits" in shown
    assert main(["data", "verify", "further"]) == 1
    assert "'further'" in capsys.readouterr().err
    assert main(["data", "verify", "further", "--configfile", "mine.yaml"]) == 0
    assert main(["data", "list", "--configfile", "absent.yaml"]) == 1
    assert "cannot read absent.yaml: No such file or directory" in capsys.readouterr().err


def listed(capsys):
    """Rows of the list by id, each the words of its first line."""
    assert main(["data", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {line[0]: line for line in lines if line and line[0] in SHIPPED["datasets"] | {"mine": 0, "copy": 0}}


def verified(capsys, *ids):
    """Exit status, sentences on what is right, and on problems."""
    status = main(["data", "verify", *ids])
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err.splitlines()


def test_every_dataset_is_listed_with_its_state(folder, capsys):
    rows = listed(capsys)
    assert list(rows) == [*SHIPPED["datasets"], "mine", "copy"]
    assert rows["cifar10"][-1] == "absent"
    assert rows["lsun_cat"][-2:] == ["absent", "data/lsun/cat"]
    assert rows["digits"][-1] == "local"
    assert rows["mine"][-2:] == ["local", "images"]
    assert "2 MiB" in " ".join(rows["cifar10"])
    assert "60,000" in rows["cifar100"]
    assert "13,233" in rows["lfw"]
    download(folder)
    assert listed(capsys)["cifar10"][-2:] == ["downloaded", str(folder / "cache/small.tar.gz")]
    prepare("cifar10")
    prepare("mine")
    rows = listed(capsys)
    assert rows["cifar10"][-2:] == ["prepared", "results/datasets/cifar10"]
    assert "3" in rows["cifar10"]  # what it has, not what the whole of it would have
    assert "2" in rows["mine"]


def test_what_is_not_downloaded_is_said_to_be_ones_own(folder):
    shown = listing(read_config().datasets)
    places = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    column = slice(shown.index("download"), shown.index("licence"))
    assert places["cifar10"][column].strip() == "2 MiB"
    assert places["lsun_cat"][column].strip() == "your own:"
    assert "dl.yf.io/lsun, 42 GB" in shown
    assert places["laion"][column].strip() == "your own (LAION is"
    assert places["laion_coco"][column].strip() == "none: its parts"
    assert places["digits"][column].strip() == "none: in scikit-learn"
    assert places["mine"][column].strip() == places["copy"][column].strip() == "your own"


def test_what_is_as_it_was_is_verified(folder, capsys):
    download(folder)
    for id_ in ("cifar10", "mine"):
        prepare(id_)
    status, right, problems = verified(capsys)
    assert (status, problems) == (0, [])
    assert right == [
        "digits: part of an installed package, and not prepared yet",
        "captioned_digits: part of an installed package, and not prepared yet",
        "cifar10: small.tar.gz has its published checksum",
        "cifar10: all files are what they were when they were first read",
        "cifar10: images and samples have the hash of their manifest",
        *(f"{id_}: absent, so that there is nothing to verify" for id_ in list(SHIPPED["datasets"])[3:]),
        "mine: all files are what they were when they were first read",
        "mine: images and samples have the hash of their manifest",
        "copy: local, 1 files, which the workflow has not read yet",
    ]
    assert verified(capsys, "mine")[1] == right[-3:-1]


def change_archive(folder):
    (folder / "cache/small.tar.gz").write_bytes(b"another")
    return "cifar10", ["cifar10: .*small.tar.gz does not have its checksum sha256:.*; delete it", "has changed since"]


def change_files(folder):
    (folder / "images/a/1.png").unlink()
    (folder / "images/b/2.png").write_bytes(b"another")
    return "mine", ["mine: images/a/1.png is gone since", "mine: images/b/2.png has changed since"]


def change_pixel(folder):
    path = folder / "results/datasets/mine/images.npy"
    images = np.load(path)
    images[1, 2, 3, 4] ^= 1
    np.save(path, images)
    return "mine", ["mine: images or samples in results/datasets/mine have changed; delete it and run again"]


def change_samples(column, value):
    def change(folder):
        path = folder / "results/datasets/mine/samples.parquet"
        samples = pd.read_parquet(path)
        samples.loc[0, column] = value
        samples.to_parquet(path)
        return "mine", ["mine: images or samples in results/datasets/mine have changed"]

    return change


def remove_images(folder):
    (folder / "results/datasets/mine/images.npy").unlink()
    return "mine", ["mine: cannot read what was prepared in results/datasets/mine .*; delete it and run again"]


def break_samples(folder):
    (folder / "results/datasets/mine/samples.parquet").write_bytes(b"no parquet")
    return "mine", ["mine: cannot read what was prepared in results/datasets/mine .*; delete it and run again"]


def change_local_archive(folder):
    (folder / "official.tar.gz").write_bytes(b"another")
    return "copy", ["copy: .*official.tar.gz has sha256 .* is expected"]


@pytest.mark.parametrize(
    "change",
    [
        change_archive,
        change_files,
        change_pixel,
        change_samples("label", 1),
        change_samples("group", "z"),
        change_samples("caption", "new"),
        remove_images,
        break_samples,
        change_local_archive,
    ],
)
def test_what_is_not_is_a_sentence_each_and_exit_status_1(folder, capsys, change):
    download(folder)
    for id_ in ("cifar10", "mine"):
        prepare(id_)
    id_, expected = change(folder)
    for ids in ([], [id_]):
        status, _, problems = verified(capsys, *ids)
        assert status == 1
        assert len(problems) == len(expected)
        for problem, pattern in zip(problems, expected, strict=True):
            assert re.search(pattern, problem)


def test_a_dataset_that_is_named_has_to_be_there(folder, capsys):
    assert verified(capsys, "lfw") == (1, [], ["lfw: absent, so that there is nothing to verify"])


def test_an_unknown_id_is_refused(folder, capsys):
    status, right, [problem] = verified(capsys, "digits", "lwf")
    assert (status, right) == (1, [])
    assert problem.startswith("diffmia: dataset 'lwf' is not defined. Defined: digits, captioned_digits, cifar10, ")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read config.yaml: No such file"), ("a: [", "config.yaml is no valid YAML"), ("", "config: ")],
)
def test_a_folder_without_a_valid_config_is_one_sentence(tmp_path, monkeypatch, capsys, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    assert main(["data", "list"]) == 1
    problem, *_ = capsys.readouterr().err.splitlines()  # of a config one for each key that is wrong
    assert message in problem
