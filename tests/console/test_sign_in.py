"""Signing in by every way, in a real Chromium with an authenticator that it plays itself."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.console.authenticator import App, add_authenticator
from tests.console.steps import at, looks_good, say_yes
from tests.console.visitor import Visitor
from tests.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

PASSWORD = "correct horse battery staple"


@pytest.fixture
def fresh(browser: Browser) -> Iterator[Page]:
    """A browser that nobody has signed in with."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def by_link(page: Page, stage: Stage, email: str, password: str = PASSWORD) -> None:
    """A new admin, signed in by link, with a password set."""
    page.goto(stage.a_member(email, admin=True))
    set_password(page, password)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def set_password(page: Page, password: str) -> None:
    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("New password again").fill(password)
    button(page, "Set password")


def sign_in(page: Page, stage: Stage, email: str, password: str = PASSWORD) -> None:
    at(page, stage, "/sign-in")
    page.get_by_label("E-mail", exact=True).fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    button(page, "Sign in")


def sign_out(page: Page, stage: Stage) -> None:
    at(page, stage, "/account")
    button(page, "Sign out")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def confirm(page: Page, password: str = PASSWORD) -> None:
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    page.get_by_label("Your password").fill(password)
    button(page, "Go on")


def give_code(page: Page, code: str) -> None:
    page.get_by_label(re.compile("ecovery code")).fill(code)
    button(page, "Go on")


def add_app(page: Page, stage: Stage, name: str = "Phone") -> tuple[App, list[str]]:
    at(page, stage, "/account/second-factor")
    page.get_by_role("link", name="Set up an app").click()
    app = App(page.get_by_label("Secret").input_value())
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Code", exact=True).fill(app.code())
    button(page, "Add the app")
    codes = page.get_by_label("Recovery codes").input_value().split()
    return app, codes


def events(stage: Stage, email: str) -> list[Any]:
    found = stage.done("GET", f"v2/audit_events?search={email}&per_page=100")["data"]
    return list(reversed(found))


def test_an_app_is_the_second_step_and_no_code_works_twice(fresh: Page, stage: Stage) -> None:
    by_link(fresh, stage, "app@example.com")
    at(fresh, stage, "/account")
    expect(fresh.get_by_text("stolen password alone")).to_be_visible()
    looks_good(fresh, "account")
    fresh.get_by_role("link", name="Add a second factor").click()
    looks_good(fresh, "second-factor")
    fresh.get_by_role("link", name="Set up an app").click()
    looks_good(fresh, "add-app")
    fresh.get_by_label("Code", exact=True).fill("000000")
    secret = fresh.get_by_label("Secret").input_value()
    button(fresh, "Add the app")
    expect(fresh.get_by_role("alert")).to_contain_text("is not the one that the app shows now")
    assert fresh.get_by_label("Secret").input_value() == secret
    app = App(secret)
    code = app.code()
    fresh.get_by_label("Name", exact=True).fill("Phone")
    fresh.get_by_label("Code", exact=True).fill(code)
    button(fresh, "Add the app")
    expect(fresh.get_by_text("They are shown only once")).to_be_visible()
    codes = fresh.get_by_label("Recovery codes").input_value().split()
    assert len(set(codes)) == 10
    looks_good(fresh, "recovery-codes")
    at(fresh, stage, "/account")
    expect(fresh.get_by_role("row", name=re.compile("Phone"))).to_contain_text("Authenticator app")
    assert not any(code in fresh.content() for code in codes)
    looks_good(fresh, "account-with-factor")
    sign_out(fresh, stage)

    sign_in(fresh, stage, "app@example.com")
    expect(fresh.get_by_role("heading", name="Second step")).to_be_visible()
    looks_good(fresh, "second-step")
    give_code(fresh, code)  # it set the app up, and is spent
    expect(fresh.get_by_role("alert")).to_contain_text("used code")
    give_code(fresh, app.next())
    expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()
    sign_out(fresh, stage)

    for attempt, works in ((codes[0].upper().replace("-", " "), True), (codes[0], False)):
        sign_in(fresh, stage, "app@example.com")
        give_code(fresh, attempt)
        heading = "Overview" if works else "Second step"
        expect(fresh.get_by_role("heading", name=heading)).to_be_visible()
        if works:
            at(fresh, stage, "/account")
            expect(fresh.get_by_text("9 recovery codes left")).to_be_visible()
            sign_out(fresh, stage)
    happened = events(stage, "app@example.com")
    actions = [event["action"] for event in happened]
    assert "member.second_factor_add" in actions
    signed_in = [e["after"]["by"] for e in happened if e["action"] == "member.sign_in"]
    assert signed_in == [
        ["link"],
        ["password", "authenticator app"],
        ["password", "recovery code"],
    ]
    told = str(happened)
    assert not any(secret.replace(" ", "") in told or code in told for code in codes)


