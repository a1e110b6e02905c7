"""What the figures show, read back from their artists."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from diffmia.config.config import load_config
from diffmia.evaluation.metrics import EvaluationSpec, evaluate
from diffmia.evaluation.roc import auc, roc_curve
from diffmia.evaluation.thresholds import attack_success_rate
from diffmia.figures import FIGURES, cost, roc, score_distribution, training_loss
from diffmia.figures.attacks import ShownAttack, colour_of
from diffmia.figures.corrections import corrections, threshold_draws
from diffmia.figures.figure import FigureData, save
from diffmia.figures.stage import plot_figure
from diffmia.planning import jobs

N_MEMBERS, N_NON_MEMBERS = 256, 1029
LABELS = {"naive": "NA", "secmi": "SecMI", "pia": "PIA", "pian": "PIAN", "other": "Other", "another": "Another"}
SHOWN = {attack: ShownAttack(label, "grey", "none") for attack, label in LABELS.items()} | {
    "quantile": ShownAttack("QR", "grey", "auxiliary"),
    "secmi_nns": ShownAttack("SecMI-NNs", "grey", "labelled 20 %"),
    "gsa_concat": ShownAttack("GSA", "white", "labelled 20 %"),
    "gsa_shadow": ShownAttack("GSA, shadow", "white", "shadow"),
}
SPEC = EvaluationSpec(bootstrap=100)


def scores(attack: str, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng([len(attack), seed])
    n = N_MEMBERS + N_NON_MEMBERS
    member = np.random.default_rng(seed).permutation(n) < N_MEMBERS
    base = generator.normal(size=n) + ~member
    oms = np.round(base + 0.5 * generator.normal(size=n) + 0.5 * ~member, 1)  # with ties
    if attack == "pia":
        base, oms = np.exp(2 * base), np.exp(2 * oms)  # a heavy tail
    table = pd.DataFrame({"sample_id": np.arange(n) + 3, "member": member, "role": "eval", "base": base, "oms": oms})
    trained_on = table.head(5).assign(sample_id=[0, 1, 2, 2000, 2001], role="train", base=-1e9, oms=-1e9)
    return pd.concat([table, trained_on]).sample(frac=1, random_state=seed)


def losses(seed: int) -> pd.DataFrame:
    epoch = np.arange(1, 51)
    loss = (1 + 0.1 * seed) / epoch
    table = pd.DataFrame({"epoch": epoch, "step": 2 * epoch, "loss": loss})
    measured = epoch % 10 == 0
    return table.assign(
        member_loss=np.where(measured, 0.9 * loss, np.nan), auxiliary_loss=np.where(measured, 2 * loss, np.nan)
    )


def data(attacks=("naive", "pia"), seeds=(0,)) -> FigureData:
    return FigureData(
        target="ddpm_digits",
        title="ddpm_digits",
        seeds=seeds,
        attacks={attack: SHOWN[attack] for attack in attacks},
        scores={(attack, seed): scores(attack, seed) for attack in attacks for seed in seeds},
        label_names=pd.Series({sample_id: str(sample_id % 10) for sample_id in range(2002)}),
        losses={seed: losses(seed) for seed in seeds},
        evaluation=SPEC,
        evaluation_seeds={seed: seed + 40 for seed in seeds},
    )


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("draw", [roc.draw_roc, roc.draw_roc_log])
def test_lines_are_the_exact_roc(draw):
    shown = data()
    figure = draw(shown)
    lines = figure.axes[0].get_lines()
    expected = [(attack, *of_variant) for attack in shown.attacks for of_variant in (("base", ":"), ("oms", "-"))]
    assert len(lines) == len(expected) + 1  # and chance
    for line, (attack, variant, style) in zip(lines, expected, strict=False):
        table = scores(attack, 0).query("role == 'eval'")
        exact = roc_curve(table[variant][table["member"]].to_numpy(), table[variant][~table["member"]].to_numpy())
        np.testing.assert_array_equal(line.get_xdata(), exact.fpr)
        np.testing.assert_array_equal(line.get_ydata(), exact.tpr)
        assert line.get_linestyle() == style
        assert line.get_color() == colour_of(attack)
        assert line.get_label().endswith(f"AUC {100 * auc(exact):.2f}")
    assert "256 members, 1,029 non-members, seed 0" in figure.get_suptitle()


def test_log_axes_begin_at_one_sample_and_shade_too_few():
    figure = roc.draw_roc_log(data())
    axes = figure.axes[0]
    assert axes.get_xlim()[0] == pytest.approx(1 / N_NON_MEMBERS)
    assert axes.get_ylim()[0] == pytest.approx(1 / N_MEMBERS)
    shaded = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert shaded.x1 == pytest.approx(10 / N_NON_MEMBERS)
    assert any("fewer than 10" in text for text in legend_of(figure))


def test_seeds_are_thin_lines_with_their_mean_auc():
    shown = data(attacks=("naive",), seeds=(0, 1))
    figure = roc.draw_roc(shown)
    assert len(figure.axes[0].get_lines()) == 5
    of_seeds = []
    for seed in shown.seeds:
        table = shown.judged("naive", seed)
        of_seeds.append(auc(roc_curve(table["base"][table["member"]], table["base"][~table["member"]])))
    assert legend_of(figure)[0] == f"NA, mean AUC {100 * np.mean(of_seeds):.2f}"
    assert len(legend_of(figure)) == 3
    assert "seeds 0, 1" in figure.get_suptitle()


def test_colour_of_an_attack_does_not_hang_on_the_selection():
    def colours(attacks):
        lines = roc.draw_roc(data(attacks)).axes[0].get_lines()
        return {line.get_label().split(",")[0]: to_hex(line.get_color()) for line in lines}

    every, some = colours(tuple(LABELS)), colours(("other", "pia"))
    assert all(every[name] == colour for name, colour in some.items())
    assert len({every[name] for name in ("NA", "SecMI", "PIA", "PIAN", "Other")}) == 5


def test_eight_attacks_are_told_apart_with_any_colour_vision():
    colours = [colour_of(attack) for attack in SHOWN if attack not in ("other", "another")]
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for vision in VISIONS.values():
        seen = np.clip(linear @ np.transpose(vision), 0, 1)
        gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(cie_lab(seen), 2)]
        assert len(gaps) == 28
        assert min(gaps) > 12  # 2.3 is just noticeable


# linear sRGB as it is seen without one kind of cone (Machado et al. 2009)
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def cie_lab(linear: np.ndarray) -> np.ndarray:
    """L*, a*, b* of linear sRGB (n, 3), D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("draw", [roc.draw_roc, roc.draw_roc_log])
