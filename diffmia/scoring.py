"""The scoring stage of attacks that read the residual table: columns in, one score file out, no model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffmia.atomic import atomic_path
from diffmia.attacks.base import TableAttack
from diffmia.errors import DiffmiaError
from diffmia.finite import check_finite

JUDGED_ROLES = ("member", "non_member")
HASHES = ("split_hash", "dataset_hash", "target_hash")


def score_attack(spec: TableAttack, attack: str, t: int, residuals: Path, out: Path) -> dict[str, str]:
    """Write an attack's scores of members and non-members; returns the hashes the file carries.

    The file has columns sample_id, member, role (`eval`: judged), base and oms; a low score means member, always.

    Raises
    ------
    DiffmiaError
        If the table lacks a column the attack reads, or a score is not finite.
    """
    schema = pq.read_schema(residuals)
    hashes = {key: schema.metadata[key.encode()].decode() for key in HASHES}
    probed = {name for question in spec.questions(t) for name in question.columns()}  # the other attacks' stay unread
    columns = [name for name in schema.names if name in probed or name in ("sample_id", "role", "label")]
    judged = pd.read_parquet(residuals, columns=columns, filters=[("role", "in", JUDGED_ROLES)])
    try:
        scored = spec.score(judged, t)
    except KeyError as error:
        raise DiffmiaError(f"{residuals} has no column for attack '{attack}' at t = {t}: {error}") from error
    scores = pd.DataFrame({"sample_id": judged["sample_id"], "member": judged["role"] == "member", "role": "eval"})
    scores = scores.join(scored.astype("float64"))
    for variant in spec.queries(t):  # an attack without one more step has no `oms`
        check_finite(scores[variant].to_numpy(), scores["sample_id"], f"{variant} scores of attack '{attack}'")
    write_scores(scores, {**hashes, "attack": attack}, out)
    return hashes


def write_scores(scores: pd.DataFrame, metadata: dict[str, str], out: Path) -> None:
    """Write a score file; `metadata` is kept in its schema."""
    with atomic_path(out) as scratch:
        content = pa.Table.from_pandas(scores, preserve_index=False)
        pq.write_table(content.replace_schema_metadata(metadata), scratch)


def read_scores(path: Path, split_hash: str) -> pd.DataFrame:
    """A score file, which must be of the split with this hash.

    Raises
    ------
    DiffmiaError
        If the scores are of another split.
    """
    table = pq.read_table(path)
    found = table.schema.metadata[b"split_hash"].decode()
    if found != split_hash:
        raise DiffmiaError(
            f"{path} holds scores of split {found[:12]}, and they are to be judged by split {split_hash[:12]}; "
            "score that split again"
        )
    return table.to_pandas()
