"""What the tables print, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import re
from html import escape as escaped
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from pydantic import ImportString, TypeAdapter

from diffmia.attacks.residual import ResidualAttack
from diffmia.config.config import Config, load_config
from diffmia.config.relatives import with_relatives
from diffmia.errors import DiffmiaError
from diffmia.evaluation.rows import read_metrics
from diffmia.evaluation.stage import COLUMNS, aggregate_metrics
from diffmia.figures.figure import heading
from diffmia.tables import TABLES, comparison, null_control, table5, tablec1, texts, threshold_transfer, trust
from diffmia.tables.attack_tables import first_query, gsa_loss, secmi_anchor, table1, table2, table3, table4, table6
from diffmia.tables.latex import escape
from diffmia.tables.null_control import family_wise
from diffmia.tables.table import Table, TableInputs, markdown, write

FLAGS = {
    **{"secmi": "anchor x0", "secmi_xt": "anchor xt", "gsa_concat": "loss detached", "gsa_full": "loss full"},
    **{"quantile": "anchor x0", "quantile_roc": "anchor x0", "qr_recalibrated": "anchor x0; recalibrated"},
}
LABELLED = ("secmi_nns", "gsa_concat", "gsa1", "gsa_full", "gsa_t99")
LEARNED = ("quantile", "qr_recalibrated", "gsa_shadow", *LABELLED)


def config(targets=("one",), attacks=("naive", "secmi", "secmi_xt"), seeds=(0,), nulls=0, **overrides) -> Config:
    target = {
        "family": "ddpm_unet",
        "split": "halves",
        "model": {"channels": [8, 16], "norm_groups": 4},
        "training": {"epochs": 1},
        "null_targets": nulls,
    }
    gsa = {"family": "gsa", "reading_of": "gsa_concat"}
    raw = {
        "run": {"targets": list(targets), "attacks": list(attacks), "seeds": list(seeds)},
        "datasets": {"digits": {"source": "digits", "captions": True}},
        "splits": {"halves": {"dataset": "digits", "method": "random", "members": 250, "auxiliary": 500}},
        "targets": {
            **{"one": target, "two": target, "cifar": {**target, "published_as": {"oms": "ddpm_cifar10"}}},
            "uvit": {**{key: target[key] for key in ("split", "training")}, "family": "uvit"},
            "sd": {**target, "published_as": {"oms": "sd15_laion_coco"}},
            "ldm": {
                **{"family": "diffusers_latent_diffusion", "split": "halves", "folder": "sd"},
                **{"condition": "caption", "published_as": {"pia": "sd15_laion5_coco_blip"}},
            },
        },
        "attacks": {
            "naive": {"family": "residual", "label": "NA", "start": "gaussian", "t": 100, "norm": 2},
            "secmi": {"family": "residual", "label": "SecMI", "start": "inverted", "t": 100, "k": 10, "norm": 2},
            "secmi_xt": {
                **{"family": "residual", "label": "SecMI (x_t & more)", "reading_of": "secmi", "start": "inverted"},
                **{"t": 100, "k": 10, "norm": 2, "anchor": "xt"},
            },
            "qr_recalibrated": {
                **{"family": "quantile", "label": "QR (recalibrated)", "reading_of": "quantile", "recalibrate": 0.4}
            },
            "quantile": {"family": "quantile", "label": "QR"},
            "secmi_nns": {"family": "secmi_nns", "label": "SecMI-NNs"},
            "gsa_concat": {"family": "gsa", "label": "GSA"},
            "gsa1": {**gsa, "label": "GSA1", "features": "mean_loss"},
            "gsa_full": {**gsa, "label": "GSA (both queries)", "oms": "full"},
            "gsa_t99": {**gsa, "label": "GSA (t = 99)", "timesteps": [99]},
            "gsa1_full": {**gsa, "label": "GSA1 (both queries)", "features": "mean_loss", "oms": "full"},
            "gsa_half": {**gsa, "label": "GSA (half)", "labelled_fraction": 0.5},
            "gsa_shadow": {"family": "gsa", "label": "GSA (shadow)", "learns_from": "shadow"},
            "pia": {"family": "residual", "label": "PIA", "start": "proximal", "t": 100, "norm": 4},
            "secmi_none": {
                **{"family": "residual", "label": "SecMI (no text)", "reading_of": "secmi", "start": "inverted"},
                **{"t": 100, "k": 10, "norm": 2, "condition": "none"},
            },
            "pia_late": {
                **{"family": "residual", "label": "PIA (late)", "reading_of": "pia", "start": "proximal", "t": 100},
                **{"norm": 4, "t_init": 1},
            },
            "pia_sde": {"family": "probability_flow", "label": "PIA (14)", "reading_of": "pia", "t": 100, "norm": 4},
            "blind": {"family": "blind_statistics", "label": "Blind"},
            "blind_cnn": {"family": "blind_cnn", "label": "Blind (CNN)"},
        },
    }
    return load_config(raw | overrides)


def rows(target, attack, metric, base, oms, seed=0, reliable=True) -> list[dict]:
    def row(variant, value):
        return {
            **dict.fromkeys(COLUMNS, np.nan),
            **{"target": target, "dataset": "digits", "split_hash": "f" * 64, "seed": seed, "attack": attack},
            **{"variant": variant, "metric": metric, "value": value, "std": 1.5},
            **{"ci_low": value - 2, "ci_high": value + 2, "reliable": reliable},
            **{"n_members": 205 if attack in LABELLED else 256, "n_non_members": 1029, "realised_fpr": 0.5},
            "flags": FLAGS.get(attack) if variant != "base" else None,
        }

    return [row("base", base), row("oms", oms), row("delta", oms - base)]


def inputs(config: Config, *groups: list[dict]) -> TableInputs:
    """Metrics that went through a file, as they do in a run."""
    frame = pd.DataFrame([row for group in groups for row in group], columns=COLUMNS)
    manifests = {("halves", seed): manifest(seed) for seed in config.run.seeds}
    return TableInputs(pd.read_csv(io.StringIO(frame.to_csv(index=False))), manifests, config)


def manifest(seed: int) -> dict:
    return {
        **{"dataset": "digits", "dataset_hash": "d" * 64, "shape": [1, 8, 9], "method": "random", "seed": seed + 77},
        "split_hash": "0123456789abcdef" * 4,
        "counts": {"member": 250, "non_member": 1547, "auxiliary": 0},
        "class_counts": {"member": {"a": 120, "b": 130}, "non_member": {"a": 1547}, "auxiliary": {}},
    }


def cells_of(table: Table) -> dict[str, list[str]]:
    """Cells by row name, for tables whose row names differ."""
    return {row[0]: row[1:] for row in table.cells.to_numpy().tolist()}


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


def told(measured: list[dict], text: str) -> list[dict]:
    """Rows of a text-to-image model."""
    return [row | {"flags": "; ".join(filter(None, [f"told {text}", row["flags"]]))} for row in measured]


def test_table3_has_text_to_image_models_and_what_they_are_told():
    chosen = config(targets=("one", "ldm"), attacks=("secmi", "secmi_none"))
    measured = [told(rows("ldm", "secmi", metric, 60.0, 61.0), "caption") for metric in ("asr", "auc")]
    table = table3(inputs(chosen, *measured, told(rows("ldm", "secmi_none", "auc", 1.0, 2.0), "none")))
    assert table.cells.columns[3:].tolist() == [("ldm", m) for m in ("ASR", "AUC", "TPR@1%FPR", "TPR@0.1%FPR")]
    assert [row[0] for row in table.cells.to_numpy()] == [
        *("SecMI (told caption)", "+OMS (told caption; anchor x0)", "Δ")
    ]
    assert any(note.startswith("“told” names the text") for note in table.notes)
    assert "an inference" in table.notes[-1]


def test_table3_has_attacks_at_other_timesteps_beside_them():
    late = {
        "family": "residual",
        "label": "NA (t = 500)",
        "reading_of": "naive",
        "start": "gaussian",
        "t": 500,
        "norm": 2,
    }
    chosen = config(targets=("ldm",), attacks=("naive", "secmi"))
    attacks = {"naive_t500": late, "naive_l4": late | {"label": "NA (L4)", "norm": 4, "t": 100}}
    run = chosen.run.model_dump() | {"attacks": ["naive", "secmi", *attacks]}
    chosen = load_config(chosen.model_dump() | {"run": run, "attacks": chosen.model_dump()["attacks"] | attacks})
    measured = [told(rows("ldm", id_, "auc", 60.0, 61.0), "caption") for id_ in ("naive", "secmi", *attacks)]
    names = [row[0] for row in table3(inputs(chosen, *measured)).cells.to_numpy()][::3]
    assert names == ["NA (told caption)", "NA (t = 500) (told caption)", "SecMI (told caption)"]


def test_texts_sets_an_attack_under_each_text_side_by_side_and_beside_what_was_published():
    chosen = config(targets=("ldm", "one"), attacks=("naive", "secmi", "secmi_none"))
    table = texts.fill(
        inputs(
            chosen,
            told(rows("ldm", "naive", "auc", 50.0, 51.0), "caption"),  # under one text alone
            told(rows("ldm", "secmi", "auc", 60.0, 61.0), "caption"),
            told(rows("ldm", "secmi", "tpr_at_1_fpr", 6.0, 7.0), "caption"),
            told(rows("ldm", "secmi_none", "auc", 70.0, 75.0), "none"),
            rows("one", "secmi", "auc", 80.0, 81.0),  # told nothing
        )
    )
    metrics = ["AUC", "AUC published", "TPR@1%FPR", "TPR@1%FPR published"]
    first = [("", name) for name in ("Target", "Attack", "Access", "Supervision")]
    assert table.cells.columns.tolist() == first + [(text, name) for text in ("caption", "none") for name in metrics]
    assert table.cells.to_numpy().tolist() == [
        [
            "ldm",
            "SecMI",
            "grey",
            "none",
            "60.00 [58.00, 62.00]",
            "69.10",
            "6.00 [4.00, 8.00]",
            "16.10",
            "70.00 [68.00, 72.00]",
            "71.60",
            "n/a",
            "n/a",
        ],
        [
            "ldm",
            "SecMI +OMS",
            "",
            "",
            "61.00 [59.00, 63.00]",
            "n/a",
            "7.00 [5.00, 9.00]",
            "n/a",
            "75.00 [73.00, 77.00]",
            "n/a",
            "n/a",
            "n/a",
        ],
    ]
    assert set(table.data["attack"]) == {"secmi", "secmi_none"}
    assert any("PIA paper" in note for note in table.notes)


def test_texts_without_two_says_so():
    table = texts.fill(inputs(config(targets=("ldm",)), told(rows("ldm", "secmi", "auc", 60.0, 61.0), "caption")))
    assert table.cells.empty
    assert "more than one text" in table.notes[0]


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


def names(table: Table) -> list[str]:
    """Names of the first row of each attack."""
    return table.cells.iloc[:: table.block, 0].tolist()


def every(attacks, metrics, target="one", **changes) -> list[list[dict]]:
    return [rows(target, attack, metric, 70.0, 80.0, **changes) for attack in attacks for metric in metrics]


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


def not_applicable(target, attack, seed=0) -> list[dict]:
    found = [row for row in rows(target, attack, "tpr_at_0.1_fpr", np.nan, np.nan, seed) if row["variant"] != "delta"]
    reason = "not_applicable: needs 1,000 auxiliary samples and has 500"
    for row in found:
        row |= {"reliable": False, "realised_fpr": np.nan, "flags": "; ".join(filter(None, [row["flags"], reason]))}
    return found


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


def test_the_report_says_something_of_every_table():
    captions = (Path(__file__).parents[2] / "rules/captions/tables").glob("*.rst")
    assert {path.stem for path in captions if len(path.read_text()) > 30} == set(TABLES)