def test_curves_name_the_threat_model_where_it_is_more_than_a_grey_box(draw):
    attacks = ("naive", "quantile", "gsa_concat", "gsa_shadow")
    names = [re.sub(r", AUC \d\d\.\d\d", "", text) for text in legend_of(draw(data(attacks)))[:8]]
    assert names[::2] == ["NA", "QR (grey, auxiliary)", "GSA (white, labelled 20 %)", "GSA, shadow (white, shadow)"]
    assert names[5] == "GSA +OMS (white, labelled 20 %)"


def test_headings_say_how_many_samples_were_judged_where_attacks_differ():
    shown = data(attacks=("naive", "gsa_concat"))
    table = shown.scores["gsa_concat", 0]
    told = table.index[table["member"] & (table["role"] == "eval")][:51]
    table.loc[told, "role"] = "train"
    for draw in (roc.draw_roc, roc.draw_roc_log, score_distribution.draw):
        assert "205–256 members, 1,029 non-members" in draw(shown).get_suptitle()


def with_decisions(shown: FigureData, attack: str, margins: dict[str, float]) -> FigureData:
    """The same where `attack` decides itself, by its scores less one threshold for each nominal FPR."""
    for seed, (variant, (level, threshold)) in itertools.product(
        shown.seeds, itertools.product(("base", "oms"), margins.items())
    ):
        table = shown.scores[attack, seed]
        table[variant + level] = table[variant] - threshold
    return shown


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_own_decisions_are_points_of_their_realised_rates(seeds):
    shown = with_decisions(data(("naive", "quantile"), seeds), "quantile", {"_at_5_fpr": -0.5, "_at_1_fpr": -1.5})
    figure = roc.draw_roc(shown)
    base, oms = figure.axes[0].get_lines()[-2:]
    for line, variant, face in ((base, "base", "#ffffff"), (oms, "oms", colour_of("quantile").lower())):
        expected = []
        for seed, threshold in itertools.product(seeds, (-0.5, -1.5)):
            table = shown.judged("quantile", seed)
            accused = table[variant] < threshold
            expected.append([accused[~table["member"]].mean(), accused[table["member"]].mean()])
        np.testing.assert_allclose(line.get_xydata(), expected)
        assert to_hex(line.get_markerfacecolor()) == face
        assert to_hex(line.get_markeredgecolor()) == colour_of("quantile").lower()
        assert line.get_linestyle() == "None"
    (entry,) = [text for text in legend_of(figure) if "decisions" in text]
    assert entry == "QR: its own decisions at a\nnominal FPR of 5, 1 % (filled: +OMS)"


