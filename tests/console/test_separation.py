"""Two people in two projects: neither sees anything of the other's, at any address."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.console.every_address import addresses
from tests.console.steps import looks_good, say_yes
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

MARK = "Nightingale"


@pytest.fixture(scope="module")
def theirs(stage: Stage) -> Any:
    """One of everything in a project of its own, all of it with a word in its name."""
    upstream = Upstream()
    project = stage.done("POST", "folders", {"name": f"{MARK} project"})
    where = {"project_id": project["id"]}
    connection = stage.done(
        "POST",
        "connections",
        {"name": f"{MARK} upstream", "input": {"base_url": upstream.url}, **where},
    )
    collection = stage.done(
        "POST",
        "api_collections",
        {"name": f"{MARK} API", "proxy_connection_id": connection["id"], **where},
    )
    endpoint = stage.an_endpoint(collection, f"GET /{MARK}")
    client = stage.done("POST", "api_clients", {"name": f"{MARK} client", **where})["result"]
    profile = stage.a_profile(collection, client=client, name=f"{MARK} profile")
    credentials = stage.done("GET", f"v2/access_profiles/{profile['id']}/credentials")["data"]
    upstream.close()
    return {
        "project_id": int(project["id"]),
        "connection_id": connection["id"],
        "collection_id": collection["id"],
        "endpoint_id": endpoint["id"],
        "client_id": client["id"],
        "profile_id": profile["id"],
        "credential_id": credentials[0]["id"],
        "secret": profile["secret"],
    }


def signed_in(stage: Stage, browser: Browser, email: str, project: int) -> Page:
    link = stage.a_member(email)
    found = stage.done("GET", "v2/members?per_page=100")["data"]
    member = next(each for each in found if each["email"] == email)
    stage.done("PUT", f"v2/members/{member['id']}/projects/{project}", {"role": "owner"})
    page = browser.new_context().new_page()
    page.goto(link)
    page.get_by_label("New password", exact=True).wait_for()
    return page


@pytest.fixture(scope="module")
def stranger(stage: Stage, browser: Browser) -> Iterator[Page]:
    page = signed_in(stage, browser, "stranger@example.com", 1)
    yield page
    page.context.close()


def test_a_stranger_finds_nothing_at_any_address(stage: Stage, stranger: Page, theirs: Any) -> None:
    base = f"http://localhost:{stage.control}"
    asked = 0
    for path in addresses(theirs):
        for method in ("GET", "POST"):
            if path.startswith(("/sign-", "/password")):
                continue
            if method == "POST":
                if "_id" not in path and not re.search(r"/\d+", path):
                    continue
                token = stranger.context.cookies()
                crumb = next(c["value"] for c in token if "csrf" in c["name"])
                answer = stranger.request.post(
                    base + path,
                    form={"csrfmiddlewaretoken": crumb, "name": "x", "active": "0"},
                    headers={"Origin": base},
                    max_redirects=0,
                )
            else:
                answer = stranger.request.get(base + path, max_redirects=0)
            asked += 1
            assert MARK not in answer.text(), (method, path)
            assert answer.status < 500, (method, path, answer.status)
    assert asked > 60
    # Nothing of theirs was changed by it either.
    assert stage.call(f"/nightingale-api-v1/{MARK}", theirs["secret"]).status != 401
    shown = stage.done("GET", f"api_clients/{theirs['client_id']}")
    assert MARK in str(shown)


def test_a_profile_that_spans_projects_names_what_is_seen_and_keeps_what_is_not(
    stage: Stage, stranger: Page, theirs: Any
) -> None:
    client = stage.a_client("Spanning")
    both = [{"id": 1}, {"id": theirs["collection_id"]}]
    profile = stage.a_profile(*both, client=client, name="Spanning")
    base = f"http://localhost:{stage.control}"
    for path in (f"/clients/{client['id']}", f"/profiles/{profile['id']}"):
        stranger.goto(base + path)
        stranger.get_by_text("one of another project").wait_for()
        assert MARK not in stranger.content()
    for tab in ("requests", "credentials", "history", "edit"):
        stranger.goto(f"{base}/profiles/{profile['id']}/{tab}")
        assert MARK not in stranger.content(), tab
    stranger.get_by_label("Profile name", exact=True).fill("Spanning still")
    stranger.get_by_role("button", name="Save", exact=True).click()
    stranger.get_by_role("status").wait_for()
    kept = stage.done("GET", f"api_access_profiles/{profile['id']}")["result"]
    assert kept["name"] == "Spanning still"
    assert kept["api_collection_ids"] == sorted(each["id"] for each in both)


def test_an_owner_of_a_project_says_who_is_in_it(stage: Stage, stranger: Page) -> None:
    stage.done("POST", "v2/members", {"email": "joins@example.com"})
    stranger.goto(f"http://localhost:{stage.control}/projects/1/edit")
    for email, role, told in (
        ("joins@example.com", "editor", "joins@example.com is editor of Home"),
        ("nobody@example.com", "viewer", "nobody@example.com isn't a member's"),
    ):
        stranger.get_by_label("E-mail address", exact=True).fill(email)
        stranger.get_by_label("Role", exact=True).select_option(role)
        stranger.get_by_role("button", name="Give the role").click()
        expect(stranger.get_by_role("status")).to_contain_text(told)
    looks_good(stranger, "project-members")
    held = stranger.get_by_label("Role of joins@example.com")
    expect(held).to_have_value("editor")
    held.select_option("viewer")
    stranger.get_by_role("button", name="Change the role of joins@example.com").click()
    expect(held).to_have_value("viewer")
    stranger.get_by_role("button", name="Remove joins@example.com").click()
    say_yes(stranger)
    expect(held).to_have_count(0)


def test_a_search_of_a_stranger_finds_nothing(stage: Stage, stranger: Page, theirs: Any) -> None:
    stranger.goto(f"http://localhost:{stage.control}/clients")
    for text in (MARK, theirs["secret"], theirs["secret"][:8], f"/nightingale-api-v1/{MARK}"):
        box = stranger.get_by_label("Find anything")
        box.fill(text)
        stranger.keyboard.press("Enter")
        stranger.get_by_role("heading", name="Search", level=1).wait_for()
        found = stranger.get_by_role("main").inner_text()
        assert MARK not in found, text
        assert "Nothing found" in found, text


def test_its_own_member_sees_it_and_nothing_of_the_strangers(
    stage: Stage, browser: Browser, theirs: Any
) -> None:
    page = signed_in(stage, browser, "friend@example.com", theirs["project_id"])
    base = f"http://localhost:{stage.control}"
    for path in addresses({**theirs}):
        if path.startswith(("/sign-", "/password")):
            continue
        text = page.request.get(base + path, max_redirects=0).text()
        for word in ("Acme", "Sample orders", "Order tools"):
            assert word not in text, (path, word)
    for path in (f"/clients/{theirs['client_id']}", f"/collections/{theirs['collection_id']}"):
        assert MARK in page.request.get(base + path).text()
    page.context.close()
