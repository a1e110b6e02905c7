"""The report that a reviewer gets, in a browser: all figures and tables are listed, open, and say what they show."""

from __future__ import annotations

import itertools
import re
import shutil

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from diffmia.config.config import load_config
from diffmia.figures import FIGURES
from diffmia.figures.shown import is_drawn
from diffmia.tables import TABLES
from tests.conftest import REPOSITORY, Project, new_project
from tests.end_to_end.report_page import ReportPage

pytestmark = pytest.mark.workflow

CAPTIONS = REPOSITORY / "rules/captions"
MALFORMED = "System Message"  # what docutils writes into a caption that is no valid reStructuredText


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, as Debian's packages `chromium` and `chromium-driver` install it."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if path is None]:
        pytest.skip(f"the report is looked at in a browser, and there is no {' and no '.join(missing)} on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    # the sandbox does not start as root, nor in most containers; the one page that is opened was made here
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1600,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # told where the driver is, Selenium looks for none to download
    driver = webdriver.Chrome(options=options, service=Service(executable_path=programs["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def selection(tmp_path_factory) -> Project:
    """The shipped selection with nothing run: files that only look like its results stand where they would be.

    Running it takes minutes, and the report does not read what it lists. The pictures are taller than the window.
    """
    project = new_project(tmp_path_factory.mktemp("selection") / "project")
    run, results = project.config["run"], project.folder / "results"
    for folder in ("figures", "tables"):
        (results / folder).mkdir(parents=True)
    for figure in run["figures"]:
        for target in run["targets"]:
            Image.new("RGB", (640, 1600), "grey").save(results / f"figures/{figure}.{target}.png")
    for table in run["tables"]:
        (results / f"tables/{table}.html").write_text(f"<h1>{table}</h1>")
    return project


@pytest.fixture(scope="module", params=["finished", "selection"])
def reported(request, browser) -> Project:
    """A run of one target, and the shipped selection, which has two and everything there is. Browser or skip first."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def page(reported, browser, tmp_path_factory) -> ReportPage:
    folder = tmp_path_factory.mktemp("report")
    done = reported.snakemake("--report", str(folder / "report.zip"))
    assert done.returncode == 0, done.stdout
    shutil.unpack_archive(folder / "report.zip", folder)
    return ReportPage(browser, folder / "report/report.html")


def expected_figures(project: Project) -> dict[str, dict[str, list[str]]]:
    """Figures that the report must list, by category and target: what the config selects, whatever was drawn."""
    config = load_config(project.config)
    found = {}
    for figure, target in itertools.product(config.run.figures, config.run.targets):
        if is_drawn(config, figure, target):
            found.setdefault(FIGURES[figure].category, {}).setdefault(target, []).append(figure)
    return found


def expected_tables(project: Project) -> dict[str, list[str]]:
    """Tables that the report must list, by category."""
    found = {}
    for table in load_config(project.config).run.tables:
        found.setdefault(TABLES[table].category, []).append(table)
    return found


def figure_captions() -> dict[str, str]:
    """The sentence on each figure."""
    text = (CAPTIONS / "figure.rst").read_text()
    return dict(re.findall(r'^"(\w+)": "(.*)",$', text, re.MULTILINE))


def test_the_start_page_says_what_there_is(page, reported):
    categories = sorted({*expected_figures(reported), *expected_tables(reported)})
    assert sorted(page.categories()) == categories
    description = page.description()
    assert MALFORMED not in description
    lines = description.splitlines()
    assert [name for name in categories if not any(line.startswith(f"{name}: ") for line in lines)] == []
    run = load_config(reported.config).run
    assert f"run {run.name} of diffmia" in lines[0]
    assert f"Targets {', '.join(run.targets)}; seeds 0." in lines
    assert page.errors() == []


def test_what_snakemake_adds_is_drawn(page):
    page.home()
    page.show("Statistics")
    page.drawn("runtimes")
    page.show("Workflow")
    page.drawn("rulegraph")
    assert page.errors() == []


def test_every_figure_is_listed_opens_and_says_what_it_shows(page, reported):
    about = figure_captions()
    for category, targets in expected_figures(reported).items():
        for target, figures in targets.items():
            page.home()
            page.open(category)
            if len(targets) > 1:
                assert sorted(page.folders()) == sorted(targets), category
                page.open(target)
            assert sorted(page.rows()) == sorted(figures), (category, target)
            for figure in figures:
                file = f"{figure}.{target}.png"
                shown, width, top = page.look(figure, file)
                assert width > 0, file
                assert top >= 0, file
                with Image.open(shown) as whole:
                    whole.load()  # raises where the file is cut short, of which a browser says nothing
                    assert whole.width == width, file
                caption = page.caption(figure)
                assert caption.startswith(about[figure]), file
                assert MALFORMED not in caption, file
                assert f"Target {target}, run seeds 0." in caption, file
    assert page.errors() == []


def test_every_table_is_listed_opens_and_says_what_it_shows(page, reported):
    for category, tables in expected_tables(reported).items():
        page.home()
        page.open(category)
        rows = {row.partition(":")[0]: row for row in page.rows()}
        assert sorted(rows) == sorted(tables), category
        for table, row in rows.items():
            shown = page.document(row, f"{table}.html")
            assert shown.read_bytes() == (reported.folder / f"results/tables/{table}.html").read_bytes()
            caption = page.caption(row)
            assert caption == " ".join((CAPTIONS / f"tables/{table}.rst").read_text().split()), table
            assert MALFORMED not in caption, table
    assert page.errors() == []
