"""**Try it**: an owner calls an endpoint through the real gateway, without a consumer's secret."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at, looks_good
from tests.stage import Stage, Upstream, ask

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

SECRET = "a shared secret that is long enough to be one"


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
    paths = ("GET /things/{id}", "POST /things", "GET /slow")
    return stage.a_collection(upstream, *paths, name="Tried things")


@pytest.fixture(scope="module")
def profile(stage: Stage, collection: Any) -> Any:
    return stage.a_profile(collection, name="Tried profile")


def open_form(page: Page, stage: Stage, collection: Any, endpoint: str) -> None:
    at(page, stage, f"/collections/{collection['id']}")
    page.get_by_role("link", name=f"Try it {endpoint}", exact=True).click()


def answer(page: Page) -> Any:
    return page.get_by_role("region", name="Answer")


def send(page: Page) -> None:
    page.get_by_role("button", name="Send the call").click()


def test_an_endpoint_is_called_as_a_profile_with_everything_that_a_call_has(
    owner: Page, stage: Stage, collection: Any, profile: Any, upstream: Upstream
) -> None:
    open_form(owner, stage, collection, "GET /things/{id}")
    owner.get_by_label("Access profile", exact=True).select_option(str(profile["id"]))
    owner.get_by_label("id", exact=True).fill("a b&c?")
    owner.get_by_label("Query parameters", exact=True).fill("q=1 2\nempty=")
    owner.get_by_label("Headers", exact=True).fill("X-Trace: <b>7</b>")
    send(owner)
    expect(answer(owner)).to_contain_text("200")
    expect(answer(owner)).to_contain_text("127.0.0.1")
    expect(answer(owner)).to_contain_text("ms")
    expect(answer(owner).get_by_text("<b>7</b>")).to_be_visible()
    seen = upstream.seen[-1]
    assert seen.target == "/things/a%20b%26c%3F?q=1%202&empty="
    assert seen.header("X-Trace") == ["<b>7</b>"]
    looks_good(owner, "try-answered")
    # Nobody can use the credential afterwards, and it is no third one of the profile's.
    alive = stage.done("GET", f"v2/access_profiles/{profile['id']}/credentials")["data"]
    assert len(alive) == 1
    assert stage.call("/tried-things-v1/things/1", profile["secret"]).status == 200
    events = stage.done("GET", "v2/audit_events?search=endpoint.try")
    assert events["data"][0]["after"] == {"profile_id": profile["id"]}


def test_a_body_is_sent_and_mistakes_are_said(
    owner: Page, stage: Stage, collection: Any, profile: Any, upstream: Upstream
) -> None:
    open_form(owner, stage, collection, "POST /things")
    owner.get_by_label("Access profile", exact=True).select_option(str(profile["id"]))
    owner.get_by_label("Body", exact=True).fill('{"name": "ü"}')
    owner.get_by_label("Headers", exact=True).fill("Host: evil.example\nno header")
    before = len(upstream.seen)
    send(owner)
    expect(answer(owner).get_by_text("Host can't be set here")).to_be_visible()
    expect(answer(owner).get_by_text("no header' isn't a header")).to_be_visible()
    assert len(upstream.seen) == before
    owner.get_by_label("Headers", exact=True).fill("")
    send(owner)
    expect(answer(owner)).to_contain_text("200")
    assert upstream.seen[-1].body.decode() == '{"name": "ü"}'
    assert upstream.seen[-1].header("Content-Type") == ["application/json"]


def test_refusals_are_shown_as_a_consumer_gets_them(
    owner: Page, stage: Stage, collection: Any
) -> None:
    elsewhere = stage.a_profile(collection, name="From elsewhere", ip_allow_list=["192.0.2.1"])
    open_form(owner, stage, collection, "GET /things/{id}")
    owner.get_by_label("Access profile", exact=True).select_option(str(elsewhere["id"]))
    owner.get_by_label("id", exact=True).fill("1")
    send(owner)
    expect(answer(owner)).to_contain_text("403")
    expect(answer(owner)).to_contain_text("must be among them")
    expect(answer(owner)).to_contain_text("Request id")


def test_a_pasted_credential_is_used_and_neither_kept_nor_shown(
    owner: Page, stage: Stage, collection: Any, profile: Any
) -> None:
    open_form(owner, stage, collection, "GET /things/{id}")
    owner.get_by_label("id", exact=True).fill("1")
    owner.get_by_label("Credential of a consumer", exact=True).fill("ost_made_up")
    send(owner)
    expect(answer(owner)).to_contain_text("401")
    owner.get_by_label("Credential of a consumer", exact=True).fill(profile["secret"])
    send(owner)
    expect(answer(owner)).to_contain_text("200")
    assert profile["secret"] not in owner.content()
    events = stage.api("GET", "v2/audit_events?search=endpoint.try").body.decode()
    assert profile["secret"] not in events
    assert '"pasted"' in events


def test_profiles_of_oauth_are_tried_and_those_of_others_ask_for_a_token(
    owner: Page, stage: Stage, collection: Any
) -> None:
    oauth = stage.a_profile(collection, name="By OAuth", auth_type="oauth2")
    signed = stage.a_profile(
        collection, name="Signed", auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET
    )
    for made, words in ((oauth, "200"), (signed, "somebody else signs")):
        open_form(owner, stage, collection, "GET /things/{id}")
        owner.get_by_label("Access profile", exact=True).select_option(str(made["id"]))
        owner.get_by_label("id", exact=True).fill("1")
        send(owner)
        expect(answer(owner)).to_contain_text(words)


def test_viewers_cannot_try_and_no_get_makes_a_call(
    owner: Page, stage: Stage, collection: Any, upstream: Upstream
) -> None:
    at(owner, stage, f"/collections/{collection['id']}")
    path = owner.get_by_role("link", name="Try it GET /slow").get_attribute("href")
    assert path
    before = len(upstream.seen)
    at(owner, stage, f"{path}?profile=1&path-id=1")
    assert len(upstream.seen) == before
    assert ask(stage.control, "GET", path).status == 302
    answer = ask(stage.control, "POST", path, body=b"")
    assert answer.status == 403
    link = stage.a_member("v@example.com")
    found = re.search(r"http://\S+", link)
    assert found
    browser = owner.context.browser
    assert browser
    context = browser.new_context()
    other = context.new_page()
    other.goto(found[0])
    other.get_by_label("New password", exact=True).wait_for()
    url = f"http://localhost:{stage.control}{path}"
    assert other.request.get(url).status == 404
    at(owner, stage, "/members")
    row = owner.get_by_role("row", name=re.compile("v@example.com"))
    row.get_by_text("Change").click()
    row.get_by_label("Role").select_option("viewer")
    row.get_by_role("button", name="Set role").click()
    expect(row).to_contain_text("Home: viewer")
    assert other.request.get(url).status == 403
    context.close()
