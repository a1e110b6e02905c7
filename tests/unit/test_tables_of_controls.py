"""Tables that say how far to trust the others: null controls, shifts, blind baselines, transferred thresholds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from pydantic import ImportString, TypeAdapter

from diffmia.config.relatives import with_relatives
from diffmia.evaluation.rows import read_metrics
from diffmia.evaluation.stage import COLUMNS, aggregate_metrics
from diffmia.tables import TABLES, null_control, threshold_transfer, trust
from diffmia.tables.attack_tables import table1
from diffmia.tables.table import Table, TableInputs
from tests.unit.measured import cells_of, config, every, inputs, rows


class TestNullControl:
    def filled(self, measured, **changes):
        return null_control.fill(inputs(config(nulls=1, **changes), *measured))

    def test_the_interval_is_that_of_the_family(self):
        measured = [rows("one__null", "naive", "auc", 53.0, 47.0), rows("one__null", "quantile_roc", "auc", 54.6, 45.0)]
        measured += [rows("one", "naive", "auc", 99.0, 99.0), rows("one__null", "naive", "asr", 99.0, 99.0)]
        found = null_control.family_wise(inputs(config(), *measured).metrics, ["one__null"], 0.95)
        assert found["comparisons"].tolist() == [4] * 4
        reach = 2.497705474 * 1.5  # z(1 - 0.05 / 8), and the std of `rows`
        assert found["ci_low"].tolist() == pytest.approx([v - reach for v in (53.0, 47.0, 54.6, 45.0)])
        assert found["ci_high"].tolist() == pytest.approx([v + reach for v in (53.0, 47.0, 54.6, 45.0)])
        assert found["contains_chance"].tolist() == [True, True, False, False]
        assert found["attack"].tolist() == ["naive", "naive", "quantile_roc", "quantile_roc"]
        narrower = null_control.family_wise(inputs(config(), *measured).metrics, ["one__null"], 0.5)
        assert not narrower["contains_chance"].any()

    def test_the_family_is_all_of_one_control_with_every_seed(self):
        measured = [rows("one__null", "naive", "auc", 50.0, 50.0, seed=seed) for seed in (0, 1, 2)]
        measured += [rows("two__null", "naive", "auc", 50.0, 50.0)]
        metrics = inputs(config(), *measured).metrics
        found = null_control.family_wise(metrics, ["one__null", "two__null"], 0.95)
        assert found.groupby("target")["comparisons"].unique().map(list).to_dict() == {
            "one__null": [6],
            "two__null": [2],
        }
        assert len(null_control.family_wise(metrics, ["two__null"], 0.95)) == 2

    def test_it_prints_two_rows_for_each_attack_and_seed(self):
        attacks = ("naive", "quantile", "gsa_concat")
        measured = [rows("one__null", "quantile", "tpr_at_5_fpr", 5.0, 5.0, seed=seed) for seed in (0, 1)]
        for seed in (0, 1):
            measured += [rows("one__null", "naive", "auc", 53.0, 47.0, seed=seed)]
            measured += [rows("one__null", "quantile_roc", "auc", 60.0, 50.0, seed=seed)]
            measured += [rows("one__null", "gsa_concat", "auc", 50.0, 50.0, seed=seed)]
        table = self.filled(measured, attacks=attacks, seeds=(0, 1))
        assert len(table.cells) == 12
        assert table.cells.iloc[:4].drop(columns="AUC").to_numpy().tolist() == [
            ["one__null", "NA", "grey", "none", "0", "yes"],
            ["", "+OMS", "", "", "", "yes"],
            ["one__null", "QR, ROC", "grey", "auxiliary", "0", "NO"],
            ["", "+OMS (anchor x0)", "", "", "", "yes"],
        ]
        assert table.cells["AUC"].iloc[4] == "50.00 [45.70, 54.30]"  # z(1 - 0.05 / 24) = 2.865
        assert table.cells["Seed"].tolist()[::2] == ["0"] * 3 + ["1"] * 3
        assert table.alignment == "llllrrr"
        assert table.title.endswith("“labelled 20 %” are told the membership of 20 % of the members")
        notes = " ".join(table.notes)
        for words in (
            "m = 12, of which 2 do not contain 50",
            "half of the auxiliary",
            "leak",
            "shift",
            "decisions have no",
        ):
            assert words in notes

    def test_without_oms_or_without_decisions(self):
        table = self.filled([rows("one__null", "naive", "auc", 52.5, 47.0)[:1]], attacks=("naive",))
        assert table.cells["Contains 50"].tolist() == ["yes", "n/a"]
        notes = " ".join(table.notes)
        assert "n/a: the attack has no score after one more step." in notes
        assert "decisions" not in notes

    def test_without_controls(self):
        table = null_control.fill(inputs(config(), rows("one", "naive", "auc", 80.0, 82.0)))
        assert table.cells.empty
        assert "null_targets" in table.notes[0]

    def test_controls_without_any_score_get_no_empty_notes(self):
        assert null_control.fill(inputs(config(nulls=1), rows("one", "naive", "auc", 80.0, 82.0))).notes == []

    @pytest.mark.parametrize("name", sorted(set(TABLES) - {"null_control", "trust", "tablec1", "threshold_transfer"}))
    def test_no_other_table_sees_a_control(self, name):
        fill = TypeAdapter(ImportString).validate_python(TABLES[name].function)
        attacks = ("naive", "secmi", "pia", "pia_late", "quantile", "gsa_concat", "gsa_full")
        metrics = ["auc", "asr", "tpr_at_5_fpr", "tpr_at_1_fpr", "tpr_at_0.1_fpr", "fpr_at_5_fpr"]
        attacks = (*attacks, "secmi_none")
        targets = ("one", "cifar", "uvit", "ldm")
        chosen = config(targets=targets, attacks=attacks, nulls=1)
        ids = (*attacks, "quantile_roc")
        measured = [group for target in targets for group in every(ids, metrics, target)]
        of_controls = [
            rows(f"{target}__null", id_, metric, 1.0, 2.0)
            for target in ("one", "cifar")
            for id_ in ids
            for metric in metrics
        ]
        for row in (row for group in of_controls for row in group):
            row |= {"n_members": 7, "n_non_members": 9, "flags": "recalibrated"}
        without, beside = fill(inputs(chosen, *measured)), fill(inputs(chosen, *of_controls, *measured))
        assert len(without.cells)
        pd.testing.assert_frame_equal(without.cells, beside.cells)
        pd.testing.assert_frame_equal(without.data, beside.data)
        assert without.notes == beside.notes


class TestThresholdTransfer:
    MEASURED = [
        rows("one", "naive", metric, 70.0, 80.0, seed=seed) for metric in ("asr", "tpr_at_1_fpr") for seed in (0, 1)
    ] + [rows("one", "secmi", metric, 60.0, 90.0, seed=seed) for metric in ("asr", "tpr_at_1_fpr") for seed in (0, 1)]

    @staticmethod
    def pairs(attack: str, values: tuple[float, float], fprs=(0.5, 2.5), reliable=True) -> list[dict]:
        row = {"target": "one", "attack": attack, "variant": "base", "reliable": reliable}
        between = [{"surrogate_seed": 0, "seed": 1}, {"surrogate_seed": 1, "seed": 0}]
        return [
            {**row, **seeds, "metric": metric, "value": value + (metric == "asr"), "realised_fpr": fpr}
            for metric in ("asr", "tpr_at_5_fpr", "tpr_at_1_fpr")
            for seeds, value, fpr in zip(between, values, fprs, strict=True)
        ]

    def filled(self, *pairs: list[dict], **changes) -> Table:
        given = inputs(config(**{"seeds": (0, 1), **changes}), *self.MEASURED)
        transfers = pd.DataFrame([row for group in pairs for row in group])
        return threshold_transfer.fill(dataclasses.replace(given, transfers=transfers))

    def test_own_numbers_beside_transferred_ones(self):
        table = self.filled(self.pairs("naive", (50.0, 60.0)))
        [line] = table.cells.drop(columns=["Access", "Supervision"]).to_numpy().tolist()
        assert line == ["one", "NA", "70.00 ± 0.00", "56.00 ± 7.07", "70.00 ± 0.00", "55.00 ± 7.07", "1.50"]
        assert len(table.data) == 6  # each pair and metric, also those that are not printed
        assert "2 ordered pairs" in " ".join(table.notes)
        assert "secmi" not in table.data["attack"].tolist()

    def test_a_pair_that_cannot_support_the_fpr(self):
        table = self.filled(self.pairs("naive", (50.0, float("nan"))), self.pairs("secmi", (1.0, 2.0), reliable=False))
        columns = ["ASR, transferred", "TPR@1%FPR, transferred", "Realised FPR"]
        assert table.cells[columns].to_numpy().tolist() == [
            ["n/a", "n/a", "1.50"],
            ["2.50† ± 0.71", "1.50† ± 0.71", "1.50"],
        ]
        assert {"†", "n/a:"} <= {note.split()[0] for note in table.notes}

    def test_without_a_surrogate_it_says_why(self):
        assert "run.seeds" in self.filled(seeds=(0,)).notes[0]
        assert "drawn anew for each seed" in self.filled().notes[0]


class TestTrust:
    CONFIG = config(attacks=("naive", "secmi", "secmi_xt", "blind", "blind_cnn"), nulls=1)
    MEASURED = inputs(
        CONFIG,
        rows("one", "naive", "auc", 70.0, 80.0),
        rows("one", "naive", "tpr_at_1_fpr", 5.0, 9.0),
        rows("one", "secmi_xt", "auc", 70.0, 80.0),
        rows("one", "blind", "auc", 51.0, np.nan)[:1],
        rows("one", "blind_cnn", "auc", 53.0, np.nan)[:1],
        rows("one", "blind", "tpr_at_1_fpr", 2.0, np.nan)[:1],
        rows("one__null", "naive", "auc", 50.5, 57.0),
    )

    def test_excess_is_over_the_best_blind_baseline(self):
        table = trust.fill(self.MEASURED)
        shown = table.cells.set_index("Attack")
        assert list(shown.index) == ["Blind", "Blind (CNN)", "NA", "+OMS"]  # no other reading of an attack
        assert shown.loc["NA", ["Best blind", "Excess", "Excess (TPR)"]].tolist() == ["53.00", "+17.00", "+3.00"]
        assert shown.loc["+OMS", ["Best blind", "Excess", "Excess (TPR)"]].tolist() == ["53.00", "+27.00", "+7.00"]
        assert shown.loc["Blind", "Excess"] == "n/a"

    def test_the_null_control_has_the_interval_of_its_table(self):
        shown = trust.fill(self.MEASURED).cells.set_index("Attack")["Null control"]
        controls = null_control.fill(self.MEASURED).cells.set_index("Attack")
        assert shown["NA"] == controls.loc["NA", "AUC"]
        assert controls.loc["+OMS", "Contains 50"] == "NO"
        assert shown["+OMS"] == f"{controls.loc['+OMS', 'AUC']} NO"

    def test_of_two_null_controls_the_one_off_chance_is_shown(self):
        one = self.CONFIG.targets["one"]
        training = one.training.model_copy(update={"checkpoint_epochs": (0,)})
        targets = {"one": one.model_copy(update={"training": training})}
        both = self.CONFIG.model_copy(update={"targets": with_relatives(targets)})
        assert both.controls == ["one__null", "one__epoch0"]
        untrained = rows("one__epoch0", "naive", "auc", 43.0, 50.0)
        measured = inputs(both, self.MEASURED.metrics.to_dict("records"), untrained)
        shown = trust.fill(measured)
        assert shown.data.set_index(["attack", "variant"])["control"].loc["naive"].to_dict() == {
            "base": "one__epoch0",
            "oms": "one__null",
        }
        nulls = shown.cells.set_index("Attack")["Null control"]
        assert nulls["NA"].startswith("43.00")
        assert nulls["NA"].endswith(" NO")
        assert set(null_control.fill(measured).data["target"]) == {"one__null", "one__epoch0"}

    def test_members_that_look_like_non_members_are_counted(self):
        pairs = pd.DataFrame({"member": [3, 3, 5], "non_member": [7, 8, 9], "exact": [True, False, False]})
        shown = TableInputs(self.MEASURED.metrics, self.MEASURED.manifests, self.CONFIG, {("halves", 0): pairs})
        assert trust.fill(shown).notes[-1].endswith("2 of 250 members in split halves, seed 0, 1 pairs being equal.")
        assert "Near-duplicates" not in " ".join(trust.fill(self.MEASURED).notes)

    def test_without_a_baseline_it_says_so(self):
        chosen = config(attacks=("naive",))
        table = trust.fill(inputs(chosen, rows("one", "naive", "auc", 70.0, 80.0)))
        assert table.cells["Excess"].tolist() == ["n/a", "n/a"]
        assert "no blind baseline" in " ".join(table.notes)


class TestShift:
    """A blind baseline above chance puts a flag on every row of its split."""

    def metrics(self, tmp_path, blind_auc):
        chosen = config(attacks=("naive", "secmi", "blind"))
        groups = [rows("one", "naive", "auc", 70.0, 80.0), rows("one", "secmi", "auc", 60.0, 61.0)]
        blind = [row | {"access": "blind"} for row in rows("one", "blind", "auc", blind_auc, np.nan)[:1]]
        elsewhere = [row | {"split_hash": "e" * 64} for row in rows("two", "naive", "auc", 70.0, 80.0)]
        part, metrics = tmp_path / "part.csv", tmp_path / "metrics.csv"
        every_row = [row for group in (*groups, blind, elsewhere) for row in group]
        pd.DataFrame(every_row).reindex(columns=COLUMNS).to_csv(part, index=False)
        aggregate_metrics([part], chosen, metrics)
        return chosen, read_metrics(metrics)

    @pytest.mark.parametrize(("auc", "shifted"), [(52.9, False), (53.0, True), (40.0, False)])
    def test_beyond_its_standard_error(self, auc, shifted, tmp_path):
        """1.96 x 1.5 = 2.94; below chance is no evidence."""
        _, found = self.metrics(tmp_path, auc)
        flags = found.assign(flags=found["flags"].fillna(""))
        here = flags.loc[flags["target"] == "one", "flags"]
        assert here.str.endswith("shift").all() == here.str.contains("shift").any() == shifted
        assert not flags.loc[flags["target"] == "two", "flags"].str.contains("shift").any()
        assert (
            flags.query("attack == 'secmi' and variant == 'oms'")["flags"].item() == "anchor x0" + "; shift" * shifted
        )

    def test_tables_show_it_on_the_row_and_say_what_it_means(self, tmp_path):
        chosen, found = self.metrics(tmp_path, 60.0)
        table = table1(TableInputs(found, {}, chosen))
        assert list(cells_of(table)) == ["NA (shift)", "+OMS (shift)", "Δ", "SecMI (shift)", "+OMS (anchor x0; shift)"]
        assert any(note.startswith("“shift”: a blind baseline") for note in table.notes)


def test_each_target_is_held_against_its_own_baseline_and_its_own_control():
    chosen = config(targets=("one", "two"), attacks=("naive", "blind"), nulls=1)
    measured = []
    for target, blind, null in (("one", 51.0, 50.5), ("two", 60.0, 57.0)):
        measured += [rows(target, "naive", metric, 70.0, 80.0) for metric in ("auc", "tpr_at_1_fpr")]
        measured += [rows(target, "blind", "auc", blind, np.nan)[:1]]
        measured += [rows(f"{target}__null", "naive", "auc", null, null)]
    found = trust.excess(inputs(chosen, *measured).metrics, chosen).set_index(["target", "attack", "variant"])
    assert found.loc[("one", "naive", "base"), ["excess", "control"]].tolist() == [19.0, "one__null"]
    assert found.loc[("two", "naive", "base"), ["excess", "control"]].tolist() == [10.0, "two__null"]


def test_a_baseline_below_chance_gives_no_credit():
    chosen = config(attacks=("naive", "blind"))
    measured = [rows("one", "naive", "auc", 70.0, 80.0), rows("one", "naive", "tpr_at_1_fpr", 5.0, 9.0)]
    measured += [rows("one", "blind", "auc", 45.0, np.nan)[:1], rows("one", "blind", "tpr_at_1_fpr", 0.0, np.nan)[:1]]
    found = trust.excess(inputs(chosen, *measured).metrics, chosen).set_index(["attack", "variant"])
    assert found.loc[("naive", "base"), ["excess", "excess_tpr"]].tolist() == [20.0, 4.0]
