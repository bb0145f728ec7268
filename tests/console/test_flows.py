"""An owner's steps with access profiles, policies and collections, found by label and name."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.console.steps import a_client, at, looks_good, say_yes
from tests.stage import Stage, ask

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

SECRET = "a shared secret that is long enough to be one"


@pytest.fixture(scope="module")
def page(browser: Browser, link: str) -> Iterator[Page]:
    """Signed in, with a password set."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(link)
    for label in ("New password", "New password again"):
        page.get_by_label(label, exact=True).fill("correct horse battery staple")
    page.get_by_role("button", name="Set password").click()
    yield page
    context.close()


def test_a_first_profile_is_made_in_three_steps(page: Page, stage: Stage) -> None:
    a_client(page, stage, "Globex")
    client = page.url
    page.get_by_role("link", name="Create new access profile").click()
    page.get_by_label("Profile name", exact=True).fill("Globex script")
    page.get_by_role("checkbox", name="Orders").check()
    methods = page.get_by_role("group", name="Authentication method")
    expect(methods.get_by_role("radio")).to_have_count(4)
    expect(methods.get_by_role("radio", name="Auth token", exact=True)).to_be_checked()
    summary = page.get_by_role("region", name="Summary")
    expect(summary).to_contain_text("Globex may call 1 API collection with an auth token")
    page.get_by_label("Allowed IPs", exact=True).press_sequentially("127.0.0.1, 106.226.100.3/20")
    expect(page.get_by_text("106.226.96.0/20 (4,096 addresses)")).to_be_visible()
    expect(summary).to_contain_text("from 1 address, 1 range, and does not expire")
    looks_good(page, "profile-form")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("nothing is made yet")).to_be_visible()
    expect(page.get_by_text("GET /orders-v1/orders", exact=True)).to_be_visible()
    expect(page.get_by_text("106.226.96.0/20 (4,096 addresses)")).to_be_visible()
    looks_good(page, "profile-confirm")
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_label("Profile name", exact=True)).to_have_value("Globex script")
    expect(page.get_by_role("checkbox", name="Orders")).to_be_checked()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Create access profile").click()
    token = page.get_by_label("Auth token", exact=True).input_value()
    assert re.fullmatch(r"ost_[A-Za-z0-9_-]{61}", token)
    expect(page.get_by_text("It is shown only once")).to_be_visible()
    assert token in page.get_by_label("A first call").input_value()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == token
    looks_good(page, "credential")
    assert stage.call("/orders-v1/orders", token).status == 200
    page.get_by_role("link", name="Done").click()
    assert page.url == client
    expect(page.get_by_role("columnheader", name="Auth Token")).to_be_visible()
    rows = page.get_by_role("region", name="Access profiles").get_by_role("row")
    expect(rows.filter(has_text="Globex script")).to_contain_text(token[-4:])
    assert token not in page.content()
    # Neither going back nor loading anew shows it again, or makes another.
    page.go_back()
    expect(page.get_by_role("heading", name="Shown already")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Create access profile").click()
    expect(page.get_by_role("heading", name="Shown already")).to_be_visible()
    page.goto(client)
    expect(rows.filter(has_text="Globex script")).to_have_count(1)
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert token not in stored


def test_the_profiles_own_page_shows_its_token_masked_with_refresh_beside_it(
    page: Page, stage: Stage
) -> None:
    a_client(page, stage, "Own page")
    token = _new_profile(page, page.url, "Of its own")
    page.get_by_role("link", name="Of its own", exact=True).click()
    expect(page.get_by_role("heading", name="Of its own", level=1)).to_be_visible()
    card = page.get_by_role("region", name="Access profile")
    expect(card).to_contain_text("Auth Token")
    expect(card).to_contain_text(token[-4:])
    assert token not in page.content()
    expect(page.get_by_role("switch", name="Active", exact=True)).to_be_checked()
    page.get_by_role("button", name="Refresh", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Refresh")


def test_a_form_that_is_sent_again_makes_nothing(page: Page, stage: Stage) -> None:
    a_client(page, stage, "Twice")
    client = page.url
    page.get_by_role("link", name="Create new access profile").click()
    page.get_by_label("Profile name", exact=True).fill("Once")
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Create access profile").click()
    expect(page.get_by_label("Auth token", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Shown already")).to_be_visible()
    expect(page.get_by_role("link", name="Go to where it is replaced")).to_be_visible()
    page.goto(client)
    expect(page.get_by_role("link", name="Once", exact=True)).to_have_count(1)


def test_refresh_revokes_the_old_token_with_and_without_overlap(page: Page, stage: Stage) -> None:
    a_client(page, stage, "Refresher")
    client = page.url
    tokens = [_new_profile(page, client, "Only")]
    page.get_by_role("link", name="Refresh Only").click()
    page.get_by_label("Overlap").select_option("3600")
    looks_good(page, "refresh")
    page.get_by_role("button", name="Refresh").click()
    tokens.append(page.get_by_label("Auth token", exact=True).input_value())
    page.get_by_role("link", name="Done").click()
    assert [stage.call("/orders-v1/orders", token).status for token in tokens] == [200, 200]
    page.get_by_role("link", name="Only", exact=True).click()
    expect(page.get_by_text("works until")).to_be_visible()
    page.get_by_role("link", name="Revoke…").click()
    expect(page.get_by_text("Old credential", exact=True)).to_be_visible()
    looks_good(page, "cut-off")
    page.get_by_role("button", name="Revoke now").click()
    expect(page.get_by_role("status")).to_contain_text("works no longer")
    assert [stage.call("/orders-v1/orders", token).status for token in tokens] == [401, 200]
    page.get_by_role("link", name="Refresh Only").click()
    expect(page.get_by_label("Overlap")).to_have_value("86400")
    page.get_by_label("Overlap").select_option("0")
    page.get_by_role("button", name="Refresh").click()
    new = page.get_by_label("Auth token", exact=True).input_value()
    assert stage.call("/orders-v1/orders", tokens[1]).status == 401
    assert stage.call("/orders-v1/orders", new).status == 200
    page.goto(client)
    page.get_by_role("switch", name="Active: Only").click()
    say_yes(page)
    expect(page.get_by_role("status")).to_contain_text("inactive")
    assert stage.call("/orders-v1/orders", new).status == 401
    page.get_by_role("switch", name="Active: Only").click()
    expect(page.get_by_role("status")).to_contain_text("active again")
    assert stage.call("/orders-v1/orders", new).status == 200
    looks_good(page, "client")


def _new_profile(page: Page, client: str, name: str) -> str:
    page.goto(f"{client}/profiles/new")
    page.get_by_label("Profile name", exact=True).fill(name)
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Create access profile").click()
    token = page.get_by_label("Auth token", exact=True).input_value()
    page.get_by_role("link", name="Done").click()
    return token


def test_mistakes_are_said_at_their_fields_and_nothing_is_lost(page: Page, stage: Stage) -> None:
    a_client(page, stage, "Mistaken")
    page.get_by_role("link", name="Create new access profile").click()
    page.get_by_label("Profile name", exact=True).fill("<script>alert(1)</script>")
    page.get_by_label("Allowed IPs", exact=True).fill("10.0.0.1, 010.0.0.1, fe80::1%eth0, host")
    page.get_by_role("button", name="Next").click()
    alerts = page.get_by_role("alert")
    expect(alerts.filter(has_text="API collections to include can't be blank")).to_be_visible()
    for wrong in ("010.0.0.1", "fe80::1%eth0", "host"):
        expect(alerts.filter(has_text=wrong).first).to_be_visible()
    expect(page.get_by_label("Profile name", exact=True)).to_have_value("<script>alert(1)</script>")
    expect(page.get_by_label("Allowed IPs", exact=True)).to_have_value(re.compile("fe80"))
    looks_good(page, "profile-problems")


def test_every_method_can_be_chosen(page: Page, stage: Stage) -> None:
    a_client(page, stage, "Methods")
    client = page.url
    page.goto(f"{client}/profiles/new")
    # Cards are radio buttons: arrow keys choose, and each has its line as a description.
    page.get_by_role("radio", name="Auth token", exact=True).press("ArrowDown")
    oauth = page.get_by_role("radio", name="OAuth 2.0 access token", exact=True)
    expect(oauth).to_be_checked()
    expect(oauth).to_have_accessible_description(re.compile("exchanges them for access tokens"))
    expect(page.get_by_label("Shared secret or public key")).to_be_hidden()
    page.get_by_label("Profile name", exact=True).fill("By OAuth")
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Create access profile").click()
    client_id = page.get_by_label("Client ID").input_value()
    secret = page.get_by_label("Client secret").input_value()
    body = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = ask(stage.gateway, "POST", "/oauth2/token", headers=form, body=body.encode())
    assert answer.status == 200

    page.goto(f"{client}/profiles/new")
    page.get_by_label("Profile name", exact=True).fill("By JWT")
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_role("radio", name="JSON web token (JWT)", exact=True).check()
    page.get_by_label("Shared secret or public key").press_sequentially("short")
    expect(page.get_by_text("This has 40 bits")).to_be_visible()
    secret_field = page.get_by_label("Shared secret or public key")
    generated = []
    for _ in range(2):
        page.get_by_role("button", name="Generate", exact=True).click()
        expect(secret_field).to_have_value(re.compile(r"^[A-Za-z0-9_-]{86}$"))
        generated.append(secret_field.input_value())
    assert generated[0] != generated[1]
    expect(page.get_by_text("will do")).to_be_visible()
    # The head of the page must not lie over a button that is measured.
    page.evaluate("scrollTo(0, 0)")
    looks_good(page, "profile-jwt")
    page.get_by_label("JWT signing method").select_option("rsa")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_hidden()
    page.get_by_label("JWT signing method").select_option("hmac")
    secret_field.fill(SECRET)
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Create access profile").click()
    expect(page.get_by_label("Profile key")).to_have_value(re.compile("^ostp_"))

    page.goto(f"{client}/profiles/new")
    page.get_by_label("Profile name", exact=True).fill("By OpenID")
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_role("radio", name="OpenID Connect", exact=True).check()
    page.get_by_label("Issuer or discovery URL").fill("https://127.0.0.1/")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("alert").filter(has_text="not a public address")).to_be_visible()
    page.get_by_label("Issuer or discovery URL").fill("https://login.example.com")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("can't be fetched now")).to_be_visible()
    page.get_by_role("button", name="Create access profile").click()
    expect(page.get_by_label("Profile key")).to_be_visible()
    page.get_by_role("link", name="Done").click()
    for name in ("By OAuth", "By JWT", "By OpenID"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def test_a_profile_is_changed_and_deleted_by_its_name(page: Page, stage: Stage) -> None:
    a_client(page, stage, "Changer")
    client = page.url
    token = _new_profile(page, client, "To change")
    page.get_by_role("link", name="To change", exact=True).click()
    page.get_by_role("link", name="Edit To change").click()
    page.get_by_label("Profile name", exact=True).fill("Changed")
    page.get_by_label("Allowed IPs", exact=True).fill("203.0.113.0/24")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Save this change").click()
    expect(page.get_by_role("status").first).to_contain_text("was changed")
    page.get_by_role("link", name="Changed", exact=True).click()
    expect(page.get_by_role("region", name="Access profile")).to_contain_text("203.0.113.0/24")
    assert stage.call("/orders-v1/orders", token).status == 403
    page.get_by_role("link", name="Delete Changed").click()
    page.get_by_label("Type its name").fill("Something else")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("The name does not match")
    looks_good(page, "delete")
    page.get_by_label("Type its name").fill("Changed")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("was deleted")
    assert stage.call("/orders-v1/orders", token).status == 401
    page.get_by_role("link", name="Edit client").click()
    page.get_by_label("Name", exact=True).fill("Changed client")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Changed client")).to_be_visible()
    page.get_by_role("link", name="Delete this client").click()
    page.get_by_label("Type its name").fill("Changed client")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Clients")).to_be_visible()


def test_a_policy_is_made_used_and_kept_while_it_is_used(page: Page, stage: Stage) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Policies").click()
    page.get_by_role("link", name="New policy").click()
    page.get_by_label("Name", exact=True).fill("Gold")
    page.get_by_label("Requests per minute", exact=True).fill("many")
    page.get_by_role("button", name="Add policy").click()
    expect(page.get_by_role("alert").first).to_contain_text("whole number")
    page.get_by_label("Requests per minute", exact=True).fill("1,000")
    page.get_by_label("Requests per day", exact=True).fill("20,000")
    page.get_by_label("Send the older rate limit headers too").check()
    page.get_by_label("Usage quota", exact=True).fill("50000")
    page.get_by_label("Requests in a").select_option("30 days")
    looks_good(page, "policy-form")
    page.get_by_role("button", name="Add policy").click()
    row = page.get_by_role("row", name=re.compile("Gold"))
    limits = (
        "1,000 requests per minute, and 20,000 requests per day, and 50,000 requests per 30 days"
    )
    expect(row).to_contain_text(limits)
    a_client(page, stage, "Golden")
    client = page.url
    page.goto(f"{client}/profiles/new")
    page.get_by_label("Profile name", exact=True).fill("Golden script")
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_label("Policy", exact=True).select_option(label="Gold")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("1,000 requests per minute")).to_be_visible()
    page.get_by_role("button", name="Create access profile").click()
    token = page.get_by_label("Auth token", exact=True).input_value()
    answer = stage.call("/orders-v1/orders", token)
    assert answer.headers["x-ratelimit-limit"] == "1000"
    at(page, stage, "/policies")
    expect(page.get_by_role("row", name=re.compile("Gold"))).to_contain_text("Golden script")
    looks_good(page, "policies")
    page.get_by_role("link", name="Delete Gold").click()
    expect(page.get_by_role("main")).to_contain_text("It is used by")
    expect(page.get_by_role("main").get_by_role("listitem")).to_contain_text("1 access profile")
    expect(page.get_by_label("Type its name")).to_have_count(0)
    looks_good(page, "delete-used-policy")


DOCUMENT = """
openapi: 3.0.3
info: {title: Stock, version: "2"}
paths:
  /items:
    get: {operationId: listItems, summary: List items}
  /items/{id}:
    get: {operationId: showItem, summary: Show an item}
"""


def test_a_collection_is_made_by_hand_and_from_a_document(page: Page, stage: Stage) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="API collections").click()
    expect(page.get_by_role("row", name=re.compile("Orders"))).to_be_visible()
    looks_good(page, "collections")
    page.get_by_role("link", name="New collection").click()
    page.get_by_label("Name", exact=True).fill("Stock")
    page.get_by_label("Upstream URL").fill("ftp://x")
    page.get_by_text("Import an OpenAPI document").click()
    page.get_by_label("Or paste it").fill("swagger: '2.0'")
    page.get_by_role("button", name="Add collection").click()
    expect(page.get_by_role("alert").first).to_be_visible()
    page.get_by_label("Upstream URL").fill("http://127.0.0.1:9")
    page.get_by_label("Or paste it").fill(DOCUMENT)
    looks_good(page, "collection-form")
    page.get_by_role("button", name="Add collection").click()
    expect(page.get_by_role("heading", name="Choose endpoints")).to_be_visible()
    looks_good(page, "choose-endpoints")
    page.get_by_role("button", name="Create the collection").click()
    expect(page.get_by_role("status").first).to_contain_text("2 endpoints were taken")
    page.get_by_role("switch", name="Inactive: GET /items", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is active")
    page.get_by_role("link", name="New endpoint").click()
    page.get_by_label("Name", exact=True).fill("Add an item")
    page.get_by_label("Method", exact=True).select_option("POST")
    page.get_by_label("Path", exact=True).fill("/items/{")
    page.get_by_role("button", name="Add endpoint").click()
    expect(page.get_by_role("alert").first).to_be_visible()
    page.get_by_label("Path", exact=True).fill("/items")
    page.get_by_role("button", name="Add endpoint").click()
    expect(page.get_by_role("row", name=re.compile("Add an item"))).to_be_visible()
    looks_good(page, "collection")
    page.get_by_role("link", name="Delete this collection").click()
    page.get_by_label("Type its name").fill("Stock")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("was deleted")


def test_a_member_is_added_with_a_link_and_a_role(
    page: Page, stage: Stage, browser: Browser
) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Members").click()
    page.get_by_label("E-mail address").fill("not an address")
    page.get_by_role("button", name="Add member").click(no_wait_after=True)
    page.get_by_label("E-mail address").fill("viewer@example.com")
    page.get_by_role("button", name="Add member").click()
    link = page.get_by_label("Sign-in link").input_value()
    page.get_by_role("link", name="Done").click()
    row = page.get_by_role("row", name=re.compile("viewer@example.com"))
    expect(row).to_contain_text("sees nothing")
    row.get_by_text("Change").click()
    row.get_by_label("Role").select_option("viewer")
    row.get_by_role("button", name="Set role").click()
    expect(row).to_contain_text("Home: viewer")
    looks_good(page, "members")
    context = browser.new_context()
    other = context.new_page()
    other.goto(link)
    for label in ("New password", "New password again"):
        other.get_by_label(label, exact=True).fill("another horse, another battery")
    other.get_by_role("button", name="Set password").click()
    expect(other.get_by_role("heading", name="Overview")).to_be_visible()
    base = f"http://localhost:{stage.control}"
    other.goto(f"{base}/clients")
    expect(other.get_by_role("row", name=re.compile("Acme"))).to_be_visible()
    for path in ("/members", "/tokens", "/settings"):
        assert other.request.get(base + path).status == 403, path
    other.goto(f"{base}/clients/1")
    switch = other.get_by_role("switch", name="Active", exact=True)
    expect(switch).to_be_disabled()
    switch.evaluate("button => button.form.submit()")
    expect(other.get_by_text("Your role does not allow this")).to_be_visible()
    # Switched off, its session is worth nothing.
    page.get_by_role("switch", name="Active: viewer@example.com").click()
    say_yes(page)
    expect(page.get_by_role("status")).to_contain_text("changed")
    other.goto(f"{base}/clients")
    expect(other.get_by_role("button", name="Sign in")).to_be_visible()
    context.close()


def test_signing_out_everywhere_ends_the_other_sessions(
    page: Page, stage: Stage, browser: Browser
) -> None:
    context = browser.new_context()
    other = context.new_page()
    at(other, stage, "/sign-in")
    other.get_by_label("E-mail").fill("admin@localhost.localdomain")
    other.get_by_label("Password").fill("correct horse battery staple")
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("heading", name="Overview")).to_be_visible()
    at(page, stage, "/account")
    looks_good(page, "account")
    page.get_by_role("button", name="Sign out everywhere else").click()
    say_yes(page)
    expect(page.get_by_role("status")).to_contain_text("signed out everywhere else")
    other.reload()
    expect(other.get_by_role("button", name="Sign in")).to_be_visible()
    at(page, stage, "/clients")
    expect(page.get_by_role("heading", name="Clients")).to_be_visible()
    context.close()


def test_a_management_token_is_shown_once_and_revoked(page: Page, stage: Stage) -> None:
    at(page, stage, "/tokens")
    page.get_by_label("Name", exact=True).fill("A script")
    page.get_by_label("Role", exact=True).select_option("viewer")
    page.get_by_role("button", name="Add token").click()
    expect(page.get_by_role("alert")).to_contain_text("name at least one project")
    page.get_by_label("All projects").check()
    page.get_by_role("button", name="Add token").click()
    token = page.get_by_label("Management token", exact=True).input_value()
    assert stage.api("GET", "api_clients", token=token).status == 200
    assert stage.api("POST", "api_clients", {"name": "x"}, token=token).status == 403
    page.get_by_role("link", name="Done").click()
    assert token not in page.content()
    looks_good(page, "tokens")
    page.get_by_role("button", name="Revoke A script").click()
    say_yes(page)
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert stage.api("GET", "api_clients", token=token).status == 401


def test_settings_are_checked_and_saved(page: Page, stage: Stage) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Settings").click()
    page.get_by_label("Trusted proxies").fill("0.0.0.0/0")
    page.get_by_label("Days of audit log").fill("many")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="everyone")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="number of days")).to_be_visible()
    page.get_by_label("Trusted proxies").fill("192.0.2.0/24")
    page.get_by_label("Days of audit log").fill("90")
    looks_good(page, "settings")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("saved")
    shown = stage.done("GET", "v2/settings")["data"]
    assert (shown["trusted_proxies"], shown["audit_log_days"]) == (["192.0.2.0/24"], 90)


