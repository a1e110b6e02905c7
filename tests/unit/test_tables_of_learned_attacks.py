"""Tables of attacks that learn: their own decisions beside their ROC, and what they could not be judged on."""

from __future__ import annotations

import numpy as np

from diffmia.tables import comparison, table5
from diffmia.tables.attack_tables import gsa_loss, table2, table6
from tests.unit.measured import LEARNED, config, every, inputs, names, not_applicable, rows


class TestTable5:
    ATTACKS = ("qr_recalibrated", "naive", "quantile")

    def filled(self, *further, seeds=(0,), **changes):
        measured = []
        for seed in seeds:
            for attack in ("quantile", "qr_recalibrated"):
                measured += [rows("one", attack, "tpr_at_5_fpr", 30.0 + seed, 40.0 + seed, seed)]
                measured += [rows("one", attack, "fpr_at_5_fpr", 5.5, 6.25, seed)]
                measured += [not_applicable("one", attack, seed)]
                measured += [rows("one", f"{attack}_roc", "tpr_at_5_fpr", 33.0, 44.0, seed)]
                measured += [rows("one", f"{attack}_roc", "tpr_at_0.1_fpr", 1.0, 2.0, seed, reliable=False)]
                measured += [rows("one", f"{attack}_roc", "auc", 60.0, 70.0, seed)]
        for row in (row for group in measured for row in group):
            if row["attack"].endswith("_roc"):
                row["realised_fpr"] = {"base": 4.75, "oms": 4.5, "delta": np.nan}[row["variant"]]
        return table5.fill(inputs(config(attacks=self.ATTACKS, seeds=seeds, **changes), *measured, *further))

    def test_decisions_come_first_and_then_the_rocs(self):
        assert names(self.filled()) == [
            *("QR (t-error)", "QR (recalibrated) (t-error)"),
            *("QR, ROC (t-error)", "QR (recalibrated), ROC (t-error)"),
        ]
        assert self.filled().cells.iloc[4, 0] == "+OMS (anchor x0; recalibrated)"

    def test_every_tpr_is_followed_by_its_realised_fpr(self):
        table = self.filled()
        metrics = [name for _, name in table.cells.columns[3:]]
        assert metrics == [
            *("TPR@5%FPR", "FPR (5 %)", "TPR@1%FPR", "FPR (1 %)", "TPR@0.1%FPR", "FPR (0.1 %)"),
        ]
        decided, roc = table.cells.iloc[:3, 3:5], table.cells.iloc[6:9, 3:5]
        assert decided.to_numpy().tolist() == [
            ["30.00 [28.00, 32.00]", "5.50 [3.50, 7.50]"],
            ["40.00 [38.00, 42.00]", "6.25 [4.25, 8.25]"],
            ["+10.00 [+8.00, +12.00]", "+0.75 [−1.25, +2.75]"],
        ]
        assert roc.to_numpy().tolist() == [
            ["33.00 [31.00, 35.00]", "4.75"],
            ["44.00 [42.00, 46.00]", "4.50"],
            ["+11.00 [+9.00, +13.00]", "−0.25"],
        ]
        assert table.cells.iloc[6, 7:9].tolist() == ["1.00† [−1.00, 3.00]", "4.75†"]

    def test_what_does_not_apply_says_how_much_it_needs(self):
        table = self.filled()
        assert table.cells.iloc[:6, 7:9].to_numpy().tolist() == [["n/a", "n/a"]] * 6
        notes = [note for note in table.notes if "TPR@0.1%FPR" in note]
        assert notes == [
            "n/a of QR on one under TPR@0.1%FPR: the attack needs 1,000 auxiliary samples and has 500.",
            "n/a of QR (recalibrated) on one under TPR@0.1%FPR: the attack needs 1,000 auxiliary samples and has 500.",
        ]
        assert "not_applicable" not in " ".join(table.cells.to_numpy().ravel())

    def test_two_ways_to_a_tpr_are_told_apart(self):
        notes = " ".join(self.filled().notes)
        assert "TPR of a ROC: the largest" in notes
        assert "TPR of QR (recalibrated), QR: the share" in notes
        assert "TPR: the largest" not in notes
        ordinary = " ".join(table2(inputs(config(), *every(["naive"], ["tpr_at_1_fpr"]))).notes)
        assert "TPR: the largest" in ordinary
        assert "own decision" not in ordinary

    def test_seeds_become_mean_and_standard_deviation(self):
        cells = self.filled(seeds=(0, 2)).cells
        assert cells.iloc[0, 3:5].tolist() == ["31.00 ± 1.41", "5.50 ± 0.00"]
        assert cells.iloc[8, 3:5].tolist() == ["+11.00 ± 0.00", "−0.25 ± 0.00"]
        assert cells.iloc[0, 7] == "n/a"

    def test_an_attack_without_oms(self):
        measured = [rows("one", id_, "tpr_at_5_fpr", 30.0, 40.0)[:1] for id_ in ("quantile", "quantile_roc")]
        table = table5.fill(inputs(config(attacks=("quantile",)), *measured))
        assert table.cells.iloc[:, 3].tolist() == ["30.00 [28.00, 32.00]", "n/a", "n/a"] * 2
        assert table.cells.iloc[:, 4].tolist() == [*["n/a"] * 3, "0.50", "n/a", "n/a"]


