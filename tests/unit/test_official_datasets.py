"""Datasets of official archives, on small archives of their true layout, packed and unpacked."""

import json
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from diffmia.datasets.cifar10 import Cifar10
from diffmia.datasets.cifar100 import Cifar100
from diffmia.datasets.coco import CocoVal2017
from diffmia.datasets.lfw import LFW
from diffmia.datasets.tiny_imagenet import TinyImageNet
from diffmia.errors import DiffmiaError
from diffmia.splits import GroupSplit
from tests.unit.prepared import OUTPUTS, copy_of, encoded, prepare, write_tar, write_tree, write_zip

OFFICIAL = [Cifar10, Cifar100, LFW, TinyImageNet, CocoVal2017]


@pytest.mark.parametrize("kind", OFFICIAL)
def test_what_is_published_is_complete(kind):
    for file in kind.official:
        algorithm, digits = file.checksum.split(":")
        assert len(digits) == {"md5": 32, "sha256": 64}[algorithm]
        assert 10**8 < file.bytes < file.unpacked
        assert not file.name.isdecimal()
    assert kind.images > 1000
    assert kind.licence


@pytest.mark.parametrize("kind", OFFICIAL)
def test_a_local_copy_is_downloaded_from_nowhere_and_what_the_workflow_depends_on(kind):
    source = kind.model_fields["source"].annotation.__args__[0]
    assert kind(source=source).downloads() == kind.official
    assert kind(source=source).inputs() == []
    unpacked = kind(source=source, root="some/folder")
    assert (unpacked.downloads(), unpacked.inputs()) == ((), ["some/folder"])
    with pytest.raises(ValidationError, match="two places of the same files"):
        kind(source=source, root="some/folder", archive="a.zip", sha256="0" * 64)


@pytest.mark.parametrize("kind", OFFICIAL)
def test_a_folder_of_something_else_is_refused(kind, tmp_path):
    source = kind.model_fields["source"].annotation.__args__[0]
    (tmp_path / "holiday.gif").write_bytes(b"something")
    with pytest.raises(DiffmiaError, match=r"holds no file of the layout of .*; unpack it there or correct `root:`"):
        kind(source=source, root=str(tmp_path)).fetch(tmp_path)
    with pytest.raises(DiffmiaError, match="absent does not exist"):
        kind(source=source, root=str(tmp_path / "absent")).fetch(tmp_path)


class TestCifar100:
    NAMES = "".join(f"fine{label}\n" for label in range(100)).encode()

    def records(self, seed, n):
        """Coarse label, fine label, pixels."""
        batch = np.random.default_rng(seed).integers(0, 256, (n, 3074), dtype=np.uint8)
        batch[:, 0] %= 20
        batch[:, 1] %= 100
        return batch

    def members(self, **changes):
        members = {
            "test.bin": self.records(2, 3).tobytes(),
            "train.bin": self.records(1, 6).tobytes(),
            "fine_label_names.txt": self.NAMES,
            "coarse_label_names.txt": b"animals\n" * 20,
        }
        return {f"cifar-100-binary/{name}": content for name, content in (members | changes).items()}

    @pytest.mark.parametrize("part", ["train", "test", "all"])
    @pytest.mark.parametrize("unpacked", [False, True])
    def test_fine_labels_and_pixels(self, tmp_path, part, unpacked):
        train, test = self.records(1, 6), self.records(2, 3)
        expected = np.concatenate({"train": [train], "test": [test], "all": [train, test]}[part])
        if unpacked:
            place = {"root": str(write_tree(tmp_path / "root", self.members()))}
        else:
            place = copy_of(write_tar(tmp_path / "some.tar.gz", self.members()))
        images, samples, manifest = prepare(Cifar100(source="cifar100", part=part, **place), tmp_path)
        np.testing.assert_array_equal(samples["label"], expected[:, 1])
        np.testing.assert_array_equal(images, expected[:, 2:].reshape(-1, 3, 32, 32))
        assert samples["label_name"].tolist() == [f"fine{label}" for label in expected[:, 1]]
        assert len(manifest["label_names"]) == 100

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"train.bin": b"\x00" * 3073}, "train.bin has 3073 bytes, and a batch is made of 3074-byte records"),
            ({"train.bin": b"\x01\x64" + bytes(3072)}, "has label 100, and CIFAR-100's are 0 to 99"),
            ({"fine_label_names.txt": b"one\ntwo\n"}, "names 2 classes, and CIFAR-100 has 100"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, changes, message):
        place = copy_of(write_tar(tmp_path / "some.tar.gz", self.members(**changes)))
        with pytest.raises(DiffmiaError, match=message):
            prepare(Cifar100(source="cifar100", **place), tmp_path)
        assert not any((tmp_path / name).exists() for name in OUTPUTS)

    def test_an_archive_of_cifar10_is_not_read_as_one(self, tmp_path):
        place = copy_of(write_tar(tmp_path / "some.tar.gz", {"cifar-10-batches-bin/data_batch_1.bin": bytes(3073)}))
        with pytest.raises(DiffmiaError, match=r"lacks batches of `part: train` \(train: train.bin, test: test.bin\)"):
            prepare(Cifar100(source="cifar100", **place), tmp_path)


