"""The scoring stage of attacks that read the residual table: columns in, one score file out for all, no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.attacks.base import TableAttack
from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.running.finite import check_finite

JUDGED_ROLES = ("member", "non_member")
HASHES = ("split_hash", "dataset_hash", "target_hash")


def score_attacks(attacks: Mapping[str, tuple[TableAttack, int]], residuals: Path, out: Path) -> dict[str, str]:
    """Write the scores of members and non-members under attacks, by id with timestep; returns the file's hashes.

    The file has columns attack, sample_id, member, role (`eval`: judged), base and oms; a low score means member,
    always.

    Raises
    ------
    DiffmiaError
        If the table lacks a column an attack reads, or a score is not finite.
    """
    schema = pq.read_schema(residuals)
    hashes = {key: schema.metadata[key.encode()].decode() for key in HASHES}
    write_scores(pd.concat([_scores(attack, *of, residuals, schema) for attack, of in attacks.items()]), hashes, out)
    return hashes


def _scores(attack: str, spec: TableAttack, t: int, residuals: Path, schema: pa.Schema) -> pd.DataFrame:
    probed = {name for question in spec.questions(t) for name in question.columns()}  # the other attacks' stay unread
    columns = [name for name in schema.names if name in probed or name in ("sample_id", "role", "label")]
    judged = pd.read_parquet(residuals, columns=columns, filters=[("role", "in", JUDGED_ROLES)])
    try:
        scored = spec.score(judged, t)
    except KeyError as error:
        raise DiffmiaError(f"{residuals} has no column for attack '{attack}' at t = {t}: {error}") from error
    ids, member = judged["sample_id"], judged["role"] == "member"
    scores = pd.DataFrame({"attack": attack, "sample_id": ids, "member": member, "role": "eval"})
    scores = scores.join(scored.astype("float64"))
    for variant in spec.queries(t):  # an attack without one more step has no `oms`
        check_finite(scores[variant].to_numpy(), ids, f"{variant} scores of attack '{attack}'")
    return scores


def write_scores(scores: pd.DataFrame, metadata: dict[str, str], out: Path) -> None:
    """Write a score file; `metadata` is kept in its schema."""
    with atomic_path(out) as scratch:
        content = pa.Table.from_pandas(scores, preserve_index=False)
        pq.write_table(content.replace_schema_metadata(metadata), scratch)


def read_scores(path: Path, split_hash: str | None = None) -> dict[str, pd.DataFrame]:
    """The scores of each attack in a score file, by id; the file must be of the split with this hash, if one is given.

    Raises
    ------
    DiffmiaError
        If the scores are of another split.
    """
    table = pq.read_table(path)
    found = table.schema.metadata[b"split_hash"].decode()
    if split_hash is not None and found != split_hash:
        raise DiffmiaError(
            f"{path} holds scores of split {found[:12]}, and they are to be judged by split {split_hash[:12]}; "
            "score that split again"
        )
    of_attack = table.to_pandas().groupby("attack", sort=False)
    return {attack: scores.drop(columns="attack").reset_index(drop=True) for attack, scores in of_attack}