class TestLearnedTables:
    def test_table6_has_what_learns_of_members_and_each_kind_of_features(self):
        attacks = (*LEARNED, "gsa_half", "gsa1_full", "naive")
        table = table6(inputs(config(attacks=attacks, nulls=1), *every(attacks, ["auc"])))
        assert names(table) == ["GSA (shadow)", "SecMI-NNs", "GSA", "GSA1"]
        assert [name for _, name in table.cells.columns[3:]] == ["ASR", "AUC", "TPR@1%FPR", "TPR@0.1%FPR"]
        assert table.cells.iloc[7, 0] == "+OMS (loss detached)"

    def test_gsa_loss_has_the_readings_of_the_loss(self):
        attacks = (*LEARNED, "gsa_half", "gsa1_full", "naive")
        table = gsa_loss(inputs(config(attacks=attacks, nulls=1), *every(attacks, ["auc"])))
        assert names(table) == ["GSA", "GSA (both queries)"]
        assert table.cells.iloc[[1, 4], 0].tolist() == ["+OMS (loss detached)", "+OMS (loss full)"]
        assert [name for _, name in table.cells.columns[3:]] == ["AUC", "ASR", "TPR@1%FPR"]

    def test_comparison_of_decisions(self):
        measured = [
            rows("cifar", "quantile", "tpr_at_5_fpr", 30.0, 40.0),
            rows("cifar", "quantile", "fpr_at_5_fpr", 5.0, 5.0),
            rows("cifar", "quantile_roc", "tpr_at_5_fpr", 99.0, 99.0),
            not_applicable("cifar", "quantile"),
        ]
        table = comparison.fill(inputs(config(targets=("cifar",), attacks=("quantile",)), *measured))
        cells = table.cells.set_index(["Attack", "Metric"])
        assert len(cells) == 6
        base, oms = cells.loc[("QR", "TPR@5%FPR")], cells.loc[("QR +OMS (anchor x0)", "TPR@5%FPR")]
        shown = ["Access", "Supervision", "Published", "Measured", "Difference"]
        assert base[shown].tolist() == ["grey", "auxiliary", "27.76", "30.00 [28.00, 32.00]", "+2.24"]
        assert oms[shown].tolist() == ["", "", "44.66", "40.00 [38.00, 42.00]", "−4.66"]
        assert cells.loc[("QR +OMS (anchor x0)", "TPR@0.1%FPR"), "Measured"] == "n/a"
        assert "n/a of QR on cifar under TPR@0.1%FPR: the attack needs 1,000 auxiliary" in " ".join(table.notes)
        assert set(table.data["supervision"]) == {"auxiliary"}
        assert table.alignment == "llllllrrrrr"

    def test_comparison_of_gsa(self):
        measured = every(["gsa_concat"], ["auc", "asr", "tpr_at_1_fpr", "tpr_at_0.1_fpr"], "sd")
        table = comparison.fill(inputs(config(targets=("sd",), attacks=("gsa_concat",)), *measured))
        assert len(table.cells) == 8
        assert table.title.endswith("; the attacks are told the membership of 20 % of the members")
        auc = table.cells[table.cells["Metric"] == "AUC"].iloc[0]
        assert auc[["Access", "Published", "n measured"]].tolist() == ["white", "94.19", "205 / 1,029"]
