"""The gradient pass: the losses of GSA with and without one more step, against autograd on one sample at a time."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from diffmia.passes import engine
from diffmia.passes.engine import ModelPass, run_pass
from diffmia.passes.gradients import answer, count_evaluations
from diffmia.passes.inputs import Pixels
from diffmia.passes.store import PieceStore
from diffmia.passes.table import Samples
from diffmia.search.noise import sample_noise
from diffmia.search.probes import GradientProbe
from tests.unit.sharded import in_shards

CPU = torch.device("cpu")
SEED = 5
TIMESTEPS = (0, 300, 900)
LOSSES = ("base", "detached", "training", "full")
PROBES = [GradientProbe(loss=loss, timesteps=TIMESTEPS) for loss in LOSSES]


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    return Samples(Pixels(images), np.array([1, 4, 5, 8]), np.array(["member"] * 4), np.zeros(4, np.int64))


@pytest.fixture(scope="module")
def columns(tiny_target, samples):
    torch.manual_seed(0)  # the weights of `tiny_unet`
    tiny_unet = tiny_target.build((1, 8, 8)).eval().requires_grad_(False)
    return answer(tiny_unet, samples.inputs.batch(samples.ids, ["none"], CPU), PROBES, SEED)


def by_hand(model, image, sample_id, loss, draws):
    """Gradients of one sample's loss at each (draw, timestep) in `draws`, written out with autograd."""
    parameters = [p.requires_grad_(True) for p in model.parameters()]
    x0 = torch.from_numpy(image / 127.5 - 1).float()[None]
    found = []
    for draw, t in draws:
        e0 = torch.from_numpy(sample_noise(SEED, np.array([sample_id]), (1, 8, 8), draw))

        def f(epsilon, t=t):
            alpha_bar = torch.as_tensor(model.schedule.alpha_bar(t)).float()
            return model.predict_noise(alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * epsilon, t)

        e1 = f(e0)
        e2 = f(e1 if loss == "full" else e1.detach())
        value = {
            "base": (e0 - e1).square().mean(),
            "detached": (e0 - e2).square().mean(),
            "full": (e0 - e2).square().mean(),
            "training": (e1.detach() - e2).square().mean(),
        }[loss]
        found.append(torch.autograd.grad(value, parameters))
    for parameter in parameters:
        parameter.requires_grad_(False)
    return found


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.loss)
def test_norms_are_those_of_each_samples_own_gradients(probe, columns, tiny_unet, samples):
    for row, sample_id in enumerate(samples.ids):
        gradients = by_hand(
            tiny_unet, samples.inputs.images[sample_id], sample_id, probe.loss, list(enumerate(TIMESTEPS))
        )
        for name, of_t in zip(probe.timestep_columns, gradients, strict=True):
            expected = np.array([g.norm().item() for g in of_t])
            np.testing.assert_allclose(columns[name][row], expected, rtol=1e-3, atol=1e-5 * expected.max())
        mean = [torch.stack(parts).mean(0).norm().item() for parts in zip(*gradients, strict=True)]
        np.testing.assert_allclose(columns[probe.mean_column][row], mean, rtol=1e-3, atol=1e-5 * max(mean))


def test_every_column_of_every_probe_is_there(columns, tiny_unet):
    tensors = len(list(tiny_unet.parameters()))
    assert set(columns) == {name for probe in PROBES for name in probe.columns()}
    assert {values.shape for values in columns.values()} == {(4, tensors)}
    assert {values.dtype for values in columns.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.loss)
def test_a_loss_does_not_depend_on_which_others_are_asked(probe, columns, tiny_unet, samples):
    alone = answer(tiny_unet, samples.inputs.batch(samples.ids, ["none"], CPU), [probe], SEED)
    for name in probe.columns():
        np.testing.assert_allclose(alone[name], columns[name], rtol=1e-5)


def test_the_readings_of_one_more_step_differ(columns):
    of = {probe.loss: columns[probe.mean_column] for probe in PROBES}
    for one in LOSSES:
        for other in set(LOSSES) - {one}:
            assert not np.allclose(of[one], of[other], rtol=1e-2)


@pytest.mark.parametrize(
    ("losses", "evaluations"),
    [
        (["base"], 3),  # a query and a backward pass, which counts as two
        (["detached"], 4),  # epsilon^1, then a query and a backward pass
        (["base", "detached"], 6),  # epsilon^1 is the first's own
        (["base", "detached", "training"], 8),  # the second query is shared
        (["full"], 6),
        (list(LOSSES), 14),
    ],
)
def test_what_is_shared_is_asked_once(losses, evaluations, tiny_unet, samples):
    probes = [GradientProbe(loss=loss, timesteps=TIMESTEPS) for loss in losses]
    assert count_evaluations(probes) == evaluations * len(TIMESTEPS)
    asked = []
    predict = tiny_unet.predict_noise
    tiny_unet.predict_noise = lambda x_t, t, condition=None: asked.append(len(x_t)) or predict(x_t, t, condition)
    answer(tiny_unet, samples.inputs.batch(samples.ids, ["none"], CPU), probes, SEED)
    backward = len(set(losses) - {"full"}) + 2 * ("full" in losses)
    assert sum(asked) == (evaluations - 2 * backward) * len(TIMESTEPS) * len(samples.ids)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_a_probe_costs_alone(loss):
    probe = GradientProbe(loss=loss, timesteps=TIMESTEPS)
    assert probe.cost() == count_evaluations([probe])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_changes_no_number(batch_size, columns, tiny_unet, samples):
    model_pass = ModelPass(tiny_unet, PROBES, answer, SEED, batch_size, CPU)
    again = model_pass.block(samples.inputs, samples.ids, PROBES)
    for name, values in columns.items():
        np.testing.assert_allclose(again[name], values, rtol=1e-3, atol=1e-6 * values.max())


@pytest.mark.parametrize("shards", [2, 4])  # of three blocks: one of four shards is empty
def test_shards_change_no_bit(shards, tiny_unet, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "BLOCK", 2)
    ids = np.array([1, 2, 4, 5, 8])
    five = Samples(samples.inputs, ids, np.array(["member", "auxiliary"])[ids % 2], ids)
    probes = [GradientProbe(loss=loss, timesteps=(300, 900)) for loss in ("detached", "full")]

    def model_pass():
        return ModelPass(tiny_unet, probes, answer, SEED, 2, CPU)

    whole = in_shards(model_pass, five, 1, tmp_path / "whole")
    assert whole["sample_id"].to_pylist() == ids.tolist()
    assert in_shards(model_pass, five, shards, tmp_path / "shards").equals(whole, check_metadata=True)


def test_the_table_keeps_vectors_and_a_later_pass_asks_only_what_is_new(columns, tiny_unet, samples, tmp_path):
    store = PieceStore(tmp_path / "store", {})
    for probes, queries in ((PROBES[:1], 1), (PROBES[:1], 0), (PROBES[:2], 2)):
        model_pass = ModelPass(tiny_unet, probes, answer, SEED, 256, CPU)
        facts = run_pass(model_pass, samples, store, tmp_path / "table.parquet", {"split_hash": "s"})
        assert facts["queries_made"] == queries * len(TIMESTEPS) * len(samples.ids)
    table = pq.read_table(tmp_path / "table.parquet")
    for name in [name for probe in PROBES[:2] for name in probe.columns()]:
        np.testing.assert_allclose(np.stack(table[name].to_pylist()), columns[name], rtol=1e-5)