def add_passkey(page: Page, stage: Stage, name: str) -> None:
    at(page, stage, "/account/second-factor")
    page.get_by_role("link", name="Set up a passkey").click()
    page.get_by_label("Name", exact=True).fill(name)
    button(page, "Make the passkey")


def test_a_passkey_is_the_second_step_or_both_at_once(fresh: Page, stage: Stage) -> None:
    email = "key@example.com"
    by_link(fresh, stage, email)
    device = add_authenticator(fresh)
    at(fresh, stage, "/account/second-factor/passkey")
    looks_good(fresh, "add-passkey")
    add_passkey(fresh, stage, "Laptop")
    expect(fresh.get_by_label("Recovery codes")).to_be_visible()
    add_passkey(fresh, stage, "Laptop again")
    expect(fresh.get_by_role("alert")).to_contain_text("has a passkey of yours already")
    at(fresh, stage, "/account")
    expect(fresh.get_by_role("row", name=re.compile("Laptop"))).to_contain_text("for localhost")
    sign_out(fresh, stage)

    sign_in(fresh, stage, email)
    expect(fresh.get_by_role("heading", name="Second step")).to_be_visible()
    looks_good(fresh, "second-step-passkey")
    button(fresh, "Use a passkey")
    expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()
    sign_out(fresh, stage)

    looks_good(fresh, "sign-in-passkey")
    button(fresh, "Sign in with a passkey")
    expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()
    at(fresh, stage, "/account/recovery-codes")
    expect(fresh.get_by_role("heading", name="Is it you?")).to_be_visible()
    looks_good(fresh, "confirm")
    fresh.get_by_text("Use your second factor instead").click()
    button(fresh, "Use a passkey")
    button(fresh, "Make new codes")
    assert len(fresh.get_by_label("Recovery codes").input_value().split()) == 10
    signed_in = [e["after"]["by"] for e in events(stage, email) if e["action"] == "member.sign_in"]
    assert signed_in == [["link"], ["password", "passkey"], ["passkey"]]
    device.detach()


def test_a_passkey_that_verifies_nobody_is_a_second_step_and_no_more(
    fresh: Page, stage: Stage
) -> None:
    email = "plain@example.com"
    by_link(fresh, stage, email)
    add_authenticator(fresh, verifies=False, hasUserVerification=False)
    add_passkey(fresh, stage, "Old key")
    expect(fresh.get_by_label("Recovery codes")).to_be_visible()
    sign_out(fresh, stage)
    button(fresh, "Sign in with a passkey")
    expect(fresh.get_by_role("alert")).to_contain_text("did not use a passkey")
    sign_in(fresh, stage, email)
    button(fresh, "Use a passkey")
    expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()


