"""The residual pass: what it asks, what it keeps, and that nothing but the sample decides a number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from diffmia.attacks.residual import ResidualAttack
from diffmia.config.config import load_config
from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import ContinuousSchedule
from diffmia.errors import DiffmiaError
from diffmia.models.base import ArithmeticSpec
from diffmia.passes import engine, gate
from diffmia.passes.engine import ModelPass, run_pass
from diffmia.passes.inputs import Pixels
from diffmia.passes.merging import merge_facts, merge_shards
from diffmia.passes.residuals import answer, count_evaluations
from diffmia.passes.stage import _QUESTION, run_shard
from diffmia.passes.store import PieceStore
from diffmia.passes.table import Samples
from diffmia.running.failures import OutOfMemory
from diffmia.search.noise import sample_noise
from diffmia.search.noise_search import NoiseSearch
from diffmia.search.probes import DifferenceMap, Drift, Probe, merge
from diffmia.shards import shard_ids
from diffmia.splits import roles_of
from diffmia.targets import weights_hash
from tests.unit.sharded import in_shards

CPU = torch.device("cpu")
SEED = 11
# the paper's attacks at the paper's timesteps
NAIVE = Probe(start="gaussian", t=350)
SECMI = Probe(start="inverted", t=100, k=10)
PIA = Probe(start="proximal", t=200)
PIAN = Probe(start="proximal_normalised", t=200)
SECMI_T90 = Probe(start="inverted", t=90, k=10)
SECMI_XT = Probe(start="inverted", t=100, k=10, anchor="xt")
PAPER = [NAIVE, SECMI, PIA]
ALL = [*PAPER, PIAN, SECMI_T90, SECMI_XT]


class Wrapped(Denoiser):
    """A model with something done to what it answers; remembers every question as (t, x_t)."""

    def __init__(self, model: Denoiser, answer=lambda asked, epsilon: epsilon):
        super().__init__()
        self.model, self.schedule, self.answer = model, model.schedule, answer
        self.asked: list[tuple[int, torch.Tensor]] = []

    def predict_noise(self, x_t, t, condition=None):
        self.asked.append((t, x_t.clone()))
        return self.answer(self.asked, self.model.predict_noise(x_t, t, condition))


def make_samples(n: int) -> Samples:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * n, 1, 8, 8), dtype=np.uint8)
    ids = np.sort(rng.choice(2 * n, n, replace=False))
    return Samples(Pixels(images), ids, rng.choice(["member", "non_member", "auxiliary"], n), rng.integers(0, 10, n))


SAMPLES = make_samples(12)


class Workplace:
    """Passes that share a store in a folder."""

    def __init__(self, folder: Path, context: dict | None = None):
        self.folder, self.store = folder, PieceStore(folder / "store", context or {"target_hash": "a"})

    def run(self, model, probes, samples=SAMPLES, batch_size=256, out="table.parquet", metadata=None):
        """A pass; returns its table and the model queries it made, per sample."""
        model_pass = ModelPass(model, merge(probes), answer, SEED, batch_size, CPU)
        facts = run_pass(model_pass, samples, self.store, self.folder / out, metadata or {"split_hash": "s"})
        return pq.read_table(self.folder / out).to_pandas(), facts["queries_made"] / len(samples.ids)

    def pieces(self) -> list[Path]:
        return list((self.folder / "store").rglob("*.parquet"))


@pytest.fixture
def workplace(tmp_path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def blocks_of_4(monkeypatch) -> None:
    monkeypatch.setattr(engine, "BLOCK", 4)


@pytest.mark.parametrize(
    ("probes", "queries"),
    [
        (PAPER, 17),
        ([*PAPER, SECMI_T90], 18),
        ([*PAPER, PIAN], 19),
        ([NAIVE], 2),
        ([PIA], 3),
        ([PIAN], 3),
        ([SECMI], 13),
        ([SECMI_T90], 12),
        ([SECMI, SECMI_XT], 14),
        ([Probe(start="inverted", t=0, k=10)], 3),
        ([Probe(start="gaussian", t=350, n=3)], 3),
    ],
)
def test_a_pass_makes_each_query_once(probes, queries, tiny_unet, workplace):
    model = Wrapped(tiny_unet)
    _, made = workplace.run(model, probes)
    assert made == queries == count_evaluations(merge(probes))
    assert len(model.asked) == queries  # one batch
    assert len({(t, x_t.numpy().tobytes()) for t, x_t in model.asked}) == queries


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("probe", ALL, ids=lambda probe: probe.name)
def test_queries_of_a_probe_alone(probe, n):
    assert probe.queries(n) == count_evaluations([probe.model_copy(update={"n": n})])


@pytest.mark.parametrize(("further", "queries"), [([], 17), (["secmi_t90"], 18), (["pian"], 19)])
def test_attacks_as_shipped_cost_together(further, queries):
    attacks = load_config(yaml.safe_load(Path(__file__).parents[2].joinpath("config.yaml").read_text())).attacks
    chosen = [attacks[id_] for id_ in ("naive", "secmi", "pia", *further)]
    assert count_evaluations(merge([probe for attack in chosen for probe in attack.questions(attack.t)])) == queries


def same_scores(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """All that attacks score by agrees: to 1e-5, and to 1e-4 after a chain of queries."""
    one, other = one.set_index("sample_id"), other.set_index("sample_id")
    scores = [name for name in one if ":0-1:" in name or ":0-2:" in name]
    assert len(scores) == 2 * 7 * len(ALL)
    for name in scores:
        rtol = 1e-4 if name.startswith("inverted") else 1e-5
        np.testing.assert_allclose(other.loc[one.index, name], one[name], rtol=rtol, err_msg=name)


@pytest.fixture
def reference(tiny_unet, tmp_path) -> pd.DataFrame:
    return Workplace(tmp_path / "reference").run(tiny_unet, ALL, batch_size=256)[0]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_changes_no_number(batch_size, reference, tiny_unet, workplace):
    table, _ = workplace.run(tiny_unet, ALL, batch_size=batch_size)
    same_scores(reference, table)


@pytest.mark.usefixtures("blocks_of_4")
@pytest.mark.parametrize("shards", [1, 3, 5])  # of three blocks: two of five shards are empty
def test_shards_change_no_number(shards, reference, tiny_unet, tmp_path):
    def model_pass():
        return ModelPass(tiny_unet, merge(ALL), answer, SEED, 256, CPU)

    merged = in_shards(model_pass, SAMPLES, shards, tmp_path / "shards")
    assert merged.schema.metadata == {b"split_hash": b"s"}
    assert merged.equals(in_shards(model_pass, SAMPLES, 1, tmp_path / "whole"))  # to the last bit
    same_scores(reference, merged.to_pandas())
    described = ["sample_id", "role", "label"]
    pd.testing.assert_frame_equal(merged.to_pandas()[described], reference[described])


@pytest.mark.usefixtures("blocks_of_4")
def test_shards_with_samples_in_common_are_not_joined(tiny_unet, workplace):
    workplace.run(tiny_unet, [NAIVE], out="0.parquet")
    with pytest.raises(DiffmiaError, match="have samples in common"):
        merge_shards([workplace.folder / "0.parquet"] * 2, workplace.folder / "merged.parquet")
    assert not (workplace.folder / "merged.parquet").exists()


def test_a_shard_that_is_no_whole_file_is_named(tiny_unet, workplace):
    workplace.run(tiny_unet, [NAIVE], out="0.parquet")
    whole = (workplace.folder / "0.parquet").read_bytes()
    (workplace.folder / "1.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DiffmiaError, match=r"1\.parquet is not a whole parquet file .* remove it and run again"):
        merge_shards([workplace.folder / f"{i}.parquet" for i in (0, 1)], workplace.folder / "merged.parquet")
    assert not (workplace.folder / "merged.parquet").exists()


@pytest.mark.parametrize("shards", [[(0, 3), (2, 3)], [(0, 2), (0, 2)], [(0, 2), (1, 3)]], ids=str)
def test_facts_of_a_pass_are_those_of_each_shard_once(tmp_path, shards):
    paths = [tmp_path / f"{i}.meta.json" for i in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        path.write_text(json.dumps({"shard": shard}))
    with pytest.raises(DiffmiaError, match=r"must be of 2 shards of one pass, each once, and are of shards \d of \d"):
        merge_facts(paths)


@pytest.mark.parametrize(
    ("of_shards", "merged"),
    [
        ([None, None], {}),
        ([("tf32", 0.9999), ("tf32", 0.9995)], {"arithmetic": "tf32", "rank_agreement": 0.9995}),
        ([None, ("tf32", 0.9999)], {"arithmetic": "float32 + tf32", "rank_agreement": 0.9999}),  # one had no GPU
    ],
)
def test_facts_of_a_pass_name_every_arithmetic_of_its_shards(tmp_path, of_shards, merged):
    paths = [tmp_path / f"{i}.meta.json" for i in range(2)]
    same = dict.fromkeys(("schema_version", "split_hash", "dataset_hash", "target_hash", "evaluations_per_sample"), 1)
    same |= {"samples": 4, "queries_made": 8, "seconds": 1.0, "device": "cpu x1"}
    for number, (path, faster) in enumerate(zip(paths, of_shards, strict=True)):
        found = {} if faster is None else dict(zip(("arithmetic", "rank_agreement"), faster, strict=True))
        path.write_text(json.dumps({"shard": [number, 2]} | same | found))
    facts = merge_facts(paths)
    assert {key: facts[key] for key in facts if key in ("arithmetic", "rank_agreement")} == merged


@pytest.mark.parametrize(("n", "shards"), [(10, 1), (10, 3), (2, 4), (40, 3)])
def test_shards_are_runs_of_whole_blocks(n, shards):
    parts = [shard_ids(np.arange(n), shard, shards, block=4) for shard in range(shards)]
    assert np.concatenate(parts).tolist() == list(range(n))
    assert all(part[0] % 4 == 0 for part in parts if len(part))
    blocks = [-(-len(part) // 4) for part in parts]
    assert max(blocks) - min(blocks) <= 1


def test_order_of_samples_changes_no_number(reference, tiny_unet):
    order = np.random.default_rng(1).permutation(len(SAMPLES.ids))
    columns = ModelPass(tiny_unet, ALL, answer, SEED, 5, CPU).block(SAMPLES.inputs, SAMPLES.ids[order], ALL)
    same_scores(reference, pd.DataFrame({"sample_id": SAMPLES.ids[order]} | columns))


@pytest.mark.parametrize("probe", ALL, ids=lambda probe: probe.name)
def test_other_probes_change_no_number(probe, reference, tiny_unet, workplace):
    table, _ = workplace.run(tiny_unet, [probe])
    pd.testing.assert_frame_equal(table, reference[table.columns], check_exact=True)


def test_a_further_probe_costs_its_own_queries(tiny_unet, workplace):
    workplace.run(tiny_unet, PAPER)
    assert workplace.run(tiny_unet, PAPER)[1] == 0
    sweep = PIA.model_copy(update={"t": 150})
    table, made = workplace.run(tiny_unet, [*PAPER, sweep])
    assert made == 3  # epsilon_theta(x0, 0) and two iterates
    alone, _ = Workplace(workplace.folder / "alone").run(tiny_unet, [*PAPER, sweep])
    pd.testing.assert_frame_equal(table, alone, check_exact=True)
    assert workplace.run(tiny_unet, [SECMI])[1] == 0  # fewer cost nothing


@pytest.mark.usefixtures("blocks_of_4")
def test_a_pass_that_dies_resumes_at_the_unfinished_block(tiny_unet, workplace):
    whole, _ = Workplace(workplace.folder / "whole").run(tiny_unet, PAPER, batch_size=2)

    def dies(asked, epsilon):
        if len(asked) > 2 * 17 + 20:  # in the second batch of the second block of three
            raise KeyboardInterrupt
        return epsilon

    with pytest.raises(KeyboardInterrupt):
        workplace.run(Wrapped(tiny_unet, dies), PAPER, batch_size=2)
    assert not (workplace.folder / "table.parquet").exists()
    resumed, made = workplace.run(tiny_unet, PAPER, batch_size=2)
    assert made == 17 * 8 / 12
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


def test_samples_are_answered_in_order_over_blocks_and_batches(reference, tiny_unet, workplace, monkeypatch):
    monkeypatch.setattr(engine, "BLOCK", 5)
    table, _ = workplace.run(tiny_unet, ALL, batch_size=2)
    assert table["sample_id"].tolist() == SAMPLES.ids.tolist()
    assert table["role"].tolist() == SAMPLES.roles.tolist()
    assert table["label"].tolist() == SAMPLES.labels.tolist()
    same_scores(reference, table)


@pytest.mark.parametrize("key", ["target_hash", "dataset_hash", "code", "seed"])
def test_another_context_shares_nothing(key, tiny_unet, tmp_path):
    context = {"target_hash": "a", "dataset_hash": "b", "code": "c", "seed": 1}
    Workplace(tmp_path, context).run(tiny_unet, PAPER)
    assert Workplace(tmp_path, context).run(tiny_unet, PAPER)[1] == 0
    assert Workplace(tmp_path, context | {key: 2}).run(tiny_unet, PAPER)[1] == 17


@pytest.mark.usefixtures("blocks_of_4")
def test_nan_ends_the_pass_with_count_and_ids(tiny_unet, workplace):
    def breaks(asked, epsilon):
        return torch.where(torch.tensor([False, True, False, True])[:, None, None, None], torch.nan, epsilon)

    with pytest.raises(DiffmiaError, match=rf"2 of 4 .*\(first sample ids: {SAMPLES.ids[1]}, {SAMPLES.ids[3]}\)"):
        workplace.run(Wrapped(tiny_unet, breaks), PAPER)
    assert not workplace.pieces()
    assert not (workplace.folder / "table.parquet").exists()


def test_batches_are_halved_until_they_fit_in_memory(tiny_unet, workplace):
    def needs_memory(asked, epsilon):
        if len(epsilon) > 3 and len(asked) % 17 == 5:  # somewhere within a pass
            raise torch.OutOfMemoryError("no memory left")
        return epsilon

    model = Wrapped(tiny_unet, needs_memory)
    table, _ = workplace.run(model, PAPER, batch_size=12)
    assert len(model.asked[-1][1]) == 3
    small, _ = Workplace(workplace.folder / "small").run(tiny_unet, PAPER, batch_size=3)
    pd.testing.assert_frame_equal(table, small, check_exact=True)


def test_a_sample_that_does_not_fit_in_memory_ends_the_pass(tiny_unet, workplace):
    def never_fits(asked, epsilon):
        raise torch.OutOfMemoryError("no memory left")

    with pytest.raises(OutOfMemory, match="what one of the samples takes does not fit in the device"):
        workplace.run(Wrapped(tiny_unet, never_fits), PAPER)
    assert not (workplace.folder / "table.parquet").exists()


def test_the_table_has_a_column_for_every_pair_and_norm(tiny_unet, workplace):
    probes = [Probe(start="gaussian", t=350, n=3), Probe(start="gaussian", t=50, n=1, draw=2), SECMI_XT, PIAN]
    table, _ = workplace.run(tiny_unet, probes, metadata={"split_hash": "s", "target_hash": "t"})
    pairs = {
        "gaussian.t350": ["0-1", "0-2", "0-3", "1-2", "1-3", "2-3"],
        "gaussian.t50.draw2": ["0-1"],
        "inverted.t100.k10.xt": ["0-1", "0-2", "1-2"],
        "proximal_normalised.t200": ["0-1", "0-2", "1-2"],
    }
    columns = {f"{probe}:{i}:l{p}" for probe in pairs for i in pairs[probe] for p in (1, 2, 3, 4, 5, 6, "inf")}
    assert list(table)[:3] == ["sample_id", "role", "label"]
    assert set(table) == columns | {"sample_id", "role", "label"}
    assert len(table.columns) == 3 + len(columns)
    assert (table.dtypes[list(columns)] == "float64").all()
    metadata = pq.read_schema(workplace.folder / "table.parquet").metadata
    assert metadata == {b"split_hash": b"s", b"target_hash": b"t"}


@pytest.mark.parametrize("probe", ALL, ids=lambda probe: probe.name)
def test_a_column_is_the_norm_of_its_pair_of_iterates(probe, tiny_unet, workplace):
    table, _ = workplace.run(tiny_unet, [probe])
    x0 = torch.from_numpy(SAMPLES.inputs.images[SAMPLES.ids] / 127.5 - 1).float()
    gaussian = torch.from_numpy(sample_noise(SEED, SAMPLES.ids, (1, 8, 8)))
    iterates = NoiseSearch(tiny_unet, x0, lambda draw: gaussian).iterates(probe)
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        for p in (1, 2, 3, 4, 5, 6, "inf"):
            residual = (iterates[i] - iterates[j]).flatten(1).double().numpy()
            expected = np.linalg.norm(residual, ord=float(p), axis=1)
            np.testing.assert_allclose(table[f"{probe.name}:{i}-{j}:l{p}"], expected, rtol=1e-3)


@pytest.mark.parametrize("other", [{"probes": [PIA]}, {"metadata": {"split_hash": "another"}}])
def test_shards_of_different_passes_are_not_joined(other, tiny_unet, workplace):
    workplace.run(tiny_unet, **{"probes": [NAIVE], "out": "0.parquet"})
    workplace.run(tiny_unet, **{"probes": [NAIVE], "out": "1.parquet"} | other)
    with pytest.raises(DiffmiaError, match=r"1\.parquet was made by another pass than .*0\.parquet"):
        merge_shards([workplace.folder / f"{i}.parquet" for i in (0, 1)], workplace.folder / "merged.parquet")
    assert not (workplace.folder / "merged.parquet").exists()


class Stage:
    """`run_shard` on files in a folder, for the tiny U-Net."""

    def __init__(self, folder: Path, spec, model: Denoiser):
        self.folder, self.spec = folder, spec
        naive = ResidualAttack(family="residual", label="NA", start="gaussian", t=NAIVE.t, norm=2)
        self.attacks = {"naive": (naive, NAIVE.t)}  # by which a faster precision would be judged
        self.job = {"questions": [probe.model_dump() for probe in merge(PAPER)], "numerics": "c", "seed": SEED}
        self.split = {
            "split_hash": "s",
            "dataset_hash": "d",
            "dataset": "toy",
            "seed": 0,
            "member": [1, 6],
            "non_member": [0, 9],
            "auxiliary": [3],
        }
        rng = np.random.default_rng(2)
        np.save(folder / "images.npy", rng.integers(0, 256, (10, 1, 8, 8), dtype=np.uint8))
        labels = pd.DataFrame({"sample_id": np.arange(10)[::-1], "label": np.arange(10)[::-1] % 4})
        labels.to_parquet(folder / "samples.parquet")
        spec.save(model, folder / "target")
        (folder / "split.json").write_text(json.dumps(self.split))
        self.describe()

    def describe(self) -> None:
        hashes = {"target_hash": weights_hash(self.folder / "target"), "split_hash": self.split["split_hash"]}
        (self.folder / "target" / "target.json").write_text(json.dumps(hashes))

    def computes(self, **arithmetic) -> None:
        """In arithmetic that is named by kind of device, from now on."""
        self.spec = self.spec.model_copy(update={"arithmetic": ArithmeticSpec(**arithmetic)})

    def run(self, **changed) -> dict:
        job = json.dumps(self.job | changed)
        files = {"samples": "samples.parquet", "split": "split.json", "out": "out.parquet"}
        paths = {key: self.folder / name for key, name in files.items()}
        inputs = Pixels(np.load(self.folder / "images.npy"))
        of = self.folder / "target", inputs
        return run_shard("residuals", self.spec, job, (0, 1), *of, device=CPU, attacks=self.attacks, **paths)


@pytest.fixture
def stage(tmp_path, monkeypatch, tiny_target, tiny_unet) -> Stage:
    monkeypatch.chdir(tmp_path)
    return Stage(tmp_path, tiny_target, tiny_unet)


def test_a_faster_precision_is_a_pass_of_its_own(stage, monkeypatch):
    exact = stage.run()
    monkeypatch.setattr(gate, "LEAST", -1.0)  # four samples: two that change places are enough to refuse it
    stage.computes(cuda={"precision": "bfloat16"})
    assert stage.run()["queries_made"] == 0  # that is for another kind of device than this
    stage.computes(cpu={"precision": "bfloat16"})
    faster = stage.run()
    assert faster["queries_made"] == exact["queries_made"]  # nothing of the first was taken for the second
    assert faster["arithmetic"] == "bfloat16"
    assert -1 <= faster["rank_agreement"] <= 1
    assert not {"arithmetic", "rank_agreement"} & set(exact)
    monkeypatch.setattr(gate, "LEAST", 1.1)
    with pytest.raises(DiffmiaError, match="leave arithmetic: cpu out of this target"):
        stage.run()
    stage.computes()
    assert stage.run()["queries_made"] == 0


def test_the_stage_probes_all_roles_and_ties_the_table_to_its_split(stage):
    facts = stage.run()
    table = pq.read_table(stage.folder / "out.parquet")
    described = table.select(["sample_id", "role", "label"]).to_pydict()
    assert described == {
        "sample_id": [0, 1, 3, 6, 9],
        "role": ["non_member", "member", "auxiliary", "member", "non_member"],
        "label": [0, 1, 3, 2, 1],
    }
    hashes = {
        key: table.schema.metadata[key.encode()].decode() for key in ("split_hash", "dataset_hash", "target_hash")
    }
    assert hashes == {"split_hash": "s", "dataset_hash": "d", "target_hash": weights_hash(stage.folder / "target")}
    assert facts["queries_made"] == 17 * 5
    assert facts["evaluations_per_sample"] == 17


def test_the_stage_asks_anew_under_another_schedule(stage):
    """Folders of some families have no schedule, so that the hash of the weights does not tell."""
    first = stage.run()
    schedule = stage.spec.schedule.model_copy(update={"beta_end": 0.03})
    stage.spec = stage.spec.model_copy(update={"schedule": schedule})
    assert stage.run()["queries_made"] == first["queries_made"]


@pytest.mark.parametrize("changed", [{"numerics": "another"}, {"seed": SEED + 1}])
def test_the_stage_asks_anew_when_code_or_seed_changed(changed, stage):
    stage.run()
    assert stage.run()["queries_made"] == 0
    assert stage.run(**changed)["queries_made"] == 17 * 5


def test_the_stage_asks_anew_when_the_weights_changed(stage, tiny_target):
    stage.run()
    tiny_target.save(tiny_target.build((1, 8, 8)), stage.folder / "target")
    stage.describe()
    assert stage.run()["queries_made"] == 17 * 5


class TestDifferenceMaps:
    """|epsilon^0 - epsilon^j| at every pixel, beside the norms, from the same queries."""

    MAPS = DifferenceMap(of=SECMI)

    def test_they_are_the_differences_of_the_iterates(self, tiny_unet, workplace):
        table, _ = workplace.run(tiny_unet, [self.MAPS])
        x0 = torch.from_numpy(SAMPLES.inputs.images[SAMPLES.ids] / 127.5 - 1).float()
        e0, e1, e2 = NoiseSearch(tiny_unet, x0, lambda draw: None).iterates(SECMI)
        for j, epsilon in ((1, e1), (2, e2)):
            expected = (e0 - epsilon).abs().flatten(1).numpy()
            np.testing.assert_allclose(np.stack(table[self.MAPS.column(j)]), expected, rtol=1e-3, atol=1e-6)

    def test_they_cost_no_query_beside_the_norms(self, tiny_unet, workplace):
        table, made = workplace.run(tiny_unet, [SECMI, self.MAPS])
        assert made == 13 == count_evaluations([SECMI, self.MAPS])
        of_maps = np.linalg.norm(np.stack(table[self.MAPS.column(1)]).astype(np.float64), axis=1)
        np.testing.assert_allclose(of_maps, table[f"{SECMI.name}:0-1:l2"], rtol=1e-5)

    def test_asked_for_later_they_cost_their_own(self, tiny_unet, workplace):
        workplace.run(tiny_unet, [SECMI])
        assert workplace.run(tiny_unet, [SECMI, self.MAPS])[1] == 13
        assert workplace.run(tiny_unet, [self.MAPS])[1] == 0


class TestDrifts:
    """The norms of PIA's Eq. 14 beside those of the same search, from the same queries."""

    OF = Probe(start="proximal", t=200)

    def test_they_are_those_of_the_search(self, tiny_unet, workplace):
        model = Wrapped(tiny_unet)
        model.schedule = ContinuousSchedule(0.1, 20.0)
        table, made = workplace.run(model, [self.OF, Drift(of=self.OF)])
        assert made == 3 == count_evaluations([self.OF, Drift(of=self.OF)])
        x0 = torch.from_numpy(SAMPLES.inputs.images[SAMPLES.ids] / 127.5 - 1).float()
        for j, drift in enumerate(NoiseSearch(model, x0, lambda draw: None).drifts(self.OF), start=1):
            for norm, p in (("l4", 4), ("linf", float("inf"))):
                expected = torch.linalg.vector_norm(drift.flatten(1).double(), ord=p, dim=1).detach().numpy()
                np.testing.assert_allclose(table[f"proximal.t200:drift{j}:{norm}"], expected, rtol=1e-4)

    def test_a_question_is_read_back_as_what_it_was(self):
        for question in (self.OF, DifferenceMap(of=self.OF), Drift(of=self.OF)):
            assert _QUESTION.validate_python(question.model_dump(mode="json")) == question

    def test_of_an_inverted_search_there_is_none(self):
        with pytest.raises(ValueError, match="other states"):
            Drift(of=SECMI)


