"""What the tests of the console share: where to go, what to make, and how a page must look."""

from dataclasses import dataclass
from pathlib import Path

from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.stage import Stage

#: Widths, and the theme in which axe looks at a page of that width. Layout depends on the width
#: alone and colours on the theme alone, so that narrow in dark and wide in light show axe all of it.
VIEWS = ((360, "dark"), (1280, "light"), (2560, None))
STANDARDS = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa")
AXE = Axe()


@dataclass(slots=True)
class Pictures:
    """Where pictures of the pages go; nowhere unless a run is asked for them."""

    folder: Path | None = None


PICTURES = Pictures()


def at(page: Page, stage: Stage, path: str) -> None:
    page.goto(f"http://localhost:{stage.control}{path}")


def looks_good(page: Page, name: str) -> None:
    """The page fits at three widths, and axe finds nothing in either theme."""
    for width, scheme in VIEWS:
        view(page, width, scheme or "light")
        fits(page, width, name)
        if scheme:
            accessible(page, runOnly=STANDARDS)
        if width != 2560 and PICTURES.folder is not None:
            for each in ("light", "dark"):
                view(page, width, each)
                keep_picture(page, f"{name}-{width}-{each}", full_page=True)
    view(page, 1280, "light", height=800)


def view(page: Page, width: int, scheme: str, *, height: int = 900) -> None:
    """Look at the page in a window of this width, in the light or the dark theme."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": height})


def fits(page: Page, width: int, name: str) -> None:
    """The page needs no scrolling sideways."""
    # A locator waits for the document if a navigation has just replaced it.
    wide = page.locator("html").evaluate("html => html.scrollWidth")
    assert wide <= width, (name, width, wide)


def accessible(page: Page, **options: object) -> None:
    """Axe finds no violation on the page, seen from its top: further down, the header hides parts of it."""
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.axe_script)
    found = AxeResults(
        page.evaluate(
            "options => axe.run(document, options)", {"resultTypes": ["violations"], **options}
        )
    )
    assert not found.response["violations"], found.generate_report()


def keep_picture(page: Page, name: str, *, full_page: bool = False) -> None:
    """Keep a picture of the page if the run was asked for pictures."""
    if PICTURES.folder is not None:
        page.screenshot(path=PICTURES.folder / f"{name}.png", full_page=full_page)


def a_client(page: Page, stage: Stage, name: str) -> None:
    at(page, stage, "/clients")
    page.get_by_role("link", name="New client").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Add client").click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def say_yes(page: Page) -> None:
    """Answer the question that the page asks in a dialog."""
    page.get_by_role("dialog").locator("button.danger").click()


def say_no(page: Page) -> None:
    page.get_by_role("dialog").get_by_text("Cancel", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
