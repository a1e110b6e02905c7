"""Which cells the tables of a run lack, and why: what the plan asks for beside what is on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from diffmia.config.config import Config
from diffmia.planning.jobs import conditions_of, learned_from
from diffmia.running.job_status import JobStatus, read_statuses

NOT_MADE = "not made"  # kind of what nobody tried to make, or made and removed


class Missing(NamedTuple):
    """The cells of an attack on a target, at one run seed, which have no scores."""

    target: str
    seed: int
    attack: str
    kind: str  # of failure, in two or three words
    reason: str


def missing_cells(config: Config) -> list[Missing]:
    """Cells of the run without scores, each with what ended the job that it waits for, the first of several.

    Scores that are there are none if what they are made from could not be made anew.
    """
    ended = {output: job for job in read_statuses() for output in job.outputs}
    found = []
    for target, attack in config.pairs:
        for seed in config.run.seeds:
            why = _why(_needs(config, target, seed, attack), ended)
            if why is None and not Path(config.score_file(target, seed, attack)).exists():
                why = NOT_MADE, "no job that it needs has failed; run again"
            if why is not None:
                found.append(Missing(target, seed, attack, *why))
    return found


def _why(needed: Iterator[str], ended: dict[str, JobStatus]) -> tuple[str, str] | None:
    """Kind and reason of the first file, of all that scores need, whose job did not make it; None if there is none."""
    for path in needed:
        job = ended.get(path)
        if job is not None and job.state != "done" and not Path(path).exists():
            what = "" if path.startswith("results/scores/") else f"{job.job}: "
            return job.kind or job.state, what + (job.reason or _last_heard(job))
    return None


def _last_heard(job: JobStatus) -> str:
    """Of a job that gave no reason; of one that was killed on another machine a moment ago it is not known yet."""
    killed = "the job was killed"
    became = killed if job.state == "killed" else f"the job runs on {job.host}, or was killed there just now"
    return f"{became}; the end of {job.log} is the last that it said"


def _needs(config: Config, target: str, seed: int, attack: str) -> Iterator[str]:
    """Files that scores are made from, what is made first first; of those of several shards each."""
    spec = config.attacks[attack]
    yield from _of_dataset(config, config.split_of(target).dataset)
    yield f"results/splits/{config.targets[target].split}/seed{seed}.json"
    for asked in learned_from(config, target, attack) if spec.answers else ():
        yield f"results/targets/{config.trained_as(asked)}/source.json"  # of one that was trained elsewhere
        yield f"results/targets/{config.trained_as(asked)}/seed{seed}/target.json"
        yield from _asked_about(config, asked, seed, spec.answers)
        table, shards = f"results/{spec.answers}/{asked}/seed{seed}", config.targets[asked].shards
        yield from (f"{table}/{shard}of{shards}.parquet" for shard in range(shards if shards > 1 else 0))
        yield f"{table}.parquet"
    yield config.score_file(target, seed, attack)


def _of_dataset(config: Config, dataset: str) -> Iterator[str]:
    """Files of a dataset, after those of the datasets that it is made of."""
    for part in config.datasets[dataset].made_of():
        yield from _of_dataset(config, part)
    yield from (f"results/datasets/{dataset}/{file}" for file in ("source.json", "images.npy"))


def _asked_about(config: Config, target: str, seed: int, answers: str) -> Iterator[str]:
    """Latents and embeddings that a pass asks a text-to-image target about, after captions that they are made from."""
    spec, dataset = config.targets[target], config.split_of(target).dataset
    if not spec.latent:
        return
    latents = f"results/latents/{config.trained_as(target)}/seed{seed}"
    yield from (f"{latents}/{shard}of{spec.shards}.npy" for shard in range(spec.shards))
    for condition in conditions_of(config, answers, target):
        if condition in config.captioners:
            yield f"results/captions/_source/{condition}.json"
            yield f"results/captions/{dataset}/{condition}.csv"
        yield f"results/embeddings/{target}/seed{seed}/{condition}.npy"


def report_missing(config: Config) -> str:
    """What a run that failed says at its end: cells its tables lack, by reason; nothing if they lack none."""
    cells = missing_cells(config)
    if not cells:
        return ""
    by_reason: dict[tuple[str, ...], list[str]] = {}
    for cell in cells:
        by_reason.setdefault((f"{cell.target}, seed {cell.seed}", cell.kind, cell.reason), []).append(cell.attack)
    lines = [
        f"  {', '.join(attacks)} on {where}\n    {kind}: {reason}"
        for (where, kind, reason), attacks in by_reason.items()
    ]
    total = len(config.pairs) * len(config.run.seeds)
    counted = f"the tables lack {len(cells)} of the {total} cells (target, seed, attack) of this run:"
    hint = "the next run does them again; tables of what is there: snakemake tables --config 'run={partial: true}'"
    return "\n".join(["", counted, *lines, hint])
