"""What the tables print, against numbers worked out by hand."""

from __future__ import annotations

import re
from html import escape as escaped
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from pydantic import ImportString, TypeAdapter

from diffmia.tables import TABLES, comparison, tablec1
from diffmia.tables.attack_tables import secmi_anchor, table1, table2
from diffmia.tables.latex import escape
from diffmia.tables.measured import over_seeds
from diffmia.tables.table import Table, markdown, write
from tests.unit.measured import LEARNED, config, inputs, rows


def test_table1_prints_value_interval_and_reading():
    table = table1(
        inputs(
            config(),
            rows("one", "naive", "auc", 70.126, 80.0),
            rows("one", "naive", "asr", 65.0, 64.5),
            rows("one", "secmi", "auc", 60.0, 61.0),
            rows("one", "secmi_xt", "auc", 1.0, 2.0),
        )
    )
    first = [("", "Attack"), ("", "Access"), ("", "Supervision")]
    assert table.cells.columns.tolist() == [*first, ("one", "ASR"), ("one", "AUC")]
    assert table.cells.to_numpy().tolist() == [
        ["NA", "grey", "none", "65.00 [63.00, 67.00]", "70.13 [68.13, 72.13]"],
        ["+OMS", "", "", "64.50 [62.50, 66.50]", "80.00 [78.00, 82.00]"],
        ["Δ", "", "", "−0.50 [−2.50, +1.50]", "+9.87 [+7.87, +11.87]"],
        ["SecMI", "grey", "none", "n/a", "60.00 [58.00, 62.00]"],
        ["+OMS (anchor x0)", "", "", "n/a", "61.00 [59.00, 63.00]"],
        ["Δ", "", "", "n/a", "+1.00 [−1.00, +3.00]"],
    ]
    assert table.alignment == "lllrr"
    assert set(table.data["attack"]) == {"naive", "secmi"}
    assert table.data["value"].iloc[0] == 65.0
    notes = " ".join(table.notes)
    for word in ("256 members, 1,029 non-members", "95 %", "n/a", "seed: 0", "low score means member", "anchor"):
        assert word in notes
    assert "†" not in notes


def test_average_over_targets_needs_all_of_them():
    table = table1(
        inputs(
            config(targets=("one", "two"), attacks=("naive",)),
            rows("one", "naive", "auc", 70.0, 80.0) + rows("one", "naive", "asr", 60.0, 61.0),
            rows("two", "naive", "auc", 81.0, 82.0),
        )
    )
    assert table.cells.columns[-1] == ("average", "AUC")
    assert table.cells[("average", "AUC")].tolist() == ["75.50", "81.00", "+5.50"]
    assert table.cells[("average", "ASR")].tolist() == ["n/a"] * 3


def test_average_over_targets_needs_all_of_their_seeds():
    """A mean over the seeds that all targets have would be of other trainings than the numbers beside it."""
    lacking = rows("two", "naive", "auc", float("nan"), float("nan"), seed=1)
    table = table1(
        inputs(
            config(targets=("one", "two"), attacks=("naive",), seeds=(0, 1)),
            rows("one", "naive", "auc", 60.0, 61.0) + rows("one", "naive", "auc", 90.0, 91.0, seed=1),
            rows("two", "naive", "auc", 60.0, 61.0) + lacking,
        )
    )
    assert table.cells[("one", "AUC")].tolist()[0].startswith("75.00")
    assert table.cells[("average", "AUC")].tolist() == ["n/a"] * 3


def test_average_of_nothing():
    table = table1(inputs(config(targets=("one", "two"), attacks=("naive",)), rows("one", "naive", "auc", 70.0, 80.0)))
    assert table.cells[("average", "AUC")].tolist() == ["n/a"] * 3
    assert table.cells[("one", "AUC")].tolist()[0] == "70.00 [68.00, 72.00]"


def test_table2_has_relative_gains_and_marks():
    table = table2(
        inputs(
            config(attacks=("naive", "secmi")),
            rows("one", "naive", "tpr_at_1_fpr", 1.05, 13.24),
            rows("one", "naive", "tpr_at_0.1_fpr", 0.0, 2.0, reliable=False),
            rows("one", "secmi", "tpr_at_1_fpr", 10.0, 5.0),
            rows("one", "secmi", "tpr_at_0.1_fpr", np.nan, np.nan, reliable=False),
        )
    )
    first, second = table.cells.iloc[2, 3:], table.cells.iloc[5, 3:]
    assert first.tolist() == ["+12.19 (+1161 %) [+10.19, +14.19]", "+2.00† [+0.00, +4.00]"]
    assert second.tolist() == ["−5.00 (−50 %) [−7.00, −3.00]", "n/a"]
    assert table.data["relative"].dropna().tolist() == pytest.approx([100 * 12.19 / 1.05, -50.0])
    assert any(note.startswith("†") for note in table.notes)


