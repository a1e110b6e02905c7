"""Files of the user's own, which nobody makes: a job reads those that are there, and says which it lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path


def planned_inputs(paths: Iterable[str], record: str | Path) -> list[str]:
    """Those of a job's own files that are there, and those that are not but that its `record` says it was made of.

    Without the others the job is planned, and fails with a sentence, while the rest of a run goes on. With a file that
    is not there Snakemake would plan nothing that needs it, and take what an earlier config left for current. What was
    made of a file is current without it.

    Parameters
    ----------
    record : path
        JSON that the job writes, which names the files, or what lies below the folders, that it read.
    """
    paths = list(paths)
    absent = {path for path in paths if not Path(path).exists()}
    read = Path(record).read_text() if absent and Path(record).exists() else ""
    return [path for path in paths if path not in absent or _names(read, path)]


def _names(record: str, path: str) -> bool:
    """Whether a record has this path, or one below it."""
    return re.search(f'"{re.escape(json.dumps(path)[1:-1])}["/]', record) is not None