def test_a_decision_that_accuses_nobody_stands_at_the_edge_of_log_axes():
    shown = with_decisions(data(("quantile",)), "quantile", {"_at_1_fpr": -1e6})
    axes = roc.draw_roc_log(shown).axes[0]
    for line in axes.get_lines()[-2:]:
        np.testing.assert_allclose(line.get_xydata(), [[1 / N_NON_MEMBERS, 1 / N_MEMBERS]])
        assert not line.get_clip_on()


def test_decisions_without_oms():
    shown = with_decisions(data(("quantile",)), "quantile", {"_at_1_fpr": -1})
    shown.scores["quantile", 0][["oms", "oms_at_1_fpr"]] = np.nan
    figure = roc.draw_roc(shown)
    assert len(figure.axes[0].get_lines()) == 3  # a curve, chance, and one set of points
    assert legend_of(figure)[-1].endswith("FPR of 1 %")


def brute_force_verdicts(table: pd.DataFrame, variant: str, seed: int) -> np.ndarray:
    """Whether each sample is judged rightly, one vote at a time."""
    draws = threshold_draws(table, variant, SPEC, seed)
    right = []
    for i, (score, member) in enumerate(zip(table[variant], table["member"], strict=True)):
        votes = [score <= threshold for threshold in draws.thresholds[draws.held_out[:, i]]]
        for_member, against = sum(votes), len(votes) - sum(votes)
        right.append(for_member > against if member else against > for_member)
    return np.array(right)


def test_corrections_against_brute_force():
    shown = data(attacks=("naive",))
    table = shown.judged("naive", 0)
    base, oms = (brute_force_verdicts(table, variant, 40) for variant in ("base", "oms"))
    changes = corrections(table, SPEC, 40)
    np.testing.assert_array_equal(changes["corrected"], ~base & oms)
    np.testing.assert_array_equal(changes["newly_wrong"], base & ~oms)

    panel = score_distribution.draw(shown).axes[2]
    member = table["member"].to_numpy()
    counts = [int((which & side).sum()) for side in (member, ~member) for which in (~base & oms, base & ~oms)]
    assert min(counts) > 0
    assert panel.get_title(loc="left") == (
        f"Members: {counts[0]} corrected, {counts[1]} newly wrong\n"
        f"Non-members: {counts[2]} corrected, {counts[3]} newly wrong"
    )
    names = [label.get_text() for label in panel.get_xticklabels()]
    bars = dict(zip(names, (bar.get_height() for bar in panel.patches), strict=True))
    of_class = (table["sample_id"] % 10).astype(str)
    assert bars == {name: int((~base & oms & member & (of_class == name)).sum()) for name in "0123456789"}


def test_thresholds_are_those_of_the_asr():
    table = data().judged("naive", 0)
    by_variant = {row["variant"]: row for row in evaluate(scores("naive", 0), SPEC, 40) if row["metric"] == "asr"}
    for variant in ("base", "oms"):
        draws = threshold_draws(table, variant, SPEC, 40)
        rate = attack_success_rate(table[variant].to_numpy(), table["member"].to_numpy(), draws)
        assert by_variant[variant]["value"] == pytest.approx(100 * rate.mean, abs=1e-9)


def test_histogram_of_a_heavy_tail_says_what_lies_outside():
    table = data().judged("pia", 0)
    low, high = score_distribution.robust_range(table["base"].to_numpy())
    outside = 100 * np.mean((table["base"] < low) | (table["base"] > high))
    assert outside > 1
    axes = score_distribution.draw(data()).axes[3]
    assert f"({outside:.1f} % of the samples lie outside)" in axes.get_xlabel()
    heights = sum(patch.get_height() for patch in axes.patches[:40])  # of the members
    inside = table.loc[table["member"], "base"].between(low, high).mean()
    assert heights == pytest.approx(100 * inside)


