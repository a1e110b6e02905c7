"""What the figures of noise searches show, read back from their artists and held against scikit-learn."""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from sklearn.metrics import roc_auc_score, roc_curve

from diffmia.attacks.residual import ResidualAttack
from diffmia.config.config import load_config
from diffmia.figures import (
    FIGURES,
    contraction,
    convergence,
    iteration_pairs,
    p_norm,
    timesteps,
)
from diffmia.figures.attacks import StudiedAttack
from diffmia.figures.columns import COLUMNS
from diffmia.figures.figure import FigureData, save
from diffmia.figures.shown import shown_searches
from diffmia.figures.stage import plot_figure
from diffmia.planning import jobs
from diffmia.search.probes import NORMS, column
from diffmia.search.studies import StudiesSpec

DRAW = {
    "auc_over_timesteps": timesteps.draw_auc,
    "gain_over_timesteps": timesteps.draw_gain,
    "iteration_pairs": iteration_pairs.draw_pairs,
    "p_norm": p_norm.draw,
    "iterations": iteration_pairs.draw_iterations,
    "residuals": convergence.draw_residuals,
    "contraction": contraction.draw,
    "fixed_point_error": convergence.draw_errors,
}
AT_ONE_TIMESTEP = ("iterations", "residuals", "contraction", "fixed_point_error")  # searches that stay there
STUDIES = StudiesSpec(timesteps=(50, 70, 110), iterates=3, steps=5, iterations=("mann-1", "anderson-1"))
ATTACKS = {
    "naive": ResidualAttack(family="residual", label="NA", start="gaussian", t=100, norm=2),
    "secmi": ResidualAttack(family="residual", label="SecMI", start="inverted", t=70, k=10, norm=2),
    "pian": ResidualAttack(family="residual", label="PIAN", start="proximal_normalised", t=100, norm=4),
}
FACTOR = {"member": 0.4, "non_member": 0.5, "auxiliary": 3.0}  # by which each step of a long search is shorter
SIZES = {"member": 120, "non_member": 1100, "auxiliary": 50}


@functools.cache
def table(seed: int) -> pd.DataFrame:
    """Every column of the studies: norms between which nothing is given but how far apart the sides are."""
    generator = np.random.default_rng(seed)
    role = generator.permutation(np.repeat(list(SIZES), list(SIZES.values())))
    factor = np.vectorize(FACTOR.get)(role)
    columns = {"sample_id": np.arange(len(role)), "role": role}
    for question in STUDIES.questions(ATTACKS, {id_: attack.t for id_, attack in ATTACKS.items()}):
        for name in question.columns():
            apart = generator.uniform(0.2, 1) * (role == "non_member") - 9.0 * (role == "auxiliary")
            columns[name] = np.round(np.exp(generator.normal(size=len(role)) + apart), 2)
    for attack in ATTACKS.values():
        first = generator.uniform(1, 2, len(role))
        for t in (*STUDIES.timesteps, attack.t):
            columns[column(attack.probe(t), (0, 1), 2)] = first
            columns[column(attack.probe(t), (1, 2), 2)] = first * factor
        for i, j in STUDIES.trajectory(attack, attack.t).pairs if not attack.k else ():
            columns[STUDIES.trajectory(attack, attack.t).column(i, j)] = first * sum(factor**n for n in range(i, j))
    return pd.DataFrame(columns)


def data(figure: str, seeds=(0,), attacks=tuple(ATTACKS)) -> FigureData:
    studied = {}
    for id_ in attacks:
        spec = ATTACKS[id_]
        if columns := COLUMNS[figure](spec, spec.t, STUDIES):
            studied[id_] = StudiedAttack(spec.label, spec.start, spec.t, spec.norm, columns)
    tables = {seed: table(seed) for seed in seeds}
    return FigureData("ddpm_digits", "ddpm_digits", seeds, studied=studied, residuals=tables, pixels=64)


