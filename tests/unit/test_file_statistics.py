"""What is kept of the encoded files that images came in, and images of unusual colours."""

import hashlib
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffmia.datasets.coco import CocoVal2017
from diffmia.datasets.digits import Digits
from diffmia.datasets.folder import ImageFolder
from diffmia.datasets.joined import Joined
from diffmia.datasets.lfw import LFW
from diffmia.datasets.lsun import LSUN
from diffmia.datasets.manifest import ManifestFolder
from diffmia.datasets.prepare import download_dataset, prepare_dataset, prepared_hash
from diffmia.datasets.tiny_imagenet import TinyImageNet
from diffmia.errors import DiffmiaError
from diffmia.files.layout import prepared_files
from tests.unit.prepared import OUTPUTS, encoded, prepare, write_tree

KEPT = ["width", "height", "bytes", "mode"]
WIDE, TALL = encoded(100, 30, 20, "JPEG"), encoded(50, 12, 48, "JPEG", mode="L")
EXPECTED = [[30, 20, len(WIDE), "RGB"], [12, 48, len(TALL), "L"]]


def of_manifest(root, images):
    """A dataset of the images with a caption each, in their order."""
    write_tree(root / "images", images)
    rows = [
        {"file": name, "url": "", "caption": f"picture {name}", "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in images.items()
    ]
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    return ManifestFolder(source="manifest", root=str(root / "images"), manifest=str(root / "manifest.csv"), size=8)


def of_folder(root):
    write_tree(root, {"a/1.jpg": WIDE, "b/2.jpg": TALL})
    return ImageFolder(source="folder", root=str(root), size=8)


def of_lsun(root):
    write_tree(root, {"a.jpg": WIDE, "b.jpg": TALL})
    return LSUN(source="lsun", root=str(root), size=8)


def of_lfw(root):
    write_tree(root, {"Ann_A/Ann_A_0001.jpg": WIDE, "Bob_B/Bob_B_0001.jpg": TALL})
    return LFW(source="lfw", root=str(root), size=8)


def of_tiny_imagenet(root):
    images = {f"train/n01000000/images/n01000000_{n}.JPEG": image for n, image in enumerate((WIDE, TALL))}
    write_tree(root, {"wnids.txt": b"n01000000\n", "words.txt": b"n01000000\tcrane\n", **images})
    return TinyImageNet(source="tiny_imagenet", root=str(root), size=8)


def of_coco(root):
    captions = json.dumps({"images": [], "annotations": []}).encode()
    images = {"val2017/000000000001.jpg": WIDE, "val2017/000000000002.jpg": TALL}
    write_tree(root, {"annotations/captions_val2017.json": captions, **images})
    return CocoVal2017(source="coco_val2017", root=str(root), size=8)


DECODED = [
    of_folder,
    of_lsun,
    of_lfw,
    of_tiny_imagenet,
    of_coco,
    lambda root: of_manifest(root, {"1": WIDE, "2": TALL}),
]


@pytest.mark.parametrize("make", DECODED, ids=["folder", "lsun", "lfw", "tiny_imagenet", "coco", "manifest"])
def test_files_are_described_as_they_came(make, tmp_path):
    _, samples, manifest = prepare(make(tmp_path / "source"), tmp_path)
    assert samples[KEPT].to_numpy().tolist() == EXPECTED
    assert manifest["converted"] == {}


def test_of_no_file_there_is_nothing_to_say(tmp_path):
    _, samples, manifest = prepare(Digits(source="digits"), tmp_path)
    assert samples[KEPT].isna().all(axis=None)
    assert manifest["converted"] == {}


def test_the_same_pixels_from_other_files_are_the_same_data(tmp_path):
    """A file's size may be a shift between members and non-members; it is nothing that a model is trained on."""
    hashes = []
    for level in (0, 9):
        file = io.BytesIO()
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, "PNG", compress_level=level)
        folder = tmp_path / str(level)
        spec = ImageFolder(source="folder", root=str(write_tree(folder / "root", {"1.png": file.getvalue()})))
        _, samples, manifest = prepare(spec, folder)
        assert samples["bytes"].tolist() == [len(file.getvalue())]
        assert prepared_hash(folder / "images.npy", folder / "samples.parquet") == manifest["dataset_hash"]
        hashes.append((manifest["dataset_hash"], samples["bytes"][0]))
    (first, size), (again, other_size) = hashes
    assert first == again
    assert size != other_size


def test_joined_parts_keep_what_is_known_of_their_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = {
        "digits": Digits(source="digits"),
        "mine": ImageFolder(source="folder", root="mine", size=8, channels=1),
    }
    write_tree(tmp_path / "mine", {"1.png": encoded(7, 30, 20, mode="CMYK", form="TIFF"), "2.png": encoded(9, 10, 11)})
    for id_, spec in parts.items():
        download_dataset(spec, tmp_path / "receipt.json")
        prepare_dataset(spec, tmp_path / "receipt.json", *prepared_files(id_))
    _, samples, manifest = prepare(Joined(source="joined", parts=tuple(parts)), tmp_path)
    assert samples[KEPT][:1797].isna().all(axis=None)
    assert samples[["width", "height", "mode"]][1797:].to_numpy().tolist() == [[30, 20, "CMYK"], [10, 11, "RGB"]]
    assert manifest["converted"] == {"CMYK": 1}


def picture(mode, form):
    """A red square in colours of a mode, as a file."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 30)).convert(mode).save(file, form)
    return file.getvalue()


def test_unusual_colours_are_read_and_counted(tmp_path):
    images = {
        "cmyk.jpg": picture("CMYK", "JPEG"),
        "also_cmyk.jpg": picture("CMYK", "JPEG"),
        "palette.png": picture("P", "PNG"),
        "alpha.png": picture("RGBA", "PNG"),
        "plain.jpg": picture("RGB", "JPEG"),
        "grey.png": picture("L", "PNG"),
    }
    pixels, samples, manifest = prepare(of_manifest(tmp_path / "source", images), tmp_path)
    assert manifest["converted"] == {"CMYK": 2, "P": 1, "RGBA": 1}
    assert samples["mode"].tolist() == ["CMYK", "CMYK", "P", "RGBA", "RGB", "L"]
    means = pixels.mean(axis=(2, 3))
    assert abs(means[:5] - [200, 30, 30]).max() < 30  # a palette has few reds
    assert abs(means[[0, 1, 3, 4]] - [200, 30, 30]).max() < 4
    assert np.ptp(means[5]) == 0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_truncated_jpeg_is_named(share, tmp_path):
    content = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    file = io.BytesIO()
    content.save(file, "JPEG")
    cut = file.getvalue()[: int(share * file.tell())]
    spec = of_manifest(tmp_path / "source", {"whole.jpg": file.getvalue(), "cut.jpg": cut})
    with pytest.raises(DiffmiaError, match=r"cannot read image .*cut\.jpg: .*; replace it or remove it"):
        prepare(spec, tmp_path)
    assert not any((tmp_path / name).exists() for name in OUTPUTS)
