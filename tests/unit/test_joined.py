"""Datasets end to end: what is in which part, and what cannot be joined."""

import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from diffmia.config.config import load_config
from diffmia.datasets.digits import Digits
from diffmia.datasets.folder import ImageFolder
from diffmia.datasets.joined import Joined
from diffmia.datasets.prepare import download_dataset, prepare_dataset
from diffmia.errors import DiffmiaError
from diffmia.files.layout import prepared_files
from tests.unit.prepared import encoded, prepare, write_tree

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(id_, spec):
    """What the workflow makes of a dataset before it is part of another."""
    receipt = Path("results/datasets") / id_ / "source.json"
    download_dataset(spec, receipt)
    prepare_dataset(spec, receipt, *prepared_files(id_))


def join(*parts):
    return Joined(source="joined", parts=parts)


def folder(root, **shades):
    """A grey image of 8x8 for each shade, in a folder of the class's name."""
    return ImageFolder(
        source="folder",
        root=str(write_tree(root, {f"{name}/1.png": encoded(shade, 8, 8, mode="L") for name, shade in shades.items()})),
        channels=1,
    )


class TestPrepared:
    @pytest.fixture
    def parts(self, tmp_path):
        make("digits", Digits(source="digits", captions=True))
        make("mine", folder(tmp_path / "root", **{"7": 70, "cat": 90}))

    def test_parts_stand_end_to_end_and_are_the_groups(self, parts, tmp_path):
        images, samples, manifest = prepare(join("digits", "mine"), tmp_path)
        whole = [np.load(prepared_files(part)[0]) for part in ("digits", "mine")]
        np.testing.assert_array_equal(images, np.concatenate(whole))
        assert samples["group"].tolist() == ["digits"] * 1797 + ["mine"] * 2
        assert samples["caption"][:1797].str.startswith("a handwritten ").all()
        assert samples["caption"][1797:].isna().all()
        assert (manifest["n"], manifest["shape"]) == (1799, [1, 8, 8])
        first = prepare(join("mine", "digits"), tmp_path)[1]
        assert first["group"].tolist() == ["mine"] * 2 + ["digits"] * 1797

    def test_classes_of_one_name_are_one(self, parts, tmp_path):
        _, samples, manifest = prepare(join("digits", "mine"), tmp_path)
        assert manifest["label_names"] == [*"0123456789", "cat"]
        assert samples["label"].tolist()[1797:] == [7, 10]
        digits = pd.read_parquet(prepared_files("digits")[1])
        assert samples["label_name"].tolist() == [*digits["label_name"], "7", "cat"]

    def test_receipt_and_manifest_say_which_parts_they_were(self, parts, tmp_path):
        _, _, manifest = prepare(join("digits", "mine"), tmp_path)
        expected = {id_: json.loads(prepared_files(id_)[2].read_text())["dataset_hash"] for id_ in ("digits", "mine")}
        assert manifest["parts"] == expected
        receipt = json.loads((tmp_path / "receipt.json").read_text())
        for listed in (receipt["files"], manifest["files"]):
            found = {file["name"]: file["sha256"] for file in listed}
            assert found == {
                f"{id_}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
                for id_ in ("digits", "mine")
                for path in prepared_files(id_)
            }

    def test_a_part_that_was_made_again_is_noticed(self, parts, tmp_path):
        prepare(join("digits", "mine"), tmp_path)
        make("mine", folder(tmp_path / "other", **{"7": 71, "cat": 91}))
        with pytest.raises(DiffmiaError, match=r"results/datasets/mine/images\.npy has changed since it was fetched"):
            prepare_dataset(join("digits", "mine"), tmp_path / "receipt.json", *prepared_files("both"))
        assert not Path("results/datasets/both/images.npy").exists()

    def test_joined_ones_can_be_joined(self, parts, tmp_path):
        make("both", join("digits", "mine"))
        make("more", folder(tmp_path / "third", dog=10))
        _, samples, _ = prepare(join("both", "more"), tmp_path)
        assert samples["group"].value_counts().to_dict() == {"both": 1799, "more": 1}

    def test_parts_of_different_shape(self, parts, tmp_path):
        make("large", Digits(source="digits", size=16))
        with pytest.raises(DiffmiaError) as caught:
            download_dataset(join("digits", "large"), tmp_path / "receipt.json")
        assert str(caught.value) == (
            "parts: 'digits' of shape 1x8x8 and 'large' of shape 1x16x16 cannot be joined; bring them to one (size, "
            "channels)"
        )
        assert not (tmp_path / "receipt.json").exists()

    def test_a_part_that_is_not_there(self, parts, tmp_path):
        with pytest.raises(DiffmiaError, match=r"cannot read results/datasets/absent/images\.npy: No such file"):
            download_dataset(join("digits", "absent"), tmp_path / "receipt.json")