def expected(name: str, metric: str, seed: int = 0) -> float:
    """An independent AUC or TPR@1%FPR, percent; only members and non-members are judged."""
    residuals = table(seed)
    judged = residuals[residuals["role"] != "auxiliary"]
    member, score = judged["role"] == "member", judged[name]
    if metric == "auc":
        return 100 * roc_auc_score(member, -score)
    fpr, tpr, _ = roc_curve(member, -score, drop_intermediate=False)
    return 100 * tpr[fpr <= 0.01].max()


def lines(axes: Axes) -> dict[str, Line2D]:
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def own_marks(axes: Axes) -> list[list[float]]:
    return [line.get_xydata()[0].tolist() for line in axes.get_lines() if line.get_markeredgecolor() == "black"]


def sweep(attack: str) -> list[int]:
    return sorted({*STUDIES.timesteps, ATTACKS[attack].t})


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_each_timestep_has_its_auc_and_tpr(seeds):
    figure = timesteps.draw_auc(data("auc_over_timesteps", seeds))
    assert "120 members, 1,100 non-members, seed" in figure.get_suptitle()
    for axes, metric in zip(figure.axes, ("auc", "tpr"), strict=True):
        for (id_, spec), (pair, suffix) in itertools.product(ATTACKS.items(), (((0, 1), ""), ((0, 2), " +OMS"))):
            names = [column(spec.probe(t), pair, spec.norm) for t in sweep(id_)]
            values = [np.mean([expected(name, metric, seed) for seed in seeds]) for name in names]
            line = lines(axes)[spec.label + suffix]
            np.testing.assert_array_equal(line.get_xdata(), sweep(id_))
            np.testing.assert_allclose(line.get_ydata(), values)
            assert line.get_linestyle() == ("-" if suffix else "--")
            assert (line.get_markerfacecolor() == "white") == (not suffix)
            assert [spec.t, pytest.approx(values[sweep(id_).index(spec.t)])] in own_marks(axes)
        assert len(axes.collections) == (6 if len(seeds) > 1 else 0)  # the bands
        assert len(own_marks(axes)) == 6
    markers = {lines(figure.axes[0])[spec.label].get_marker() for spec in ATTACKS.values()}
    assert len(markers) == 3
    assert any("fixed beforehand" in text.get_text() for text in figure.legends[0].get_texts())


def test_a_band_reaches_from_the_lowest_seed_to_the_highest():
    axes = timesteps.draw_auc(data("auc_over_timesteps", (0, 1, 2), ("naive",))).axes[0]
    name = column(ATTACKS["naive"].probe(50), (0, 1), 2)
    of_seeds = [expected(name, "auc", seed) for seed in (0, 1, 2)]
    corners = axes.collections[0].get_paths()[0].vertices
    at_50 = corners[corners[:, 0] == 50][:, 1]
    assert (at_50.min(), at_50.max()) == pytest.approx((min(of_seeds), max(of_seeds)))


def test_gains_are_differences():
    levels, gains = timesteps.draw_auc(data("auc_over_timesteps")), timesteps.draw_gain(data("gain_over_timesteps"))
    for level, gain in zip(levels.axes, gains.axes, strict=True):
        for spec in ATTACKS.values():
            base, oms = lines(level)[spec.label].get_ydata(), lines(level)[f"{spec.label} +OMS"].get_ydata()
            np.testing.assert_allclose(lines(gain)[spec.label].get_ydata(), oms - base)
        np.testing.assert_array_equal(lines(gain)["no difference"].get_ydata(), [0, 0])
        assert sorted(x for x, _ in own_marks(gain)) == [70, 100, 100]


def test_each_pair_has_its_auc():
    figure = iteration_pairs.draw_pairs(data("iteration_pairs"))
    (axes,) = figure.axes
    pairs = list(itertools.combinations(range(4), 2))
    for spec in ATTACKS.values():
        line = lines(axes)[f"{spec.label} (t = {spec.t}, ℓ{spec.norm})"]
        np.testing.assert_array_equal(np.round(line.get_xdata()), range(6))
        names = [column(spec.probe(spec.t), pair, spec.norm) for pair in pairs]
        np.testing.assert_allclose(line.get_ydata(), [expected(name, "auc") for name in names])
    ticks = [label.get_text().split("\n")[1] for label in axes.get_xticklabels()]
    assert ticks == ["base", "+OMS", "", "", "", ""]
    assert len(axes.patches) == 2


