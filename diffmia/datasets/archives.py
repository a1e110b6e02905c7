"""Reads tar archives in place: nothing is extracted to disk, and no member can point outside its archive."""

from __future__ import annotations

import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diffmia.errors import DiffmiaError

_BROKEN = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


def member_sizes(path: str | Path) -> dict[str, int]:
    """Bytes of each regular file in the archive, by name, after the whole archive was read through once.

    Raises
    ------
    DiffmiaError
        If the archive is truncated or corrupt, or a member's path or link leads outside it.
    """
    with _opened(path) as archive:
        members = archive.getmembers()
        for member in members:
            _require_inside(path, member)
        while archive.fileobj.read(1 << 20):  # the compressed stream's checksum is compared at its very end
            pass
        return {member.name: member.size for member in members if member.isfile()}


def read_members(path: str | Path, names: Iterable[str]) -> Iterator[bytes]:
    """Content of each of `names`, in that order, one in memory at a time.

    Raises
    ------
    DiffmiaError
        If the archive is truncated or corrupt.
    """
    with _opened(path) as archive:
        for name in names:
            yield archive.extractfile(name).read()


@contextmanager
def _opened(path: str | Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as archive:
            yield archive
    except _BROKEN as error:
        raise DiffmiaError(
            f"archive {path} is truncated, corrupt or no tar archive at all; replace it by a whole copy and run again"
        ) from error


def _require_inside(path: str | Path, member: tarfile.TarInfo) -> None:
    places = [member.name]
    if member.issym():  # relative to the link's own folder, a hard link to the archive's root
        places.append(posixpath.join(posixpath.dirname(member.name), member.linkname))
    if member.islnk():
        places.append(member.linkname)
    for place in places:
        if posixpath.isabs(place) or posixpath.normpath(place).split("/")[0] == "..":
            raise DiffmiaError(
                f"archive {path}: member '{member.name}' leads outside the archive, to '{place}'; do not use this file"
            )