def test_a_connection_is_made_changed_and_kept_while_it_is_used(page: Page, stage: Stage) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Connections").click()
    expect(page.get_by_role("row", name=re.compile("Sample orders"))).to_contain_text("Orders")
    looks_good(page, "connections")
    page.get_by_role("link", name="New connection").click()
    page.get_by_label("Name", exact=True).fill("Stock service")
    page.get_by_label("Base URLs").fill("http://169.254.169.254/latest")
    page.get_by_label("Timeout in seconds").fill("9999")
    page.get_by_role("button", name="Add connection").click()
    expect(page.get_by_role("alert").filter(has_text="Base URLs")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="Timeout")).to_be_visible()
    page.get_by_label("Base URLs").fill("http://127.0.0.1:9000/api")
    page.get_by_label("Timeout in seconds").fill("10")
    page.get_by_label("Ostiary adds").select_option("header")
    page.get_by_label("Name of header").fill("X-Api-Key")
    page.get_by_label("Secret").fill("an upstream's secret")
    looks_good(page, "connection-form")
    page.get_by_role("button", name="Add connection").click()
    expect(page.get_by_role("row", name=re.compile("Stock service"))).to_be_visible()
    page.get_by_role("link", name="Edit Stock service").click()
    expect(page.get_by_label("Secret")).to_have_value("")
    assert "an upstream's secret" not in page.content()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Delete Sample orders").click()
    expect(page.get_by_role("main")).to_contain_text("It is used by")
    expect(page.get_by_role("main").get_by_role("listitem")).to_contain_text("Orders")
    expect(page.get_by_label("Type its name")).to_have_count(0)


