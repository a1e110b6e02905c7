"""The Jacobian pass: norms at each iterate, whichever the batch; who is asked about; and the figure of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from matplotlib.colors import to_rgba
from pydantic import ValidationError

from diffmia.config.config import load_config
from diffmia.denoisers.schedules import build_schedule
from diffmia.figures import jacobian_norm
from diffmia.figures.figure import MEMBER, NON_MEMBER, FigureData, save
from diffmia.figures.stage import plot_figure
from diffmia.models.networks.uvit import UViT, UViTDenoiser
from diffmia.models.schedule import ContinuousScheduleSpec
from diffmia.passes import engine
from diffmia.passes.engine import ModelPass, run_pass
from diffmia.passes.inputs import Pixels
from diffmia.passes.jacobians import ITERATIONS, TOLERANCE, answer, count_evaluations
from diffmia.passes.stage import _QUESTION, first_of_each_side
from diffmia.passes.store import PieceStore
from diffmia.passes.table import Samples
from diffmia.planning import jobs
from diffmia.search.jacobian import spectral_norms
from diffmia.search.noise import sample_noise
from diffmia.search.probes import BACKWARD, PRODUCTS, JacobianProbe, Probe
from diffmia.search.studies import StudiesSpec
from tests.unit.sharded import in_shards

CPU = torch.device("cpu")
SEED = 5
STUDIES = StudiesSpec(jacobian_samples=2, jacobian_timesteps=(50, 200), jacobian_iterates=2)
PROBES = STUDIES.jacobian_questions(None)
REPOSITORY = Path(__file__).parents[2]
SHIPPED = (REPOSITORY / "config.yaml").read_text()


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    return Samples(
        Pixels(images), np.array([1, 4, 5, 8]), np.array(["member", "non_member"] * 2), np.zeros(4, np.int64)
    )


def tiny_uvit():
    """All weights are drawn anew, so that the answer depends on the noise."""
    network = UViT(image_size=8, patch_size=2, in_channels=1, width=8, depth=2, heads=2).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return UViTDenoiser(network, build_schedule(ContinuousScheduleSpec(kind="vp_sde")))


@pytest.fixture(scope="module", params=["unet", "uvit"])
def model(request, tiny_target):
    torch.manual_seed(0)
    return tiny_uvit() if request.param == "uvit" else tiny_target.build((1, 8, 8)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def columns(model, samples):
    return answer(model, samples.inputs.batch(samples.ids, ["none"], CPU), PROBES, SEED)


def test_norms_are_those_of_the_map_at_each_iterate(model, columns, samples):
    x0 = torch.from_numpy(samples.inputs.images[samples.ids] / 127.5 - 1).float()
    epsilon_0, start = (torch.from_numpy(sample_noise(SEED, samples.ids, (1, 8, 8), draw)) for draw in (0, 1))
    for t in STUDIES.jacobian_timesteps:
        alpha_bar = torch.as_tensor(model.schedule.alpha_bar(t)).float()

        def f(epsilon, t=t, alpha_bar=alpha_bar):
            return model.predict_noise(alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * epsilon, t)

        epsilon = epsilon_0
        for i in range(3):
            expected = spectral_norms(f, epsilon, start, ITERATIONS, TOLERANCE).norms
            assert (expected > 0).all()
            np.testing.assert_allclose(columns[f"jacobian.gaussian.t{t}:{i}"], expected, rtol=1e-5)
            epsilon = f(epsilon)
    assert set(columns) == {name for probe in PROBES for name in probe.columns()}
    assert {(values.shape, values.dtype) for values in columns.values()} == {((4,), np.dtype("float64"))}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_changes_no_number(batch_size, model, columns, samples):
    again = ModelPass(model, PROBES, answer, SEED, batch_size, CPU).block(samples.inputs, samples.ids, PROBES)
    for name, values in columns.items():
        np.testing.assert_allclose(again[name], values, rtol=1e-4)


def test_shards_change_no_bit(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "BLOCK", 2)
    ids = np.array([1, 2, 4, 5, 8])
    five = Samples(samples.inputs, ids, np.array(["member", "non_member"])[ids % 2], ids)
    probe = JacobianProbe(of=Probe(start="gaussian", t=50, n=1))

    def model_pass():
        return ModelPass(tiny_uvit(), [probe], answer, SEED, 2, CPU)

    whole = in_shards(model_pass, five, 1, tmp_path / "whole")
    assert whole["sample_id"].to_pylist() == ids.tolist()
    assert in_shards(model_pass, five, 2, tmp_path / "shards").equals(whole, check_metadata=True)


def test_a_question_costs_at_most_what_it_says(samples):
    """A search of n queries, then at each iterate f, its backward pass, and so many more."""
    (probe, _) = PROBES
    assert probe.cost() == 2 + 3 * (1 + BACKWARD + PRODUCTS * BACKWARD)
    assert count_evaluations(PROBES) == 2 * probe.cost()
    model_pass = ModelPass(tiny_uvit(), [probe], answer, SEED, 4, CPU)
    model_pass.block(samples.inputs, samples.ids, [probe])
    assert model_pass.denoiser.queries == 4 * (2 + 3)  # each norm asks f once


def test_the_table_has_a_number_for_each_norm(samples, tmp_path):
    model_pass = ModelPass(tiny_uvit(), PROBES, answer, SEED, 4, CPU)
    run_pass(model_pass, samples, PieceStore(tmp_path / "store", {}), tmp_path / "table.parquet", {"split_hash": "s"})
    table = pq.read_table(tmp_path / "table.parquet").to_pandas()
    expected = answer(tiny_uvit(), samples.inputs.batch(samples.ids, ["none"], CPU), PROBES, SEED)
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-4)


@pytest.mark.parametrize("probe", [*PROBES, Probe(start="gaussian", t=50)])
def test_a_question_is_read_back_from_its_job(probe):
    assert _QUESTION.validate_python(json.loads(json.dumps(probe.model_dump(mode="json")))) == probe


def test_a_search_at_two_timesteps_has_no_one_map():
    with pytest.raises(ValidationError, match="two maps"):
        JacobianProbe(of=Probe(start="inverted", t=100, k=10))


def test_the_first_of_each_side_are_asked_about_and_nobody_else():
    roles = {"member": np.array([3, 1, 8, 6]), "non_member": np.array([7, 2]), "auxiliary": np.array([0, 4, 5])}
    chosen = first_of_each_side(roles, 3)
    assert {role: ids.tolist() for role, ids in chosen.items()} == {"member": [1, 3, 6], "non_member": [2, 7]}


def config_with(**studies):
    raw = yaml.safe_load(SHIPPED)
    raw["targets"]["ddpm_digits"]["studies"] |= studies
    return load_config(raw)


def job_of(config, answers, target="ddpm_digits"):
    return json.loads(jobs.pass_job(config, "ask_target", answers, target, 0))


def test_a_job_has_its_questions_and_its_limit():
    config = config_with(jacobian_samples=7, jacobian_timesteps=[100, 200], jacobian_iterates=1)
    job = job_of(config, "jacobians")
    assert job["limit"] == 7
    assert [question["of"]["t"] for question in job["questions"]] == [100, 200]
    assert jobs.questions_of(config, "jacobians", "ddpm_digits")[0].columns() == [
        "jacobian.gaussian.t100:0",
        "jacobian.gaussian.t100:1",
    ]
    assert not jobs.questions_of(config_with(jacobian_samples=0), "jacobians", "ddpm_digits")
    assert not jobs.questions_of(config, "jacobians", "ddpm_digits__null")
    assert job_of(config, "jacobians")["seed"] == job_of(config, "residuals")["seed"]  # epsilon^0 of the attacks


@pytest.mark.parametrize("answers", ["residuals", "gradients"])
def test_jobs_of_other_kinds_do_not_change(answers):
    without = config_with(jacobian_samples=0)
    for studies in ({"jacobian_samples": 9}, {"jacobian_samples": 9, "jacobian_timesteps": [10]}):
        assert job_of(config_with(**studies), answers) == job_of(without, answers)
    assert "limit" not in job_of(without, answers)


def test_jobs_of_other_figures_do_not_change():
    texts = [
        {name: jobs.figure_job(config, name, "ddpm_digits") for name in config.run.figures}
        for config in (config_with(jacobian_samples=32), config_with(jacobian_timesteps=[100]))
    ]
    assert {name for name, text in texts[0].items() if text != texts[1][name]} == {"jacobian_norm"}
    assert {name for name, text in texts[0].items() if "jacobians" in json.loads(text)} == {"jacobian_norm"}


def test_their_timesteps_ascend():
    with pytest.raises(ValidationError, match="not ascending"):
        StudiesSpec(jacobian_timesteps=(100, 50))


COLUMNS = {probe.of.t: probe.columns() for probe in PROBES}


def table(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    role = rng.permutation(np.repeat(["member", "non_member", "auxiliary"], [20, 30, 5]))
    norms = {name: rng.uniform(0.5, 1.5, len(role)) for names in COLUMNS.values() for name in names}
    return pd.DataFrame({"sample_id": np.arange(len(role)), "role": role, **norms})


def data(seeds=(0,)) -> FigureData:
    tables = {seed: table(seed) for seed in seeds}
    return FigureData("ddpm_digits", "ddpm_digits", seeds, residuals=tables, jacobians=COLUMNS)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_boxes_are_those_of_the_table(seeds):
    figure = jacobian_norm.draw(data(seeds))
    assert f"20 members, 30 non-members, seed{'s 0, 1' if len(seeds) > 1 else ' 0'}" in figure.get_suptitle()
    assert "lower bounds" in figure.get_supxlabel()
    both = pd.concat([table(seed) for seed in seeds])
    for axes, (t, names) in zip(figure.axes, COLUMNS.items(), strict=True):
        assert axes.get_title() == f"t = {t}"
        for k, (role, colour) in enumerate((("member", MEMBER), ("non_member", NON_MEMBER))):
            for i, name in enumerate(names):
                box = axes.patches[k * len(names) + i]
                corners = box.get_path().vertices
                values = both.loc[both["role"] == role, name]
                assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx(tuple(values.quantile([0.25, 0.75])))
                assert abs(corners[:, 0].mean() - i) < 0.5
                assert box.get_facecolor() == to_rgba(colour)
                drawn = {round(float(y), 9) for line in axes.get_lines() for y in line.get_ydata()}
                assert {round(y, 9) for y in (values.median(), values.min(), values.max())} <= drawn
        (line,) = [line for line in axes.get_lines() if line.get_label() == "1: contraction below"]
        assert list(line.get_ydata()) == [1, 1]
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(entries) == ["1: contraction below", "Members", "Non-members"]


def test_nothing_to_show_is_said():
    figure = jacobian_norm.draw(FigureData(target="t", title="t", seeds=(0,)))
    assert figure.texts[-1].get_text() == "The norm of the Jacobian was not studied on this target."


def test_it_is_drawn_from_files(tmp_path):
    norms = tmp_path / "ddpm_digits" / "seed0.parquet"
    norms.parent.mkdir()
    table(0).to_parquet(norms)
    (tmp_path / "manifest.json").write_text('{"shape": [1, 8, 8]}')
    pd.DataFrame({"sample_id": [0], "label_name": ["0"]}).to_parquet(tmp_path / "samples.parquet")
    job = {
        "attacks": [],
        "studied": [],
        "compared": [],
        "seeds": [0],
        "evaluation_seeds": {},
        "jacobians": list(COLUMNS.items()),
    }
    inputs = SimpleNamespace(
        scores=[],
        losses=[],
        aggregates=[],
        residuals=[norms],
        samples=tmp_path / "samples.parquet",
        manifest=tmp_path / "manifest.json",
    )
    out = SimpleNamespace(png=tmp_path / "out.png", pdf=tmp_path / "out.pdf")
    targets = {"ddpm_digits": SimpleNamespace(latent=False)}
    config = SimpleNamespace(evaluation=FigureData("t", "t", (0,)).evaluation, targets=targets)
    plot_figure("jacobian_norm", config, "ddpm_digits", json.loads(json.dumps(job)), inputs, out)
    titled = replace(data(), title="Norm of the Jacobian, ddpm_digits")
    save(jacobian_norm.draw(titled), tmp_path / "expected.png", tmp_path / "expected.pdf")
    assert out.png.read_bytes() == (tmp_path / "expected.png").read_bytes()


@pytest.mark.parametrize(("told", "asked"), [(None, "none"), ("caption", "caption")])
def test_jacobians_are_those_of_the_map_under_the_targets_condition(told, asked):
    questions = StudiesSpec(jacobian_samples=1).jacobian_questions(told)
    assert {question.condition for question in questions} == {asked}