def test_the_gate_judges_the_model_that_is_asked(stage, monkeypatch):
    def backwards(denoiser, *_):
        return Wrapped(denoiser, lambda asked, epsilon: -3 * epsilon)

    monkeypatch.setattr("diffmia.passes.stage.in_arithmetic", backwards)
    stage.computes(cpu={"precision": "bfloat16"})
    with pytest.raises(DiffmiaError, match=r"in bfloat16 attack 'naive' .* ranks 4 samples unlike in float32"):
        stage.run()


def test_the_stage_asks_anew_when_the_data_changed(stage):
    stage.run()
    (stage.folder / "split.json").write_text(json.dumps(stage.split | {"dataset_hash": "another"}))
    assert stage.run()["queries_made"] == 17 * 5


def test_of_a_null_target_the_half_that_it_was_trained_on_is_named(stage):
    stage.split |= {"auxiliary": [2, 3, 4, 5]}
    (stage.folder / "split.json").write_text(json.dumps(stage.split))
    stage.spec = stage.spec.model_copy(update={"auxiliary_half": 0})
    stage.run()
    found = pq.read_table(stage.folder / "out.parquet", columns=["sample_id", "role"]).to_pandas()
    by_role = {role: of["sample_id"].tolist() for role, of in found.groupby("role")}
    assert by_role == {role: ids.tolist() for role, ids in roles_of(stage.split, 0).items()}
    assert len(by_role["trained"]) == 2


def test_a_pass_took_what_its_shards_took_together(tmp_path):
    paths = [tmp_path / f"{i}.meta.json" for i in range(2)]
    same = dict.fromkeys(("schema_version", "split_hash", "dataset_hash", "target_hash", "evaluations_per_sample"), 1)
    for i, path in enumerate(paths):
        took = {"samples": 4 + i, "queries_made": 8 + i, "seconds": 1.5 + i, "device": "cpu x1"}
        path.write_text(json.dumps({"shard": [i, 2], **same, **took}))
    facts = merge_facts(paths)
    assert [facts[key] for key in ("samples", "queries_made", "seconds")] == [9, 17, 4.0]