@pytest.mark.parametrize(
    ("attack", "wide"), [("gsa_concat", True), ("gsa_shadow", True), ("quantile", False), ("naive", False)]
)
def test_probabilities_are_shown_from_0_to_1(attack, wide):
    shown = data(attacks=(attack,))
    table = shown.scores[attack, 0]
    table["base"] = np.where(table["member"], 0.1, 0.9) + 1e-3 * np.random.default_rng(0).random(len(table))
    axes = score_distribution.draw(shown).axes[0]
    assert (axes.get_xlim() == (0, 1)) == wide
    assert axes.get_xlabel().startswith("predicted probability of a non-member" if wide else "score")
    assert not (wide and "outside" in axes.get_xlabel())
    # margins and distances of an attack that was told may lie anywhere
    table["base"] -= 5
    assert score_distribution.draw(shown).axes[0].get_xlim()[0] < 0


def test_many_classes_show_the_fullest():
    shown = data(attacks=("naive",))
    shown.label_names[:] = [f"name {i % 90}" for i in range(2002)]
    panel = score_distribution.draw(shown).axes[2]
    assert len(panel.get_xticklabels()) == 20
    judged = shown.judged("naive", 0)
    classes = shown.label_names[judged.loc[judged["member"], "sample_id"]].nunique()
    assert panel.get_xlabel() == f"class (the 20 with most, of {classes})"


def test_training_loss_draws_held_out_curves_through_their_epochs():
    figure = training_loss.draw(data(seeds=(0, 1)))
    lines = figure.axes[0].get_lines()
    assert len(lines) == 6
    np.testing.assert_array_equal(lines[0].get_ydata(), losses(0)["loss"])
    np.testing.assert_array_equal(lines[2].get_xdata(), [10, 20, 30, 40, 50])
    assert len(legend_of(figure)) == 3


def test_training_loss_without_held_out_samples():
    shown = data()
    shown.losses[0][["member_loss", "auxiliary_loss"]] = np.nan
    assert len(training_loss.draw(shown).axes[0].get_lines()) == 1


COST_ATTACKS = ("naive", "quantile", "secmi_nns", "gsa_concat", "gsa_shadow")
QUERIES = {"naive": (1, 2), "quantile": (12, 13), "secmi_nns": (12, 13), "gsa_concat": (30, 40), "gsa_shadow": (30, 40)}


def value_of(row_id: str, variant: str, metric: str, seed: int) -> float:
    """A number of its own for each row of `metrics.csv`."""
    at = [*COST_ATTACKS, "quantile_roc"].index(row_id)
    return 10 * at + (30 if metric == "auc" else 5) + (4 if variant == "oms" else 0) + seed


def aggregates(seeds=(0,), target="ddpm_digits", shift=0.0) -> dict[str, pd.DataFrame]:
    """`metrics.csv` and `cost.csv`; quantile regression has its AUC in rows of its own."""
    metrics, costs = [], []
    for seed, row_id, i in itertools.product(seeds, [*COST_ATTACKS, "quantile_roc"], (0, 1)):
        keys = {"target": target, "seed": seed, "attack": row_id, "variant": ("base", "oms")[i]}
        for metric in ("auc", "asr", "tpr_at_1_fpr"):
            if row_id == "quantile" and metric != "tpr_at_1_fpr":
                continue
            value = value_of(row_id, keys["variant"], metric, seed) + shift
            interval = {"ci_low": value - 2, "ci_high": value + 3, "realised_fpr": 0.5 + i}
            sizes = {"n_members": 256 if row_id in ("naive", "quantile") else 205, "n_non_members": 1029}
            metrics.append(
                {**keys, "metric": metric, "value": value, **interval, **sizes, "reliable": True, "flags": ""}
            )
        learns = row_id != "naive"
        took = {"seconds": 1.0 + i + seed, "samples": 500, "device": "cpu x2"}
        learning = {"seconds_learning": 10.0 * learns, "device_learning": "H200" if learns else None}
        queries = QUERIES[row_id.removesuffix("_roc")][i]
        costs.append({**keys, "dataset": "digits", "queries": queries, **took, **learning})
    return {"metrics": pd.DataFrame(metrics), "cost": pd.DataFrame(costs)}


def cost_data(seeds=(0,), attacks=COST_ATTACKS, **changed) -> FigureData:
    shown = {attack: SHOWN[attack] for attack in attacks}
    return FigureData("ddpm_digits", "ddpm_digits", seeds, shown, **aggregates(seeds) | changed)


