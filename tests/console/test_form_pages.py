"""Every form leads a browser to an address: reloading it sends nothing again, and nothing is lost."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from tests.api.conftest import Api, api
from tests.console.browsing import Browser, shown_secret

from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Credential,
    FormPage,
    ManagementToken,
    Member,
    Policy,
)
from ostiary.directory.people import form_pages, members

__all__ = ["api"]


@pytest.fixture
def owner(api: Api) -> Member:
    return members.create(by=SYSTEM, email="owner@example.com", admin=True)


@pytest.fixture
def browser(owner: Member) -> Browser:
    return Browser(owner)


@pytest.fixture
def profile(api: Api) -> Any:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    given = {
        "name": "P", "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        "auth_type": "token", "active": True,
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", given)["result"]


def test_a_form_with_a_mistake_has_an_address_and_can_be_reloaded(browser: Browser) -> None:
    page = browser.send("/policies/new", {"name": "Gold", "rate_minute": "many"})
    assert browser.at.startswith("/policies/new?draft=")
    assert browser.status == 200
    assert 'value="many"' in page
    assert browser.open(browser.at) == page
    assert not Policy.objects.exists()


def test_a_page_that_waits_is_sealed_and_belongs_to_its_member_alone(browser: Browser) -> None:
    browser.send("/policies/new", {"name": "Platinum", "rate_minute": "many"})
    [row] = FormPage.objects.all()
    assert "Platinum" not in row.sealed
    other = Browser(members.create(by=SYSTEM, email="other@example.com", admin=True))
    assert "Platinum" not in other.open(browser.at)
    assert "Platinum" not in Browser().open(browser.at)


def test_a_page_expires_and_says_so(browser: Browser) -> None:
    browser.send("/policies/new", {"name": "Gold", "rate_minute": "many"})
    FormPage.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    page = browser.open(browser.at)
    assert "This page has expired" in page
    assert 'href="/policies/new"' in page


def test_pages_of_a_member_are_bounded(owner: Member) -> None:
    drafts = [form_pages.keep(owner, b"page") for _ in range(form_pages.MOST_PAGES + 3)]
    assert FormPage.objects.count() == form_pages.MOST_PAGES
    assert form_pages.show(owner, drafts[0]) is None
    assert form_pages.show(owner, drafts[-1]) is not None


def test_the_steps_of_a_new_profile_can_be_gone_back_over(browser: Browser, profile: Any) -> None:
    path = f"/clients/{profile['api_client_id']}/profiles/new"
    browser.open(path)
    typed = browser.hidden()["typed"]
    given = {
        "name": "Script", "auth_type": "jwt", "collections": profile["api_collection_ids"],
        "jwt_method": "hmac", "jwt_secret": "a shared secret that is long enough 1",
        "allowed_ips": "198.51.100.7",
    }  # fmt: skip
    page = browser.send(path, {**given, "typed": typed, "step": "next"})
    confirmation = browser.at
    assert "nothing is made yet" in page
    # Back leads to the form with all that was typed, also a secret; Forward to the confirmation.
    page = browser.open(f"{path}?draft={typed}")
    for value in ("Script", "198.51.100.7", "a shared secret that is long enough 1"):
        assert value in page
    assert "nothing is made yet" in browser.open(confirmation)
    assert not AccessProfile.objects.filter(name="Script").exists()
    # Before the first step was sent there is an empty form, and no error.
    assert "Create new access profile" in browser.open(f"{path}?draft=t-{'x' * 22}")


def test_a_credential_is_shown_once_and_made_once(browser: Browser, profile: Any) -> None:
    path = f"/clients/{profile['api_client_id']}/profiles/new"
    given = {"name": "Script", "auth_type": "token", "collections": profile["api_collection_ids"]}
    browser.send(path, {**given, "step": "next"})
    hidden = browser.hidden()
    secret = shown_secret(browser.send(path, {**hidden, "step": "create"}))
    shown = browser.at
    assert secret not in "".join(FormPage.objects.values_list("sealed", flat=True))
    for page in (browser.open(shown), browser.send(path, {**hidden, "step": "create"})):
        assert secret not in page
        assert "Shown already" in page
        made = AccessProfile.objects.get(name="Script")
        assert f'href="/profiles/{made.pk}/refresh"' in page
    assert Credential.objects.filter(profile=made).count() == 1


def _tomorrow() -> str:
    return (timezone.now() + timedelta(days=1)).date().isoformat()


@pytest.mark.parametrize("kind", ["refresh", "token", "link", "webhook"])
def test_every_secret_waits_for_one_showing(browser: Browser, profile: Any, kind: str) -> None:
    given: dict[str, dict[str, Any]] = {
        "refresh": {"overlap": "0"},
        "token": {"name": "Script", "role": "admin", "expires_on": _tomorrow()},
        "link": {"email": "new@example.com", "name": ""},
        "webhook": {"name": "W", "url": "https://hooks.example.com/x", "events": "client.activated",
                    "expiry_days": "7", "project": ""},
    }  # fmt: skip
    paths = {
        "refresh": f"/profiles/{profile['id']}/refresh",
        "token": "/tokens",
        "link": "/members",
        "webhook": "/webhooks/new",
    }
    page = browser.send(paths[kind], {**given[kind], "once": "number-1"})
    secret = shown_secret(page)
    assert "Shown already" in browser.open(browser.at)
    assert secret not in browser.page
    # The same form, sent again, makes nothing.
    before = (Credential.objects.count(), ManagementToken.objects.count(), Member.objects.count())
    assert "Shown already" in browser.send(paths[kind], {**given[kind], "once": "number-1"})
    after = (Credential.objects.count(), ManagementToken.objects.count(), Member.objects.count())
    assert before == after


def test_a_form_that_is_sent_again_makes_nothing_and_leads_where_it_led(browser: Browser) -> None:
    browser.open("/clients/new")
    once = browser.hidden()["once"]
    browser.send("/clients/new", {"name": "Acme", "once": once})
    first = browser.at
    page = browser.send("/clients/new", {"name": "Acme", "once": once})
    assert browser.at == first
    assert "That form was sent already" in page
    assert Client.objects.filter(name="Acme").count() == 1
    # Another name in the same form is another client.
    browser.send("/clients/new", {"name": "Globex", "once": once})
    assert Client.objects.filter(name="Globex").count() == 1


def test_a_search_has_an_address_unless_it_may_be_a_secret(browser: Browser, profile: Any) -> None:
    assert "Acme" in browser.send("/search", {"find": "acme"})
    assert browser.at == "/search?find=acme"
    token = "ost_" + "aB3" * 20
    assert "Nothing found" in browser.send("/search", {"find": token})
    assert token not in browser.at
    assert "Nothing found" in browser.open(browser.at)
    # Neither does a link carry one.
    assert "looks like a credential" in browser.open(f"/search?find={token}")


def test_a_wrong_password_has_an_address_too_and_strangers_fill_no_table(api: Api) -> None:
    stranger = Browser()
    stranger.open("/sign-in?next=/policies")
    page = stranger.send(
        "/sign-in", {"email": "x@example.com", "password": "wrong", "next": "/policies"}
    )
    assert "Wrong email or password" in page
    assert 'value="x@example.com"' in page
    assert 'name="next" value="/policies"' in page
    assert "wrong password" not in page
    assert "Wrong email or password" in stranger.open(stranger.at)
    assert not FormPage.objects.exists()
