"""Datasets: what is read is what is there, and what is broken is said in a sentence."""

import gzip
import hashlib
import json
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from sklearn.datasets import load_digits

import diffmia.datasets
from diffmia.datasets.base import DatasetSpec, ImageStream, Sample
from diffmia.datasets.cifar10 import Cifar10
from diffmia.datasets.digits import Digits
from diffmia.datasets.folder import ImageFolder
from diffmia.datasets.prepare import download_dataset, prepare_dataset
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.spec import union_of
from tests.unit.prepared import OUTPUTS, copy_of, prepare, prepare_again, write_tar

RECORD = 1 + 3 * 32 * 32
STAND_IN = Path(__file__).parents[2] / "../shared/data/cifar-10-binary-16k.tar.gz"
STAND_IN_SHA256 = "c17e559a6fb60cbfc34165ca978a414df7428dc9228e49e3a290a90aab264ef2"
META = "".join(f"class{label}\n" for label in range(10)) + "\n"  # the official file ends with an empty line too


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DIFFMIA_CACHE", str(tmp_path_factory.mktemp("cache")))


def records(seed, n):
    """CIFAR-10 records: (n, 3073), labels 0 to 9."""
    batch = np.random.default_rng(seed).integers(0, 256, (n, RECORD), dtype=np.uint8)
    batch[:, 0] %= 10
    return batch


def write_cifar(path, batches, **changes):
    """An archive of the official layout, its members in another order than their numbers; `changes` by base name."""
    members = {f"data_batch_{number}.bin": batch.tobytes() for number, batch in reversed(list(enumerate(batches, 1)))}
    members |= {"batches.meta.txt": META.encode(), "test_batch.bin": records(99, 3).tobytes(), "readme.html": b"hello"}
    members |= changes
    return write_tar(path, {f"cifar-10-batches-bin/{name}": content for name, content in members.items()})


def cifar(path, **fields):
    """The dataset of a local archive, its checksum given rightly, so that it is its content that is judged."""
    return Cifar10(source="cifar10", **copy_of(path), **fields)


def save_image(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_every_source_is_found_by_its_name():
    adapter = TypeAdapter(union_of(diffmia.datasets, DatasetSpec, "source"))
    assert adapter.validate_python({"source": "digits"}) == Digits(source="digits")
    assert adapter.validate_python({"source": "cifar10"}).part == "train"
    assert adapter.validate_python({"source": "folder", "root": "faces", "size": 64}).size == 64


def test_digits_are_those_of_scikit_learn(tmp_path):
    images, samples, manifest = prepare(Digits(source="digits"), tmp_path)
    digits = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == np.uint8
    grey_levels = np.array([0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255])
    np.testing.assert_array_equal(images[:, 0], grey_levels[digits.images.astype(int)])
    np.testing.assert_array_equal(samples["label"], digits.target)
    assert (manifest["n"], manifest["shape"], manifest["source"]) == (1797, [1, 8, 8], "digits")
    assert manifest["label_names"] == list("0123456789")
    assert Digits(source="digits").inputs() == []


def test_digits_without_the_new_keys_are_what_they_always_were(tmp_path):
    _, samples, manifest = prepare(Digits(source="digits"), tmp_path)
    assert manifest["dataset_hash"] == "464a29830706409d53277d9cfaa9366828bc28937d024651c6220017ec9d4222"
    assert samples["caption"].isna().all()


def test_digits_with_captions(tmp_path):
    images, samples, manifest = prepare(Digits(source="digits", captions=True), tmp_path)
    plain, _, without = prepare(Digits(source="digits"), tmp_path)
    np.testing.assert_array_equal(images, plain)
    seven = samples["label_name"] == "7"
    assert set(samples["caption"][seven]) == {"a handwritten seven"}
    assert samples["caption"].nunique() == 10
    assert samples["caption"].notna().all()
    assert manifest["dataset_hash"] != without["dataset_hash"]


def test_digits_are_enlarged_between_their_pixels(tmp_path):
    images, _, manifest = prepare(Digits(source="digits", size=16), tmp_path)
    plain, _, _ = prepare(Digits(source="digits"), tmp_path)
    assert manifest["shape"] == [1, 16, 16]
    x = np.pad(plain[:, 0].astype(float), ((0, 0), (1, 1), (1, 1)), mode="edge")
    # the four pixels that a pixel becomes lie a quarter of it from its centre: 3/4 of it and 1/4 of its neighbour
    left = (3 * x[:, :, 1:-1] + x[:, :, :-2]) / 4
    expected = (3 * left[:, 1:-1] + left[:, :-2]) / 4
    assert abs(images[:, 0, ::2, ::2] - expected).max() <= 1  # rounded twice
    same, _, _ = prepare(Digits(source="digits", size=8), tmp_path)
    np.testing.assert_array_equal(same, plain)
    with pytest.raises(ValidationError, match="greater than or equal to 8"):
        Digits(source="digits", size=7)


def test_samples_have_their_columns_and_the_hash_covers_all_that_is_data(tmp_path):
    save_image(tmp_path / "root" / "ann" / "1.png", noise(1, 4, 4, 3))
    save_image(tmp_path / "root" / "bob" / "1.png", noise(2, 4, 4, 3))
    save_image(tmp_path / "root" / "stray.png", noise(3, 4, 4, 3))
    images, samples, manifest = prepare(ImageFolder(source="folder", root=str(tmp_path / "root")), tmp_path)
    columns = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "samples.parquet")}
    assert columns == {
        "sample_id": "int64",
        "label": "int64",
        "label_name": "string",
        "group": "string",
        "caption": "string",
        "width": "int64",
        "height": "int64",
        "bytes": "int64",
        "mode": "string",
    }
    assert samples["sample_id"].tolist() == [0, 1, 2]
    assert samples["label_name"].tolist() == ["ann", "bob", ""]
    assert [manifest["label_names"][label] for label in samples["label"]] == ["ann", "bob", ""]
    assert samples["group"].tolist()[:2] == ["ann", "bob"]
    assert samples["group"].isna().tolist() == [False, False, True]
    assert samples["caption"].isna().all()
    digest = hashlib.sha256(json.dumps(images.shape).encode())
    digest.update(images.tobytes() + samples["label"].to_numpy("<i8").tobytes() + b'["ann", "bob", null]')
    assert manifest["dataset_hash"] == digest.hexdigest()


