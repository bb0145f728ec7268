"""A running product with its demo, if a file does not take the shared one, and a real browser."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browsers import browser_program
from tests.console.steps import PICTURES
from tests.stage import Stage, running

# How long is for a slow machine, and claims nothing.
expect.set_options(timeout=60_000)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("pictures"):
        PICTURES.folder = Path(config.getoption("pictures"))
        PICTURES.folder.mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data"), "--demo", "--print-secrets") as stage:
        yield stage


@pytest.fixture(scope="module")
def link(stage: Stage) -> str:
    """A sign-in link of an admin: the one that the first start printed, if it was one with a demo."""
    found = re.search(r"http://\S+/sign-in/link#osts_\S+", "\n".join(stage.lines))
    if found:
        return found[0]
    email = f"owner-{time.monotonic_ns()}@example.com"
    return stage.a_member(email, admin=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the session: Playwright keeps an event loop running, which other tests would meet.
    with sync_playwright() as playwright:
        path = browser_program()
        # Nobody sees it; without a GPU, the software that stands in for one takes a sixth of the time.
        options = ["--disable-gpu"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


@pytest.fixture(scope="module")
def owner(browser: Browser, link: str) -> Iterator[Page]:
    """A page of the demo's admin, signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(link)
    page.get_by_label("New password", exact=True).wait_for()
    yield page
    context.close()
