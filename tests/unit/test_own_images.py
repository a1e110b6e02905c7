"""Images that a user provides: an LMDB of LSUN or the images of one, and files that a manifest lists."""

import hashlib
from typing import ClassVar

import lmdb
import numpy as np
import pandas as pd
import pytest

from diffmia.datasets.lsun import LSUN
from diffmia.datasets.manifest import ManifestFolder
from diffmia.errors import DiffmiaError
from tests.unit.prepared import OUTPUTS, encoded, prepare, write_tree


def write_lmdb(root, entries):
    with lmdb.open(str(root), map_size=2**20) as database, database.begin(write=True) as transaction:
        for key, content in entries.items():
            transaction.put(key.encode(), content)
    return root


class TestLSUN:
    SHADES: ClassVar = {"c3": 150, "a1": 50, "b2": 100, "d4": 200}

    def entries(self, form):
        return {key: encoded(shade, 40, 30, form) for key, shade in self.SHADES.items()}

    @pytest.mark.parametrize("form", ["WEBP", "JPEG"])
    @pytest.mark.parametrize(("limit", "shades"), [(None, [50, 100, 150, 200]), (3, [50, 100, 150])])
    def test_entries_of_an_lmdb_by_sorted_key(self, tmp_path, form, limit, shades):
        root = write_lmdb(tmp_path / "cat", self.entries(form))
        images, samples, manifest = prepare(LSUN(source="lsun", root=str(root), limit=limit), tmp_path)
        assert images.shape == (len(shades), 3, 128, 128)
        assert abs(images.mean((1, 2, 3)) - shades).max() < 4
        assert samples["label_name"].unique().tolist() == ["cat"]
        assert [file["name"] for file in manifest["files"]] == ["data.mdb"]

    def test_entries_without_content_are_left_out(self, tmp_path):
        root = write_lmdb(tmp_path / "cat", self.entries("WEBP") | {"a0": b""})
        images, _, _ = prepare(LSUN(source="lsun", root=str(root), limit=2, size=8), tmp_path)
        assert abs(images.mean((1, 2, 3)) - [50, 100]).max() < 4

    def test_images_of_a_folder_by_sorted_path(self, tmp_path):
        root = write_tree(tmp_path / "cat", {f"{key}.webp": image for key, image in self.entries("WEBP").items()})
        images, _, manifest = prepare(LSUN(source="lsun", root=str(root), limit=2, size=8), tmp_path)
        assert abs(images.mean((1, 2, 3)) - [50, 100]).max() < 4
        assert [file["name"] for file in manifest["files"]] == ["a1.webp", "b2.webp"]

    @pytest.mark.parametrize("packed", [True, False])
    def test_fewer_images_than_asked_for_are_refused(self, tmp_path, packed):
        entries = self.entries("WEBP")
        if packed:
            root = write_lmdb(tmp_path / "cat", entries)
        else:
            root = write_tree(tmp_path / "cat", {f"{key}.webp": image for key, image in entries.items()})
        with pytest.raises(DiffmiaError, match="holds 4 images, and 5 are asked for"):
            prepare(LSUN(source="lsun", root=str(root), limit=5), tmp_path)

    def test_a_broken_image_is_named_by_its_key(self, tmp_path):
        root = write_lmdb(tmp_path / "cat", self.entries("WEBP") | {"b2": b"no image"})
        with pytest.raises(DiffmiaError, match=r"cannot read image b2 of .*cat/data\.mdb"):
            prepare(LSUN(source="lsun", root=str(root)), tmp_path)
        assert not any((tmp_path / name).exists() for name in OUTPUTS)

    def test_an_lmdb_that_is_cut_short_is_refused_and_does_not_kill(self, tmp_path):
        root = write_lmdb(tmp_path / "cat", {f"{n:03}": np.random.default_rng(n).bytes(5000) for n in range(50)})
        content = (root / "data.mdb").read_bytes()
        (root / "data.mdb").write_bytes(content[: len(content) // 8192 * 4096])
        with pytest.raises(DiffmiaError, match=r"LMDB .*data\.mdb is not whole: \d+ pages are announced"):
            prepare(LSUN(source="lsun", root=str(root)), tmp_path)

    def test_a_file_of_another_kind_is_refused(self, tmp_path):
        root = write_tree(tmp_path / "cat", {"data.mdb": b"no database" * 1000})
        with pytest.raises(DiffmiaError, match=r"cannot read LMDB .*data\.mdb: "):
            prepare(LSUN(source="lsun", root=str(root)), tmp_path)

    def test_it_is_there_or_not(self, tmp_path):
        with pytest.raises(DiffmiaError, match="cat does not exist; correct `root:`"):
            LSUN(source="lsun", root=str(tmp_path / "cat")).fetch(tmp_path)
        assert LSUN(source="lsun", root="cat").inputs() == ["cat"]
        assert LSUN(source="lsun", root="cat").downloads() == ()


class TestManifest:
    IMAGES: ClassVar = {"b/2.jpg": encoded(100, form="JPEG"), "1.png": encoded(50), "c.webp": encoded(150, form="WEBP")}

    def rows(self):
        return [
            {
                "file": name,
                "url": f"https://example.org/{name}",
                "caption": f"a picture, of {name}",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in self.IMAGES.items()
        ]

    def spec(self, folder, rows, form="csv"):
        write_tree(folder / "images", self.IMAGES)
        table = pd.DataFrame(rows)
        path = folder / f"list.{form}"
        if form == "csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path)
        return ManifestFolder(source="manifest", root=str(folder / "images"), manifest=str(path), size=8)

    @pytest.mark.parametrize("form", ["csv", "parquet"])
    def test_images_and_captions_in_the_order_of_the_manifest(self, tmp_path, form):
        rows = self.rows()
        rows[1] |= {"caption": None, "url": None}
        images, samples, manifest = prepare(self.spec(tmp_path, rows, form), tmp_path)
        assert abs(images.mean((1, 2, 3)) - [100, 50, 150]).max() < 4
        assert samples["caption"].tolist()[::2] == ["a picture, of b/2.jpg", "a picture, of c.webp"]
        assert samples["caption"].isna().tolist() == [False, True, False]
        urls = [file["url"] for file in manifest["files"]]
        assert urls == [None, "https://example.org/b/2.jpg", None, "https://example.org/c.webp"]

    def test_all_that_is_missing_or_wrong_is_counted_and_the_first_named(self, tmp_path):
        spec = self.spec(tmp_path, self.rows())
        (tmp_path / "images/1.png").unlink()
        (tmp_path / "images/c.webp").write_bytes(b"another")
        with pytest.raises(DiffmiaError) as caught:
            prepare(spec, tmp_path)
        assert str(caught.value) == (
            f"of the 3 images of manifest {spec.manifest}, 1 are missing (first 1.png) and 1 differ from their sha256 "
            f"(first c.webp) in {spec.root}; get them again, or take their rows out"
        )
        assert not (tmp_path / "receipt.json").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"file": "../outside.png"}, r"row 2: file '\.\./outside\.png' is no path below the folder"),
            ({"file": "/etc/passwd"}, "row 2: file '/etc/passwd' is no path below the folder"),
            ({"file": None}, "row 2: file None is no path below"),
            ({"file": "b/2.jpg"}, "lists b/2.jpg twice"),
            ({"sha256": "abc"}, "row 2: sha256 'abc' is not 64 hex digits"),
            ({"sha256": None}, "row 2: sha256 None is not"),
        ],
    )
    @pytest.mark.parametrize("form", ["csv", "parquet"])
    def test_a_bad_row_is_named(self, tmp_path, change, message, form):
        rows = self.rows()
        rows[1] |= change
        with pytest.raises(DiffmiaError, match=message):
            self.spec(tmp_path, rows, form).fetch(tmp_path)

    def test_a_bad_manifest_is_refused(self, tmp_path):
        spec = self.spec(tmp_path, [{"file": "1.png", "url": "", "caption": ""}])
        with pytest.raises(DiffmiaError, match="lacks column sha256; it needs file, url, caption, sha256"):
            spec.fetch(tmp_path)
        with pytest.raises(DiffmiaError, match="lists no image"):
            self.spec(tmp_path, pd.DataFrame(columns=["file", "url", "caption", "sha256"])).fetch(tmp_path)
        broken = spec.model_copy(update={"manifest": str(tmp_path / "broken.parquet")})
        (tmp_path / "broken.parquet").write_bytes(b"no parquet")
        with pytest.raises(DiffmiaError, match=r"cannot read manifest .*broken\.parquet"):
            broken.fetch(tmp_path)
        (tmp_path / "broken.parquet").unlink()
        with pytest.raises(DiffmiaError, match=r"cannot read manifest .*broken\.parquet"):
            broken.fetch(tmp_path)