def complaint(**datasets):
    raw = copy.deepcopy(SHIPPED)
    raw["datasets"] |= datasets
    with pytest.raises(DiffmiaError) as caught:
        load_config(raw)
    return str(caught.value)


def joined(*parts):
    return {"source": "joined", "parts": list(parts)}


class TestConfigured:
    """What the config alone shows to be wrong is said before anything is made."""

    def test_unknown_parts(self):
        sentence = complaint(both=joined("digits", "diggits"))
        assert sentence.startswith(
            "config: datasets.both.parts names 'diggits', which is not defined; did you mean 'digits'? Defined: digits"
        )

    def test_the_same_part_twice(self):
        assert complaint(both=joined("digits", "mnist", "digits")) == (
            "config: datasets.both.parts: digits is there more than once: a sample would be on both sides of a split"
        )

    def test_one_part(self):
        assert "datasets.both" in complaint(both=joined("digits"))

    @pytest.mark.parametrize(
        ("datasets", "way"),
        [
            ({"both": joined("digits", "both")}, "both of both"),
            ({"a": joined("digits", "b"), "b": joined("a", "cifar10")}, "a of b of a"),
            ({"a": joined("digits", "b"), "b": joined("c", "cifar10"), "c": joined("b", "digits")}, "b of c of b"),
        ],
    )
    def test_a_dataset_that_is_made_of_itself(self, datasets, way):
        first = way.split(" of ")[0]
        assert complaint(**datasets) == (
            f"config: datasets.{first}.parts: '{first}' is made of itself ({way}); take one of them out of the other's "
            "parts"
        )

    def test_parts_of_different_shape(self):
        sentence = "config: datasets.{}.parts: '{}' of shape {} and '{}' of shape {} cannot be joined; bring them to"
        assert sentence.format("both", "laion", "3x256x256", "coco_val2017", "3x512x512") in complaint(
            both=joined("laion", "coco_val2017")
        )
        assert sentence.format("more", "laion_coco", "3x256x256", "digits", "1x8x8") in complaint(
            more=joined("laion_coco", "digits")
        )

    def test_what_only_the_files_tell_is_left_to_them(self):
        raw = copy.deepcopy(SHIPPED)
        raw["datasets"] |= {"mine": {"source": "folder", "root": "images"}, "both": joined("digits", "mine")}
        assert load_config(raw).datasets["both"].made_of() == ("digits", "mine")

    def test_shapes_that_the_config_decides(self):
        datasets = load_config(SHIPPED).datasets
        assert datasets["captioned_digits"].declared_shape() == (1, 16, 16)
        assert datasets["cifar10"].declared_shape() == (3, 32, 32)
        assert datasets["lfw"].declared_shape() == (3, 128, 128)
        assert datasets["lsun_cat"].declared_shape() == (3, 128, 128)
        assert datasets["tiny_imagenet"].declared_shape() == (3, 32, 32)
        assert datasets["tiny_imagenet"].model_copy(update={"size": None}).declared_shape() is None
        assert ImageFolder(source="folder", root="r", size=9, channels=1).declared_shape() == (1, 9, 9)