def test_the_same_data_gives_the_same_manifest_wherever_it_lies(tmp_path):
    manifests = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        archive = tmp_path / place / "small.tar.gz"
        if manifests:
            archive.write_bytes((tmp_path / "here" / "small.tar.gz").read_bytes())
        else:
            write_cifar(archive, [records(1, 4)])
        prepare(cifar(archive), tmp_path / place)
        prepare_again(cifar(archive), tmp_path / place)
        manifests.append((tmp_path / place / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]
    [file] = json.loads(manifests[0])["files"]
    assert file == {
        "name": "small.tar.gz",
        "bytes": archive.stat().st_size,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "url": None,
    }


def test_the_receipt_says_what_the_files_are(tmp_path):
    spec = cifar(write_cifar(tmp_path / "small.tar.gz", [records(1, 4)]))
    download_dataset(spec, tmp_path / "receipt.json")
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert receipt["source"] == "cifar10"
    assert receipt["licence"] == Cifar10.licence
    assert receipt["description"] == Cifar10.describe
    [file] = receipt["files"]
    assert (file["path"], file["sha256"], file["url"]) == (spec.archive, spec.sha256, None)


@pytest.mark.parametrize(("happens", "message"), [("unlink", "is gone"), ("rewrite", "has changed")])
def test_a_file_that_is_not_what_the_receipt_says_is_refused(tmp_path, happens, message):
    archive = write_cifar(tmp_path / "small.tar.gz", [records(1, 4)])
    spec = cifar(archive)
    download_dataset(spec, tmp_path / "receipt.json")
    archive.unlink()
    if happens == "rewrite":
        write_cifar(archive, [records(2, 4)])
    with pytest.raises(DiffmiaError, match=rf"small\.tar\.gz {message} .*delete .*receipt\.json"):
        prepare_again(spec, tmp_path)
    assert not any((tmp_path / name).exists() for name in OUTPUTS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
@pytest.mark.parametrize("full", OUTPUTS)
def test_a_full_disk_leaves_nothing_and_names_the_file(tmp_path, monkeypatch, full):
    make_folder = tempfile.mkdtemp

    def make_folder_without_room(**kwargs):
        folder = make_folder(**kwargs)
        (Path(folder) / full).symlink_to("/dev/full")
        return folder

    spec, out = Digits(source="digits"), tmp_path / "out"
    download_dataset(spec, tmp_path / "receipt.json")
    monkeypatch.setattr(tempfile, "mkdtemp", make_folder_without_room)
    with pytest.raises(DiffmiaError, match=f"cannot write {out / full}: No space left on device"):
        prepare_dataset(spec, tmp_path / "receipt.json", *(out / name for name in OUTPUTS))
    assert list(out.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    class Large(Digits):
        def open(self, files):
            samples = (Sample(np.full((1, 1000, 1000), value, np.uint8), 0) for value in range(40))
            return ImageStream(40, (1, 1000, 1000), ["only"], samples)

    download_dataset(Large(source="digits"), tmp_path / "receipt.json")
    tracemalloc.start()
    prepare_dataset(Large(source="digits"), tmp_path / "receipt.json", *(tmp_path / name for name in OUTPUTS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # of 40,000,000
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy", mmap_mode="r")[:, 0, 0, 0], range(40))


@pytest.mark.parametrize(("count", "shape"), [(3, (1, 2, 2)), (2, (1, 2, 3))])
def test_a_source_that_does_not_keep_its_word_is_caught(tmp_path, count, shape):
    class Liar(Digits):
        def open(self, files):
            return ImageStream(count, shape, ["only"], (Sample(np.zeros((1, 2, 2), np.uint8), 0) for _ in range(2)))

    with pytest.raises(DiffmiaError, match="dataset digits"):
        prepare(Liar(source="digits"), tmp_path)
    assert not any((tmp_path / name).exists() for name in OUTPUTS)


@pytest.mark.parametrize("n_batches", [1, 2, 5, 11])
def test_cifar10_reads_whatever_batches_there_are_in_the_order_of_their_numbers(tmp_path, n_batches):
    batches = [records(seed, 2 + seed) for seed in range(n_batches)]
    images, samples, manifest = prepare(cifar(write_cifar(tmp_path / "small.tar.gz", batches)), tmp_path)
    expected = np.concatenate(batches)
    assert manifest["n"] == len(expected)
    np.testing.assert_array_equal(samples["label"], expected[:, 0])
    np.testing.assert_array_equal(images, expected[:, 1:].reshape(-1, 3, 32, 32))
    assert samples["label_name"].tolist() == [f"class{label}" for label in expected[:, 0]]
    assert samples["group"].isna().all()


@pytest.mark.parametrize("part", ["train", "test", "all"])
def test_cifar10_parts(tmp_path, part):
    train = [records(0, 4), records(1, 5)]
    archive = write_cifar(tmp_path / "small.tar.gz", train)
    expected = {"train": train, "test": [records(99, 3)], "all": [*train, records(99, 3)]}[part]
    images, _, _ = prepare(cifar(archive, part=part), tmp_path)
    np.testing.assert_array_equal(images.reshape(len(images), -1), np.concatenate(expected)[:, 1:])


@pytest.mark.skipif(not STAND_IN.exists(), reason=f"{STAND_IN} is absent")
def test_cifar10_reads_real_images(tmp_path):
    spec = Cifar10(source="cifar10", archive=str(STAND_IN), sha256=STAND_IN_SHA256)
    images, samples, manifest = prepare(spec, tmp_path)
    assert images.shape == (16000, 3, 32, 32)
    assert samples["label_name"].value_counts().to_dict() == dict.fromkeys(manifest["label_names"], 1600)
    assert manifest["label_names"][0] == "airplane"
    assert manifest["label_names"][9] == "truck"
    pixels = images[:1000].astype(float)
    neighbours = np.corrcoef(pixels[..., :-1].ravel(), pixels[..., 1:].ravel())[0, 1]
    assert neighbours > 0.9  # rows and planes are where they belong
    assert len(prepare(spec.model_copy(update={"part": "test"}), tmp_path)[0]) == 500


def test_cifar10_refuses_an_archive_with_another_checksum(tmp_path):
    archive = write_cifar(tmp_path / "small.tar.gz", [records(0, 4)])
    spec = Cifar10(source="cifar10", archive=str(archive), sha256="0" * 64)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(DiffmiaError, match=rf"small\.tar\.gz has sha256 {found} and {'0' * 64} is expected"):
        download_dataset(spec, tmp_path / "receipt.json")
    assert not (tmp_path / "receipt.json").exists()


def test_cifar10_says_which_archive_is_absent(tmp_path):
    spec = Cifar10(source="cifar10", archive=str(tmp_path / "absent.tar.gz"), sha256="0" * 64)
    with pytest.raises(DiffmiaError, match=r"absent\.tar\.gz: No such file"):
        download_dataset(spec, tmp_path / "receipt.json")


@pytest.mark.parametrize("fields", [{"archive": "a.tar.gz"}, {"sha256": "0" * 64}])
def test_cifar10_wants_archive_and_checksum_together(fields):
    with pytest.raises(ValidationError, match="archive and sha256 go together"):
        Cifar10(source="cifar10", **fields)


def test_the_workflow_depends_on_a_local_archive_only(tmp_path):
    assert Cifar10(source="cifar10").inputs() == []
    assert Cifar10(source="cifar10", archive="a.tar.gz", sha256="0" * 64).inputs() == ["a.tar.gz"]
    assert ImageFolder(source="folder", root="faces").inputs() == ["faces"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_batch_2.bin": records(0, 2).tobytes()[:-1]}, r"data_batch_2\.bin has 6145 bytes"),
        ({"data_batch_2.bin": b""}, r"data_batch_2\.bin has 0 bytes"),
        ({"data_batch_2.bin": bytes(RECORD) + b"\x0a" + bytes(RECORD - 1)}, r"record 1 of .*_2\.bin has label 10"),
        ({"batches.meta.txt": b"cat\ndog\n"}, "names 2 classes"),
    ],
    ids=["odd size", "empty", "label", "class names"],
)
def test_cifar10_says_what_is_wrong_with_a_batch(tmp_path, changes, message):
    archive = write_cifar(tmp_path / "small.tar.gz", [records(0, 4), records(1, 4)], **changes)
    with pytest.raises(DiffmiaError, match=message):
        prepare(cifar(archive), tmp_path)
    assert not any((tmp_path / name).exists() for name in OUTPUTS)


@pytest.mark.parametrize(
    ("lacking", "message"), [("data_batch_1.bin", "lacks batches"), ("batches.meta.txt", r"lacks batches\.meta\.txt")]
)
def test_cifar10_says_what_an_archive_lacks(tmp_path, lacking, message):
    members = {"data_batch_1.bin": records(0, 2).tobytes(), "batches.meta.txt": META.encode()}
    del members[lacking]
    with pytest.raises(DiffmiaError, match=message):
        prepare(cifar(write_tar(tmp_path / "small.tar.gz", members)), tmp_path)


def truncated(content, fraction):
    return content[: int(len(content) * fraction)]


def flipped(content, fraction):
    place = int(len(content) * fraction)
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def derailed(content, fraction):
    deflate = zlib.compressobj(wbits=31)  # 31: gzip
    whole = gzip.decompress(content)
    return deflate.compress(truncated(whole, fraction)) + deflate.flush(zlib.Z_FULL_FLUSH) + b"\x07"  # no such block


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("damage", [truncated, flipped, derailed])
def test_a_damaged_archive_is_refused_before_anything_is_used(tmp_path, damage, fraction):
    batches = [records(seed, 10) % np.uint8(50) for seed in range(2)]  # compressible, as real images are
    archive = write_cifar(tmp_path / "small.tar.gz", batches)
    archive.write_bytes(damage(archive.read_bytes(), fraction))
    spec = cifar(archive)
    with pytest.raises(
        DiffmiaError, match=r"small\.tar\.gz is truncated, corrupt or no tar or zip archive.*whole copy"
    ):
        spec.open(spec.fetch(tmp_path))


def test_folder_order_classes_and_pixels(tmp_path):
    root = tmp_path / "root"
    pixels = {name: noise(seed, 5, 7, 3) for seed, name in enumerate(["b/2.png", "a/deep/1.PNG", "a/3.bmp", "z.png"])}
    for name, content in pixels.items():
        save_image(root / name, content)
    (root / "a" / "notes.txt").write_text("no image")
    (root / "a" / ".hidden.png").write_text("no image either")
    images, samples, manifest = prepare(ImageFolder(source="folder", root=str(root)), tmp_path)
    order = ["a/3.bmp", "a/deep/1.PNG", "b/2.png", "z.png"]
    np.testing.assert_array_equal(images, [pixels[name].transpose(2, 0, 1) for name in order])
    assert [file["name"] for file in manifest["files"]] == order
    assert samples["label_name"].tolist() == ["a", "a", "b", ""]
    assert manifest["label_names"] == ["", "a", "b"]
    assert manifest["shape"] == [3, 5, 7]


def test_folder_scales_the_short_side_and_keeps_the_centre(tmp_path):
    wide = np.zeros((8, 32, 3), np.uint8)
    wide[:, 12:20] = (255, 0, 0)  # the central square, and nothing else, is red
    save_image(tmp_path / "root" / "wide.png", wide)
    save_image(tmp_path / "root" / "tall.png", wide.transpose(1, 0, 2))
    images, _, _ = prepare(ImageFolder(source="folder", root=str(tmp_path / "root"), size=4), tmp_path)
    assert images.shape == (2, 3, 4, 4)
    assert (images[:, 0] > 230).all()  # the filter reaches a little beyond the crop; a pixel off would give half
    assert (images[:, 1:] == 0).all()


def test_folder_scales_without_aliasing(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    save_image(tmp_path / "root" / "stripes.png", stripes)
    images, _, _ = prepare(ImageFolder(source="folder", root=str(tmp_path / "root"), size=8), tmp_path)
    assert abs(images.astype(int) - 127).max() < 16  # picking pixels would give 0 or 255


def test_folder_in_grey(tmp_path):
    save_image(tmp_path / "root" / "red.png", np.full((4, 4, 3), (255, 0, 0)))
    images, _, _ = prepare(ImageFolder(source="folder", root=str(tmp_path / "root"), channels=1), tmp_path)
    assert images.shape == (1, 1, 4, 4)
    assert (images == 76).all()  # ITU-R 601: 0.299 of 255


def test_folder_of_mixed_sizes_names_two_files(tmp_path):
    for name, shape in {"a.png": (4, 4, 3), "b.png": (4, 4, 3), "c.png": (4, 6, 3), "d.png": (5, 5, 3)}.items():
        save_image(tmp_path / "root" / name, noise(0, *shape))
    spec = ImageFolder(source="folder", root=str(tmp_path / "root"))
    with pytest.raises(DiffmiaError, match=r"a\.png is 4x4 and c\.png is 6x4; set `size:`"):
        prepare(spec, tmp_path)
    assert not any((tmp_path / name).exists() for name in OUTPUTS)


def test_folder_absent_or_empty(tmp_path):
    with pytest.raises(DiffmiaError, match=r"absent does not exist"):
        prepare(ImageFolder(source="folder", root=str(tmp_path / "absent")), tmp_path)
    (tmp_path / "empty" / "folder.png").mkdir(parents=True)
    with pytest.raises(DiffmiaError, match=r"empty holds no image \(\.png"):
        prepare(ImageFolder(source="folder", root=str(tmp_path / "empty")), tmp_path)


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_folder_names_an_image_that_cannot_be_read(tmp_path, damage):
    save_image(tmp_path / "root" / "a.png", noise(0, 32, 32, 3))
    broken = save_image(tmp_path / "root" / "broken.png", noise(1, 32, 32, 3))
    content = broken.read_bytes()
    broken.write_bytes({"text": b"no image", "truncated": content[: len(content) // 2], "empty": b""}[damage])
    with pytest.raises(DiffmiaError, match=r"cannot read image .*root/broken\.png"):
        prepare(ImageFolder(source="folder", root=str(tmp_path / "root")), tmp_path)


def test_folder_refuses_deeper_pixels_rather_than_clip_them(tmp_path):
    (tmp_path / "root").mkdir()
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / "root" / "deep.png")
    with pytest.raises(DiffmiaError, match=r"deep\.png has more than 8 bits"):
        prepare(ImageFolder(source="folder", root=str(tmp_path / "root")), tmp_path)


def test_a_source_file_is_described(tmp_path):
    (tmp_path / "some.bin").write_bytes(b"content")
    file = SourceFile.of(tmp_path / "some.bin", url="https://example.org/some.bin")
    sha256 = hashlib.sha256(b"content").hexdigest()
    assert file == SourceFile("some.bin", str(tmp_path / "some.bin"), 7, sha256, "https://example.org/some.bin")
