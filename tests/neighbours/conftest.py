"""A certificate of an authority that the browser trusts, and a browser that finds the manual's hosts."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browsers import browser_program
from tests.neighbours.proxies import API, CONSOLE, Authority, Files

# How long is for a slow machine, and claims nothing.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> Files:
    return authority.issue(CONSOLE, API, "localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def browser(files: Files) -> Iterator[Browser]:
    options = [
        # As in the console's tests.
        "--disable-gpu",
        "--host-resolver-rules=MAP *.example.com 127.0.0.1",
        # Unlike an error that is ignored, this one leaves the page a secure one.
        f"--ignore-certificate-errors-spki-list={files.fingerprint}",
    ]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        path = browser_program()
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


@pytest.fixture(scope="module")
def logo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    path = tmp_path_factory.mktemp("logo") / "logo.png"
    Image.effect_noise((900, 900), 80).save(path)
    return path
