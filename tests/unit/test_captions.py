"""Texts of samples under each condition, and tables of captions that a person may have edited."""

from __future__ import annotations

import pandas as pd
import pytest

from diffmia.captions.texts import read_captions, texts_of, write_captions
from diffmia.errors import DiffmiaError

CAPTIONS = ["a cat, asleep", 'the "big" dog', "une étoile — 星"]
HEADER = "sample_id,caption\n"


@pytest.fixture
def samples(tmp_path):
    """Of four samples the first and the last have a caption, the second has none and the third a blank one."""
    path = tmp_path / "samples.parquet"
    pd.DataFrame({"sample_id": range(4), "caption": ["a seven", None, " ", "an eight"]}).to_parquet(path)
    return path


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "blip.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_none_is_the_empty_prompt(samples):
    assert texts_of("none", samples, None, [0, 1]) == ["", "", "", ""]


def test_captions_of_those_that_are_asked_about(samples):
    assert texts_of("caption", samples, None, [3, 0]) == ["a seven", "", "", "an eight"]
    assert texts_of("caption", samples, None, [3]) == ["", "", "", "an eight"]


@pytest.mark.parametrize("lacking", [1, 2])
def test_the_first_that_is_asked_about_and_has_none_is_named(samples, lacking):
    with pytest.raises(DiffmiaError) as error:
        texts_of("caption", samples, None, [3, lacking, 0])
    assert str(error.value) == (
        f"sample {lacking} of {samples} has no caption; give it one, take it out, or use condition: none or a captioner"
    )


def test_captions_of_a_captioner(samples, tmp_path):
    write_captions(tmp_path / "blip.csv", ["one", "two", "three", "four"])
    assert texts_of("blip", samples, tmp_path / "blip.csv", [1, 2]) == ["", "two", "three", ""]
    write_captions(tmp_path / "blip.csv", ["one", "two", "three"])
    with pytest.raises(DiffmiaError, match=r"blip.csv has no row for sample 3; it needs one for each of 0 to 3"):
        texts_of("blip", samples, tmp_path / "blip.csv", [1, 2])


def test_rows_of_samples_in_another_order(tmp_path):
    path = tmp_path / "samples.parquet"
    pd.DataFrame({"sample_id": [1, 0], "caption": ["second", "first"]}).to_parquet(path)
    assert texts_of("caption", path, None, [0, 1]) == ["first", "second"]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "blip.csv"
    write_captions(path, CAPTIONS)
    assert read_captions(path, 3) == CAPTIONS
    assert path.read_text(encoding="utf-8").splitlines() == [
        "sample_id,caption",
        '0,"a cat, asleep"',
        '1,"the ""big"" dog"',
        "2,une étoile — 星",
    ]
    assert pd.read_csv(path)["caption"].tolist() == CAPTIONS


def test_what_a_spreadsheet_makes_of_it_is_read(table):
    text = 'sample_id, caption\r\n2,"line one\nline two"\r\n0, first \r\n1,second\r\n,\r\n\r\n'
    assert read_captions(table(text, "utf-8-sig"), 3) == ["first", "second", "line one\nline two"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sample;caption\n", "has the columns sample;caption; it needs sample_id,caption"),
        ("", "has the columns ; it needs sample_id,caption"),
        (HEADER + "0,a\n", "has no row for sample 1; it needs one for each of 0 to 1"),
        (HEADER + "0,a\n1,b\n2,c\n", ", line 4: the dataset has no sample '2', but 0 to 1; take the row out"),
        (HEADER + "0,a\n-1,b\n", ", line 3: the dataset has no sample '-1', but 0 to 1; take the row out"),
        (HEADER + "0,a\n1.0,b\n", ", line 3: the dataset has no sample '1.0', but 0 to 1; take the row out"),
        (HEADER + "0,a\n²,b\n", ", line 3: the dataset has no sample '²', but 0 to 1; take the row out"),
        (HEADER + "0,a\n1,b\n0,c\n", ", line 4: sample 0 is there twice; take one of its rows out"),
        (HEADER + "0,a\n1, \n", ", line 3: the caption of sample 1 is empty; write one"),
        (HEADER + "0,a\n1,b, c\n", ", line 3: 3 values in place of 2; a caption with a comma stands in double quotes"),
        (HEADER + '0,a\n1,"b\n', ", line 3 is no row of a CSV file: unexpected end of data"),
    ],
)
def test_a_table_that_is_not_whole_is_one_sentence(table, text, said):
    path = table(text)
    with pytest.raises(DiffmiaError) as error:
        read_captions(path, 2)
    assert str(error.value) == f"{path}{said if said.startswith(',') else f' {said}'}"


def test_another_encoding_and_no_file_are_one_sentence(table, tmp_path):
    with pytest.raises(DiffmiaError, match="is not UTF-8; save it as CSV in UTF-8"):
        read_captions(table(HEADER + "0,étoile\n", "latin-1"), 1)
    with pytest.raises(DiffmiaError, match=r"cannot read .*gone.csv: No such file or directory"):
        read_captions(tmp_path / "gone.csv", 1)
