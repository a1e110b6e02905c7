"""Score files: which columns they are read from, what they carry, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from diffmia.attacks.probability_flow import ProbabilityFlowAttack
from diffmia.attacks.residual import ResidualAttack
from diffmia.errors import DiffmiaError
from diffmia.models.ddpm_unet import DDPMUNet
from diffmia.scoring.reading import read_scores, score_attacks

SPLIT = "a" * 64
HASHES = {"split_hash": SPLIT, "dataset_hash": "d", "target_hash": "t"}
ROLES = ["member", "auxiliary", "non_member", "non_member", "member"]
IDS = [2, 3, 5, 7, 11]
NAIVE = ResidualAttack(family="residual", label="NA", start="gaussian", t=350, norm=2)
PIA = ResidualAttack(family="residual", label="PIA", start="proximal", t=200, norm=4)
SECMI = ResidualAttack(family="residual", label="SecMI", start="inverted", t=100, k=10, norm="inf", anchor="xt")
FLOW = ProbabilityFlowAttack(family="probability_flow", label="PIA (Eq. 14)", t=200, norm=4)
COLUMNS = {  # of the definitions at the top of the table of attacks
    "naive": (NAIVE, 350, "gaussian.t350:0-1:l2", "gaussian.t350:0-2:l2"),
    "naive at the target's timestep": (NAIVE, 100, "gaussian.t100:0-1:l2", "gaussian.t100:0-2:l2"),
    "pia": (PIA, 200, "proximal.t200:0-1:l4", "proximal.t200:0-2:l4"),
    "secmi": (SECMI, 100, "inverted.t100.k10.xt:0-1:linf", "inverted.t100.k10.xt:0-2:linf"),
    "probability flow": (FLOW, 200, "proximal.t200:drift1:l4", "proximal.t200:drift2:l4"),
}


@pytest.fixture
def residuals(tmp_path):
    """A residual table of random numbers, with neighbours of each column that must not be taken for it."""
    probes = ["gaussian.t350", "gaussian.t100", "gaussian.t350.draw1", "proximal.t200", "proximal_normalised.t200"]
    probes += ["inverted.t100.k10", "inverted.t100.k10.xt"]
    names = [f"{probe}:{pair}:l{p}" for probe in probes for pair in ("0-1", "0-2", "1-2") for p in (1, 2, 4, "inf")]
    names += [f"proximal.t200:drift{n}:l{p}" for n in (0, 1, 2) for p in (1, 2, 4, "inf")]
    columns = dict(zip(names, np.random.default_rng(0).random((len(names), 5)), strict=True))
    return write(tmp_path / "residuals.parquet", columns)


def write(path, columns):
    table = pa.table({"sample_id": IDS, "role": ROLES, "label": [0] * 5} | columns)
    pq.write_table(table.replace_schema_metadata(HASHES | {"schema_version": "1"}), path)
    return path


def score(residuals, out, t=350):
    return score_attacks({"naive": (NAIVE, t)}, residuals, out)


def test_scores_are_the_attacks_columns_of_members_and_non_members(residuals, tmp_path):
    attacks = {name: (spec, t) for name, (spec, t, *_) in COLUMNS.items()}
    hashes = score_attacks(attacks, residuals, tmp_path / "scores.parquet")
    table = pq.read_table(residuals).to_pandas().set_index("sample_id")
    judged = [2, 5, 7, 11]  # all but the auxiliary sample
    found = read_scores(tmp_path / "scores.parquet", SPLIT)
    assert list(found) == list(COLUMNS)
    for name, (*_, base, oms) in COLUMNS.items():
        expected = pd.DataFrame(
            {
                "sample_id": judged,
                "member": [True, False, False, True],
                "role": "eval",
                "base": table.loc[judged, base].to_numpy(),
                "oms": table.loc[judged, oms].to_numpy(),
            }
        )
        pd.testing.assert_frame_equal(found[name], expected, check_exact=True)
    assert hashes == HASHES
    metadata = pq.read_schema(tmp_path / "scores.parquet").metadata
    assert metadata == {key.encode(): value.encode() for key, value in HASHES.items()}


@pytest.mark.parametrize("role", ["auxiliary", "trained"])
def test_only_members_and_non_members_are_scored(role, tmp_path):
    columns = {"gaussian.t350:0-1:l2": np.arange(5.0), "gaussian.t350:0-2:l2": np.arange(5.0)}
    path = write(tmp_path / "residuals.parquet", columns | {"role": ["member", role, "non_member", role, "member"]})
    score(path, tmp_path / "scores.parquet")
    scores = read_scores(tmp_path / "scores.parquet", SPLIT)["naive"]
    assert scores["base"].tolist() == [0, 2, 4]


def test_scores_of_another_split_are_refused(residuals, tmp_path):
    score(residuals, tmp_path / "scores.parquet")
    with pytest.raises(DiffmiaError, match="scores of split aaaaaaaaaaaa, and they are to be judged by split bbbb"):
        read_scores(tmp_path / "scores.parquet", "bbbb")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("column", "variant"), [("gaussian.t350:0-1:l2", "base"), ("gaussian.t350:0-2:l2", "oms")])
def test_a_score_that_is_no_number_is_refused(column, variant, bad, tmp_path):
    columns = {"gaussian.t350:0-1:l2": np.ones(5), "gaussian.t350:0-2:l2": np.ones(5)}
    columns[column] = np.array([1, np.nan, bad, 1, bad])  # the auxiliary sample is not judged
    path = write(tmp_path / "residuals.parquet", columns)
    message = rf"{variant} scores of attack 'naive': 2 of 4 are NaN or infinite \(first sample ids: 5, 11\)"
    with pytest.raises(DiffmiaError, match=message):
        score(path, tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()


def test_a_table_without_the_attacks_columns_is_refused(residuals, tmp_path):
    with pytest.raises(DiffmiaError, match=r"no column for attack 'naive' at t = 50: .*gaussian\.t50:0-1:l2"):
        score(residuals, tmp_path / "scores.parquet", t=50)


@pytest.mark.parametrize(
    ("attack", "t", "reason"),
    [
        (SECMI, 100, None),
        (SECMI, 0, None),
        (SECMI, 980, None),
        (SECMI, 95, "its timestep 95 is not a multiple of its inversion step k = 10"),
        (SECMI, 990, "it asks the model at timestep 1000, and the target's last is 999"),
        (NAIVE, 999, None),
        (NAIVE, 1000, "it asks the model at timestep 1000, and the target's last is 999"),
    ],
)
def test_timesteps_the_model_does_not_have_are_refused(attack, t, reason):
    model = {"channels": [32]}
    target = DDPMUNet(family="ddpm_unet", split="toy", model=model, training={"epochs": 1})
    assert attack.refuses(target, t, None) == reason


@pytest.mark.parametrize(
    ("attack", "t", "base", "oms"),
    [(NAIVE, 350, 1, 2), (PIA, 200, 2, 3), (FLOW, 200, 2, 3), (SECMI, 100, 12, 13), (SECMI, 90, 11, 12)],
)
def test_queries_are_those_of_the_papers(attack, t, base, oms):
    assert attack.queries(t) == {"base": base, "oms": oms}


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"start": "inverted"}, "k is needed"),
        ({"start": "gaussian", "k": 10}, "k is needed"),
        ({"start": "proximal", "anchor": "xt"}, "anchor is for start: inverted"),
        ({"start": "proximal", "draw": 1}, "draw is for start: gaussian"),
        ({"start": "gaussian", "norm": 7}, "norm"),
    ],
)
def test_keys_of_another_start_are_refused(keys, reason):
    with pytest.raises(ValidationError, match=reason):
        ResidualAttack(**{"family": "residual", "label": "toy", "t": 100, "norm": 2} | keys)