def test_seeds_become_mean_and_standard_deviation():
    chosen = config(attacks=("naive",), seeds=(0, 3))
    both = rows("one", "naive", "auc", 70.0, 80.0), rows("one", "naive", "auc", 74.0, 82.0, seed=3)
    table = table1(inputs(chosen, *both))
    assert table.cells[("one", "AUC")].tolist() == ["72.00 ± 2.83", "81.00 ± 1.41", "+9.00 ± 1.41"]
    assert table.data["ci_low"].isna().all()
    assert (table.data["seeds"] == 2).all()
    notes = " ".join(table.notes)
    assert "±" in notes
    assert "seeds: 0, 3" in notes
    assert "square brackets" not in notes


def test_secmi_anchor_has_the_readings_and_nothing_else():
    table = secmi_anchor(
        inputs(
            config(),
            *(rows("one", attack, "auc", 70.0, 80.0) for attack in ("naive", "secmi", "secmi_xt")),
        )
    )
    names = ["SecMI", "+OMS (anchor x0)", "Δ", "SecMI (x_t & more)", "+OMS (anchor xt)", "Δ"]
    assert table.cells.iloc[:, 0].tolist() == names


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("attacks", [("naive",), ("secmi_xt",), ("secmi", "naive"), ("quantile",), LEARNED])
def test_any_selection_makes_every_file(name, attacks, tmp_path):
    fill = TypeAdapter(ImportString).validate_python(TABLES[name].function)
    measured = (rows(target, attack, "auc", 70.0, 80.0) for target in ("one", "one__null") for attack in attacks)
    table = fill(inputs(config(attacks=attacks, nulls=1), *measured))
    write(table, tmp_path / "a.csv")
    assert table.name == name
    assert table.notes
    assert len(pd.read_csv(tmp_path / "a.csv")) == len(table.data)
    assert table.title in (tmp_path / "a.md").read_text()
    assert (tmp_path / "a.tex").read_text().isascii()
    assert f"<h1>{escaped(table.title)}</h1>" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("table1", "quantile"),
        ("table2", "gsa_shadow"),
        ("table5", "naive"),
        ("table6", "quantile"),
        ("secmi_anchor", "naive"),
        ("gsa_loss", "gsa_shadow"),
    ],
)
def test_a_table_without_attacks_says_so(name, attack, tmp_path):
    fill = TypeAdapter(ImportString).validate_python(TABLES[name].function)
    table = fill(inputs(config(attacks=(attack,), nulls=1), rows("one", attack, "auc", 70.0, 80.0)))
    assert table.cells.empty
    assert table.notes == ["The run has no attack that belongs in this table."]
    write(table, tmp_path / "t.csv")
    assert "|" not in (tmp_path / "t.md").read_text()


def test_tablec1_counts_absent_classes_as_zero():
    table = tablec1.fill(inputs(config(seeds=(0, 1)), rows("one", "naive", "auc", 70.0, 80.0)))
    expected = ["one", "digits", "8×9", "250", "1,547", "0", "120–130 / 0–1,547 / 0", "random", "0", "0123456789ab"]
    assert table.cells.iloc[0].tolist() == expected
    assert table.cells["Seed"].tolist() == ["0", "1"]
    assert table.data["split_hash"].str.len().eq(64).all()


def test_tablec1_names_what_nothing_was_judged_on():
    measured = inputs(config(seeds=(0, 1)), rows("one", "naive", "auc", 70.0, 80.0))
    del measured.manifests["halves", 0]
    table = tablec1.fill(measured)
    assert table.cells["Seed"].tolist() == ["1"]
    assert table.notes[-1] == "Left out, since no attack on it has scores: one, seed 0."


def test_comparison_sets_published_beside_measured():
    measured = [rows(target, "naive", "auc", 80.0, 82.0) for target in ("one", "cifar")]
    table = comparison.fill(inputs(config(targets=("one", "cifar")), *measured))
    printed = table.cells[(table.cells["Attack"] == "NA") & (table.cells["Metric"] == "AUC")].iloc[0]
    assert printed.tolist() == [
        *("cifar", "OMS table 1, ddpm_cifar10", "NA", "grey", "none", "AUC", "78.28", "80.00 [78.00, 82.00]", "+1.72"),
        *("25,000 / 25,000", "256 / 1,029"),
    ]
    assert set(table.data["target"]) == {"cifar"}
    assert set(table.data["attack"]) == {"naive", "secmi"}
    assert (table.cells.loc[table.cells["Metric"] == "ASR", "Measured"] == "n/a").all()


