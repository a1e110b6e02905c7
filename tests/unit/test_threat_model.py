"""Tables that say what each attack sees and is told, and what is missing of a run."""

from __future__ import annotations

import pandas as pd
import pytest

from diffmia.attacks.residual import ResidualAttack
from diffmia.errors import DiffmiaError
from diffmia.evaluation.rows import read_metrics
from diffmia.evaluation.stage import COLUMNS, aggregate_metrics
from diffmia.figures.figure import heading
from diffmia.tables import table5
from diffmia.tables.attack_tables import first_query, gsa_loss, table1, table2, table4, table6
from diffmia.tables.null_control import family_wise
from diffmia.tables.table import TableInputs
from tests.unit.measured import LEARNED, cells_of, config, every, inputs, names, rows


class TestThreatModel:
    def test_is_printed_once_and_in_every_row_of_the_data(self):
        attacks = ("secmi_nns", "gsa_concat", "gsa_shadow")
        table = table6(inputs(config(attacks=attacks, nulls=1), *every(attacks, ["auc"])))
        printed = table.cells[[("", "Access"), ("", "Supervision")]].to_numpy().tolist()
        blank = [["", ""], ["", ""]]
        assert printed == [
            *(["grey", "labelled 20 %"], *blank),
            *(["white", "labelled 20 %"], *blank),
            *(["white", "shadow"], *blank),
        ]
        of_attack = table.data.groupby("attack")[["access", "supervision"]].agg(lambda values: sorted(set(values)))
        assert of_attack.loc["gsa_shadow"].tolist() == [["white"], ["shadow"]]
        assert of_attack.loc["secmi_nns"].tolist() == [["grey"], ["labelled 20 %"]]
        assert table.alignment == "lllrrrr"

    @pytest.mark.parametrize("table_of", [table1, table2])
    def test_attacks_that_are_told_more_are_not_in_the_papers_main_tables(self, table_of):
        attacks = ("naive", *LEARNED)
        measured = every(attacks, ["auc", "asr", "tpr_at_1_fpr", "tpr_at_0.1_fpr"])
        table = table_of(inputs(config(attacks=attacks, nulls=1), *measured))
        assert names(table) == ["NA"]
        assert set(table.data["attack"]) == {"naive"}
        assert "the members" not in table.title
        assert "256 members" in " ".join(table.notes)

    @pytest.mark.parametrize(
        ("table_of", "attacks", "shown"),
        [
            (table1, ("secmi_xt", "secmi"), ["SecMI"]),
            (table1, ("naive", "secmi_xt"), ["NA", "SecMI (x_t & more)"]),
            (table2, ("naive", "secmi_xt"), ["NA", "SecMI (x_t & more)"]),
            (table6, ("gsa_t99", "gsa_full"), ["GSA (t = 99)", "GSA (both queries)"]),
        ],
    )
    def test_a_reading_is_there_in_the_place_of_its_attack(self, table_of, attacks, shown):
        measured = every(attacks, ["auc", "asr", "tpr_at_1_fpr", "tpr_at_0.1_fpr"])
        assert names(table_of(inputs(config(attacks=attacks), *measured))) == shown

    def test_nor_are_attacks_that_see_more(self):
        class Whiter(ResidualAttack):
            access = "white"

        chosen = config(attacks=("naive", "secmi"))
        secmi = Whiter(**chosen.attacks["secmi"].model_dump())
        chosen = chosen.model_copy(update={"attacks": chosen.attacks | {"secmi": secmi}})
        assert names(table1(inputs(chosen, *every(["naive", "secmi"], ["auc"])))) == ["NA"]

    def test_the_caption_says_who_is_told_of_members(self):
        def title(table_of, *attacks):
            return table_of(inputs(config(attacks=attacks, nulls=1), *every(attacks, ["auc"]))).title

        told = "are told the membership of 20 % of the members"
        assert title(table6, "secmi_nns", "gsa1").endswith(f"; the attacks {told}")
        assert title(table6, "secmi_nns", "gsa_shadow").endswith(f"; attacks with supervision “labelled 20 %” {told}")
        assert title(gsa_loss, "gsa_concat").endswith(f"; the attacks {told}")
        assert "told" not in title(table6, "gsa_shadow")
        assert "told" not in title(table5.fill, "quantile")

    def test_every_share_of_labels_is_named(self):
        specs = config().attacks
        half = specs["secmi_nns"].model_copy(update={"labelled_fraction": 0.5})
        chosen = config(attacks=("secmi_nns", "gsa_concat")).model_copy(update={"attacks": specs | {"secmi_nns": half}})
        table = table6(inputs(chosen, *every(("secmi_nns", "gsa_concat"), ["auc"])))
        assert table.title.endswith("; the attacks are told the membership of 50 % or 20 % of the members")

    def test_notes_explain_the_words_that_are_there(self):
        attacks = ("secmi_nns", "gsa_shadow")
        table = table6(inputs(config(attacks=attacks, nulls=1), *every(attacks, ["auc"])))
        notes = " ".join(table.notes)
        assert "205–256 members, 1,029 non-members" in notes
        for words in ("grey, what", "white, the", "labelled 20 %, the", "shadow, other", "judged on fewer members"):
            assert words in notes
        assert "auxiliary, samples" not in notes
        alone = " ".join(table6(inputs(config(attacks=attacks[1:], nulls=1), *every(attacks[1:], ["auc"]))).notes)
        assert "256 members" in alone
        for words in ("grey", "labelled", "fewer members"):
            assert words not in alone

    def test_flags_are_explained_by_their_first_word(self):
        attacks = ("gsa_concat", "gsa_full")
        notes = gsa_loss(inputs(config(attacks=attacks), *every(attacks, ["auc"]))).notes
        assert [note for note in notes if "“loss” says" in note]
        assert not [note for note in notes if "“anchor”" in note or "“recalibrated”" in note]
        notes = table5.fill(
            inputs(config(attacks=("qr_recalibrated",)), *every(["qr_recalibrated"], ["tpr_at_5_fpr"]))
        ).notes
        assert [note for note in notes if "“recalibrated”" in note]
        assert [note for note in notes if "“anchor” says" in note]

    def test_an_attack_that_was_left_out_has_its_reason(self):
        chosen = config(attacks=("gsa_concat", "gsa_shadow"))  # no null target to learn from
        table = table6(inputs(chosen, *every(["gsa_concat"], ["auc"])))
        assert names(table) == ["GSA", "GSA (shadow)"]
        assert "n/a of GSA (shadow) on one: the attack needs shadow targets and has none (null_targets)." in table.notes
        assert not [
            note for note in gsa_loss(inputs(chosen, *every(["gsa_concat"], ["auc"]))).notes if "shadow" in note
        ]