def shown_points(axes: Axes) -> dict[str, ErrorbarContainer]:
    return {container.get_label(): container for container in axes.containers}


def note_of(figure: Figure) -> str:
    return figure.get_supxlabel()


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_cost_has_every_attack_at_its_queries_and_seconds(seeds):
    other = aggregates(seeds, target="other", shift=7)  # rows of another target are not shown
    other["cost"]["queries"] *= 100
    both = {name: pd.concat([other[name], table]) for name, table in aggregates(seeds).items()}
    panels = cost.draw(cost_data(seeds, **both)).axes
    assert len(panels) == 4
    middle = np.mean(seeds)
    for axes, (cost_name, metric) in zip(
        panels, itertools.product(("queries", "seconds"), ("auc", "tpr_at_1_fpr")), strict=True
    ):
        assert axes.get_xscale() == "log"
        assert axes.get_ylabel().startswith({"auc": "AUC", "tpr_at_1_fpr": "TPR@1%FPR"}[metric])
        points = shown_points(axes)
        assert len(points) == 2 * len(COST_ATTACKS)
        for attack, (i, variant) in itertools.product(COST_ATTACKS, enumerate(("base", "oms"))):
            row_id = "quantile_roc" if (attack, metric) == ("quantile", "auc") else attack
            seconds = 2 * (1 + i + middle + 10 * (attack != "naive"))  # of 500 samples, per 1,000
            (mark, _, (bar,)) = points[SHOWN[attack].name(variant)]
            x = QUERIES[attack][i] if cost_name == "queries" else seconds
            value = value_of(row_id, variant, metric, 0) + middle
            np.testing.assert_allclose(mark.get_xydata(), [[x, value]])
            assert to_hex(mark.get_color()) == colour_of(attack).lower()
            spread = (2, 3) if len(seeds) == 1 else (np.std(seeds, ddof=1),) * 2
            np.testing.assert_allclose(bar.get_segments()[0][:, 1], [value - spread[0], value + spread[1]])


def test_cost_joins_an_attack_with_what_one_more_step_makes_of_it():
    axes = cost.draw(cost_data(attacks=("naive",))).axes[0]
    (line,) = [line for line in axes.get_lines() if len(line.get_xydata()) == 2 and line.get_color() == "#0072B2"]
    np.testing.assert_allclose(line.get_xydata(), [[1, 30], [2, 34]])


def test_cost_marks_access_by_shape_supervision_by_fill_and_oms_by_size():
    shown = cost_data()
    shown.attacks["gsa_shadow"] = ShownAttack("GSA, shadow", "blind", "shadow")
    figure = cost.draw(shown)
    marks = {name: point[0] for name, point in shown_points(figure.axes[0]).items()}
    assert [marks[name].get_marker() for name in ("NA", "QR", "GSA", "GSA, shadow")] == ["o", "o", "s", "^"]
    fills = {name: (mark.get_fillstyle(), to_hex(mark.get_markerfacecolor())) for name, mark in marks.items()}
    assert len({fills[name][0] if name != "NA" else fills[name] for name in ("NA", "QR", "GSA", "GSA, shadow")}) == 4
    assert fills["NA"][1] == "#ffffff"
    assert fills["SecMI-NNs"] == ("full", colour_of("secmi_nns"))
    assert marks["NA"].get_markersize() < marks["NA +OMS"].get_markersize()
    legend = legend_of(figure)
    assert legend[:4] == ["NA", "QR (grey, auxiliary)", "SecMI-NNs (grey, labelled 20 %)", "GSA (white, labelled 20 %)"]
    assert {"grey box", "white box", "blind: sees samples alone", "learns from auxiliary samples"} < set(legend)
    alone = legend_of(cost.draw(cost_data(attacks=("naive",))))
    assert alone == ["NA", "", "without OMS, +OMS", "grey box", "learns from no samples", "chance"]


def test_cost_fades_what_is_not_reliable_and_explains_it():
    tables = aggregates()
    rows = tables["metrics"]
    rows.loc[(rows["attack"] == "gsa_concat") & (rows["metric"] == "tpr_at_1_fpr"), "reliable"] = False
    figure = cost.draw(cost_data(**tables))
    for axes, faded in zip(figure.axes, (False, True, False, True), strict=True):
        points = shown_points(axes)
        assert (points["GSA +OMS"][0].get_alpha() < 0.5) == faded
        assert points["NA"][0].get_alpha() == 1
        assert [text.get_text() for text in axes.texts if "†" in text.get_text()] == ["†", "†"] * faded
    assert "† and faded" in note_of(figure)
    assert "†" not in note_of(cost.draw(cost_data()))