def test_comparison_without_published_numbers_says_so():
    table = comparison.fill(inputs(config(), rows("one", "naive", "auc", 80.0, 82.0)))
    assert table.data.empty
    assert "published_as" in table.notes[0]


def test_csv_round_trips(tmp_path):
    table = table2(inputs(config(attacks=("naive",)), rows("one", "naive", "tpr_at_1_fpr", 1 / 3, 200 / 3)))
    write(table, tmp_path / "t.csv")
    again = pd.read_csv(tmp_path / "t.csv", keep_default_na=False, na_values={column: [""] for column in ("relative",)})
    assert again["value"].tolist() == table.data["value"].tolist()
    assert again["relative"].dropna().tolist() == table.data["relative"].dropna().tolist()
    assert (again[["n_members", "n_non_members"]].to_numpy() == [256, 1029]).all()


def test_markdown_escapes_pipes():
    table = Table("t", "Title", pd.DataFrame({"Name": ["a|b"], "Value": ["1.00"]}), pd.DataFrame(), ["a note"])
    lines = markdown(table).splitlines()
    assert lines[0] == "## Title"
    assert r"a\|b" in lines[4]
    assert lines[-1] == "- a note"


def test_a_page_shows_the_same_cells(tmp_path):
    measured = (rows("one", attack, "tpr_at_1_fpr", 10.0, 20.0) for attack in ("secmi", "secmi_xt"))
    table = secmi_anchor(inputs(config(attacks=("secmi", "secmi_xt")), *measured))
    table.notes.append("a < b & c")
    write(table, tmp_path / "t.csv")
    page = (tmp_path / "t.html").read_text()
    shown = ElementTree.fromstring(page[page.index("<table") : page.index("</table>")] + "</table>")
    cells = [["".join(cell.itertext()) for cell in row] for row in shown.findall("tbody/tr")]
    assert cells == table.cells.to_numpy().tolist()
    assert cells[3][0] == "SecMI (x_t & more)"
    names = ["".join(name.itertext()) for name in shown.findall("thead/tr")[-1]]
    assert names == [name if isinstance(name, str) else name[-1] for name in table.cells.columns]
    assert "<li>a &lt; b &amp; c</li>" in page


def test_latex_has_no_bare_specials(tmp_path: Path):
    table = table2(
        inputs(
            config(attacks=("secmi", "naive"), targets=("one", "two")),
            rows("one", "secmi", "tpr_at_1_fpr", 10.0, 20.0, reliable=False),
        )
    )
    table.notes.append(r"100 % of {a_b} & #1 ~ ^ \ $ < > | ‖ε⁰ − ε¹‖² · “x” ± × – Δ − †")
    write(table, tmp_path / "t.csv")
    tex = (tmp_path / "t.tex").read_text()
    assert tex.isascii()
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")
    body = tex[tex.index(r"\midrule") :]
    assert not re.search(r"(?<!\\)[%#_]", body)
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    data_rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(data_rows) == 6
    assert all(len(re.findall(r"(?<!\\)&", line)) == 6 for line in data_rows)
    assert r"\multicolumn{2}{c}{one}" in tex


def test_escape_replaces_once():
    assert escape(r"a_b\{") == r"a\_b\textbackslash{}\{"


def test_the_report_says_something_of_every_table():
    captions = (Path(__file__).parents[2] / "rules/captions/tables").glob("*.rst")
    assert {path.stem for path in captions if len(path.read_text()) > 30} == set(TABLES)


def test_what_is_not_reliable_in_one_seed_or_target_is_not_in_their_mean():
    one = rows("one", "naive", "tpr_at_1_fpr", 1.0, 2.0, reliable=False)
    other = rows("one", "naive", "tpr_at_1_fpr", 3.0, 4.0, seed=1)
    for row in other:
        row["n_non_members"] = 900
    found = over_seeds(inputs(config(seeds=(0, 1)), one, other).metrics)
    assert not found["reliable"].any()
    assert found["n_non_members"].tolist() == [900] * 3
    groups = rows("one", "naive", "auc", 70.0, 80.0, reliable=False), rows("two", "naive", "auc", 80.0, 90.0)
    table = table1(inputs(config(targets=("one", "two"), attacks=("naive",)), *groups))
    assert table.cells[("average", "AUC")].tolist() == ["75.00†", "85.00†", "+10.00†"]
