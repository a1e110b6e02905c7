"""What tests of datasets share: encoded images, archives of them, and both stages of a dataset."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
from PIL import Image

from diffmia.datasets.prepare import download_dataset, prepare_dataset

OUTPUTS = ("images.npy", "samples.parquet", "manifest.json")


def prepare(spec, folder):
    """Both stages; returns images, samples and manifest."""
    download_dataset(spec, folder / "receipt.json")
    return prepare_again(spec, folder)


def prepare_again(spec, folder):
    prepare_dataset(spec, folder / "receipt.json", *(folder / name for name in OUTPUTS))
    samples = pd.read_parquet(folder / "samples.parquet")
    return np.load(folder / "images.npy"), samples, json.loads((folder / "manifest.json").read_text())


def write_tar(path, members, mode="w:gz"):
    """An archive of bytes, or of ready-made `TarInfo` such as links, in the given order."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tree(root, members):
    """The same files, unpacked."""
    for name, content in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def copy_of(path):
    """Fields of a dataset for a local archive, its checksum given rightly, so that its content is what is judged."""
    return {"archive": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def encoded(shade, width=10, height=8, form="PNG", mode="RGB"):
    """An image of one grey level."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (shade,) * 3).convert(mode).save(file, form)
    return file.getvalue()