def test_each_iteration_has_its_auc_and_picard_is_oms():
    figure = iteration_pairs.draw_iterations(data("iterations"))
    (axes,) = figure.axes
    for id_ in ("naive", "pian"):
        spec = ATTACKS[id_]
        names = [column(spec.probe(100), pair, spec.norm) for pair in ((0, 1), (0, 2))]
        names += [column(spec.probe(100, iteration=it), (0, 2), spec.norm) for it in STUDIES.iterations]
        line = lines(axes)[f"{spec.label} (t = 100, ℓ{spec.norm})"]
        np.testing.assert_allclose(line.get_ydata(), [expected(name, "auc") for name in names])
    ticks = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()]
    assert ticks[1:] == ["Picard +OMS", "Mann 1", "Anderson 1"]
    assert len(axes.patches) == 2


def test_each_norm_has_its_auc_and_tpr():
    figure = p_norm.draw(data("p_norm"))
    for axes, metric in zip(figure.axes, ("auc", "tpr"), strict=True):
        for spec, (pair, suffix) in itertools.product(ATTACKS.values(), (((0, 1), ""), ((0, 2), " +OMS"))):
            names = [column(spec.probe(spec.t), pair, norm) for norm in NORMS]
            values = [expected(name, metric) for name in names]
            np.testing.assert_allclose(lines(axes)[spec.label + suffix].get_ydata(), values)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3", "4", "5", "6", "∞"]
        assert sorted(x for x, _ in own_marks(axes)) == [1, 1, 1, 1, 3, 3]


def test_too_few_non_members_are_marked_and_fewer_have_no_tpr():
    for kept, missing in ((400, False), (90, True)):
        shown = data("p_norm")
        residuals = shown.residuals[0]
        last = residuals.index[residuals["role"] == "non_member"][kept:]
        shown.residuals[0] = residuals.drop(last)
        figure = p_norm.draw(shown)
        assert figure.axes[1].get_ylabel() == "TPR@1%FPR† (%)"
        assert "not reliable" in figure.get_supxlabel()
        assert np.isnan(lines(figure.axes[1])["NA"].get_ydata()).all() == missing
    assert "†" not in p_norm.draw(data("p_norm")).axes[1].get_ylabel()


def medians(axes: Axes) -> list[np.ndarray]:
    return [lines(axes)[f"{side}, median"].get_ydata() for side in ("Members", "Non-members")]


def test_residuals_of_a_geometric_search():
    figure = convergence.draw_residuals(data("residuals"))
    assert [axes.get_title() for axes in figure.axes] == [
        "NA\nGaussian start, t = 100",
        "PIAN\nProximal, normalised start, t = 100",
    ]
    residuals = table(0)
    name = STUDIES.trajectory(ATTACKS["naive"], 100).column(0, 1)
    for side, of_side in zip(("member", "non_member"), medians(figure.axes[0]), strict=True):
        assert of_side[0] == pytest.approx(residuals.loc[residuals["role"] == side, name].median())
        np.testing.assert_allclose(of_side[1:] / of_side[:-1], FACTOR[side])
    (label,) = [label for label in lines(figure.axes[0]) if "11.3" in label]  # the square root of 2 * 64
    assert lines(figure.axes[0])[label].get_ydata()[0] == pytest.approx(128**0.5)


def test_errors_of_a_geometric_search():
    figure = convergence.draw_errors(data("fixed_point_error"))
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(lines(axes)["Members, median"].get_xdata(), range(5))
    for side, of_side in zip(("member", "non_member"), medians(axes), strict=True):
        left = [sum(FACTOR[side] ** k for k in range(n, 5)) for n in range(5)]
        np.testing.assert_allclose(of_side / of_side[0], np.divide(left, left[0]))


