"""The two stages that turn any dataset into the same three files: download it, then prepare it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from diffmia.atomic import atomic_path
from diffmia.datasets.base import DatasetSpec, ImageStream
from diffmia.datasets.download import cache_folder
from diffmia.errors import DiffmiaError
from diffmia.receipts import files_of, write_receipt

SAMPLES_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("label", pa.int64()),
        ("label_name", pa.string()),
        ("group", pa.string()),
        ("caption", pa.string()),
    ]
)

AboutSamples = tuple[list[int], list[str | None], list[str | None]]  # labels, groups, captions


def download_dataset(spec: DatasetSpec, receipt_path: str | Path) -> None:
    """Make the dataset's files present and verified, and write down what they are.

    Raises
    ------
    DiffmiaError
        If a file is absent, cannot be downloaded, or is not the one expected.
    """
    write_receipt(receipt_path, spec.fetch(cache_folder()), **_about(spec))


def prepare_dataset(
    spec: DatasetSpec,
    receipt_path: str | Path,
    images_path: str | Path,
    samples_path: str | Path,
    manifest_path: str | Path,
) -> None:
    """Write the images, a row about each, and a manifest; all three are whole before the first appears.

    Parameters
    ----------
    spec : DatasetSpec
        The dataset.
    receipt_path : path
        What `download_dataset` wrote.
    images_path : path
        `.npy`, uint8 (N, C, H, W).
    samples_path : path
        `.parquet`, a row per image: sample_id (0 to N - 1), label, label_name, group and caption (null where
        there is none).
    manifest_path : path
        `.json`: n, shape, label_names, facts of the stream, where the data comes from, and `dataset_hash`, the SHA-256
        of shape, pixels, labels, groups and captions. The same data gives the same bytes, on any machine.

    Raises
    ------
    DiffmiaError
        If a file of the receipt is gone, changed or not what the dataset is made of, or the disk is full.
    """
    files = files_of(receipt_path)
    stream = spec.open(files)
    with atomic_path(images_path) as images:  # nested, so that a full disk is reported with the file that met it
        about_samples, dataset_hash = _write_images(stream, images, spec.source)
        with atomic_path(samples_path) as samples:
            labels, groups, captions = about_samples
            names = [stream.label_names[label] for label in labels]
            columns = [range(len(labels)), labels, names, groups, captions]
            pq.write_table(pa.table(columns, schema=SAMPLES_SCHEMA), samples)
            with atomic_path(manifest_path) as manifest:
                about_data = {
                    "dataset_hash": dataset_hash,
                    "n": stream.count,
                    "shape": list(stream.shape),
                    "label_names": stream.label_names,
                    **stream.facts,
                }
                about_files = [{key: asdict(file)[key] for key in ("name", "bytes", "sha256", "url")} for file in files]
                _write_json(manifest, {**about_data, **_about(spec), "files": about_files})


def _about(spec: DatasetSpec) -> dict[str, str]:
    return {"source": spec.source, "description": spec.describe, "licence": spec.licence}


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _write_images(stream: ImageStream, path: Path, name: str) -> tuple[AboutSamples, str]:
    """Write the `.npy` file image by image; returns labels, groups and captions, and the hash of it all.

    Plain writes, not a memory map: where the disk is full a write fails with a reason, a map kills the process.
    """
    shape = (stream.count, *stream.shape)
    digest = _hash_of_shape(shape)
    labels, groups, captions = [], [], []
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for pixels, label, group, caption in tqdm(
            stream.samples, desc=name, total=stream.count, unit="image", mininterval=1, disable=None
        ):
            if pixels.shape != stream.shape or pixels.dtype != np.uint8:
                raise DiffmiaError(f"dataset {name}: image {len(labels)} is {pixels.dtype} {pixels.shape}")
            content = pixels.tobytes()
            file.write(content)
            digest.update(content)
            labels.append(label)
            groups.append(group)
            captions.append(caption)
    if len(labels) != stream.count:
        raise DiffmiaError(f"dataset {name} gave {len(labels)} images where {stream.count} were announced")
    about = labels, groups, captions
    _add(digest, about)
    return about, digest.hexdigest()


def prepared_hash(images_path: str | Path, samples_path: str | Path) -> str:
    """The `dataset_hash` of what `prepare_dataset` wrote, from the files as they are now."""
    images = np.load(images_path, mmap_mode="r", allow_pickle=False)
    digest = _hash_of_shape(images.shape)
    for image in images:
        digest.update(image.tobytes())
    samples = pq.read_table(samples_path)
    _add(digest, tuple(samples[name].to_pylist() for name in ("label", "group", "caption")))
    return digest.hexdigest()


def _hash_of_shape(shape: tuple[int, ...]) -> hashlib._Hash:
    return hashlib.sha256(json.dumps(shape).encode())


def _add(digest: hashlib._Hash, about: AboutSamples) -> None:
    labels, groups, captions = about
    digest.update(np.array(labels, "<i8").tobytes() + json.dumps(groups).encode())
    if any(caption is not None for caption in captions):  # no text has no part in the hash
        digest.update(json.dumps(captions).encode())
