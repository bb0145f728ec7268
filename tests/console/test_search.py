"""One box finds everything that its user may see, and nothing else."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at, looks_good
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(stage: Stage) -> Any:
    upstream = Upstream()
    collection = stage.a_collection(upstream, "GET /parts/{id}", name="Zebra parts")
    client = stage.a_client("Zebra <b>Industries</b>")
    profile = stage.a_profile(collection, client=client, name="Zebra script")
    upstream.close()
    return {"collection": collection, "client": client, "profile": profile}


def find(page: Page, text: str) -> Any:
    page.get_by_label("Find anything").fill("")
    page.get_by_label("Find anything").press_sequentially(text)
    return page.locator("#found")


def test_a_key_leads_to_the_box_and_arrows_to_what_it_found(
    owner: Page, stage: Stage, made: Any
) -> None:
    at(owner, stage, "/address-lists")
    owner.keyboard.press("/")
    owner.keyboard.type("zebra")
    found = owner.locator("#found")
    expect(found.get_by_role("option", name="Zebra <b>Industries</b> Home")).to_be_visible()
    for heading in ("Clients", "Access profiles", "API collections", "Connections"):
        expect(found.get_by_role("group", name=heading)).to_be_visible()
    looks_good(owner, "found")
    box = owner.get_by_role("combobox", name="Find anything")
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(owner.locator("#found-said")).to_contain_text("Choose with the arrow keys")
    first = found.get_by_role("option").first
    owner.keyboard.press("ArrowDown")
    expect(first).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-activedescendant", str(first.get_attribute("id")))
    expect(box).to_be_focused()
    # Past either end nothing is chosen, and the text is what counts.
    owner.keyboard.press("ArrowUp")
    expect(found.locator("[aria-selected]")).to_have_count(0)
    owner.keyboard.press("Escape")
    expect(found).to_be_empty()
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-expanded", "false")
    owner.keyboard.type(" i")
    expect(found.get_by_role("option").first).to_be_visible()
    owner.keyboard.press("ArrowDown")
    owner.keyboard.press("Enter")
    expect(owner.get_by_role("heading", name="Zebra <b>Industries</b>", level=1)).to_be_visible()
    # In a field it is a character like any other.
    at(owner, stage, "/clients/new")
    owner.get_by_label("Name", exact=True).press_sequentially("a/b")
    expect(owner.get_by_label("Name", exact=True)).to_have_value("a/b")


def test_everything_is_found_by_what_one_knows_of_it(owner: Page, stage: Stage, made: Any) -> None:
    at(owner, stage, "/clients")
    token = made["profile"]["secret"]
    shown = f"{token[:8]}…{token[-4:]}"
    for text, link in (
        ("/zebra-parts-v1/parts", "GET /parts/{id}"),
        ("GET /parts", "GET /parts/{id}"),
        (token, "Zebra script"),
        (token[:8], "Zebra script"),
        (shown, "Zebra script"),
        ("shipping_q", "shipping_quote"),
        ("60 a minute", "Demo: 60 a minute"),
        ("admin@local", "admin@localhost"),
        ("Hom", "Home"),
    ):
        found = find(owner, text).get_by_role("option", name=link)
        expect(found.first).to_be_visible()
    assert token not in owner.url
    expect(find(owner, "nothing like it")).to_contain_text("Nothing found")
    owner.keyboard.press("Enter")
    expect(owner.get_by_role("heading", name="Search", level=1)).to_be_visible()
    looks_good(owner, "search")
