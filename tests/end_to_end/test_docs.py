"""What the documents show is what works."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.workflow


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (REPOSITORY / path).read_text(), re.DOTALL)


def test_the_attack_of_the_guide_is_one_file_and_one_entry(project):
    (code,) = blocks("docs/adding.md", "python")
    (project.folder / "diffmia/attacks/averaged.py").write_text(code)
    config = project.config
    for entry in blocks("docs/adding.md", "yaml"):
        config["attacks"] |= yaml.safe_load(entry)["attacks"]
    config["run"] |= {"attacks": ["naive_averaged", "pia_linf"]}
    project.config = config
    done = project.snakemake("metrics")
    assert done.returncode == 0, done.stdout
    metrics = (project.folder / "results/metrics.csv").read_text()
    assert ",naive_averaged,oms,350," in metrics
    assert ",pia_linf,delta,200,inf," in metrics


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{p.name}" for p in (REPOSITORY / "docs").glob("*.md"))])
def test_links_lead_somewhere(document):
    path = REPOSITORY / document
    for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("document", ["docs/design.md"])
def test_files_that_are_named_exist(document):
    names = set(re.findall(r"`((?:diffmia/|tests/)?[a-z_/]+\.py)`", (REPOSITORY / document).read_text()))
    assert names
    for name in names:
        assert any((REPOSITORY / base / name).exists() for base in (".", "diffmia")), name
