"""Tables of text-to-image models: what they are told, and what was published of the same."""

from __future__ import annotations

from diffmia.config.config import load_config
from diffmia.tables import texts
from diffmia.tables.attack_tables import table3
from tests.unit.measured import config, inputs, rows


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