def test_a_project_is_made_renamed_and_deleted(page: Page, stage: Stage) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Projects").click()
    page.get_by_label("Name", exact=True).fill("Partners")
    page.get_by_role("button", name="Add project").click()
    page.get_by_role("link", name="Edit Partners").click()
    page.get_by_label("Name", exact=True).fill("Good partners")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name=re.compile("Good partners"))).to_be_visible()
    looks_good(page, "projects")
    page.get_by_role("link", name="Edit Home").click()
    page.get_by_role("link", name="Delete this project").click()
    page.get_by_label("Type its name").fill("Home")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_be_visible()
    at(page, stage, "/projects")
    page.get_by_role("link", name="Edit Good partners").click()
    page.get_by_role("link", name="Delete this project").click()
    page.get_by_label("Type its name").fill("Good partners")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("was deleted")


def test_recipes_are_stopped_and_started(page: Page, stage: Stage) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Recipes").click()
    switch = page.get_by_role("switch").first
    expect(switch).to_have_attribute("aria-checked", "true")
    switch.click()
    say_yes(page)
    expect(page.get_by_role("status")).to_contain_text("stopped")
    expect(switch).to_have_attribute("aria-checked", "false")
    switch.click()
    expect(page.get_by_role("status")).to_contain_text("started")
    looks_good(page, "recipes")


