"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffmia.errors import DiffmiaError

_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
_HARDLY_ANY = 2**20  # bytes


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; it takes the place of `path` only if the block succeeds.

    Works for a file and for a folder (make the folder at the scratch path). On any error the scratch path is removed
    and what stood at `path` before is untouched.

    Raises
    ------
    DiffmiaError
        If the disk is full; the message names `path`.
    """
    path = Path(path)
    scratch_folder = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch_folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        scratch = scratch_folder / path.name
        yield scratch
        _promote(scratch, path, aside=scratch_folder / f"{path.name}.old")
    except OSError as error:
        if error.errno in _OUT_OF_SPACE:
            raise DiffmiaError(
                f"cannot write {path}: {os.strerror(error.errno)}. Free some space and run again."
            ) from error
        raise
    except DiffmiaError:
        raise
    except Exception as error:  # libraries with writers of their own do not say that the disk is full
        if shutil.disk_usage(path.parent).free < _HARDLY_ANY:
            raise DiffmiaError(f"cannot write {path}: the disk is full. Free some space and run again.") from error
        raise
    finally:
        if scratch_folder is not None:
            shutil.rmtree(scratch_folder, ignore_errors=True)


def _promote(scratch: Path, path: Path, aside: Path) -> None:
    """Put `scratch` in the place of `path`; a folder that is not empty has to be moved aside first."""
    if not (scratch.is_dir() and path.is_dir()):
        os.replace(scratch, path)
        return
    os.replace(path, aside)
    try:
        os.replace(scratch, path)
    except OSError:
        os.replace(aside, path)
        raise
