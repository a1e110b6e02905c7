"""Downloads that resume, go on to a mirror, and never leave a wrong file under the final name."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from urllib.parse import urlsplit

import pooch
import requests
from filelock import FileLock
from requests.exceptions import ChunkedEncodingError, SSLError

from diffmia.errors import DiffmiaError
from diffmia.running.progress import BytesProgress

log = logging.getLogger(__name__)

CONNECT_AND_READ_SECONDS = (10, 60)
CHUNK = 1 << 16  # bytes; what has come of a chunk is lost where a transfer is cut
WAITS = (2, 4, 8, 16, 32)  # seconds between attempts at one address, each taking up where the one before was cut
_BUSY = (429, 500, 502, 503, 504)


def cache_folder() -> Path:
    """Where downloads are kept: the environment variable DIFFMIA_CACHE, else the user's cache folder."""
    return Path(os.environ.get("DIFFMIA_CACHE") or pooch.os_cache("diffmia"))


class _TooLong(requests.RequestException):
    """More came than the file has."""


def download(urls: Sequence[str], path: Path, checksum: str, size: int | None = None) -> None:
    """Make `path` the file with this checksum, from the first of `urls` that has it, unless it is there already.

    What has arrived is kept as `<path>.part` until it is whole, and the next attempt asks for the rest only. A lock
    lets one process at a time do this; the others find the file.

    Parameters
    ----------
    urls : sequence of str
        Addresses, in the order in which they are tried.
    path : Path
        The final name.
    checksum : str
        `md5:<hex>` or `sha256:<hex>`.
    size : int, optional
        Bytes of the file, where they are known: no more are written to disk.

    Raises
    ------
    DiffmiaError
        If no address gives the file, with the reason of each, or the disk is full.
    """
    if has_checksum(path, checksum):  # before any writing: the cache may be read-only
        return
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if has_checksum(path, checksum):  # another process was faster
                return
            path.unlink(missing_ok=True)
            reasons = []
            for url in urls:
                try:
                    if _fetched(url, part, checksum, size):
                        os.replace(part, path)
                        return
                except requests.RequestException as error:
                    reasons.append(f"{url} ({_reason(error)})")
                else:
                    reasons.append(f"{url} (what it sends does not have the checksum {checksum})")
    except OSError as error:
        raise DiffmiaError(
            f"cannot write {part}: {error.strerror}; free some space, or set DIFFMIA_CACHE to another folder"
        ) from error
    raise DiffmiaError(
        f"cannot download {path.name}: {', '.join(reasons)}; run again to resume, or get a copy another way and set "
        "`archive:` (and its `sha256:`) of the dataset to it"
    )


def _fetched(url: str, part: Path, checksum: str, size: int | None) -> bool:
    """Whether `part` has become the right file; a wrong one is removed.

    What was there before may be the start of another file, of a mirror's for one: then it is left, and all is asked
    for.
    """
    for _ in range(2 if part.exists() else 1):
        try:
            _transfer(url, part, size)
        except _TooLong:
            part.unlink()
            raise
        if has_checksum(part, checksum):
            return True
        part.unlink()
    return False


def _transfer(url: str, part: Path, size: int | None) -> None:
    """Append to `part` what it lacks of the file at `url`; an address that fails may be well again after a while."""
    waits = iter(WAITS)
    while True:
        start = _size(part)
        try:
            return _append(url, part, size)
        except requests.RequestException as error:
            if _size(part) > start:  # it does send the file, in pieces
                waits = iter(WAITS)
            wait = next(waits, None)
            if wait is None or not _passes(error):
                raise
            log.info("%s: %s; trying again in %g s", url, _reason(error), wait)
            sleep(wait)


def _passes(error: requests.RequestException) -> bool:
    """Whether another attempt may do better: after a cut, a silence, no connection, or a server that is busy."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in _BUSY
    hiccups = (ChunkedEncodingError, requests.ConnectionError, requests.Timeout)
    return isinstance(error, hiccups) and not isinstance(error, SSLError)


def _append(url: str, part: Path, size: int | None) -> None:
    start = _size(part)
    headers = {"Accept-Encoding": "identity"}  # a range counts the bytes that are sent, so they must be the file's own
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is left to send: the checksum decides
        response.raise_for_status()
        resumes = response.status_code == requests.codes.partial_content
        rest = response.headers.get("Content-Length")
        kept = start if resumes else 0  # a server without ranges sends the whole file again
        total = kept + int(rest) if rest else size
        progress = BytesProgress(log, f"{part.stem} from {urlsplit(url).hostname}", total, kept) if total else None
        with part.open("ab" if resumes else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                if size is not None and file.tell() + len(chunk) > size:
                    raise _TooLong(f"it sends more than the {size} bytes of the file")
                file.write(chunk)
                if progress:
                    progress.update(file.tell())


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether there is a file with this `md5:<hex>` or `sha256:<hex>`."""
    if not path.exists():
        return False
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == expected


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, ChunkedEncodingError):
        return "the transfer was cut"
    if isinstance(error, SSLError):
        return "its certificate cannot be verified"
    return "no connection" if isinstance(error, requests.ConnectionError) else str(error)