def test_the_audit_log_says_what_was_done_here_and_never_a_secret(page: Page, stage: Stage) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Audit log").click()
    page.get_by_label("Search").fill("Globex")
    page.keyboard.press("Enter")
    made = page.get_by_role("row", name=re.compile("created the access profile"))
    expect(made.first).to_contain_text("Globex")
    looks_good(page, "audit-log")
    answer = page.request.get(f"http://localhost:{stage.control}/audit-log?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    text = answer.text()
    assert "profile.refresh" in text
    assert SECRET not in text
    assert "ost_" not in text.replace("ost_…", "")
    assert stage.done("GET", "v2/audit_events?search=Globex")["count"] >= 2


def test_a_profile_is_made_without_a_mouse(page: Page, stage: Stage) -> None:
    a_client(page, stage, "Keyboard")
    page.get_by_role("link", name="Create new access profile").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Profile name", exact=True).focus()
    page.keyboard.type("By keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Create access profile").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Auth token", exact=True)).to_be_visible()


def test_others_cannot_make_a_browser_change_anything(page: Page, stage: Stage) -> None:
    base = f"http://localhost:{stage.control}"
    for path in (
        "/profiles/1/active",
        "/profiles/1/refresh",
        "/profiles/1/delete",
        "/policies/new",
    ):
        answer: Any = page.request.post(base + path, form={"active": "0", "name": "x"})
        assert answer.status == 403, path
    assert page.request.get(f"{base}/clients/1/active").status == 405
    # What switching it off would do is shown, and not done.
    assert page.request.get(f"{base}/profiles/1/active").status == 200
    assert stage.done("GET", "api_access_profiles/1")["result"]["active"]
    assert page.request.get(f"{base}/clients/999/profiles/new").status == 404


def test_a_partner_opens_a_hand_over_link_once_and_calls_with_what_it_shows(
    page: Page, stage: Stage, browser: Browser
) -> None:
    a_client(page, stage, "Partner")
    client = page.url
    _new_profile(page, client, "Handed over")
    page.goto(client)
    page.get_by_role("link", name="Handed over", exact=True).first.click()
    page.get_by_role("main").get_by_role("link", name="Credentials", exact=True).click()
    page.get_by_role("link", name="New credential by link").click()
    looks_good(page, "handover-form")
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_label("Link", exact=True).input_value()
    looks_good(page, "handover-link")
    partner = browser.new_context().new_page()
    partner.goto(link)
    looks_good(partner, "handover-open")
    partner.get_by_role("button", name="Show the credential").click()
    token = partner.get_by_label("Auth token", exact=True).input_value()
    assert "#" not in partner.url
    assert "draft" not in partner.url
    looks_good(partner, "handover-shown")
    assert stage.call("/orders-v1/orders", token).status == 200
    with partner.expect_download() as download:
        partner.get_by_role("button", name="Download the OpenAPI document of Orders").click()
    assert download.value.suggested_filename == "orders-v1.json"
    # A link that differs by what follows the # alone would not leave the page.
    partner = partner.context.new_page()
    partner.goto(link)
    partner.get_by_role("button", name="Show the credential").click()
    expect(partner.get_by_role("alert")).to_contain_text("This link shows nothing")
    looks_good(partner, "handover-nothing")
    partner.context.close()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_text("Opened")).to_be_visible()
    looks_good(page, "profile-rotating")
    page.get_by_role("main").get_by_role("link", name="Overview", exact=True).click()
    page.get_by_role("link", name="Deactivate for a time").click()
    looks_good(page, "pause")
    page.goto(f"{client}/offboarding")
    looks_good(page, "offboarding")
    page.goto(f"{client}/delete")
    looks_good(page, "delete-client")
    page.get_by_label("Type its name to delete it").fill("Partner")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("link", name="Recently deleted").click()
    looks_good(page, "recently-deleted")
    page.get_by_role("button", name="Put back Client Partner").click()
    expect(page.get_by_role("heading", name="Partner", level=1)).to_be_visible()
    assert stage.call("/orders-v1/orders", token).status == 401
