"""The evaluation stage: a target's score files in, rows of `metrics.csv` out; and the aggregates over a whole run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from diffmia.attacks.base import AttackSpec
from diffmia.blind import STANDARD_ERROR_FACTOR
from diffmia.errors import DiffmiaError
from diffmia.evaluation.decisions import evaluate_decisions, nominal_fprs, not_applicable_rows
from diffmia.evaluation.metrics import evaluate
from diffmia.evaluation.rows import (
    NOT_APPLICABLE,
    ROC,
    SHIFT,
    TOLD,
    attack_of,
    join_flags,
    missing_flag,
    read_metrics,
    split_flags,
)
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.transfer import TRANSFER_COLUMNS, transfer_thresholds
from diffmia.files.atomic import atomic_path
from diffmia.files.layout import by_id_and_seed, id_and_seed
from diffmia.running.progress import Progress
from diffmia.scoring.reading import read_scores
from diffmia.splits import groups_drawn_whole

if TYPE_CHECKING:
    from diffmia.config.config import Config

log = logging.getLogger(__name__)

KEYS = ["target", "dataset", "split_hash", "seed", "attack", "variant", "timestep", "norm"]
VALUES = ["metric", "value", "std", "ci_low", "ci_high", "p_value", "n_members", "n_non_members", "realised_fpr"]
COLUMNS = [*KEYS, *VALUES, "reliable", "access", "supervision", "flags", "queries"]
COST_KEYS = ["target", "dataset", "seed", "attack", "variant", "queries"]
COST_COLUMNS = [*COST_KEYS, "seconds", "seconds_of_pass", "samples", "device", "seconds_learning", "device_learning"]


def evaluate_scores(
    attacks: Mapping[str, tuple[AttackSpec, int | None]],
    spec: EvaluationSpec,
    job: dict,
    scores: Sequence[Path],
    split: Path,
    samples: Path,
    out: Path,
) -> None:
    """Judge a target's scores under attacks, by id with timestep, and write their rows of `metrics.csv`.

    `job` names target, dataset and seeds, `scores` are the files that hold these attacks' scores, among others', and
    `samples` the dataset's table, which knows what a split by group drew whole.

    Raises
    ------
    DiffmiaError
        If scores are of another split, or there are none of an attack.
    """
    manifest = json.loads(Path(split).read_text())
    about = pd.read_parquet(samples, columns=["sample_id", "group"]).set_index("sample_id")
    groups = groups_drawn_whole(manifest, about)
    found = {}
    for path in scores:
        skipped = _not_applicable(path)
        found |= {attack: (frame, skipped) for attack, frame in read_scores(path, manifest["split_hash"]).items()}
    if missing := [attack for attack in attacks if attack not in found]:
        raise DiffmiaError(f"{', '.join(map(str, scores))} have no scores of attack '{missing[0]}'; score it again")
    shared = {key: job[key] for key in ("target", "dataset")}
    shared |= {"split_hash": manifest["split_hash"], "seed": job["run_seed"]}
    described = []
    progress = Progress(log, "attacks judged", len(attacks))
    for number, (attack, (attack_spec, t)) in enumerate(attacks.items(), start=1):
        described += [shared | row for row in _judge(attack, attack_spec, t, spec, job["seed"], groups, *found[attack])]
        progress.update(number)
    write_csv(pd.DataFrame(described, columns=COLUMNS), out)


def _judge(
    attack: str,
    attack_spec: AttackSpec,
    t: int | None,
    spec: EvaluationSpec,
    seed: int,
    groups: pd.Series | None,
    scores: pd.DataFrame,
    skipped: dict[str, str],
) -> list[dict]:
    """Rows of one attack.

    Where it makes decisions of its own, the rows with its id judge them, and those whose id ends with `ROC` judge its
    score; `skipped` says why it could not learn some.
    """
    widened = STANDARD_ERROR_FACTOR if attack_spec.access == "blind" else 1.0  # cross-validated scores
    rows = {attack: evaluate(scores, spec, seed, widened, groups)}
    if nominal_fprs(scores):
        own = evaluate_decisions(scores, spec, seed, groups) + not_applicable_rows(scores, skipped)
        rows = {attack: own, attack + ROC: rows[attack]}
    queries = attack_spec.queries(t)
    told = [] if attack_spec.condition is None else [f"{TOLD} {attack_spec.condition}"]
    return [
        {
            "attack": row_id,
            "timestep": t,
            "norm": attack_spec.norm,
            "access": attack_spec.access,
            "supervision": attack_spec.supervision,
            "queries": queries["base" if row["variant"] == "base" else "oms"],
            **row,
            "flags": join_flags([*told, *attack_spec.flags(row["variant"]), *row.get("flags", [])]),
        }
        for row_id, of_id in rows.items()
        for row in of_id
    ]


def _not_applicable(scores: Path) -> dict[str, str]:
    """Why an attack could not learn some of its decisions, by their names, as its score file says."""
    return json.loads(pq.read_schema(scores).metadata.get(b"not_applicable", b"{}"))


def transfer_of_target(
    attacks: Sequence[str],
    spec: EvaluationSpec,
    target: str,
    scores: Sequence[Path],
    splits: Sequence[Path],
    out: Path,
) -> None:
    """Judge a target's scores, under attacks of these ids, by thresholds of its other seeds.

    `scores` are the files of all seeds that hold these attacks' scores, among others', and `splits` the manifests, one
    a seed.

    Raises
    ------
    DiffmiaError
        If scores are of another split.
    """
    hashes = {seed: json.loads(path.read_text())["split_hash"] for (_, seed), path in by_id_and_seed(splits).items()}
    found: dict[str, dict[int, pd.DataFrame]] = {attack: {} for attack in attacks}
    for path in scores:
        _, seed = id_and_seed(path)
        for attack, frame in read_scores(path, hashes[seed]).items():
            if attack in found:
                found[attack][seed] = frame
    rows = [
        {"target": target, "attack": attack, **row}
        for attack, of_seeds in found.items()
        for row in transfer_thresholds(of_seeds, spec)
    ]
    write_csv(pd.DataFrame(rows, columns=TRANSFER_COLUMNS), out)


def aggregate_metrics(parts: list[Path], config: Config, out: Path, missing: Sequence[Mapping] = ()) -> None:
    """All rows of a run in one file, in the order of `parts`, and last rows of what is not there, with the reason.

    Attacks that were left out, and the `missing`: target, seed, attack, kind and reason of what has no scores since a
    job failed.

    Raises
    ------
    DiffmiaError
        If everything is missing.
    """
    if not parts:
        raise DiffmiaError("nothing that the run selects has scores, so there are no tables of it; run it again")
    judged = pd.concat([pd.read_csv(part, dtype=str, keep_default_na=False) for part in parts], ignore_index=True)
    shifted = judged["split_hash"].isin(_shifted(judged))
    judged.loc[shifted, "flags"] = [join_flags([*split_flags(cell), SHIFT]) for cell in judged.loc[shifted, "flags"]]
    write_csv(pd.concat([judged, _left_out(config), _missing(missing, config)]), out)


def _shifted(rows: pd.DataFrame) -> set[str]:
    """Hashes of splits whose members a blind baseline tells from non-members: its AUC is above chance.

    One-sided at 2.5 %, by the bootstrap's standard error, which is as wide as cross-validated scores need.
    """
    blind = rows[(rows["access"] == "blind") & (rows["metric"] == "auc")]
    excess, std = blind["value"].astype(float) - 50, blind["std"].astype(float)
    return set(blind.loc[excess > NormalDist().inv_cdf(0.975) * std, "split_hash"])


def _left_out(config: Config) -> pd.DataFrame:
    """A row without a value for each (target, attack) of the run that is not done, with what the target lacks."""
    rows = [
        _without_value(config, target, seed, attack, f"{NOT_APPLICABLE}: {lack}")
        | {"variant": variant, "metric": "auc"}
        for (target, attack), lack in config.left_out.items()
        for seed in config.run.seeds
        for variant in ("base", "oms")
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _missing(missing: Sequence[Mapping], config: Config) -> pd.DataFrame:
    """Rows without a value for each (target, seed, attack) that has no scores since a job failed."""
    metrics = ["auc", "asr", *(f"tpr_at_{100 * alpha:g}_fpr" for alpha in config.evaluation.fprs)]
    rows = []
    for one in missing:
        flag = missing_flag(one["kind"], one["reason"])
        shared = _without_value(config, one["target"], one["seed"], one["attack"], flag)
        variants = (
            ("base", "oms", "delta") if "oms" in config.attacks[one["attack"]].queries(shared["timestep"]) else ["base"]
        )
        rows += [shared | {"variant": variant, "metric": metric} for variant in variants for metric in metrics]
    return pd.DataFrame(rows, columns=COLUMNS)


def _without_value(config: Config, target: str, seed: int, attack: str, flag: str) -> dict:
    """What rows of an attack on a target have in common where there is nothing but a flag."""
    return {
        "target": target,
        "dataset": config.split_of(target).dataset,
        "seed": seed,
        "attack": attack,
        "timestep": config.timestep(attack, target),
        "norm": config.attacks[attack].norm,
        "reliable": False,
        "access": config.attacks[attack].access,
        "supervision": config.attacks[attack].supervision,
        "flags": flag,
    }


def aggregate_cost(metrics: Path, passes: list[Path], scores: list[Path], config: Config, out: Path) -> None:
    """What each row of `metrics.csv` cost alone.

    `seconds`: its share, by queries, of the seconds of the pass it reads; a backward pass counts as two queries.
    `seconds_learning`: what fitting and scoring the variant took, 0 for attacks that do not learn; rows of an attack's
    ROC share it with those of its decisions. What shadow targets took is not in it. Seconds are those of the devices.

    Parameters
    ----------
    metrics : path
        `metrics.csv` of the run.
    passes, scores : list of path
        Provenance files of passes, `results/{answers}/{target}/seed{n}.meta.json`, and of score files,
        `results/scores/{target}/seed{n}/{name}.meta.json`.
    config : Config
    out : path
    """
    asked = {(path.parts[-3], *id_and_seed(path)): json.loads(path.read_text()) for path in map(Path, passes)}
    scored = {(_named(path), *id_and_seed(path)): json.loads(path.read_text()) for path in map(Path, scores)}
    rows = read_metrics(metrics)
    rows = rows[(rows["variant"] != "delta") & (rows["queries"] > 0).fillna(False)]  # blind or left out: no query
    rows = rows.drop_duplicates(["target", "seed", "attack", "variant"])
    records = []
    for row in rows.itertuples():
        attack = attack_of(row.attack, config.attacks)
        facts = asked[config.attacks[attack].answers, row.target, row.seed]
        learned = scored.get((attack, row.target, row.seed), {})  # what learns has a score file of its own
        seconds_learning = learned.get("seconds_learning", {}).get(row.variant, 0.0)
        records.append(
            {
                **{key: getattr(row, key) for key in COST_KEYS},
                "seconds": round(facts["seconds"] * row.queries / facts["evaluations_per_sample"], 3),
                "seconds_of_pass": round(facts["seconds"], 3),
                "samples": facts["samples"],
                "device": facts["device"],
                "seconds_learning": round(seconds_learning, 3),
                "device_learning": learned["device"] if "seconds_learning" in learned else None,
            }
        )
    write_csv(pd.DataFrame(records, columns=COST_COLUMNS), out)


def _named(scores: Path) -> str:
    return scores.name.removesuffix(".meta.json")


def write_csv(table: pd.DataFrame, out: Path) -> None:
    """Write a table whole or not at all; missing values are empty."""
    with atomic_path(out) as scratch:
        table.to_csv(scratch, index=False)
