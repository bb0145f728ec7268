"""Lists: searched in place, in pages, readable where there is no room, and without what one may not do."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.console.steps import at, looks_good
from tests.console.test_separation import signed_in
from tests.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

FEW = 30  # more than a page


@pytest.fixture(scope="module")
def many(stage: Stage) -> None:
    for number in range(FEW):
        stage.done("POST", "v2/members", {"email": f"m{number:02}@example.com", "name": "M"})
        stage.done("POST", "v2/tokens", {"name": f"Token {number:02}", "admin": True})
        stage.done("POST", "v2/api_policies", {"name": f"Policy {number:02}"})
        stage.done(
            "POST",
            "connections",
            {"name": f"Connection {number:02}", "input": {"base_url": "http://10.0.0.7"}},
        )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/policies", "Policy 07"),
        ("/connections", "Connection 07"),
        ("/members", "m07@example.com"),
        ("/tokens", "Token 07"),
    ],
)
def test_a_search_changes_the_rows_and_nothing_around_them(
    owner: Page, stage: Stage, many: None, path: str, found: str
) -> None:
    at(owner, stage, path)
    expect(owner.get_by_text("page 1 of 2")).to_be_visible()
    owner.get_by_label("Search", exact=True).press_sequentially("07")
    expect(owner.locator("#rows tbody tr")).to_have_count(1)
    expect(owner.locator("#rows")).to_contain_text(found)
    expect(owner.get_by_role("navigation", name="Main")).to_have_count(1)
    expect(owner.get_by_role("heading", level=1)).to_have_count(1)
    # The address is that of what is seen.
    owner.reload()
    expect(owner.locator("#rows tbody tr")).to_have_count(1)


def test_members_and_tokens_go_on_on_a_second_page(owner: Page, stage: Stage, many: None) -> None:
    for path in ("/members", "/tokens"):
        at(owner, stage, path)
        expect(owner.locator("#rows tbody tr")).to_have_count(25)
        owner.get_by_role("link", name="Next").click()
        expect(owner.get_by_text("page 2 of 2")).to_be_visible()
        looks_good(owner, path[1:])


def test_on_a_narrow_screen_each_value_stands_beside_its_name(
    owner: Page, stage: Stage, many: None
) -> None:
    owner.set_viewport_size({"width": 360, "height": 740})
    for path in ("/clients", "/collections", "/policies", "/connections", "/members", "/tokens"):
        at(owner, stage, path)
        region = owner.locator("#rows .scroll")
        assert region.evaluate("e => e.scrollWidth <= e.clientWidth"), path
        said = owner.locator("#rows tbody td[data-label]").first
        assert said.evaluate("e => getComputedStyle(e, '::before').content") not in {"none", ""}
    # Where one is, is in sight in the folded navigation.
    expect(owner.locator("header ~ nav summary, nav summary").first).to_contain_text(
        "Management tokens"
    )
    owner.set_viewport_size({"width": 1280, "height": 800})


def test_the_audit_log_says_what_changed_field_by_field(owner: Page, stage: Stage) -> None:
    client = stage.a_client("Before Ltd")
    stage.done("PUT", f"api_clients/{client['id']}", {"name": "After Ltd"})
    at(owner, stage, "/audit-log?search=After")
    row = owner.get_by_role("row").filter(has_text="client.change")
    expect(row).to_contain_text("Before Ltd → After Ltd")
    expect(owner.get_by_role("main")).not_to_contain_text("{'")
    looks_good(owner, "audit-log")


@pytest.fixture(scope="module")
def viewer(stage: Stage, browser: Browser) -> Iterator[Page]:
    page = signed_in(stage, browser, "viewer@example.com", 1)
    found = stage.done("GET", "v2/members?per_page=100")["data"]
    member = next(each for each in found if each["email"] == "viewer@example.com")
    stage.done("PUT", f"v2/members/{member['id']}/projects/1", {"role": "viewer"})
    yield page
    page.context.close()


def test_a_viewer_is_offered_nothing_that_is_refused(viewer: Page, stage: Stage) -> None:
    changing = ("new", "edit", "add", "create", "delete", "refresh", "revoke")
    for path in (
        "/clients",
        "/projects",
        "/clients/1",
        "/profiles/1",
        "/profiles/1/credentials",
        "/collections",
        "/collections/1",
        "/connections",
    ):
        at(viewer, stage, path)
        main = viewer.get_by_role("main")
        for role in ("link", "button"):
            names: list[str] = [n.lower() for n in main.get_by_role(role).all_inner_texts()]
            offered = [name for name in names if re.match(rf"({'|'.join(changing)})\b", name)]
            assert not offered, (path, offered)
        for switch in main.get_by_role("switch").all():
            expect(switch).to_be_disabled()


def test_an_id_that_is_none_is_a_mistake_and_no_failure(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/tokens")
    form = owner.locator("form:has(#role)")
    sent: dict[str, Any] = {
        name: form.locator(f"[name={name}]").input_value()
        for name in ("csrfmiddlewaretoken", "once")
    }
    answer = owner.request.post(
        f"http://localhost:{stage.control}/tokens",
        form={**sent, "name": "x", "role": "viewer", "projects": "x"},
        headers={"Referer": owner.url},
    )
    assert answer.status == 400
    assert "there is no project" in answer.text()


def test_ticked_profiles_are_deactivated_with_a_preview_and_a_receipt(
    owner: Page, stage: Stage
) -> None:
    client = stage.a_client("Bulk Ltd")
    collection = stage.done("GET", "api_collections")[0]
    for number in range(3):
        content = {
            "name": f"Bulk {number}", "api_client_id": client["id"], "auth_type": "token",
            "api_collection_ids": [collection["id"]],
        }  # fmt: skip
        stage.done("POST", "api_access_profiles", content)
    at(owner, stage, "/access-profiles?search=bulk")
    owner.get_by_role("checkbox", name="Tick every row of this page").press("Space")
    expect(owner.get_by_text("3 ticked")).to_be_visible()
    owner.get_by_role("checkbox", name="Bulk 1").press("Space")
    expect(owner.get_by_text("2 ticked")).to_be_visible()
    looks_good(owner, "access-profiles")
    owner.get_by_role("button", name="Deactivate…").press("Enter")
    expect(owner.get_by_role("heading", level=1)).to_have_text("Deactivate: 2 access profiles")
    looks_good(owner, "change-many")
    owner.get_by_role("button", name="Deactivate: 2 access profiles").press("Enter")
    expect(owner.get_by_role("heading", level=1)).to_have_text("2 access profiles deactivated")
    expect(owner.get_by_text("Yes: confirmed by the gateway")).to_be_visible()
    looks_good(owner, "receipt")
    owner.get_by_role("link", name="Back to the list").click()
    expect(owner.locator("#rows").get_by_text("Inactive", exact=True)).to_have_count(2)
    for path in ("/credentials", "/endpoints"):
        at(owner, stage, path)
        looks_good(owner, path[1:])


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_the_navigation_of_a_narrow_window_is_a_menu_that_names_the_page(
    browser: Browser, owner: Page, stage: Stage, *, scripts: bool
) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 800},
        java_script_enabled=scripts,
        storage_state=owner.context.storage_state(),
    )
    page = context.new_page()
    at(page, stage, "/policies")
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    summary = page.locator(".menu > summary")
    expect(summary).to_have_text("Menu, current page: Policies")
    expect(page.get_by_role("link", name="Webhooks")).to_be_hidden()
    summary.press("Enter")
    expect(page.get_by_role("link", name="Policies", exact=True)).to_have_attribute(
        "aria-current", "page"
    )
    expect(links).to_have_count(21)
    if scripts:
        looks_good(page, "menu")
        page.set_viewport_size({"width": 360, "height": 800})
        page.get_by_role("link", name="Clients", exact=True).press("Escape")
        expect(page.get_by_role("link", name="Webhooks")).to_be_hidden()
        expect(summary).to_be_focused()
        summary.press("Enter")
    page.get_by_role("link", name="Webhooks").press("Enter")
    expect(summary).to_have_text("Menu, current page: Webhooks")
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(summary).to_be_hidden()
    expect(links).to_have_count(21)
    context.close()
