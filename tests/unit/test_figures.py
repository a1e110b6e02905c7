"""What the figures show, read back from their artists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from diffmia.evaluation.metrics import EvaluationSpec, evaluate
from diffmia.evaluation.roc import auc, roc_curve
from diffmia.evaluation.thresholds import attack_success_rate
from diffmia.figures import roc, score_distribution, training_loss
from diffmia.figures.corrections import corrections, threshold_draws
from diffmia.figures.figure import FigureData, colour_of, save

N_MEMBERS, N_NON_MEMBERS = 256, 1029
LABELS = {"naive": "NA", "secmi": "SecMI", "pia": "PIA", "pian": "PIAN", "other": "Other", "another": "Another"}
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
        attacks={attack: LABELS[attack] for attack in attacks},
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


@pytest.mark.parametrize("draw", [roc.draw_roc, roc.draw_roc_log, score_distribution.draw, training_loss.draw])
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
