"""Figures that set several targets side by side, read back from their artists and held against scikit-learn."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.axes import Axes
from sklearn.metrics import roc_auc_score

from diffmia.config.config import load_config
from diffmia.figures import epochs, variants
from diffmia.figures.figure import FigureData, save
from diffmia.figures.shown import compared_targets, is_drawn, shown_searches
from diffmia.figures.stage import plot_figure
from diffmia.planning import jobs
from tests.conftest import REPOSITORY

TARGET = "ddpm_digits"
DRAW = {"auc_over_epochs": epochs.draw, "auc_over_variants": variants.draw}
SIZES = {"member": 60, "non_member": 1100}


def config(change=lambda raw: None):
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    target = raw["targets"][TARGET]
    target["training"]["checkpoint_epochs"] = [0, 200]
    target["studies"] = {"variants": {"channels": {8: "ddpm_digits_smoke", 32: TARGET}}}
    raw["run"] |= {"targets": [TARGET], "attacks": ["naive", "pia", "quantile", "secmi_oms_xt"], "seeds": [0, 1]}
    change(raw)
    return load_config(raw)


def residuals(target: str, seed: int, columns: list[str]) -> pd.DataFrame:
    """Random residuals, of members the smaller the longer the name of the target is."""
    generator = np.random.default_rng([len(target), seed])
    role = np.repeat([*SIZES, "auxiliary"], [*SIZES.values(), 30])
    values = generator.normal(size=(len(role), len(columns))) - 0.1 * len(target) * (role == "member")[:, None]
    return pd.DataFrame(values, columns=columns).assign(role=role, sample_id=np.arange(len(role)))


def drawn(figure: str, tmp_path, of=None) -> tuple[FigureData, dict]:
    """What the figure is drawn from by its stage, and the paths."""
    of = of or config()
    job = json.loads(jobs.figure_job(of, figure, TARGET))
    names = [name for shown in shown_searches(of, figure, TARGET).values() for name in shown.names]
    paths = []
    for target in compared_targets(of, figure, TARGET).values():
        for seed in of.run.seeds:
            paths.append(tmp_path / target / f"seed{seed}.parquet")
            paths[-1].parent.mkdir(exist_ok=True)
            residuals(target, seed, names).to_parquet(paths[-1])
    (tmp_path / "manifest.json").write_text('{"shape": [1, 8, 8]}')
    pd.DataFrame({"sample_id": [0], "label_name": ["0"]}).to_parquet(tmp_path / "samples.parquet")
    files = {"samples": tmp_path / "samples.parquet", "manifest": tmp_path / "manifest.json", "residuals": paths}
    inputs = SimpleNamespace(scores=[], losses=[], aggregates=[], **files)
    out = SimpleNamespace(png=tmp_path / "out.png", pdf=tmp_path / "out.pdf")
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffmia.figures.stage.save", lambda figure, *paths: kept.append(figure) or save(figure, *paths))
        plot_figure(figure, of, TARGET, job, inputs, out)
    assert out.png.stat().st_size > 5_000
    return kept[0]


def auc(target: str, name: str, names: list[str]) -> float:
    """Mean over the two seeds, percent."""
    found = []
    for seed in (0, 1):
        table = residuals(target, seed, names)
        judged = table[table["role"] != "auxiliary"]
        found.append(100 * roc_auc_score(judged["role"] == "member", -judged[name]))
    return np.mean(found)


def line(axes: Axes, label: str):
    return next(line for line in axes.get_lines() if line.get_label() == label)


def marks(axes: Axes) -> set[float]:
    return {line.get_xdata()[0] for line in axes.get_lines() if line.get_markeredgecolor() == "black"}


@pytest.mark.parametrize("label", ["NA", "NA +OMS", "PIA", "PIA +OMS"])
def test_each_epoch_has_its_own_checkpoint_s_auc(label, tmp_path):
    figure = drawn("auc_over_epochs", tmp_path)
    names = [name for of in shown_searches(config(), "auc_over_epochs", TARGET).values() for name in of.names]
    attack = "gaussian.t100:0-{}:l2" if label.startswith("NA") else "proximal.t100:0-{}:l4"
    name = attack.format(2 if label.endswith("OMS") else 1)
    curve = line(figure.axes[0], label)
    assert list(curve.get_xdata()) == [0, 200, 550]
    targets = [f"{TARGET}__epoch0", f"{TARGET}__epoch200", TARGET]
    np.testing.assert_allclose(curve.get_ydata(), [auc(target, name, names) for target in targets])
    assert marks(figure.axes[0]) == {550}  # the target of the tables
    assert "60 members, 1,100 non-members, seeds 0, 1" in figure.get_suptitle()


def test_each_value_of_a_quantity_has_its_own_target_s_auc(tmp_path):
    figure = drawn("auc_over_variants", tmp_path)
    names = [name for of in shown_searches(config(), "auc_over_variants", TARGET).values() for name in of.names]
    axes = figure.axes[0]
    assert axes.get_xlabel() == "Channels"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "32"]
    found = line(axes, "PIA").get_ydata()
    expected = [auc(target, "proximal.t100:0-1:l4", names) for target in ("ddpm_digits_smoke", TARGET)]
    np.testing.assert_allclose(found, expected)
    assert marks(axes) == {1}  # the place of the target itself


def test_a_row_for_each_quantity(tmp_path):
    def another(raw):
        studies = raw["targets"][TARGET]["studies"]
        studies["variants"]["images"] = {9: TARGET, 1000: "ddpm_digits_smoke"}

    figure = drawn("auc_over_variants", tmp_path, config(another))
    assert [axes.get_xlabel() for axes in figure.axes] == ["Channels"] * 2 + ["Images"] * 2
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["9", "1,000"]
    assert marks(figure.axes[2]) == {0}


@pytest.mark.parametrize("figure", DRAW)
def test_other_readings_and_attacks_that_learn_are_not_shown(figure):
    assert list(shown_searches(config(), figure, TARGET)) == ["naive", "pia"]


@pytest.mark.parametrize("figure", DRAW)
def test_a_target_without_others_gets_a_sentence(figure):
    figure = DRAW[figure](FigureData("t", "t", (0,)))
    assert len(figure.texts) >= 1
    assert not figure.axes


def test_an_attack_that_a_variant_leaves_out_is_not_shown():
    """There are no columns of it to be read."""

    def fewer(raw):
        raw["targets"]["ddpm_digits_smoke"]["attacks"] = ["naive"]

    assert list(shown_searches(config(fewer), "auc_over_variants", TARGET)) == ["naive"]


def test_a_variant_s_own_timestep_is_read(tmp_path):
    def later(raw):
        raw["targets"]["ddpm_digits_smoke"]["timesteps"]["naive"] = 300

    shown = shown_searches(config(later), "auc_over_variants", TARGET)["naive"]
    assert [names[0] for _, *names in shown.columns] == ["gaussian.t300:0-1:l2", "gaussian.t100:0-1:l2"]


@pytest.mark.parametrize(
    ("figure", "of"),
    [
        ("roc", {"ddpm_digits", "uvit_digits", "ddpm_cifar10", "uvit_cifar10"}),
        ("training_loss", {"ddpm_digits", "uvit_digits", "ddpm_cifar10"}),  # the last is taken in
        ("residuals", {"ddpm_digits", "uvit_digits", "ddpm_cifar10"}),
        ("jacobian_norm", {"uvit_digits", "ddpm_cifar10"}),
        ("auc_over_epochs", {"ddpm_digits", "ddpm_cifar10"}),  # of the U-ViT there are but the first and the last
        ("auc_over_variants", {"ddpm_digits"}),
    ],
)
def test_a_figure_is_drawn_of_targets_that_have_something_to_show(figure, of):
    shipped = config(lambda raw: raw["targets"][TARGET]["studies"].update(jacobian_samples=0))
    targets = (TARGET, "uvit_digits", "ddpm_cifar10", "uvit_cifar10")
    assert {target for target in targets if is_drawn(shipped, figure, target)} == of