class TestLFW:
    SHADES: ClassVar = {
        "Zoe_Z/Zoe_Z_0001": 10,
        "Ann_A/Ann_A_0001": 60,
        "Ann_A/Ann_A_0002": 110,
        "Bob_B/Bob_B_0001": 160,
    }

    def members(self):
        return {f"lfw/{name}.jpg": encoded(shade, 250, 250, "JPEG") for name, shade in self.SHADES.items()}

    @pytest.mark.parametrize("unpacked", [False, True])
    def test_people_are_classes_and_groups(self, tmp_path, unpacked):
        if unpacked:
            place = {"root": str(write_tree(tmp_path / "root", self.members()) / "lfw")}
            order = sorted(self.SHADES)
        else:
            place = copy_of(write_tar(tmp_path / "lfw.tgz", self.members() | {"lfw/README.txt": b"text"}))
            order = list(self.SHADES)
        images, samples, manifest = prepare(LFW(source="lfw", **place), tmp_path)
        assert images.shape == (4, 3, 128, 128)
        assert abs(images.mean((1, 2, 3)) - [self.SHADES[name] for name in order]).max() < 2
        assert samples["group"].tolist() == [name.split("/")[0] for name in order]
        assert samples["label_name"].tolist() == samples["group"].tolist()
        assert manifest["label_names"] == ["Ann_A", "Bob_B", "Zoe_Z"]

    def test_a_split_keeps_a_person_on_one_side(self, tmp_path):
        place = copy_of(write_tar(tmp_path / "lfw.tgz", self.members()))
        _, samples, _ = prepare(LFW(source="lfw", **place), tmp_path)
        drawn = GroupSplit(dataset="lfw", method="by_group", members=2).draw(samples, seed=0)
        sides = [set(samples["group"][drawn[role]]) for role in ("member", "non_member")]
        assert len(drawn["member"]) == 2
        assert len(drawn["member"]) + len(drawn["non_member"]) == 4
        assert not sides[0] & sides[1]

    def test_as_they_are(self, tmp_path):
        place = copy_of(write_tar(tmp_path / "lfw.tgz", self.members()))
        assert prepare(LFW(source="lfw", size=None, **place), tmp_path)[0].shape == (4, 3, 250, 250)

    def test_a_broken_image_is_named(self, tmp_path):
        broken = {"lfw/Cy_C/Cy_C_0001.jpg": encoded(1, 99, 99, "JPEG")[:300]}
        place = copy_of(write_tar(tmp_path / "lfw.tgz", self.members() | broken))
        with pytest.raises(DiffmiaError, match=r"cannot read image lfw/Cy_C/Cy_C_0001\.jpg of archive .*lfw\.tgz"):
            prepare(LFW(source="lfw", **place), tmp_path)
        assert not any((tmp_path / name).exists() for name in OUTPUTS)

    def test_an_archive_without_people_is_refused(self, tmp_path):
        place = copy_of(write_tar(tmp_path / "lfw.tgz", {"lfw/Ann_A/Bob_B_0001.jpg": b""}))
        with pytest.raises(DiffmiaError, match="lacks images of the layout <person>"):
            prepare(LFW(source="lfw", **place), tmp_path)


