"""Webhooks in the console: made, tested, seen to fail, replaced and deleted."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from standardwebhooks.webhooks import Webhook
from tests.console.steps import at, looks_good, say_yes
from tests.stage import Stage
from tests.webhooks.receiver import Receiver

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture(scope="module")
def page(browser: Browser, link: str) -> Iterator[Page]:
    """Signed in, with a password set."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(link)
    for label in ("New password", "New password again"):
        page.get_by_label(label, exact=True).fill("correct horse battery staple")
    page.get_by_role("button", name="Set password").click()
    yield page
    context.close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def reload_until(page: Page, words: str) -> None:
    for _ in range(200):
        if page.get_by_role("cell", name=words).count():
            return
        page.wait_for_timeout(300)
        page.reload()
    raise AssertionError(words)


def test_a_webhook_is_made_and_its_secret_shown_once(
    page: Page, stage: Stage, receiver: Receiver
) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Webhooks").click()
    expect(page.get_by_role("heading", name="No webhooks yet")).to_be_visible()
    looks_good(page, "webhooks-empty")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Name", exact=True).fill("Ticket system")
    page.get_by_label("URL", exact=True).fill(f"{receiver.url}/500")
    page.get_by_role("checkbox", name="A credential was refreshed").check()
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_role("alert")).to_contain_text("unless an admin allows the host")
    assert page.get_by_label("Name", exact=True).input_value() == "Ticket system"
    expect(page.get_by_role("checkbox", name="A credential was refreshed")).to_be_checked()
    looks_good(page, "webhook-form")
    stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
    page.get_by_role("button", name="Add webhook").click()
    secret = page.get_by_label("Secret", exact=True).input_value()
    assert secret.startswith("whsec_")
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Ticket system").click()
    expect(page.get_by_text("Nothing sent yet")).to_be_visible()
    page.get_by_role("button", name="Send a test").click()
    got = receiver.wait("/500")[0]
    assert Webhook(secret).verify(got.body, got.headers)["type"] == "webhook.test"
    reload_until(page, "It answered 500.")
    page.get_by_role("main").locator("summary").first.click()
    expect(page.get_by_text('"type": "webhook.test"')).to_be_visible()
    looks_good(page, "webhook-failing")


def test_it_is_mended_and_sent_again(page: Page, receiver: Receiver) -> None:
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("URL", exact=True).fill(f"{receiver.url}/ok")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name=re.compile("Send again")).click()
    receiver.wait("/ok")
    # The next try may have come first; then it is sent once more.
    reload_until(page, "Delivered")
    expect(page.get_by_role("cell", name="204", exact=True)).to_be_visible()
    page.get_by_label("State", exact=True).select_option("given_up")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("Nothing sent in this state")).to_be_visible()


def test_it_is_switched_off_its_secret_replaced_and_deleted(page: Page, stage: Stage) -> None:
    page.get_by_role("button", name="Replace").click()
    say_yes(page)
    assert page.get_by_label("Secret", exact=True).input_value().startswith("whsec_")
    expect(page.get_by_role("status")).to_contain_text("For 24 hours the old one signs as well")
    at(page, stage, "/webhooks")
    looks_good(page, "webhooks")
    page.get_by_role("link", name="Ticket system").click()
    page.get_by_role("switch", name="Active").click()
    say_yes(page)
    expect(page.get_by_role("status")).to_contain_text("inactive")
    expect(page.get_by_role("button", name="Send a test")).to_be_disabled()
    page.get_by_role("link", name="Delete this webhook").click()
    page.get_by_label("Type its name to delete it").fill("Ticket system")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="No webhooks yet")).to_be_visible()
