"""Locks that the kernel frees when their holder dies, however it dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from diffmia.errors import DiffmiaError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for a block; the kernel frees it when the process dies, however it dies.

    Raises
    ------
    DiffmiaError
        If another process holds it, or the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise DiffmiaError(f"another process is at work on {what} (it holds {path}); wait for it or end it") from error
    except OSError as error:
        raise DiffmiaError(
            f"cannot lock {path}: {error.strerror}; results/ has to lie on a file system with locks (flock)"
        ) from error
    try:
        yield
    finally:
        lock.release()