class TestTinyImageNet:
    def members(self, **changes):
        image = {"width": 64, "height": 64, "form": "JPEG"}
        members = {
            "wnids.txt": b"n02000000\nn01000000\n",
            "words.txt": b"n00000001\tentity\nn01000000\tcrane, bird\nn02000000\tcrane\n",
            "train/n02000000/images/n02000000_0.JPEG": encoded(30, **image),
            "train/n02000000/n02000000_boxes.txt": b"n02000000_0.JPEG\t0\t10\t63\t58\n",
            "train/n01000000/images/n01000000_1.JPEG": encoded(70, **image, mode="L"),
            "val/images/val_1.JPEG": encoded(150, **image),
            "val/images/val_0.JPEG": encoded(110, **image),
            "val/val_annotations.txt": b"val_0.JPEG\tn02000000\t0\t32\t44\t62\nval_1.JPEG\tn01000000\t0\t0\t1\t1\n",
            "test/images/test_0.JPEG": encoded(250, **image),
        }
        content = (members | changes).items()
        return {f"tiny-imagenet-200/{name}": text for name, text in content if text is not None}

    @pytest.mark.parametrize("unpacked", [False, True])
    @pytest.mark.parametrize(
        ("part", "shades", "labels"),
        [("train", [70, 30], [0, 1]), ("val", [110, 150], [1, 0]), ("all", [70, 30, 110, 150], [0, 1, 1, 0])],
    )
    def test_parts_classes_and_pixels(self, tmp_path, part, shades, labels, unpacked):
        if unpacked:
            place = {"root": str(write_tree(tmp_path / "root", self.members()))}
        else:
            place = copy_of(write_zip(tmp_path / "some.zip", self.members()))
        images, samples, manifest = prepare(TinyImageNet(source="tiny_imagenet", part=part, **place), tmp_path)
        assert images.shape == (len(shades), 3, 64, 64)
        assert abs(images.mean((1, 2, 3)) - shades).max() < 2
        assert samples["label"].tolist() == labels
        assert manifest["label_names"] == ["n01000000 crane", "n02000000 crane"]  # two classes have one word

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"wnids.txt": None}, "lacks wnids.txt"),
            ({"wnids.txt": b"n01000000\n"}, "wnids.txt lacks n02000000, of which there are images"),
            ({"val/val_annotations.txt": b"val_0.JPEG\tn02000000\n"}, "val_annotations.txt says nothing of val_1.JPEG"),
            ({"val/images/val_0.JPEG": None, "val/images/val_1.JPEG": None}, "lacks images of `part: all`"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, changes, message):
        place = copy_of(write_zip(tmp_path / "some.zip", self.members(**changes)))
        with pytest.raises(DiffmiaError, match=message):
            prepare(TinyImageNet(source="tiny_imagenet", part="all", **place), tmp_path)


