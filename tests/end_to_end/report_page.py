"""A report in a browser, used as a reader does: by what is shown, and by what can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

SECONDS = 30  # until the page must have done what was clicked; a busy machine may need some

HEADING = "//nav//ul/li[normalize-space()='{}']"
BREADCRUMBS = "//nav/div/nav//ol//a"

# the navigation widens and narrows gradually, and a click meanwhile would miss what it was meant for
AT_ONCE = "document.head.insertAdjacentHTML('beforeend', '<style>* {transition: none !important}</style>')"

# `decode` waits until the picture is loaded, and refuses one that is missing or broken
DECODED_WIDTH = """
const [picture, done] = arguments;
picture.decode().then(() => done(picture.naturalWidth), () => done(0));
"""

# where the top of the picture is, once all is scrolled as far up as it can be
TOP = """
const [picture] = arguments;
picture.closest(".overflow-auto").scrollTop = 0;
return picture.getBoundingClientRect().top;
"""


class ReportPage:
    """A page that Snakemake made with `--report`; it is opened, and has drawn its start, when this is created.

    The page changes a while after a click, so every method waits for what it clicked to show.
    """

    def __init__(self, browser: Chrome, html: Path):
        self.browser = browser
        self.errors()  # those of an earlier page
        browser.get(html.as_uri())
        browser.execute_script(AT_ONCE)
        self._until(lambda: not self._one("//*[@id='loading-screen']").is_displayed(), "the page to be loaded")
        self.drawn("rulegraph")

    def errors(self) -> list[str]:
        """What went wrong since the last call: scripts that failed, files that were not found."""
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def drawn(self, chart: str) -> None:
        """Wait for one of the charts that Snakemake adds."""
        self._one(f"//*[@id='{chart}']//canvas")

    def home(self) -> None:
        """Show the menu of the start page, and the description of the run."""
        self._all(BREADCRUMBS)[0].click()
        self._one(HEADING.format("Results"))

    def description(self) -> str:
        """What the start page says of the run."""
        return self._one("//*[@id='app']/div/div//*[@class='document']").text

    def categories(self) -> list[str]:
        """The categories in the menu of the start page."""
        return [item.text for item in self._all(HEADING.format("Results") + "/following-sibling::li")]

    def show(self, page: str) -> None:
        """Choose one of the pages that Snakemake adds."""
        self._one(f"//nav//ul/li/a[normalize-space()='{page}']").click()

    def open(self, folder: str) -> None:
        """Choose a category from the menu, or one of its parts."""
        self.show(folder)
        self._until(lambda: self._all(BREADCRUMBS)[-1].text == folder, f"'{folder}' to open")

    def folders(self) -> list[str]:
        """The parts of the open category; none where it shows its results at once."""
        return [item.text for item in self._all("//nav/div/div/ul/li")]

    def rows(self) -> list[str]:
        """The first label of each result in the open list."""
        return [cell.text for cell in self._all("//nav//tbody/tr/td[1]")]

    def document(self, row: str, file: str) -> Path:
        """The page `file` that the eye of a result shows inside this one, which must have drawn its heading."""
        self._button(row, 1).click()
        frame = self._one(f"//iframe[contains(@src, '/{file}')]")
        self.browser.switch_to.frame(frame)
        self._until(lambda: self._one("//h1").is_displayed(), f"the heading of {file}")
        self.browser.switch_to.default_content()
        return self._path(frame.get_attribute("src"))

    def look(self, row: str, file: str) -> tuple[Path, int, float]:
        """Look at the picture `file` by the eye of a result.

        Returns
        -------
        shown : Path
            The file that is shown.
        width : int
            0 if the browser cannot read the picture. One that is cut short it shows as far as it goes.
        top : float
            Where its top is in the window; negative if no scrolling leads to it.
        """
        self._button(row, 1).click()
        picture = self._one(f"//div/img[contains(@src, '/{file}')]")
        shown = self._path(picture.get_attribute("src"))
        width = self.browser.execute_async_script(DECODED_WIDTH, picture)
        return shown, width, self.browser.execute_script(TOP, picture)

    def caption(self, row: str) -> str:
        """What the *i* of a result says, in one line; then back to the list."""
        self._button(row, 2).click()
        heading = HEADING.format("Description")
        text = " ".join(self._one(heading + "/following-sibling::li[1]").text.split())
        self._all(BREADCRUMBS)[-2].click()  # the last is the result itself
        self._until(lambda: not self._all(heading), "the list to show again")
        return text

    @staticmethod
    def _path(url: str) -> Path:
        return Path(unquote(urlsplit(url).path))

    def _button(self, row: str, number: int) -> WebElement:
        return self._one(f"//nav//tbody/tr[td[1][normalize-space()='{row}']]/td[last()]/div/a[{number}]")

    def _one(self, xpath: str) -> WebElement:
        return self._until(lambda: self._all(xpath), xpath)[0]

    def _all(self, xpath: str) -> list[WebElement]:
        return self.browser.find_elements(By.XPATH, xpath)

    def _until(self, condition: Callable, what: str):
        return WebDriverWait(self.browser, SECONDS, 0.05).until(lambda _: condition(), f"waited for {what}")
