"""What decides how calls are served is set in the console, at any width and without a mouse."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.console.steps import at, looks_good
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]
WIDTHS = (1280, 360)


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def collection(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, "GET /things", name="Served", handle="served-v1")


@pytest.fixture(scope="module")
def profile(stage: Stage, collection: Any) -> Any:
    policy = stage.a_policy(rate=(100, "hour"), quota=(500, "day"))
    client = stage.a_client("Served client")
    return stage.a_profile(collection, client=client, api_policy_id=policy["id"])


@pytest.fixture(params=WIDTHS)
def wide(request: Any, owner: Page) -> Iterator[int]:
    owner.set_viewport_size({"width": request.param, "height": 800})
    yield request.param
    owner.set_viewport_size({"width": 1280, "height": 800})


def typed(page: Page, label: str, text: str) -> None:
    """Fill a field as from a keyboard: what is in it is replaced."""
    page.get_by_label(label, exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def pressed(page: Page, what: Locator, key: str = "Enter") -> None:
    what.focus()
    expect(what).to_be_focused()
    page.keyboard.press(key)


def chosen(page: Page, label: str, first_letters: str) -> None:
    """Choose in a select by typing what the choice begins with."""
    page.get_by_label(label, exact=True).focus()
    page.keyboard.type(first_letters)


def test_servers_protocol_retries_and_timeouts_of_a_connection_are_set(
    owner: Page, stage: Stage, wide: int
) -> None:
    at(owner, stage, "/connections/new")
    name = f"Stock {wide}"
    typed(owner, "Name", name)
    typed(owner, "Base URLs", "http://10.0.0.1:9000\nhttp://10.0.0.2:9000")
    typed(owner, "Timeout in seconds", "20")
    pressed(owner, owner.locator("summary", has_text="Several servers"))
    chosen(owner, "Calls go to servers", "Few")
    typed(owner, "Weights", "3")
    typed(owner, "Retries", "9")
    chosen(owner, "Protocol", "HTTP/2")
    typed(owner, "Silence of a stream in seconds", "600")
    pressed(owner, owner.get_by_label(re.compile("Retry PUT and DELETE")), "Space")
    pressed(owner, owner.get_by_role("button", name="Add connection"))
    expect(owner.get_by_role("alert").filter(has_text="Retries")).to_be_visible()
    typed(owner, "Retries", "1")
    pressed(owner, owner.get_by_role("button", name="Add connection"))
    expect(owner.get_by_role("alert").filter(has_text="Weights")).to_be_visible()
    # What was typed is still there, and the group with the mistakes is open.
    expect(owner.get_by_label("Protocol", exact=True)).to_have_value("2")
    typed(owner, "Weights", "3 1")
    if wide == WIDTHS[0]:
        looks_good(owner, "connection-servers")
    pressed(owner, owner.get_by_role("button", name="Add connection"))
    expect(owner.get_by_role("row", name=re.compile(name))).to_be_visible()
    made = next(each for each in stage.done("GET", "connections") if each["name"] == name)["input"]
    assert (made["base_url"], made["weights"]) == (
        ["http://10.0.0.1:9000", "http://10.0.0.2:9000"],
        [3, 1],
    )
    assert (made["balancing"], made["retries"], made["retry_writes"]) == (
        "least_connections",
        1,
        True,
    )
    assert (made["http_version"], made["timeout_seconds"]) == ("2", 20)
    assert made["stream_timeout_seconds"] == 600


def test_answers_are_kept_and_purged(
    owner: Page, stage: Stage, collection: Any, profile: Any, wide: int
) -> None:
    def said() -> str | None:
        answer = stage.call("/served-v1/things", profile["secret"])
        return answer.headers.get("cache-status")

    at(owner, stage, f"/collections/{collection['id']}/edit")
    typed(owner, "Cache responses to GET (seconds)", "9999")
    pressed(owner, owner.get_by_role("button", name="Save"))
    expect(owner.get_by_role("alert").filter(has_text="Cache responses")).to_be_visible()
    typed(owner, "Cache responses to GET (seconds)", "600")
    pressed(owner, owner.get_by_role("button", name="Save"))
    expect(owner.get_by_text("each to the profile that asked")).to_be_visible()
    said()
    assert said() == "Ostiary; hit"
    pressed(owner, owner.get_by_role("button", name="Purge"))
    expect(owner.get_by_role("status").or_(owner.locator(".messages")).first).to_be_visible()
    assert said() == "Ostiary; fwd=uri-miss"


def test_an_address_list_is_made_changed_and_deleted(owner: Page, stage: Stage, wide: int) -> None:
    name = f"Runners {wide}"
    at(owner, stage, "/address-lists/new")
    typed(owner, "Name", name)
    typed(owner, "Addresses and ranges", "198.51.100.0/24 # office\n10.0.0.300")
    pressed(owner, owner.get_by_role("button", name="Add address list"))
    expect(owner.get_by_role("alert").filter(has_text="10.0.0.300")).to_be_visible()
    typed(owner, "Addresses and ranges", "198.51.100.0/24 # office\n10.0.0.0/255.0.0.0")
    if wide == WIDTHS[0]:
        looks_good(owner, "address-list-form")
    pressed(owner, owner.get_by_role("button", name="Add address list"))
    row = owner.get_by_role("row", name=re.compile(name))
    expect(row).to_contain_text("2")
    if wide == WIDTHS[0]:
        looks_good(owner, "address-lists")
    pressed(owner, row.get_by_role("link", name=f"Edit {name}"))
    expect(owner.get_by_label("Addresses and ranges", exact=True)).to_have_value(
        re.compile("# office")
    )
    typed(owner, "Description", "Those of the build")
    pressed(owner, owner.get_by_role("button", name="Save"))
    expect(row).to_contain_text("Those of the build")
    pressed(owner, row.get_by_role("link", name=f"Delete {name}"))
    typed(owner, "Type its name to delete it", name)
    pressed(owner, owner.get_by_role("button", name="Delete"))
    expect(owner.get_by_role("row", name=re.compile(name))).to_have_count(0)


def test_limits_of_a_profile_are_read_reset_and_raised(
    owner: Page, stage: Stage, profile: Any, wide: int
) -> None:
    stage.call("/served-v1/things", profile["secret"])
    at(owner, stage, f"/profiles/{profile['id']}")
    limits = owner.get_by_role("region", name="Limits")
    hourly = limits.get_by_role("row", name=re.compile("100 per hour"))
    expect(hourly).to_contain_text(re.compile(r"[1-9]"))
    pressed(owner, hourly.get_by_role("button", name="Reset"))
    expect(hourly).to_contain_text("when it was reset")
    pressed(owner, limits.get_by_role("link", name="Raise limits"))
    typed(owner, "Until (UTC)", "")
    owner.get_by_label("Until (UTC)").fill("2026-01-01T00:00")
    field = owner.get_by_label(re.compile("hour", re.IGNORECASE)).first
    field.focus()
    owner.keyboard.press("Control+A")
    owner.keyboard.type("250")
    pressed(owner, owner.get_by_role("button", name="Raise"))
    expect(owner.get_by_role("alert").filter(has_text="Until")).to_be_visible()
    owner.get_by_label("Until (UTC)").fill("2036-01-01T00:00")
    if wide == WIDTHS[0]:
        looks_good(owner, "raise-limits")
    pressed(owner, owner.get_by_role("button", name="Raise"))
    expect(limits).to_contain_text("raised from 100")
    if wide == WIDTHS[0]:
        looks_good(owner, "profile-limits")
    pressed(owner, limits.get_by_role("button", name="End the raise"))
    expect(limits).not_to_contain_text("raised from")


def test_quotas_of_a_project_are_set(owner: Page, stage: Stage, wide: int) -> None:
    project = stage.done("POST", "folders", {"name": f"Bounded {wide}"})["id"]
    at(owner, stage, f"/projects/{project}/quotas")
    fields = owner.get_by_role("textbox").and_(owner.get_by_placeholder("No bound"))
    first = fields.first
    for text in ("none", "7"):
        first.focus()
        owner.keyboard.press("Control+A")
        owner.keyboard.type(text)
        pressed(owner, owner.get_by_role("button", name="Save"))
        if text == "none":
            expect(owner.get_by_role("alert")).to_be_visible()
    expect(owner.get_by_text(f"The quotas of Bounded {wide} were changed.")).to_be_visible()
    at(owner, stage, f"/projects/{project}/quotas")
    expect(first).to_have_value("7")
    if wide == WIDTHS[0]:
        looks_good(owner, "project-quotas")