class TestCoco:
    CAPTIONS: ClassVar = {
        "info": {},
        "images": [{"id": 139, "file_name": "000000000139.jpg"}, {"id": 25, "file_name": "000000000025.jpg"}],
        "annotations": [
            {"id": 7, "image_id": 139, "caption": "the second of it"},
            {"id": 3, "image_id": 139, "caption": " a room \n"},
            {"id": 5, "image_id": 25, "caption": "a giraffe"},
        ],
    }

    def images(self):
        shades = {"139": 50, "025": 100, "999": 200}
        return {f"val2017/000000000{number}.jpg": encoded(s, 60, 40, "JPEG") for number, s in shades.items()}

    def texts(self, captions=None):
        content = json.dumps(captions or self.CAPTIONS).encode()
        return {"annotations/captions_val2017.json": content, "annotations/captions_train2017.json": b"not read"}

    def place(self, folder, unpacked=False, **texts):
        if unpacked:
            return {"root": str(write_tree(folder / "root", self.images() | self.texts(**texts)))}
        annotations = copy_of(write_zip(folder / "annotations.zip", self.texts(**texts)))
        return copy_of(write_zip(folder / "val2017.zip", self.images())) | {
            "annotations": annotations["archive"],
            "annotations_sha256": annotations["sha256"],
        }

    @pytest.mark.parametrize("unpacked", [False, True])
    def test_images_by_number_with_the_first_caption(self, tmp_path, unpacked):
        spec = CocoVal2017(source="coco_val2017", size=16, **self.place(tmp_path, unpacked))
        images, samples, manifest = prepare(spec, tmp_path)
        assert images.shape == (3, 3, 16, 16)
        assert abs(images.mean((1, 2, 3)) - [100, 50, 200]).max() < 2
        assert samples["caption"].tolist()[:2] == ["a giraffe", "a room"]
        assert samples["caption"].isna().tolist() == [False, False, True]
        assert len(manifest["files"]) == (4 if unpacked else 2)
        assert (manifest["without_caption"], manifest["captions_without_image"]) == (1, 0)

    def test_captions_whose_image_is_not_there_are_counted(self, tmp_path):
        place = self.place(tmp_path, unpacked=True)
        (tmp_path / "root" / "val2017" / "000000000139.jpg").unlink()
        _, samples, manifest = prepare(CocoVal2017(source="coco_val2017", size=16, **place), tmp_path)
        assert len(samples) == 2
        assert manifest["captions_without_image"] == 1

    def test_another_caption_is_another_dataset(self, tmp_path):
        hashes = set()
        for number, caption in enumerate(("a giraffe", "a zebra")):
            folder = tmp_path / str(number)
            folder.mkdir()
            captions = json.loads(json.dumps(self.CAPTIONS).replace("a giraffe", caption))
            spec = CocoVal2017(source="coco_val2017", size=4, **self.place(folder, captions=captions))
            hashes.add(prepare(spec, folder)[2]["dataset_hash"])
        assert len(hashes) == 2

    def test_captions_of_another_format_are_refused(self, tmp_path):
        spec = CocoVal2017(source="coco_val2017", **self.place(tmp_path, captions={"images": [{"id": 1}]}))
        with pytest.raises(DiffmiaError, match=r"captions_val2017\.json is not COCO's caption format"):
            prepare(spec, tmp_path)

    @pytest.mark.parametrize("lacking", ["archive", "annotations", "annotations_sha256"])
    def test_local_archives_are_given_together(self, tmp_path, lacking):
        place = self.place(tmp_path)
        del place[lacking]
        with pytest.raises(ValidationError, match="go together"):
            CocoVal2017(source="coco_val2017", **place)

    def test_both_archives_are_compared_with_their_checksums(self, tmp_path):
        spec = CocoVal2017(source="coco_val2017", **self.place(tmp_path) | {"annotations_sha256": "0" * 64})
        with pytest.raises(DiffmiaError, match=r"annotations\.zip has sha256 [0-9a-f]{64} and 0{64} is expected"):
            spec.fetch(tmp_path)

    def test_a_mirror_says_which_archive_it_has(self):
        with pytest.raises(ValidationError, match=r"does not end with /val2017\.zip or /annotations_trainval2017\.zip"):
            CocoVal2017(source="coco_val2017", mirrors=["https://example.org/coco"])