def test_contraction_of_a_geometric_search_is_its_factor():
    figure = contraction.draw(data("contraction"))
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["NA", "PIAN"]
    for axes in figure.axes:
        for side, name in (("member", "Members"), ("non_member", "Non-members")):
            for kept in ("mean", "largest"):
                line = lines(axes)[f"{name}, {kept}"]
                np.testing.assert_array_equal(line.get_xdata(), [50, 70, 100, 110])
                np.testing.assert_allclose(line.get_ydata(), FACTOR[side])
        assert [x for x, _ in own_marks(axes)] == [100, 100]


@pytest.mark.parametrize("name", DRAW)
def test_auxiliary_samples_change_nothing(name, tmp_path: Path):
    shown = data(name)
    save(DRAW[name](shown), tmp_path / "with.png", tmp_path / "with.pdf")
    shown.residuals[0] = shown.residuals[0].query("role != 'auxiliary'")
    save(DRAW[name](shown), tmp_path / "without.png", tmp_path / "without.pdf")
    for suffix in (".png", ".pdf"):  # and the same numbers are the same bytes
        assert (tmp_path / f"with{suffix}").read_bytes() == (tmp_path / f"without{suffix}").read_bytes()


@pytest.mark.parametrize("name", DRAW)
def test_nothing_to_show_is_said(name):
    figure = DRAW[name](FigureData(target="t", title="t", seeds=(0,)))
    assert figure.texts[-1].get_text().endswith("target.") or figure.texts[-1].get_text().endswith("timestep.")
    only_secmi = data(name, attacks=("secmi",))
    assert bool(only_secmi.studied) == (name not in AT_ONE_TIMESTEP)
    DRAW[name](only_secmi)


def config_with(change=lambda raw: None):
    raw = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
    raw["targets"]["ddpm_digits"]["studies"] = {
        "timesteps": [50, 70],
        "iterates": 3,
        "steps": 4,
        "iterations": ["mann-1"],
    }
    raw["run"] |= {"targets": ["ddpm_digits"], "attacks": ["naive", "secmi", "pia", "secmi_oms_xt", "quantile"]}
    change(raw)
    return load_config(raw)


@pytest.mark.parametrize("name", DRAW)
def test_columns_are_those_that_the_pass_answers(name):
    config = config_with()
    shown = shown_searches(config, name, "ddpm_digits")
    assert list(shown) == (["naive", "pia"] if name in AT_ONE_TIMESTEP else ["naive", "secmi", "pia"])
    questions = jobs.questions_of(config, "residuals", "ddpm_digits")
    assert {c for of in shown.values() for c in of.names} <= {c for question in questions for c in question.columns()}
    assert not shown_searches(config, name, "ddpm_digits_smoke")
    assert not shown_searches(config_with(lambda raw: raw["run"].update(attacks=["quantile"])), name, "ddpm_digits")


@pytest.mark.parametrize(
    ("change", "redrawn"),
    [
        (lambda raw: raw["attacks"]["pia"].update(label="Proximal"), set(DRAW)),
        (lambda raw: raw["targets"]["ddpm_digits"]["timesteps"].update(naive=110), set(DRAW)),
        (lambda raw: raw["targets"]["ddpm_digits"]["studies"].update(steps=6), {"residuals", "fixed_point_error"}),
        (lambda raw: raw["targets"]["ddpm_digits"]["studies"].update(iterates=4), {"iteration_pairs"}),
        (lambda raw: raw["targets"]["ddpm_digits"]["studies"].update(iterations=["mann-0.5"]), {"iterations"}),
        (
            lambda raw: raw["targets"]["ddpm_digits"]["studies"].update(timesteps=[50]),
            {"auc_over_timesteps", "gain_over_timesteps", "contraction"},
        ),
        (lambda raw: raw["evaluation"].update(bootstrap=200), set()),
    ],
)
def test_what_decides_a_figure_redraws_it(change, redrawn):
    before, after = (
        {name: jobs.figure_job(config, name, "ddpm_digits") for name in DRAW}
        for config in (config_with(), config_with(change))
    )
    assert {name for name in DRAW if before[name] != after[name]} == redrawn


