"""Reads tar and zip archives in place: nothing is extracted to disk, and no member can do harm.

What an archive says of itself is not believed: a member that leads outside it, is a device, has holes or expands over
what is declared is refused, and so is an archive that expands over what its dataset may have, before memory is filled.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from diffmia.errors import DiffmiaError

# ValueError is what tarfile raises where a header's number or list of numbers is none
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_INFLATABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others are not decompressed piece by piece


def member_sizes(path: str | Path, limit: int) -> dict[str, int]:
    """Bytes of each regular file in the archive, by name, in its order, after all of it was looked at once.

    A tar archive is read to its end, where its checksum is; a zip archive has one for each member, which is compared
    when that is read.

    Parameters
    ----------
    path : path
        A tar archive, compressed or not, or a zip archive.
    limit : int
        Bytes that its members may have together, unpacked.

    Raises
    ------
    DiffmiaError
        If the archive is truncated or corrupt, a member's path or link leads outside it, a member is a device, a pipe,
        sparse or encrypted, or it expands over the limit.
    """
    with _opened(path, limit) as archive:
        return archive.sizes()


def read_members(path: str | Path, names: Iterable[str], limit: int) -> Iterator[bytes]:
    """Content of each of `names`, in that order, one in memory at a time; of a compressed tar quick in its own order.

    Raises
    ------
    DiffmiaError
        As `member_sizes`, or if a member expands over what it declares.
    """
    with _opened(path, limit) as archive:
        yield from archive.read(names)


class _Tar:
    def __init__(self, archive: tarfile.TarFile, path: str | Path, limit: int) -> None:
        self.archive, self.path, self.limit = archive, path, limit

    def sizes(self) -> dict[str, int]:
        sizes = {name: member.size for name, member in self._files().items()}
        while self.archive.fileobj.read(_CHUNK):  # the compressed stream's checksum is compared at its very end
            pass
        return sizes

    def read(self, names: Iterable[str]) -> Iterator[bytes]:
        members = self._files()
        for name in names:
            yield self.archive.extractfile(members[name]).read()

    def _files(self) -> dict[str, tarfile.TarInfo]:
        """The regular files by name, each member looked at before the archive is read on by what it says of itself."""
        files, total = {}, 0
        for member in self.archive:
            places = [member.name]
            if member.issym():  # relative to the link's own folder, a hard link to the archive's root
                places.append(posixpath.join(posixpath.dirname(member.name), member.linkname))
            if member.islnk():
                places.append(member.linkname)
            _require_inside(self.path, member.name, places)
            if member.isdev():
                raise _harmful(self.path, member.name, "is a device or a pipe")
            if member.issparse():  # its holes are no part of the stream, and are filled in memory
                raise _harmful(self.path, member.name, "is sparse")
            if member.size < 0:  # tarfile would go back by as much, and read the same members for ever
                raise _harmful(self.path, member.name, "has a negative size")
            if member.isfile():
                files[member.name] = member
                total += member.size
            if total > self.limit:
                raise _too_large(self.path, self.limit)
        return files


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, path: str | Path, limit: int) -> None:
        self.archive, self.path, self.limit = archive, path, limit

    def sizes(self) -> dict[str, int]:
        members = self.archive.infolist()
        for member in members:
            _require_inside(self.path, member.filename, [member.filename])
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _harmful(self.path, member.filename, "is a link, a device or a pipe")
            if member.flag_bits & _ENCRYPTED or member.compress_type not in _INFLATABLE:
                raise _harmful(self.path, member.filename, "is encrypted or compressed in an unusual way")
        if sum(member.file_size for member in members) > self.limit:
            raise _too_large(self.path, self.limit)
        return {member.filename: member.file_size for member in members if not member.is_dir()}

    def read(self, names: Iterable[str]) -> Iterator[bytes]:
        self.sizes()
        for name in names:
            with self.archive.open(name) as file:
                yield file.read(self.archive.getinfo(name).file_size)  # no more is inflated; then the CRC is compared


class _Bounded:
    """A decompressed stream that raises an error where it is asked for more than a chunk beyond `limit`."""

    def __init__(self, stream: BinaryIO, path: str | Path, limit: int) -> None:
        self.stream, self.path, self.limit = stream, path, limit

    def read(self, size: int) -> bytes:
        self._require(self.tell() + size - _CHUNK)  # the last chunk may be asked for whole, whatever is left of it
        return self.stream.read(size)

    def seek(self, position: int) -> int:
        self._require(position)
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()

    def _require(self, position: int) -> None:
        if position > self.limit:
            raise _too_large(self.path, self.limit)


@contextmanager
def _opened(path: str | Path, limit: int) -> Iterator[_Tar | _Zip]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _Zip(archive, path, limit)
            return
        with Path(path).open("rb") as file:
            start = file.read(6)
        decompress = next((opened for magic, opened in _COMPRESSIONS.items() if start.startswith(magic)), open)
        with decompress(path, "rb") as file, tarfile.open(fileobj=_Bounded(file, path, limit), mode="r:") as archive:
            yield _Tar(archive, path, limit)
    except _BROKEN as error:
        raise DiffmiaError(
            f"archive {path} is truncated, corrupt or no tar or zip archive at all; replace it by a whole copy and run "
            "again"
        ) from error


def _require_inside(path: str | Path, name: str, places: Iterable[str]) -> None:
    for place in places:
        if posixpath.isabs(place) or posixpath.normpath(place).split("/")[0] == "..":
            raise _harmful(path, name, f"leads outside the archive, to '{place}'")


def _harmful(path: str | Path, name: str, reason: str) -> DiffmiaError:
    return DiffmiaError(f"archive {path}: member '{name}' {reason}; do not use this file")


def _too_large(path: str | Path, limit: int) -> DiffmiaError:
    return DiffmiaError(
        f"archive {path} expands over the {limit / 2**20:.0f} MiB that its dataset can have; do not use this file"
    )
