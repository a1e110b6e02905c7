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
from diffmia.datasets.base import DatasetSpec, ImageStream, SourceFile
from diffmia.datasets.download import cache_folder
from diffmia.errors import DiffmiaError

SAMPLES_SCHEMA = pa.schema(
    [("sample_id", pa.int64()), ("label", pa.int64()), ("label_name", pa.string()), ("group", pa.string())]
)


def download_dataset(spec: DatasetSpec, receipt_path: str | Path) -> None:
    """Make the dataset's files present and verified, and write down what they are.

    Raises
    ------
    DiffmiaError
        If a file is absent, cannot be downloaded, or is not the one expected.
    """
    files = spec.fetch(cache_folder())
    with atomic_path(receipt_path) as scratch:
        _write_json(scratch, {**_about(spec), "files": [asdict(file) for file in files]})


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
        `.parquet`, a row per image: sample_id (0 to N - 1), label, label_name, group (null where there is none).
    manifest_path : path
        `.json`: n, shape, label_names, where the data comes from, and `dataset_hash`, the SHA-256 of shape, pixels,
        labels and groups. The same data gives the same bytes, on any machine.

    Raises
    ------
    DiffmiaError
        If a file of the receipt is gone, changed or not what the dataset is made of, or the disk is full.
    """
    files = _files_of(Path(receipt_path))
    stream = spec.open(files)
    with atomic_path(images_path) as images:  # nested, so that a full disk is reported with the file that met it
        labels, groups, dataset_hash = _write_images(stream, images, spec.source)
        with atomic_path(samples_path) as samples:
            names = [stream.label_names[label] for label in labels]
            pq.write_table(pa.table([range(len(labels)), labels, names, groups], schema=SAMPLES_SCHEMA), samples)
            with atomic_path(manifest_path) as manifest:
                about_data = {
                    "dataset_hash": dataset_hash,
                    "n": stream.count,
                    "shape": list(stream.shape),
                    "label_names": stream.label_names,
                }
                about_files = [{key: asdict(file)[key] for key in ("name", "bytes", "sha256", "url")} for file in files]
                _write_json(manifest, {**about_data, **_about(spec), "files": about_files})


def _about(spec: DatasetSpec) -> dict[str, str]:
    return {"source": spec.source, "description": spec.describe, "licence": spec.licence}


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _files_of(receipt_path: Path) -> list[SourceFile]:
    files = [SourceFile(**entry) for entry in json.loads(receipt_path.read_text())["files"]]
    for file in files:
        if not Path(file.path).is_file():
            raise DiffmiaError(f"{file.path} is gone since it was downloaded; delete {receipt_path} and run again")
        if SourceFile.of(file.path).sha256 != file.sha256:
            raise DiffmiaError(f"{file.path} has changed since it was downloaded; delete {receipt_path} and run again")
    return files


def _write_images(stream: ImageStream, path: Path, name: str) -> tuple[list[int], list[str | None], str]:
    """Write the `.npy` file image by image; returns labels, groups and the hash of shape, pixels, labels and groups.

    Plain writes, not a memory map: where the disk is full a write fails with a reason, a map kills the process.
    """
    shape = (stream.count, *stream.shape)
    digest = hashlib.sha256(json.dumps(shape).encode())
    labels, groups = [], []
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for pixels, label, group in tqdm(
            stream.samples, desc=name, total=stream.count, unit="image", mininterval=1, disable=None
        ):
            if pixels.shape != stream.shape or pixels.dtype != np.uint8:
                raise DiffmiaError(f"dataset {name}: image {len(labels)} is {pixels.dtype} {pixels.shape}")
            content = pixels.tobytes()
            file.write(content)
            digest.update(content)
            labels.append(label)
            groups.append(group)
    if len(labels) != stream.count:
        raise DiffmiaError(f"dataset {name} gave {len(labels)} images where {stream.count} were announced")
    digest.update(np.array(labels, "<i8").tobytes() + json.dumps(groups).encode())
    return labels, groups, digest.hexdigest()
