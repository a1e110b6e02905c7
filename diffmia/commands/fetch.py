"""What `diffmia fetch` does: say of models that were trained elsewhere where they are from, and get them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from diffmia.config.config import Config
from diffmia.errors import DiffmiaError
from diffmia.models.base import ImportedTarget
from diffmia.models.fetch import Fetched, fetch_files, plan, weights_of


def fetch_command(config: Config, ids: Sequence[str], dry_run: bool) -> int:
    """Say of each target and captioner what there is to know, and fetch it unless `dry_run`; returns the exit status.

    One that cannot be fetched is one sentence, and does not keep the others from it.

    Raises
    ------
    DiffmiaError
        If an id is of no captioner or imported target of it.
    """
    failed = False
    for id_, what, spec in _chosen(config, ids):
        print(id_)
        for key, value in plan(spec).items():
            print(f"  {key:<10}  {value}")
        if not dry_run:
            try:
                weights = weights_of(fetch_files(spec))
            except DiffmiaError as error:
                failed = True
                print(f"diffmia: {what} '{id_}': {error}", file=sys.stderr)
            else:
                print(f"  {'fetched':<10}  {weights.path}, {weights.bytes:,} bytes, sha256 {weights.sha256}")
    return int(failed)


def _chosen(config: Config, ids: Sequence[str]) -> list[tuple[str, str, Fetched]]:
    """Id, what it is an id of, and settings of what is to be fetched: all of it, or what has one of the `ids`."""
    fetched = [(id_, "target", config.targets[id_]) for id_ in config.targets_of(ImportedTarget)]
    fetched += [(id_, "captioner", spec) for id_, spec in config.captioners.items()]
    known = [id_ for id_, _, _ in fetched]
    for id_ in ids:
        if id_ not in known:
            what = "is a target that is trained here" if id_ in config.targets else "is not defined"
            near = difflib.get_close_matches(id_, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise DiffmiaError(f"'{id_}' {what}{hint} Imported targets and captioners: {', '.join(known) or 'none'}")
    return [one for one in fetched if not ids or one[0] in ids]