class TestKindsOfModel:
    """Tables 1 and 2 are of DDPMs, Table 4 of U-ViTs."""

    INPUTS = inputs(
        config(targets=("one", "uvit"), attacks=("naive", "pia", "pia_late", "pia_sde")),
        *[
            rows(target, attack, metric, base, base + 10)
            for target, base in (("one", 60.0), ("uvit", 70.0))
            for attack in ("naive", "pia", "pia_late", "pia_sde")
            for metric in ("auc", "asr", "tpr_at_1_fpr")
        ],
    )

    def test_a_table_has_targets_of_its_kind(self):
        for fill, target in ((table1, "one"), (table2, "one"), (table4, "uvit")):
            table = fill(self.INPUTS)
            assert {first for first, _ in table.cells.columns} == {"", target}
            assert set(table.data["target"]) == {target}
            assert cells_of(table)["NA"][2].startswith("60.00" if target == "one" else "70.00")

    def test_without_any_it_says_so(self):
        assert table4(inputs(config())).notes == ["The run has no target that belongs in this table."]

    def test_table4_says_what_the_paper_has_not(self):
        assert "PIA with one more step is not in the paper's table." in table4(self.INPUTS).notes
        assert [c for _, c in table4(self.INPUTS).cells.columns] == [
            "Attack",
            "Access",
            "Supervision",
            "ASR",
            "AUC",
            "TPR@1%FPR",
        ]

    def test_readings_in_continuous_time_stand_after_what_they_read(self):
        table = first_query(self.INPUTS)
        assert [name for name in cells_of(table) if name not in ("+OMS", "Δ")] == ["PIA", "PIA (late)", "PIA (14)"]
        assert set(table.data["target"]) == {"uvit"}

    def test_so_do_readings_of_a_reading(self):
        attacks = ["pia_l5_late", "pia_l5"]
        measured = [row for id_ in attacks for row in rows("uvit", id_, "auc", 60.0, 61.0)]
        table = first_query(inputs(config(targets=("uvit",), attacks=attacks), measured))
        assert table.cells.iloc[:, 0].tolist() == ["PIA (l5)", "+OMS", "Δ", "PIA (l5, late)", "+OMS", "Δ"]


