"""The two stages that turn any dataset into the same three files: download it, then prepare it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.datasets.base import DatasetSpec, ImageFile, ImageStream
from diffmia.datasets.download import cache_folder
from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.files.receipts import files_of, write_receipt
from diffmia.running.progress import Progress

log = logging.getLogger(__name__)

SAMPLES_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("label", pa.int64()),
        ("label_name", pa.string()),
        ("group", pa.string()),
        ("caption", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("bytes", pa.int64()),
        ("mode", pa.string()),
    ]
)
PLAIN_MODES = ("RGB", "L")  # of images that are read as they are, or in colour, or in grey

AboutSamples = dict[str, list]  # label, group, caption and file of each sample


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
        there is none); width, height, bytes and mode of the encoded file as it came (null where there was none).
    manifest_path : path
        `.json`: n, shape, label_names, facts of the stream, where the data comes from, and `dataset_hash`, the SHA-256
        of shape, pixels, labels, groups and captions. The same data gives the same bytes, on any machine. `converted`
        counts images by mode that were neither RGB nor grey, such as CMYK; `without_caption` those without one, where
        others have one.

    Raises
    ------
    DiffmiaError
        If a file of the receipt is gone, changed or not what the dataset is made of, or the disk is full.
    """
    log.info("comparing what was fetched with %s", receipt_path)  # of a large file this takes minutes
    files = files_of(receipt_path)
    stream = spec.open(files)
    with atomic_path(images_path) as images:  # nested, so that a full disk is reported with the file that met it
        about_samples, dataset_hash = _write_images(stream, images, spec.source)
        with atomic_path(samples_path) as samples:
            pq.write_table(_samples_table(about_samples, stream.label_names), samples)
            with atomic_path(manifest_path) as manifest:
                about_data = {
                    "dataset_hash": dataset_hash,
                    "n": stream.count,
                    "shape": list(stream.shape),
                    "label_names": stream.label_names,
                    "converted": _converted(about_samples["file"]),
                    **_without_caption(about_samples["caption"]),
                    **stream.facts,
                }
                about_files = [{key: asdict(file)[key] for key in ("name", "bytes", "sha256", "url")} for file in files]
                _write_json(manifest, {**about_data, **_about(spec), "files": about_files})


def _about(spec: DatasetSpec) -> dict[str, str]:
    return {"source": spec.source, "description": spec.describe, "licence": spec.licence}


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _write_images(stream: ImageStream, path: Path, name: str) -> tuple[AboutSamples, str]:
    """Write the `.npy` file image by image; returns what is known of each, and the hash of it all.

    Plain writes, not a memory map: where the disk is full a write fails with a reason, a map kills the process.
    """
    shape = (stream.count, *stream.shape)
    digest = _hash_of_shape(shape)
    about: AboutSamples = {"label": [], "group": [], "caption": [], "file": []}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        progress = Progress(log, "images prepared", stream.count)
        for number, sample in enumerate(stream.samples):
            pixels = sample.pixels
            if pixels.shape != stream.shape or pixels.dtype != np.uint8:
                raise DiffmiaError(f"dataset {name}: image {number} is {pixels.dtype} {pixels.shape}")
            content = pixels.tobytes()
            file.write(content)
            digest.update(content)
            for key, values in about.items():
                values.append(getattr(sample, key))
            progress.update(number + 1)
    if (count := len(about["label"])) != stream.count:
        raise DiffmiaError(f"dataset {name} gave {count} images where {stream.count} were announced")
    _add(digest, about)
    return about, digest.hexdigest()


def _samples_table(about: AboutSamples, label_names: list[str]) -> pa.Table:
    files = [file or (None,) * len(ImageFile._fields) for file in about["file"]]
    columns = {
        "sample_id": range(len(files)),
        "label": about["label"],
        "label_name": [label_names[label] for label in about["label"]],
        "group": about["group"],
        "caption": about["caption"],
        **dict(zip(ImageFile._fields, zip(*files, strict=True), strict=True)),
    }
    return pa.table([columns[name] for name in SAMPLES_SCHEMA.names], schema=SAMPLES_SCHEMA)


def _converted(files: list[ImageFile | None]) -> dict[str, int]:
    """How many images were of each mode that is brought to another."""
    modes = Counter(file.mode for file in files if file is not None)
    return {mode: count for mode, count in sorted(modes.items()) if mode not in PLAIN_MODES}


def _without_caption(captions: list[str | None]) -> dict[str, int]:
    """How many images have none, or a blank one; nothing where none has any."""
    lacking = sum(caption is None or not caption.strip() for caption in captions)
    return {"without_caption": lacking} if lacking < len(captions) else {}


def prepared_hash(images_path: str | Path, samples_path: str | Path) -> str:
    """The `dataset_hash` of what `prepare_dataset` wrote, from the files as they are now."""
    images = np.load(images_path, mmap_mode="r", allow_pickle=False)
    digest = _hash_of_shape(images.shape)
    for image in images:
        digest.update(image.tobytes())
    samples = pq.read_table(samples_path)
    _add(digest, {name: samples[name].to_pylist() for name in ("label", "group", "caption")})
    return digest.hexdigest()


def _hash_of_shape(shape: tuple[int, ...]) -> hashlib._Hash:
    return hashlib.sha256(json.dumps(shape).encode())


def _add(digest: hashlib._Hash, about: AboutSamples) -> None:
    digest.update(np.array(about["label"], "<i8").tobytes() + json.dumps(about["group"]).encode())
    if any(caption is not None for caption in about["caption"]):  # no text has no part in the hash
        digest.update(json.dumps(about["caption"]).encode())