def test_cost_leaves_out_what_is_missing_and_says_so():
    tables = aggregates()
    rows = tables["metrics"]
    missing = (rows["attack"] == "quantile") & (rows["variant"] == "oms")
    rows.loc[missing, ["value", "ci_low", "ci_high", "realised_fpr"]] = np.nan
    tables["metrics"] = rows[(rows["attack"] != "naive") | (rows["metric"] != "auc")]
    figure = cost.draw(cost_data(**tables))
    auc_points, tpr_points = map(shown_points, figure.axes[:2])
    assert "QR +OMS" in auc_points
    assert "QR +OMS" not in tpr_points
    assert "NA" not in auc_points
    assert "NA" in tpr_points
    said = note_of(figure).splitlines()
    assert "Left out, without a value: AUC of NA, NA +OMS." in said
    assert "Left out, without a value: TPR@1%FPR of QR +OMS." in said
    assert "Left out" not in note_of(cost.draw(cost_data()))


def test_cost_breaks_long_notes_and_leaves_round_numbers_on_a_narrow_axis():
    tables = aggregates()
    tables["metrics"] = tables["metrics"][tables["metrics"]["metric"] == "auc"]
    shown = cost_data(**tables)
    shown.attacks["naive"] = ShownAttack("Naive attack", "grey", "none")
    lines = note_of(cost.draw(shown)).splitlines()
    assert "TPR@1%FPR of Naive attack, Naive attack +OMS, QR, QR +OMS, SecMI-NNs" in " ".join(lines)
    assert max(map(len, lines)) <= 150
    for axes in cost.draw(cost_data(attacks=("secmi_nns",))).axes[:2]:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low < tick < high] == [5, 10, 20]


def test_cost_says_whose_seconds_and_whose_decisions_it_shows():
    figure = cost.draw(cost_data())
    notes = note_of(figure)
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["Seconds per 1,000 samples (H200, cpu x2)"] * 2
    assert "Bars: 95 % bootstrap intervals. A backward pass counts as two queries." in notes
    assert "and what it took to learn, without the training of shadow targets" in notes
    own = "‡ TPR of QR: of its own decisions at a nominal FPR of 1 %."
    assert f"{own} Their realised FPR, which chance would have as TPR, is 0.50 %, 1.50 % with OMS." in notes
    assert "205–256 members, 1,029 non-members, seed 0" in figure.get_suptitle()
    assert "shadow" not in note_of(cost.draw(cost_data(attacks=("naive", "gsa_concat"))))
    simple = cost.draw(cost_data((0, 1), attacks=("naive",)))
    assert simple.axes[2].get_xlabel() == "Seconds per 1,000 samples (cpu x2)"
    assert "its own decisions" not in note_of(simple)
    assert "learn" not in note_of(simple)
    assert "Means over seeds 0, 1; bars: one standard deviation." in note_of(simple)


def test_cost_marks_what_chance_has_at_the_realised_fpr_of_a_decision():
    figure = cost.draw(cost_data())
    for axes, x in zip(figure.axes, (None, QUERIES["quantile"], None, (22, 24)), strict=True):
        dashes = [line.get_xydata()[0].tolist() for line in axes.get_lines() if line.get_marker() == "_"]
        assert dashes == ([] if x is None else [[x[0], 0.5], [x[1], 1.5]])
        assert [text.get_text() for text in axes.texts] == ([] if x is None else ["‡", "‡"])
    assert legend_of(figure)[-1] == "chance at QR's realised FPR"


def test_cost_of_an_attack_without_oms():
    tables = {name: table[table["variant"] == "base"] for name, table in aggregates().items()}
    figure = cost.draw(cost_data(**tables))
    assert list(shown_points(figure.axes[0])) == [SHOWN[attack].label for attack in COST_ATTACKS]
    assert "Left out" not in note_of(figure)


