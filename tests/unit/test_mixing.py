"""The figure of non-members that take each other's place, on a shift that was planted."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from diffmia.attacks.blind import BlindStatistics
from diffmia.blind.stage import score_blindly
from diffmia.config.config import load_config
from diffmia.evaluation.delong import auc_test
from diffmia.evaluation.spec import EvaluationSpec
from diffmia.figures import mixing
from diffmia.figures.attacks import ShownAttack
from diffmia.figures.figure import FigureData, save
from diffmia.figures.mixing import SHARES, mixtures
from diffmia.figures.shown import is_drawn
from diffmia.figures.stage import plot_figure
from diffmia.planning import jobs
from diffmia.scoring.reading import read_scores, write_scores
from diffmia.splits import GroupsSplit, build_split

GROUPS = ["seen", "like them", "brighter"]
SHOWN = {
    "pia": ShownAttack("PIA", "grey", "none"),
    "blind_statistics": ShownAttack("Blind (statistics)", "blind", "cross-validated"),
}
PERCENT = [100 * share for share in SHARES]


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """Files of a split whose non-members are digits like the members, or digits with brighter ink; and scores.

    An attack finds some of the membership, whatever a non-member's group; a blind baseline sees the pixels alone.
    """
    folder = tmp_path_factory.mktemp("planted")
    images = np.rint(load_digits().images * (200 / 16))[:, None]
    group = np.random.default_rng(0).permutation(np.repeat(GROUPS, [599, 599, 599]))
    images[(group == "brighter")[:, None, None, None] & (images > 0)] += 25
    np.save(folder / "images.npy", images.astype(np.uint8))
    about = pd.DataFrame({"sample_id": range(1797), "label": 0, "label_name": "0", "group": group})
    about.to_parquet(folder / "samples.parquet")
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"dataset_hash": "d" * 64, "shape": [1, 8, 8]}))
    sides = {"member_groups": GROUPS[:1], "non_member_groups": GROUPS[1:]}
    spec = GroupsSplit(dataset="d", method="groups", members=500, non_members=1000, **sides)
    build_split(spec, 0, folder / "samples.parquet", manifest, folder / "split.json")
    files = [folder / name for name in ("images.npy", "samples.parquet", "split.json")]
    out = folder / "d" / "seed0" / "blind_statistics.parquet"
    blind = BlindStatistics(family="blind_statistics", label="Blind (statistics)")
    score_blindly(blind, "blind_statistics", 0, *files, out, None)
    judged = read_scores(out)["blind_statistics"]
    base = np.random.default_rng(1).normal(size=len(judged)) + 0.5 * ~judged["member"]
    scores = judged.assign(attack="pia", base=base, oms=base + 0.2 * ~judged["member"])
    write_scores(scores, {"split_hash": "s" * 64}, out.with_name("residuals.parquet"))
    return folder


def data(folder: Path, **changes) -> FigureData:
    paths = [folder / "d" / "seed0" / name for name in ("residuals.parquet", "blind_statistics.parquet")]
    about = pd.read_parquet(folder / "samples.parquet").set_index("sample_id")
    shown = {
        "target": "t",
        "title": "Attacks over the share of shifted samples, t",
        "seeds": (0,),
        "attacks": SHOWN,
        "scores": {(attack, 0): table for path in paths for attack, table in read_scores(path).items()},
        "label_names": about["label_name"],
        "groups": about["group"],
        "non_member_groups": GROUPS[1:],
        "evaluation_seeds": {0: 40},
    }
    return FigureData(**shown | changes)


def lines(figure: Figure) -> dict[str, np.ndarray]:
    """AUC at each share, by what the legend says."""
    return {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 5}


def bands(figure: Figure) -> list[np.ndarray]:
    """Lower and upper bounds (5, 2) of each line."""
    paths = [collection.get_paths()[0].vertices for collection in figure.axes[0].collections]
    return [np.array([[y[x == at].min(), y[x == at].max()] for at in PERCENT]) for x, y in (path.T for path in paths)]


class TestMixtures:
    SEVERAL = pd.Series(["a"] * 40 + ["b"] * 30 + ["c"] * 30, index=np.random.default_rng(0).permutation(100))

    @pytest.mark.parametrize("seed", range(3))
    def test_as_many_at_every_step_and_each_step_keeps_what_the_last_took_in(self, seed):
        steps = mixtures(self.SEVERAL, ["a", "b", "c"], seed)
        assert [len(set(ids)) for ids in steps] == [40] * 5
        taken_in = [set(ids[self.SEVERAL[ids] != "a"]) for ids in steps]
        left_in = [set(ids[self.SEVERAL[ids] == "a"]) for ids in steps]
        assert [len(ids) for ids in taken_in] == [0, 10, 20, 30, 40]
        for before, after in itertools.pairwise(taken_in):
            assert before < after
        for before, after in itertools.pairwise(left_in):
            assert before > after

    def test_several_other_groups_take_part_equally(self):
        steps = mixtures(self.SEVERAL, ["a", "b", "c"], 0)
        for ids in steps:
            counts = [(self.SEVERAL[ids] == group).sum() for group in "bc"]
            assert abs(counts[0] - counts[1]) <= 1
        few = self.SEVERAL.drop(self.SEVERAL.index[75:])  # 5 of c are left
        last = mixtures(few, ["a", "b", "c"], 0)[-1]
        assert few[last].value_counts().to_dict() == {"b": 30, "c": 5}

    def test_the_first_group_is_what_is_replaced(self):
        assert set(self.SEVERAL[mixtures(self.SEVERAL, ["b", "a"], 0)[0]]) == {"b"}

    def test_the_seed_draws_them_and_the_order_of_rows_does_not(self):
        first, again, other = (mixtures(self.SEVERAL, ["a", "b", "c"], seed) for seed in (0, 0, 1))
        shuffled = mixtures(self.SEVERAL.sample(frac=1, random_state=0), ["a", "b", "c"], 0)
        for ids, same, rows, different in zip(first, again, shuffled, other, strict=True):
            np.testing.assert_array_equal(ids, same)
            np.testing.assert_array_equal(ids, rows)
            assert set(ids) != set(different) or set(self.SEVERAL[ids]) == {"a"}


def test_what_sees_a_shift_rises_with_it_and_an_attack_on_membership_does_not(planted):
    found = lines(mixing.draw(data(planted)))
    blind = found["Blind (statistics) (blind, cross-validated)"]
    assert abs(blind[0] - 50) < 6
    assert blind[-1] > 75
    assert (np.diff(blind) > 3).all()
    for attack in ("PIA", "PIA +OMS"):
        assert np.ptp(found[attack]) < 5
        assert found[attack].min() > 55


def test_lines_and_bands_are_auc_and_its_interval(planted):
    shown = data(planted, evaluation=EvaluationSpec(confidence=0.9))
    figure = mixing.draw(shown)
    drawn = dict(zip(lines(figure), bands(figure), strict=True))
    for label, attack, variant in (("PIA", "pia", "base"), ("PIA +OMS", "pia", "oms")):
        scores = shown.judged(attack, 0).set_index("sample_id")
        groups = shown.groups[scores.index[~scores["member"]]]
        for step, ids in enumerate(mixtures(groups, GROUPS[1:], 40)):
            rows = pd.concat([scores[scores["member"]], scores.loc[ids]])
            auc = 100 * roc_auc_score(~rows["member"], rows[variant])
            assert lines(figure)[label][step] == pytest.approx(auc)
            error = auc_test(scores.loc[scores["member"], variant].to_numpy(), scores.loc[ids, variant].to_numpy())[1]
            width = 100 * 1.6448536 * error
            np.testing.assert_allclose(drawn[label][step], [auc - width, auc + width])


def test_the_picture_says_what_it_shows(planted):
    figure = mixing.draw(data(planted))
    axes = figure.axes[0]
    assert "500 members, 500 non-members, seed 0" in figure.get_suptitle()
    assert axes.get_xlabel() == "Non-members of like them replaced by brighter (%)"
    styles = {line.get_label(): line.get_linestyle() for line in axes.get_lines()}
    assert (styles["PIA"], styles["PIA +OMS"]) == ("--", "-")
    assert styles["Blind (statistics) (blind, cross-validated)"] == ":"
    assert "95 % intervals (DeLong" in figure.get_supxlabel()
    assert "fitted once" in figure.get_supxlabel()
    alone = mixing.draw(data(planted, attacks={"pia": SHOWN["pia"]}))
    assert "fitted once" not in alone.get_supxlabel()


def test_seeds_are_averaged(planted):
    shown = data(planted)
    twice = shown.scores | {(attack, 1): table for (attack, _), table in shown.scores.items()}
    of_one, of_both, of_other = (
        mixing.draw(data(planted, seeds=seeds, scores=twice, evaluation_seeds={0: 40, 1: 41}))
        for seeds in ((0,), (0, 1), (1,))
    )
    np.testing.assert_allclose(lines(of_both)["PIA"], (lines(of_one)["PIA"] + lines(of_other)["PIA"]) / 2)
    np.testing.assert_allclose(bands(of_both)[0], (bands(of_one)[0] + bands(of_other)[0]) / 2)
    assert "seeds 0, 1" in of_both.get_suptitle()
    assert "Means over seeds" in of_both.get_supxlabel()


def test_nothing_to_show_is_said(planted):
    assert mixing.draw(FigureData(target="t", title="t", seeds=(0,))).texts[-1].get_text().startswith("No attack")
    without = data(planted, non_member_groups=["nobody", "brighter"])
    assert (
        mixing.draw(without).texts[-1].get_text()
        == "Fewer than 2 judged non-members are of nobody, or of other groups."
    )


def config_of(non_member_groups):
    raw = copy.deepcopy(yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()))
    raw["splits"]["digits"] = {
        "dataset": "digits",
        "method": "groups",
        "member_groups": ["seen"],
        "non_member_groups": non_member_groups,
        "members": 256,
        "auxiliary": 512,
    }
    raw["run"] |= {"targets": ["ddpm_digits"], "attacks": ["pia", "secmi", "secmi_t90", "blind_statistics"]}
    return load_config(raw)


def test_it_is_drawn_of_targets_whose_non_members_are_of_several_groups(tmp_path):
    several, one = config_of(["like them", "brighter"]), config_of(["brighter"])
    shipped = load_config(yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()))
    assert is_drawn(several, "mixing", "ddpm_digits")
    assert not is_drawn(one, "mixing", "ddpm_digits")
    assert not is_drawn(shipped, "mixing", "ddpm_digits")


def test_its_job_has_the_attacks_and_the_groups_in_their_order():
    job = json.loads(jobs.figure_job(config_of(["like them", "brighter"]), "mixing", "ddpm_digits"))
    assert job["non_member_groups"] == ["like them", "brighter"]
    assert [attack for attack, _ in job["attacks"]] == ["pia", "secmi", "blind_statistics"]
    assert job["evaluation_seeds"]
    assert job["evaluation"]
    assert "non_member_groups" not in json.loads(jobs.figure_job(config_of(["brighter"]), "roc", "ddpm_digits"))


def test_it_is_drawn_from_the_files_of_a_run(planted, tmp_path):
    job = {
        "attacks": [[attack, shown._asdict()] for attack, shown in SHOWN.items()],
        "studied": [],
        "compared": [],
        "seeds": [0],
        "evaluation_seeds": {"0": 40},
        "non_member_groups": GROUPS[1:],
    }
    scores = [planted / "d" / "seed0" / name for name in ("residuals.parquet", "blind_statistics.parquet")]
    files = {"samples": planted / "samples.parquet", "manifest": planted / "manifest.json", "scores": scores}
    inputs = SimpleNamespace(losses=[], residuals=[], aggregates=[], **files)
    out = SimpleNamespace(png=tmp_path / "mixing.png", pdf=tmp_path / "mixing.pdf")
    config = SimpleNamespace(evaluation=EvaluationSpec(), targets={"t": SimpleNamespace(latent=False)})
    plot_figure("mixing", config, "t", json.loads(json.dumps(job)), inputs, out)
    save(mixing.draw(data(planted)), tmp_path / "expected.png", tmp_path / "expected.pdf")
    assert out.png.read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_bands_of_a_blind_baseline_are_as_wide_as_its_folds_need(planted):
    """The same scores, said to be of an attack and of a blind baseline."""
    widths = []
    for access in ("grey", "blind"):
        attacks = {"pia": ShownAttack("PIA", access, "none")}
        (band, _) = bands(mixing.draw(data(planted, attacks=attacks)))
        widths.append(np.ptp(band, axis=1))
    np.testing.assert_allclose(widths[1], np.sqrt(2) * widths[0])
