"""A request behind a page that fails says so where it was made, and loses nothing: aborted, 500, empty, garbage, signed out."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect
from tests.console.steps import at, say_yes
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

#: How a request fails: not at all answered, or answered by something other than the console.
FAILURES: dict[str, Callable[[Route], None]] = {
    "aborted": lambda route: route.abort(),
    "500": lambda route: route.fulfill(status=500, body="<h1>Internal Server Error</h1>"),
    "empty": lambda route: route.fulfill(status=200, body=""),
    "garbage": lambda route: route.fulfill(status=200, body="<p>A captive portal</p>"),
    "redirected": lambda route: route.fulfill(status=302, headers={"Location": "/sign-in"}),
}
NOT_THE_CONSOLE = [each for each in FAILURES if each != "redirected"]


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture(scope="module")
def made(stage: Stage) -> Iterator[Any]:
    upstream = Upstream()
    collection = stage.a_collection(upstream, "GET /a", name="Failing things")
    client = stage.a_client("Failing client")
    yield {
        "client": client["id"],
        "profile": stage.a_profile(collection, client=client, name="One")["id"],
        "endpoint": stage.an_endpoint(collection, "GET /b")["id"],
    }
    upstream.close()


@contextmanager
def failing(page: Page, how: str, concerned: Callable[[Request], bool]) -> Iterator[None]:
    """Meanwhile, requests that are concerned fail in this way."""

    def answer(route: Route) -> None:
        if concerned(route.request):
            FAILURES[how](route)
        else:
            route.continue_()

    page.route("**/*", answer)
    try:
        yield
    finally:
        page.unroute("**/*", answer)


def is_in_place(request: Request) -> bool:
    return "x-ostiary-in-place" in request.headers


def is_part(request: Request) -> bool:
    return "hx-request" in request.headers


def is_live(request: Request) -> bool:
    return "x-ostiary-live" in request.headers


def is_tail(request: Request) -> bool:
    return "arrived=" in request.url


def active(stage: Stage, profile: int) -> bool:
    return bool(stage.done("GET", f"api_access_profiles/{profile}")["result"]["active"])


def test_a_switch_its_question_and_its_undo_say_what_failed_and_can_be_pressed_again(
    owner: Page, stage: Stage, made: Any
) -> None:
    at(owner, stage, f"/clients/{made['client']}")
    owner.evaluate("window.sameDocument = true")
    switch = owner.get_by_role("switch", name="Active: One")
    done = owner.locator("#done")
    for how in NOT_THE_CONSOLE:
        with failing(owner, how, is_in_place):
            switch.click()
            expect(done.locator(".error")).to_contain_text("may have been made or not")
        done.evaluate("place => place.replaceChildren()")
    switch.click()
    dialog = owner.get_by_role("dialog")
    for how in NOT_THE_CONSOLE:
        with failing(owner, how, is_in_place):
            say_yes(owner)
            expect(dialog.get_by_role("alert")).to_contain_text("may have been made or not")
        dialog.locator(".error").evaluate("line => line.remove()")
    assert active(stage, made["profile"])
    say_yes(owner)
    expect(done).to_contain_text("inactive")
    undo = done.get_by_role("button", name="Undo")
    for how in NOT_THE_CONSOLE:
        with failing(owner, how, is_in_place):
            undo.click()
            expect(done.locator(".error")).to_contain_text("may have been made or not")
        done.locator(".error").evaluate("line => line.remove()")
    assert not active(stage, made["profile"])
    undo.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    assert active(stage, made["profile"])
    assert owner.evaluate("window.sameDocument")


@pytest.mark.parametrize(
    ("path", "field", "typed"),
    [
        ("/clients", "Find anything", "failing"),
        ("/clients", "Search", "failing"),
        ("/access-profiles", "Search", "one"),
        ("/connections/new", "Base URLs", "http://10.0.0.7"),
        ("/clients/{client}/profiles/new", "Allowed IPs", "203.0.113.7"),
    ],
    ids=["search box", "filter", "table", "preview of a URL", "preview of addresses"],
)
def test_what_is_asked_for_while_one_types_says_what_failed_and_keeps_what_was_typed_and_shown(
    owner: Page, stage: Stage, made: Any, path: str, field: str, typed: str
) -> None:
    at(owner, stage, path.format(**made))
    owner.wait_for_load_state("networkidle")
    owner.evaluate("window.sameDocument = true")
    box = owner.get_by_label(re.compile(f"^{field}")).first
    rows = owner.locator("#rows tbody tr")
    before = rows.count()
    for number, how in enumerate(FAILURES):
        with failing(owner, how, is_part):
            text = f"{typed}{' ' * (number % 2)}"
            box.fill("" if box.input_value() == text else text)
            if not box.input_value():
                box.fill(text)
            # Each part that was asked for says so: the form of a profile asks for a summary as well.
            expect(owner.locator(".failure")).to_have_count(
                2 if path.endswith("/profiles/new") else 1
            )
            for line in owner.locator(".failure").all():
                expect(line).to_contain_text("Nothing was changed on this page")
        expect(box).to_have_value(text)
        assert rows.count() == before
        owner.locator(".failure").evaluate_all("lines => lines.forEach((line) => line.remove())")
    box.fill(f"{typed}  ")
    owner.wait_for_load_state("networkidle")
    expect(owner.locator(".failure")).to_have_count(0)
    expect(owner.get_by_role("main")).to_have_count(1)
    assert owner.evaluate("window.sameDocument")
    # Who leaves with something typed would be asked.
    owner.evaluate("document.querySelectorAll('main form').forEach((form) => form.remove())")


def test_a_call_that_was_tried_and_not_answered_may_have_been_made_and_says_so(
    owner: Page, stage: Stage, made: Any
) -> None:
    at(owner, stage, f"/endpoints/{made['endpoint']}/try")
    owner.get_by_label("Query parameters").fill("a=1")
    for how in FAILURES:
        with failing(owner, how, is_part):
            owner.get_by_role("button", name="Send the call").click()
            expect(owner.locator(".failure")).to_contain_text("The call may have been made.")
        expect(owner.get_by_label("Query parameters")).to_have_value("a=1")
        expect(owner.get_by_role("button", name="Send the call")).to_be_enabled()
        owner.locator(".failure").evaluate("line => line.remove()")


def test_live_parts_say_that_they_may_be_old_and_then_that_they_are_not(
    owner: Page, stage: Stage, made: Any
) -> None:
    at(owner, stage, f"/clients/{made['client']}")
    news = owner.locator("#news")
    # It looks whenever its tab comes to the front.
    owner.evaluate(
        "setInterval(() => document.dispatchEvent(new Event('visibilitychange')), 100) && true"
    )
    for how in NOT_THE_CONSOLE:
        with failing(owner, how, is_live):
            expect(news).to_contain_text("what is shown may be old")
            expect(owner.get_by_role("link", name="One", exact=True)).to_be_visible()
        expect(news).to_have_text("Connected again.")
    with failing(owner, "redirected", is_live):
        expect(news).to_contain_text("You are signed out")


def test_the_live_log_says_that_it_may_be_old_and_goes_on_where_it_was(
    owner: Page, stage: Stage, made: Any
) -> None:
    at(owner, stage, "/logs")
    button = owner.get_by_role("button", name="Live")
    arrived = owner.locator("#arrived")
    with failing(owner, "garbage", is_tail):
        button.click()
        expect(arrived).to_contain_text("what is shown may be old")
        expect(owner.get_by_text("A captive portal")).to_have_count(0)
    expect(arrived).to_contain_text(re.compile(r"Connected again|new call"))
    with failing(owner, "redirected", is_tail):
        expect(arrived).to_contain_text("You are signed out")
    expect(button).to_have_attribute("aria-pressed", "false")


def test_a_form_whose_page_changes_its_shape_shows_its_message(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/settings/single-sign-on")
    owner.get_by_label("Issuer, or discovery URL").fill("https://login.invalid/")
    owner.get_by_label("Client ID").fill("console")
    owner.get_by_label("Client secret").fill("s" * 32)
    owner.get_by_label("Text of the button").fill("Sign in elsewhere")
    owner.get_by_role("button", name="Save", exact=True).click()
    expect(owner.get_by_role("status")).to_contain_text("Saved")
    owner.evaluate("window.sameDocument = true")
    owner.get_by_role("button", name="Turn off single sign-on").click()
    say_yes(owner)
    expect(owner.locator("#done")).to_contain_text("Single sign-on is off.")
    expect(owner.get_by_role("button", name="Turn off single sign-on")).to_have_count(0)
    assert owner.evaluate("window.sameDocument")


def test_who_is_signed_out_signs_in_before_a_switch_and_comes_back(
    owner: Page, stage: Stage, made: Any
) -> None:
    path = f"/clients/{made['client']}"
    at(owner, stage, path)
    owner.context.clear_cookies(name=re.compile("session"))
    owner.get_by_role("switch", name="Active: One").click()
    owner.wait_for_url(re.compile(r"/sign-in\?next="))
    assert path in owner.url.replace("%2F", "/")
    assert active(stage, made["profile"])