def test_an_answer_of_a_passkey_is_good_once_and_for_its_question(
    fresh: Page, stage: Stage, browser: Browser
) -> None:
    email = "replay@example.com"
    by_link(fresh, stage, email)
    add_authenticator(fresh)
    add_passkey(fresh, stage, "Laptop")
    expect(fresh.get_by_label("Recovery codes")).to_be_visible()
    sign_out(fresh, stage)
    sent: list[str] = []
    fresh.on("request", lambda r: sent.append(r.post_data or "") if r.method == "POST" else None)
    button(fresh, "Sign in with a passkey")
    expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()
    answer = parse_qs(next(text for text in sent if "clientDataJSON" in text))["passkey"][0]

    thief = Visitor(stage)
    assert thief.post("/sign-in/passkey", passkey=answer).status_code == 400
    thief.post("/passkeys/options", **{"for": "sign-in"})
    assert thief.post("/sign-in/passkey", passkey=answer).status_code == 400
    question = thief.post("/passkeys/options", **{"for": "sign-in"}).json()
    forged = json.loads(answer)
    told = json.loads(_decoded(forged["response"]["clientDataJSON"]))
    told["challenge"] = question["publicKey"]["challenge"]
    forged["response"]["clientDataJSON"] = _encoded(json.dumps(told).encode())
    assert thief.post("/sign-in/passkey", passkey=json.dumps(forged)).status_code == 400
    for broken in ("", "null", "[]", "{}", '{"id": 1}', "[" * 10_000, "x" * 100_000):
        thief.post("/passkeys/options", **{"for": "sign-in"})
        assert thief.post("/sign-in/passkey", passkey=broken).status_code == 400, broken[:20]
    assert not thief.is_in()
    thief.close()

    # The second step of one member is not passed with a passkey of another.
    context = browser.new_context()
    other = context.new_page()
    by_link(other, stage, "replayed@example.com")
    add_authenticator(other)
    add_passkey(other, stage, "Mine")
    expect(other.get_by_label("Recovery codes")).to_be_visible()
    sign_out(other, stage)
    sign_in(other, stage, email)
    button(other, "Use a passkey")
    expect(other.get_by_role("alert")).to_contain_text("did not use a passkey")
    context.close()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_where_passkeys_cannot_work_the_page_says_so(fresh: Page, stage: Stage) -> None:
    by_link(fresh, stage, "where@example.com")
    link = stage.command("member", "link", "--email", "where@example.com").strip()
    address = f"http://127.0.0.1:{stage.control}"
    fresh.goto(link.replace("localhost", "127.0.0.1"))
    expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()
    sentence = f"Passkeys do not work at an IP address: open the console by its name, {address}."
    sentence = sentence.replace("127.0.0.1", "localhost")
    for path in ("/account/second-factor", "/account/second-factor/passkey"):
        fresh.goto(address + path)
        expect(fresh.get_by_text(sentence)).to_be_visible()
    stage.done("PUT", "v2/settings", {"console_url": f"http://localhost:{stage.control}"})
    try:
        fresh.goto(f"{address}/account/second-factor/passkey")
        fresh.get_by_label("Name", exact=True).fill("Laptop")
        button(fresh, "Make the passkey")
        expect(fresh.get_by_role("alert")).to_contain_text("Passkeys work only at http://localhost")
        stage.done("PUT", "v2/settings", {"console_url": "http://ostiary.example.com"})
        fresh.goto(f"{address}/account/second-factor/passkey")
        expect(fresh.get_by_text("over https")).to_be_visible()
    finally:
        stage.done("PUT", "v2/settings", {"console_url": ""})


def test_who_must_have_a_second_factor_is_led_to_it(fresh: Page, stage: Stage) -> None:
    by_link(fresh, stage, "led@example.com")
    at(fresh, stage, "/settings")
    fresh.get_by_label("Every member needs a second factor").check()
    looks_good(fresh, "settings")
    button(fresh, "Save")
    try:
        expect(fresh.get_by_role("status").last).to_contain_text("asks every member")
        looks_good(fresh, "must")
        app, _ = add_app(fresh, stage)
        fresh.get_by_role("link", name="I have kept them").click()
        at(fresh, stage, "/clients")
        expect(fresh.get_by_role("heading", name="Clients")).to_be_visible()
        sign_out(fresh, stage)
        sign_in(fresh, stage, "led@example.com")
        give_code(fresh, app.next())
        expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()
    finally:
        stage.done("PUT", "v2/settings", {"require_second_factor": False})


def test_a_factor_is_renamed_and_removed_and_a_lost_one_reset(fresh: Page, stage: Stage) -> None:
    by_link(fresh, stage, "changes@example.com")
    add_app(fresh, stage)
    at(fresh, stage, "/account")
    fresh.get_by_role("link", name="Rename or remove Phone").click()
    confirm(fresh)
    looks_good(fresh, "change-factor")
    fresh.get_by_label("Name", exact=True).fill("Old phone")
    button(fresh, "Save the name")
    fresh.get_by_role("link", name="Rename or remove Old phone").click()
    button(fresh, "Remove it")
    say_yes(fresh)
    expect(fresh.get_by_role("status")).to_contain_text("Old phone was removed")
    stage.a_member("loser@example.com")
    at(fresh, stage, "/members")
    expect(fresh.get_by_role("row", name=re.compile("loser@"))).to_contain_text("Without a second")
    expect(fresh.get_by_role("button", name="Reset second factor of loser@")).to_have_count(0)
    row = fresh.get_by_role("row", name=re.compile("key@example.com"))
    row.get_by_role("button", name="Reset second factor").click()
    say_yes(fresh)
    expect(fresh.get_by_role("status")).to_contain_text("has no second factor any more")
    looks_good(fresh, "members")
