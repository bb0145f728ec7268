"""Whoever came by a sign-in link is led to a first password, and not locked out on the way."""

from datetime import timedelta

import pytest
from django.utils import timezone
from tests.api.conftest import Api, api
from tests.console.browsing import Browser

from ostiary.console.sign_in.sessions import ENTRY
from ostiary.console.sign_in.steps import LINKED
from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import Member
from ostiary.directory.people import members

__all__ = ["api"]

PASSWORD = "correct horse battery staple"
BAR = "You have no password yet"


@pytest.fixture
def browser(api: Api) -> Browser:
    """A new member who came by a link an hour ago."""
    member = members.create(by=SYSTEM, email="new@example.com", admin=True)
    browser = Browser()
    browser.open("/sign-in/link")
    browser.send("/sign-in/link", {"code": members.create_link(by=SYSTEM, member=member).reveal()})
    assert browser.at == "/password"
    session = browser.client.session
    session[LINKED] -= 3600
    then = (timezone.now() - timedelta(hours=1)).isoformat()
    session[ENTRY] = {**session[ENTRY], "at": then}
    session.save()
    return browser


def test_a_first_password_can_be_set_as_long_as_the_session_lives(browser: Browser) -> None:
    for path in ("/clients", "/account", "/policies/new"):
        assert BAR in browser.open(path)
    # What asks who is there leads to the password as well.
    assert 'href="/password">Set a password first' in browser.open("/account/second-factor/app")
    browser.open("/password")
    assert "Present password" not in browser.page
    browser.send("/password", {"password": PASSWORD, "again": PASSWORD})
    assert BAR not in browser.page
    assert Member.objects.get(email="new@example.com").check_password(PASSWORD)
    # The next one asks for it, since the link opens nothing any more.
    assert "Present password" in browser.open("/password")


def test_signing_out_without_a_password_asks_first(browser: Browser) -> None:
    browser.open("/clients")
    page = browser.send("/sign-out", {})
    assert "Sign out without a password?" in page
    assert 'href="/password">Set a password first' in page
    assert BAR in browser.open("/clients")
    browser.send("/sign-out", {"sure": "1"})
    assert browser.at == "/sign-in"


def test_who_has_a_password_is_asked_nothing(browser: Browser) -> None:
    browser.send("/password", {"password": PASSWORD, "again": PASSWORD})
    browser.send("/sign-out", {})
    assert browser.at == "/sign-in"