def test_cost_is_drawn_from_the_files_of_a_run(tmp_path: Path):
    for name, table in aggregates().items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    samples = tmp_path / "samples.parquet"
    pd.DataFrame({"sample_id": [0], "label_name": ["0"]}).to_parquet(samples)
    job = {
        "attacks": [[attack, SHOWN[attack]._asdict()] for attack in COST_ATTACKS],
        "studied": [],
        "compared": [],
        "seeds": [0],
        "evaluation_seeds": {},
    }
    config = SimpleNamespace(evaluation=SPEC, targets={"ddpm_digits": SimpleNamespace(latent=False)})
    out = SimpleNamespace(png=tmp_path / "cost.png", pdf=tmp_path / "cost.pdf")
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"shape": [1, 8, 8]}')
    files = [tmp_path / "metrics.csv", tmp_path / "cost.csv"]
    inputs = SimpleNamespace(scores=[], losses=[], residuals=[], aggregates=files, samples=samples, manifest=manifest)
    plot_figure("cost", config, "ddpm_digits", json.loads(json.dumps(job)), inputs, out)
    save(
        cost.draw(replace(cost_data(), title="Detection over cost, ddpm_digits")),
        tmp_path / "expected.png",
        tmp_path / "expected.pdf",
    )
    assert out.png.read_bytes() == (tmp_path / "expected.png").read_bytes()


def figure_jobs(change=lambda raw: None) -> dict[str, str]:
    raw = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
    change(raw)
    config = load_config(raw)
    return {name: jobs.figure_job(config, name, "ddpm_digits") for name in ("roc", "training_loss", "cost")}


def test_a_threat_model_redraws_figures_that_name_it():
    def tell_more(raw):
        raw["attacks"]["gsa_concat"]["labelled_fraction"] = 0.4

    before, after = figure_jobs(), figure_jobs(tell_more)
    assert {name for name in before if before[name] != after[name]} == {"roc", "cost"}
    shown = dict(json.loads(after["roc"])["attacks"])
    assert shown["gsa_concat"] == {"label": "GSA", "access": "white", "supervision": "labelled 40 %"}
    assert json.loads(after["roc"])["evaluation_seeds"]
    assert not json.loads(after["cost"])["evaluation_seeds"]


@pytest.mark.parametrize(
    "draw", [roc.draw_roc, roc.draw_roc_log, score_distribution.draw, training_loss.draw, cost.draw]
)
def test_nothing_to_show_is_said(draw):
    figure = draw(FigureData(target="t", title="t", seeds=(0,)))
    assert figure.texts[-1].get_text().endswith(".")


@pytest.mark.parametrize("draw", [roc.draw_roc, roc.draw_roc_log, score_distribution.draw])
def test_attack_without_oms(draw):
    shown = data(attacks=("naive",))
    shown.scores["naive", 0]["oms"] = np.nan
    text = " ".join(legend_of(draw(shown)))
    assert "+OMS" not in text


@pytest.mark.parametrize("draw", [roc.draw_roc_log, score_distribution.draw])
def test_same_numbers_same_bytes(draw, tmp_path: Path):
    for name in ("first", "second"):
        save(draw(data(attacks=("naive",))), tmp_path / f"{name}.png", tmp_path / f"{name}.pdf")
    for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        first = (tmp_path / f"first{suffix}").read_bytes()
        assert first.startswith(magic)
        assert first == (tmp_path / f"second{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.pdf", "first.png", "second.pdf", "second.png"]


def test_the_report_says_something_of_every_figure():
    captions = (Path(__file__).parents[2] / "rules/captions/figure.rst").read_text()
    assert set(re.findall(r'^"(\w+)": "', captions, re.MULTILINE)) == set(FIGURES)


def test_the_line_is_the_median_of_the_thresholds_of_the_asr():
    shown = data(attacks=("naive",))
    draws = threshold_draws(shown.judged("naive", 0), "base", SPEC, 40)
    axes = score_distribution.draw(shown).axes[0]
    (line,) = axes.get_lines()
    assert line.get_xdata()[0] == np.sort(draws.thresholds)[4:6].mean()  # of ten
    span = axes.patches[-1]
    assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx(
        (draws.thresholds.min(), draws.thresholds.max())
    )


def test_each_loss_is_called_by_its_name():
    curves = {line.get_label(): line.get_ydata() for line in training_loss.draw(data()).axes[0].get_lines()}
    expected = losses(0)
    for name, of in (("Training loss", "loss"), ("Members", "member_loss"), ("Held out", "auxiliary_loss")):
        [found] = [y for label, y in curves.items() if label.startswith(name)]
        np.testing.assert_array_equal(found, expected[of].dropna())
