"""Targets and the samples they are judged on (OMS Table C.1), as the split manifests have them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from diffmia.splits import ROLES
from diffmia.tables.measured import span
from diffmia.tables.table import Table, TableInputs

_HASH_SHOWN = 12


def fill(inputs: TableInputs) -> Table:
    """One row for each target and seed that an attack was judged on."""
    config = inputs.config
    splits = {
        (target, seed): inputs.manifests.get((config.targets[target].split, seed))
        for target in config.run.targets
        for seed in config.run.seeds
    }
    rows = [{"target": target, "seed": seed, **_facts(split)} for (target, seed), split in splits.items() if split]
    cells = pd.DataFrame([_printed(row) for row in rows])
    notes = [
        "The target was trained on the members and never saw non-members and auxiliary samples. Attacks are judged on "
        "members and non-members; auxiliary samples are for attacks that learn and for the held-out training loss.",
        "Per class: the fewest and the most samples of a class, of members / non-members / auxiliary samples.",
        f"Split hash: the first {_HASH_SHOWN} digits of the hash of the data and of all indices; two splits with the "
        "same hash are the same. Seed: the run's; a split read from a file is the same for all.",
    ]
    if lacking := [f"{target}, seed {seed}" for (target, seed), split in splits.items() if not split]:
        notes.append(f"Left out, since no attack on it has scores: {'; '.join(lacking)}.")
    title = "Targets, resolutions, member and non-member sets"
    return Table("tablec1", title, cells, pd.DataFrame(rows), notes, text_columns=2)


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    _, height, width = manifest["shape"]
    facts = {"dataset": manifest["dataset"], "height": height, "width": width}
    facts |= {f"n_{role}": manifest["counts"][role] for role in ROLES}
    classes = set().union(*manifest["class_counts"].values())
    for role in ROLES:
        counts = [manifest["class_counts"][role].get(name, 0) for name in classes]
        facts |= {f"class_min_{role}": min(counts), f"class_max_{role}": max(counts)}
    return facts | {key: manifest[key] for key in ("method", "split_hash")}


def _printed(row: dict[str, Any]) -> dict[str, str]:
    spans = [span([row[f"class_min_{role}"], row[f"class_max_{role}"]]) for role in ROLES]
    return {
        "Target": row["target"],
        "Dataset": row["dataset"],
        "Resolution": f"{row['height']}×{row['width']}",
        "Members": f"{row['n_member']:,}",
        "Non-members": f"{row['n_non_member']:,}",
        "Auxiliary": f"{row['n_auxiliary']:,}",
        "Per class": " / ".join(spans),
        "Split": row["method"],
        "Seed": str(row["seed"]),
        "Split hash": row["split_hash"][:_HASH_SHOWN],
    }