@pytest.mark.parametrize("pixels", [0, 32])
def test_the_distance_of_two_draws_is_shown_where_it_is_known(pixels):
    axes = DRAW["residuals"](replace(data("residuals"), pixels=pixels)).axes[0]
    horizontal = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert horizontal == ([8.0] if pixels else [])


def test_every_figure_of_residuals_is_here():
    assert {name for name, entry in FIGURES.items() if entry.reads == "residuals"} == set(DRAW) == set(COLUMNS)


@pytest.mark.parametrize(("name", "latent"), [*((name, False) for name in DRAW), ("residuals", True)])
def test_figures_are_drawn_from_files(name, latent, tmp_path: Path):
    """Two draws of noise are sqrt(2d) apart in the space that is searched: pixels' d says nothing of latents."""
    shown = replace(data(name), **({"pixels": 0} if latent else {}))
    residuals = tmp_path / "ddpm_digits" / "seed0.parquet"
    residuals.parent.mkdir()
    shown.residuals[0].to_parquet(residuals)
    (tmp_path / "manifest.json").write_text('{"shape": [1, 8, 8]}')
    pd.DataFrame({"sample_id": [0], "label_name": ["0"]}).to_parquet(tmp_path / "samples.parquet")
    job = {
        "attacks": [],
        "studied": [[id_, of._asdict()] for id_, of in shown.studied.items()],
        "compared": [],
        "seeds": [0],
        "evaluation_seeds": {},
    }
    inputs = SimpleNamespace(
        scores=[],
        losses=[],
        aggregates=[],
        residuals=[residuals],
        samples=tmp_path / "samples.parquet",
        manifest=tmp_path / "manifest.json",
    )
    out = SimpleNamespace(png=tmp_path / "out.png", pdf=tmp_path / "out.pdf")
    targets = {"ddpm_digits": SimpleNamespace(latent=latent)}
    config = SimpleNamespace(evaluation=FigureData("t", "t", (0,)).evaluation, targets=targets)
    plot_figure(name, config, "ddpm_digits", json.loads(json.dumps(job)), inputs, out)
    shown = replace(shown, title=f"{FIGURES[name].title}, ddpm_digits")
    save(DRAW[name](shown), tmp_path / "expected.png", tmp_path / "expected.pdf")
    assert out.png.read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_contraction_is_that_of_each_sample_whatever_the_length_of_its_step():
    shown, spec = data("contraction", attacks=("naive",)), ATTACKS["naive"]
    first, second = (column(spec.probe(50), pair, 2) for pair in ((0, 1), (1, 2)))
    residuals = shown.residuals[0] = shown.residuals[0].copy()
    residuals[second] = np.random.default_rng(0).uniform(0.1, 0.9, len(residuals))
    (axes,) = contraction.draw(shown).axes
    for side, name in (("member", "Members"), ("non_member", "Non-members")):
        ratios = (residuals[second] / residuals[first])[residuals["role"] == side]
        found = [lines(axes)[f"{name}, {kept}"].get_ydata()[0] for kept in ("mean", "largest")]
        assert found == pytest.approx([ratios.mean(), ratios.max()])


def test_bands_of_a_long_search_hold_the_middle_half():
    figure = convergence.draw_residuals(data("residuals", attacks=("naive",)))
    residuals, name = table(0), STUDIES.trajectory(ATTACKS["naive"], 100).column(0, 1)
    for side, band in zip(("member", "non_member"), figure.axes[0].collections, strict=True):
        corners = band.get_paths()[0].vertices
        at_1 = corners[corners[:, 0] == 1][:, 1]
        inside = residuals.loc[residuals["role"] == side, name].between(at_1.min(), at_1.max())
        assert inside.mean() == pytest.approx(0.5, abs=0.02)
