"""Images and captions that a user collected, such as a part of LAION, with a manifest that says what each must be."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field, PositiveInt

from diffmia.datasets.base import DatasetSpec, ImageStream, Sample, Shape
from diffmia.datasets.decoding import decode
from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.running.progress import Progress

log = logging.getLogger(__name__)

COLUMNS = ("file", "url", "caption", "sha256")


class ManifestFolder(DatasetSpec):
    """The images a manifest lists, in its order, all of one class, each compared with its checksum.

    LAION itself cannot be downloaded any more: its list was withdrawn, and many of its links are dead.
    """

    describe: ClassVar[str] = "Images with captions, listed in a manifest"
    licence: ClassVar[str] = "Not known: whoever provides the images has to know"
    had_from: ClassVar[str] = "your own (LAION is withdrawn)"
    known: ClassVar = ("captions", "files")

    source: Literal["manifest"]
    root: str = Field(description="Folder of the images")
    manifest: str = Field(
        description=f"A .csv or .parquet file with the columns {', '.join(COLUMNS)}; file: below root"
    )
    size: PositiveInt = Field(512, description="Side in pixels: the short side is scaled to it and the centre kept")

    def inputs(self) -> list[str]:
        """See `DatasetSpec.inputs`."""
        return [self.root, self.manifest]

    def declared_shape(self) -> Shape:
        """See `DatasetSpec.declared_shape`."""
        return (3, self.size, self.size)

    def fetch(self, cache: Path) -> list[SourceFile]:
        """See `DatasetSpec.fetch`; the manifest comes first."""
        root, rows = Path(self.root), self._rows()
        if not root.is_dir():
            raise DiffmiaError(f"dataset folder {root} does not exist; correct `root:`")
        files, missing, wrong = [], [], []
        progress = Progress(log, "images compared", len(rows))
        for number, row in enumerate(rows.itertuples(), start=1):
            progress.update(number)
            if not (root / row.file).is_file():
                missing.append(row.file)
                continue
            files.append(SourceFile.of(root / row.file, row.file, row.url))
            if files[-1].sha256 != row.sha256:
                wrong.append(row.file)
        if missing or wrong:
            reasons = [f"{len(missing)} are missing (first {missing[0]})"] if missing else []
            reasons += [f"{len(wrong)} differ from their sha256 (first {wrong[0]})"] if wrong else []
            raise DiffmiaError(
                f"of the {len(rows)} images of manifest {self.manifest}, {' and '.join(reasons)} in {root}; get them "
                "again, or take their rows out"
            )
        return [SourceFile.of(self.manifest), *files]

    def open(self, files: list[SourceFile]) -> ImageStream:
        """See `DatasetSpec.open`."""
        captions = self._rows()["caption"]
        return ImageStream(len(captions), self.declared_shape(), [""], self._samples(files[1:], captions))

    def _samples(self, files: list[SourceFile], captions: pd.Series) -> Iterator[Sample]:
        for source, caption in zip(files, captions, strict=True):
            pixels, file = decode(Path(source.path), source.path, self.size)
            yield Sample(pixels, 0, caption=caption, file=file)

    def _rows(self) -> pd.DataFrame:
        path = Path(self.manifest)
        try:
            read = pd.read_parquet if path.suffix == ".parquet" else _read_csv
            rows = read(path)
        except (OSError, ValueError) as error:
            raise DiffmiaError(f"cannot read manifest {path}: {error}") from error
        if lacking := [name for name in COLUMNS if name not in rows]:
            raise DiffmiaError(f"manifest {path} lacks column {lacking[0]}; it needs {', '.join(COLUMNS)}")
        if rows.empty:
            raise DiffmiaError(f"manifest {path} lists no image")
        rows = rows[list(COLUMNS)].astype(object).where(rows[list(COLUMNS)].notna(), None)
        for number, row in enumerate(rows.itertuples(), start=1):
            if not isinstance(row.file, str) or not _is_below(row.file):
                raise DiffmiaError(f"manifest {path}, row {number}: file {row.file!r} is no path below the folder")
            if not isinstance(row.sha256, str) or not re.fullmatch("[0-9a-f]{64}", row.sha256):
                raise DiffmiaError(f"manifest {path}, row {number}: sha256 {row.sha256!r} is not 64 hex digits")
        if rows["file"].duplicated().any():
            raise DiffmiaError(f"manifest {path} lists {rows['file'][rows['file'].duplicated()].iloc[0]} twice")
        return rows


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False).replace({"": None})


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return name != "" and not path.is_absolute() and ".." not in path.parts
