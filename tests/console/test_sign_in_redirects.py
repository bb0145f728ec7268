"""A session that ends while its owner is at work: sign-in is a page of its own, and leads back."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.console.steps import a_client, at
from tests.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

EMAIL, PASSWORD = "comes-back@example.com", "correct horse battery staple"


@pytest.fixture(scope="module")
def page(browser: Browser, stage: Stage) -> Iterator[Page]:
    # A member of its own: whom the product's first link is for depends on the files that share it.
    link = stage.a_member(EMAIL, admin=True)
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(link)
    for label in ("New password", "New password again"):
        page.get_by_label(label, exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    page.wait_for_url("**/")
    yield page
    context.close()


def _forget_session(context: BrowserContext) -> None:
    context.clear_cookies(name=re.compile("session"))


def _end_sessions(stage: Stage) -> None:
    """End them on the server: a cookie that is gone comes back with an answer that is on its way."""
    (member,) = stage.done("GET", f"v2/members?search={EMAIL}")["data"]
    for active in (False, True):
        stage.done("PUT", f"v2/members/{member['id']}", {"active": active})


def _sign_in(page: Page) -> None:
    expect(page.get_by_role("heading", name="Sign in", level=1)).to_be_visible()
    expect(page.get_by_role("navigation", name="Main")).to_have_count(0)
    page.get_by_label("E-mail", exact=True).fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_hint_after_the_session_has_ended_leads_to_sign_in_and_back_to_what_was_typed(
    page: Page, stage: Stage
) -> None:
    a_client(page, stage, "Typed")
    page.get_by_role("link", name="Create new access profile").click()
    form = page.url
    page.get_by_label("Profile name", exact=True).fill("Half done")
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_role("radio", name="JSON web token (JWT)", exact=True).check()
    secret = "a-shared-secret-0123456789-abcdefghij"
    # The hint of the key comes before the session ends, so that the one of the addresses is the first without.
    with page.expect_response(re.compile("help/key")):
        page.get_by_label("Shared secret or public key", exact=True).fill(secret)
    _end_sessions(stage)
    page.get_by_label("Allowed IPs", exact=True).fill("192.0.2.7")
    _sign_in(page)
    page.wait_for_url(form)
    expect(page.get_by_text("is filled in again")).to_be_visible()
    expect(page.get_by_label("Profile name", exact=True)).to_have_value("Half done")
    expect(page.get_by_role("checkbox", name="Orders")).to_be_checked()
    expect(page.get_by_role("checkbox", name="Order tools")).not_to_be_checked()
    expect(page.get_by_role("radio", name="JSON web token (JWT)", exact=True)).to_be_checked()
    expect(page.get_by_label("Allowed IPs", exact=True)).to_have_value("192.0.2.7")
    expect(page.get_by_label("Shared secret or public key", exact=True)).to_have_value("")
    page.reload()
    expect(page.get_by_label("Profile name", exact=True)).to_have_value("")


def test_a_summary_after_the_session_has_ended_keeps_what_was_typed_beside_it(
    page: Page, stage: Stage
) -> None:
    a_client(page, stage, "Beside")
    page.get_by_role("link", name="Create new access profile").click()
    form = page.url
    _end_sessions(stage)
    # Of the fields, the name alone makes the page ask for nothing but the summary.
    page.get_by_label("Profile name", exact=True).fill("Half done")
    _sign_in(page)
    page.wait_for_url(form)
    expect(page.get_by_text("is filled in again")).to_be_visible()
    expect(page.get_by_label("Profile name", exact=True)).to_have_value("Half done")


def test_a_form_that_is_sent_after_the_session_has_ended_is_filled_in_again(
    page: Page, stage: Stage
) -> None:
    at(page, stage, "/policies/new")
    page.get_by_label("Name", exact=True).fill("After a long lunch")
    page.get_by_label("Requests per hour", exact=True).fill("12")
    _forget_session(page.context)
    page.get_by_role("button", name="Add policy").click()
    stored = page.evaluate("JSON.stringify({...sessionStorage})")
    assert "After a long lunch" in stored
    _sign_in(page)
    expect(page.get_by_label("Name", exact=True)).to_have_value("After a long lunch")
    expect(page.get_by_label("Requests per hour", exact=True)).to_have_value("12")
    page.get_by_role("button", name="Add policy").click()
    expect(page.get_by_role("status")).to_contain_text("After a long lunch was made")
    page.wait_for_function("sessionStorage.getItem('draft') === null")


def test_a_button_that_is_pressed_after_the_session_has_ended_leads_back_to_its_page(
    page: Page, stage: Stage
) -> None:
    a_client(page, stage, "Pressed")
    client = page.url
    _forget_session(page.context)
    page.get_by_role("switch", name="Active", exact=True).click()
    _sign_in(page)
    page.wait_for_url(client)
    expect(page.get_by_role("switch", name="Active", exact=True)).to_be_checked()


def test_a_search_after_the_session_has_ended_leads_to_sign_in_as_a_page(
    page: Page, stage: Stage
) -> None:
    at(page, stage, "/policies")
    _forget_session(page.context)
    page.get_by_label("Find anything", exact=True).press_sequentially("orders")
    _sign_in(page)
    page.wait_for_url("**/policies")


def test_a_form_from_before_a_sign_in_elsewhere_is_not_taken_and_not_lost(
    page: Page, stage: Stage
) -> None:
    at(page, stage, "/policies/new")
    page.get_by_label("Name", exact=True).fill("In the first tab")
    other = page.context.new_page()
    _forget_session(page.context)
    at(other, stage, "/clients")
    _sign_in(other)
    other.wait_for_url("**/clients")
    other.close()
    page.get_by_role("button", name="Add policy").click()
    expect(page.get_by_role("heading", name="Nothing was saved")).to_be_visible()
    page.get_by_role("link", name="Back to the form").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("In the first tab")
    page.get_by_role("button", name="Add policy").click()
    expect(page.get_by_role("status")).to_contain_text("In the first tab was made")


def test_the_way_back_is_never_to_another_site(page: Page, stage: Stage) -> None:
    for named in ("https://evil.example/x", "//evil.example/x", "javascript:alert(1)"):
        answer = page.request.post(
            f"http://localhost:{stage.control}/help/key",
            headers={"HX-Request": "true", "HX-Current-URL": named, "Cookie": ""},
            max_redirects=0,
        )
        assert "evil" not in answer.headers.get("hx-redirect", "")
        assert "javascript" not in answer.headers.get("hx-redirect", "")
