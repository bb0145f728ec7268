"""What is shown becomes true by itself within seconds, and disturbs nobody who is at work."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at, looks_good, say_yes
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

#: It is looked every three seconds; the rest is for a slow machine.
SOON = 60_000


@pytest.fixture(scope="module")
def made(stage: Stage) -> Any:
    upstream = Upstream()
    collection = stage.a_collection(upstream, "GET /a", "GET /b", name="Watched things")
    client = stage.a_client("Watched client")
    profiles = [stage.a_profile(collection, client=client, name=name) for name in ("One", "Two")]
    upstream.close()
    return {"collection": collection, "client": client, "profiles": profiles}


def test_a_profile_that_is_switched_off_elsewhere_shows_without_a_reload(
    owner: Page, stage: Stage, made: Any
) -> None:
    at(owner, stage, f"/clients/{made['client']['id']}")
    owner.evaluate("window.sameDocument = true")
    owner.get_by_role("link", name="Two", exact=True).focus()
    first, second = (profile["id"] for profile in made["profiles"])
    stage.done("PUT", f"api_access_profiles/{first}/disable")
    switch = owner.get_by_role("switch", name="Active: One")
    expect(switch).to_have_attribute("aria-checked", "false", timeout=SOON)
    expect(owner.locator("#news")).to_contain_text("One")
    expect(owner.locator("#news")).not_to_contain_text("Two")
    # A row that goes away leaves the others' buttons, and the focus, where they are.
    stage.done("DELETE", f"api_access_profiles/{first}")
    expect(owner.get_by_role("link", name="One", exact=True)).to_have_count(0, timeout=SOON)
    expect(owner.get_by_role("link", name="Two", exact=True)).to_be_focused()
    stage.done("PUT", f"api_clients/{made['client']['id']}", {"name": "Watched and renamed"})
    heading = owner.get_by_role("heading", name="Watched and renamed", level=1)
    expect(heading).to_be_visible(timeout=SOON)
    assert owner.evaluate("window.sameDocument")
    # What was brought in works.
    owner.get_by_role("switch", name="Active: Two").click()
    say_yes(owner)
    expect(owner.get_by_role("status").first).to_contain_text("inactive")
    assert stage.done("GET", f"api_access_profiles/{second}")["result"]["active"] is False
    looks_good(owner, "client-live")


def test_lists_and_collections_and_recipes_follow(owner: Page, stage: Stage, made: Any) -> None:
    at(owner, stage, "/clients?search=follow")
    expect(owner.get_by_text("No client matches")).to_be_visible()
    stage.a_client("Follower")
    expect(owner.get_by_role("link", name="Follower")).to_be_visible(timeout=SOON)
    owner.get_by_label("Search", exact=True).fill("follower")
    stage.a_client("Follower two")
    expect(owner.get_by_role("link", name="Follower two")).to_be_visible(timeout=SOON)
    expect(owner.get_by_label("Search", exact=True)).to_have_value("follower")
    at(owner, stage, f"/collections/{made['collection']['id']}")
    stage.an_endpoint(made["collection"], "GET /c")
    expect(owner.get_by_role("row", name="GET /c")).to_be_visible(timeout=SOON)
    at(owner, stage, "/recipes")
    recipe = stage.done("GET", "recipes")[0]
    stage.done("PUT", f"recipes/{recipe['id']}/stop")
    switch = owner.get_by_role("switch", name=f"Stopped: {recipe['name']}")
    expect(switch).to_have_attribute("aria-checked", "false", timeout=SOON)
    stage.done("PUT", f"recipes/{recipe['id']}/start")


def test_nothing_is_asked_for_in_a_hidden_tab_and_nothing_is_sent_when_nothing_changed(
    owner: Page, stage: Stage, made: Any
) -> None:
    statuses: list[int] = []
    at(owner, stage, "/collections")
    owner.wait_for_load_state("networkidle")
    owner.on("response", lambda answer: statuses.append(answer.status))
    while len(statuses) < 2:
        with owner.expect_response("**/*", timeout=SOON):
            pass
    assert set(statuses) == {304}
    owner.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    # What was asked for before may still come.
    owner.wait_for_load_state("networkidle")
    statuses.clear()
    owner.wait_for_timeout(7_000)
    assert not statuses


def test_who_is_signed_out_is_told(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/clients")
    owner.context.clear_cookies()
    expect(owner.locator("#news")).to_contain_text("signed out", timeout=SOON)
