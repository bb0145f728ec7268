"""What the tests of the console share: where to go, what to make, and how a page must look."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.console.conftest import PICTURES
from tests.stage import Stage


def at(page: Page, stage: Stage, path: str) -> None:
    page.goto(f"http://localhost:{stage.control}{path}")


def looks_good(page: Page, name: str) -> None:
    """Nothing that axe objects to, at three widths and in both themes; pictures are kept."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for width in (360, 1280, 2560):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (name, width, wide)
            if width != 2560:
                page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=True)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
        assert not found.response["violations"], found.generate_report()
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})


def a_client(page: Page, stage: Stage, name: str) -> None:
    at(page, stage, "/clients")
    page.get_by_role("link", name="New client").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Add client").click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
