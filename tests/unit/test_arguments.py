"""Arguments that Snakemake would misunderstand are refused before it starts."""

from __future__ import annotations

import pytest

from diffmia.commands.arguments import check_config_files, check_preset, values_of
from diffmia.errors import DiffmiaError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with two presets, and a profile that is a platform."""
    for name in ("smoke", "paper"):
        (tmp_path / "profiles" / name).mkdir(parents=True)
        (tmp_path / "profiles" / name / "overrides.yaml").touch()
    (tmp_path / "profiles" / "local").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], []),
        (["-n", "--configfile", "a.yaml", "b.yaml", "--cores", "2"], ["a.yaml", "b.yaml"]),
        (["--configfile=a.yaml", "tables"], ["a.yaml"]),
        (["--configfiles", "a.yaml", "-n", "tables"], ["a.yaml"]),
        (["--config", "seed=1"], []),
    ],
)
def test_values_of_an_option(arguments, values):
    assert values_of(arguments, "--configfile", "--configfiles") == values


@pytest.mark.parametrize("given", ["profiles/smoke", "profiles/local", "none"])
def test_a_preset_that_is_there_is_let_through(folder, given):
    check_preset(["-n", "--workflow-profile", given])


def test_one_in_the_projects_folder_is_let_through_elsewhere(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    check_preset(["--workflow-profile", "profiles/smoke"], folder)
    with pytest.raises(DiffmiaError, match="Presets: profiles/paper, profiles/smoke"):
        check_preset(["--workflow-profile", "profiles/smok"], folder)


@pytest.mark.parametrize("arguments", [["--workflow-profile", "profiles/smok"], ["--workflow-profile=profiles/smok"]])
def test_a_misspelt_preset_is_named_with_the_nearest_and_all(folder, arguments):
    with pytest.raises(DiffmiaError) as caught:
        check_preset([*arguments, "-n"])
    assert str(caught.value) == (
        "there is no preset 'profiles/smok'; did you mean 'profiles/smoke'? Presets: profiles/paper, profiles/smoke"
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read mine.yaml: No such file or directory"),
        (b"run: [", "mine.yaml is no valid YAML: .* line 1"),
        (b"a: \xff", "mine.yaml is not UTF-8 text"),
        (b"- a", r"mine.yaml holds no mapping of keys to values, but \['a'\]"),
    ],
)
def test_a_config_file_that_cannot_be_read(folder, content, complaint):
    if content is not None:
        (folder / "mine.yaml").write_bytes(content)
    with pytest.raises(DiffmiaError, match=complaint):
        check_config_files(["--configfile", "mine.yaml", "-n"])


def test_one_that_can_is_let_through(folder):
    (folder / "mine.yaml").write_text("run: {}")
    (folder / "empty.yaml").touch()
    check_config_files(["--configfile", "mine.yaml", "empty.yaml"])
