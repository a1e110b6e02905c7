"""What `diffmia fetch` does: say of imported targets where they are from, and get them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from diffmia.config import Config, read_config
from diffmia.errors import DiffmiaError
from diffmia.models.base import ImportedTarget
from diffmia.models.fetch import fetch_files, plan, weights_of


def fetch_command(targets: Sequence[str], dry_run: bool) -> int:
    """Say of each target what there is to know, and fetch it unless `dry_run`; returns the exit status.

    One that cannot be fetched is one sentence, and does not keep the others from it.

    Raises
    ------
    DiffmiaError
        If there is no readable config.yaml in this folder, or a target is not an imported one of it.
    """
    config, failed = read_config(), False
    for id_ in _chosen(config, targets):
        spec = config.targets[id_]
        print(id_)
        for key, value in plan(spec).items():
            print(f"  {key:<10}  {value}")
        if not dry_run:
            try:
                weights = weights_of(fetch_files(spec))
            except DiffmiaError as error:
                failed = True
                print(f"diffmia: target '{id_}': {error}", file=sys.stderr)
            else:
                print(f"  {'fetched':<10}  {weights.path}, {weights.bytes:,} bytes, sha256 {weights.sha256}")
    return int(failed)


def _chosen(config: Config, targets: Sequence[str]) -> list[str]:
    imported = config.targets_of(ImportedTarget)
    for id_ in targets:
        if id_ not in imported:
            what = "is trained here" if id_ in config.targets else "is not defined"
            near = difflib.get_close_matches(id_, imported, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise DiffmiaError(f"target '{id_}' {what}{hint} Imported targets: {', '.join(imported) or 'none'}")
    return list(targets) or imported
