"""The evaluation stage: a score file in, rows of `metrics.csv` out; and the aggregates over a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from diffmia.atomic import atomic_path
from diffmia.attacks.base import AttackSpec
from diffmia.evaluation.metrics import evaluate
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.layout import by_id_and_seed
from diffmia.scoring import read_scores

KEYS = ["target", "dataset", "split_hash", "seed", "attack", "variant", "timestep", "norm"]
VALUES = ["metric", "value", "std", "ci_low", "ci_high", "p_value", "n_members", "n_non_members", "realised_fpr"]
COLUMNS = [*KEYS, *VALUES, "reliable", "access", "supervision", "flags", "queries"]
COST_KEYS = ["target", "dataset", "seed", "attack", "variant", "queries"]
COST_COLUMNS = [*COST_KEYS, "seconds", "seconds_of_pass", "samples", "device"]


def evaluate_scores(
    attack: AttackSpec, spec: EvaluationSpec, t: int | None, job: dict, scores: Path, split: Path, out: Path
) -> None:
    """Judge one attack's scores and write its rows of `metrics.csv`; `job` names target, dataset, attack and seeds."""
    manifest = json.loads(Path(split).read_text())
    rows = evaluate(read_scores(scores, manifest["split_hash"]), spec, job["seed"])
    queries = attack.queries(t)
    described = [
        {
            "target": job["target"],
            "dataset": job["dataset"],
            "split_hash": manifest["split_hash"],
            "seed": job["run_seed"],
            "attack": job["attack"],
            "timestep": t,
            "norm": attack.norm,
            "access": attack.access,
            "supervision": attack.supervision,
            "flags": " ".join(attack.flags(row["variant"])),
            "queries": queries["base" if row["variant"] == "base" else "oms"],
            **row,
        }
        for row in rows
    ]
    write_csv(pd.DataFrame(described, columns=COLUMNS), out)


def aggregate_metrics(parts: list[Path], out: Path) -> None:
    """All rows of a run in one file, in the order of `parts`."""
    write_csv(pd.concat([pd.read_csv(part, dtype=str, keep_default_na=False) for part in parts]), out)


def aggregate_cost(metrics: Path, passes: list[Path], out: Path) -> None:
    """What each row of `metrics.csv` cost: its queries, and its share by queries of the seconds of the residual pass.

    `passes` are the provenance files of the passes. Seconds are those of the machine it ran on.
    """
    rows = pd.read_csv(metrics)
    facts_of = {key: json.loads(path.read_text()) for key, path in by_id_and_seed(passes).items()}
    rows = rows[rows["variant"] != "delta"].drop_duplicates(["target", "seed", "attack", "variant"])
    records = []
    for row in rows.itertuples():
        facts = facts_of[row.target, row.seed]
        records.append(
            {
                **{key: getattr(row, key) for key in COST_KEYS},
                "seconds": round(facts["seconds"] * row.queries / facts["queries_per_sample"], 3),
                "seconds_of_pass": round(facts["seconds"], 3),
                "samples": facts["samples"],
                "device": facts["device"],
            }
        )
    write_csv(pd.DataFrame(records, columns=COST_COLUMNS), out)


def write_csv(table: pd.DataFrame, out: Path) -> None:
    """Write a table whole or not at all; missing values are empty."""
    with atomic_path(out) as scratch:
        table.to_csv(scratch, index=False)