class TestMissing:
    """What has no scores since a job failed: its kind in the cells, its reason below them."""

    def table(self, tmp_path, seeds=(0,)):
        chosen = config(attacks=("naive", "pia"), seeds=seeds)
        part, metrics = tmp_path / "part.csv", tmp_path / "metrics.csv"
        measured = [row for group in every(["naive", "pia"], ["auc", "asr"]) for row in group]
        measured = [row for row in measured if (row["target"], row["attack"]) != ("one", "pia")]
        measured = [row | {"seed": seed} for seed in seeds for row in measured]
        pd.DataFrame(measured).reindex(columns=COLUMNS).assign(queries=2).to_csv(part, index=False)
        lost = {"target": "one", "seed": 0, "attack": "pia", "kind": "out of memory", "reason": "too large; take less"}
        aggregate_metrics([part], chosen, metrics, [lost])
        return table1(TableInputs(read_metrics(metrics), {}, chosen))

    def test_the_kind_stands_in_every_cell_and_the_reason_below(self, tmp_path):
        table = self.table(tmp_path)
        assert table.cells.iloc[:, 0].tolist() == ["NA", "+OMS", "Δ", "PIA", "+OMS", "Δ"]
        assert (table.cells["one"].iloc[3:] == "out of memory").to_numpy().all()
        assert not (table.cells["one"].iloc[:3] == "out of memory").to_numpy().any()
        said = "out of memory: no scores of PIA on one, seed 0: too large, take less. The next run makes them"
        assert [note for note in table.notes if note.startswith(said)]

    def test_a_mean_over_seeds_is_not_that_of_the_others(self, tmp_path):
        table = self.table(tmp_path, seeds=(0, 1))
        assert (table.cells["one"].iloc[3:] == "out of memory").to_numpy().all()

    def test_where_everything_is_missing_there_is_no_table(self, tmp_path):
        with pytest.raises(DiffmiaError, match="nothing that the run selects has scores"):
            aggregate_metrics([], config(attacks=("naive",)), tmp_path / "metrics.csv")


def test_rows_of_attacks_that_were_left_out_leave_the_others_as_they_are(tmp_path):
    chosen = config(attacks=("gsa_concat", "gsa_shadow"))
    part, metrics = tmp_path / "part.csv", tmp_path / "metrics.csv"
    measured = [row for group in every(["gsa_concat"], ["auc", "asr"]) for row in group]
    pd.DataFrame(measured).reindex(columns=COLUMNS).assign(queries=30).to_csv(part, index=False)
    aggregate_metrics([part], chosen, metrics)
    found = read_metrics(metrics)
    last = found[found["attack"] == "gsa_shadow"]
    assert last["variant"].tolist() == ["base", "oms"]
    assert last["value"].isna().all()
    assert set(last["flags"]) == {"not_applicable: needs shadow targets and has none (null_targets)"}
    assert set(last["supervision"]) == {"shadow"}
    assert found["queries"].dropna().tolist() == [30] * (len(found) - 2)
    notes = " ".join(table6(TableInputs(found, {}, chosen)).notes)
    sizes = f"{measured[0]['n_members']:,} members, {measured[0]['n_non_members']:,} non-members"
    assert f"one: {sizes}." in notes
    assert heading("one", *(found["n_members"].dropna(), found["n_non_members"].dropna()), [0]) == (
        f"one\n{sizes}, seed 0"
    )
    assert family_wise(found, ["one"], 0.95)["attack"].tolist() == ["gsa_concat"] * 2


def test_first_query_has_auc_asr_and_tpr_at_1_percent():
    chosen = config(targets=("uvit",), attacks=("pia", "pia_late"))
    table = first_query(
        inputs(chosen, rows("uvit", "pia", "auc", 60.0, 61.0), rows("uvit", "pia_late", "auc", 1.0, 2.0))
    )
    assert [name for _, name in table.cells.columns[3:]] == ["AUC", "ASR", "TPR@1%FPR"]
