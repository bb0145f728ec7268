"""Pages and actions in the search box: found by their names, and only where their reader may go."""

import re
from html import unescape

import pytest
from django.test import Client
from tests.api.conftest import api
from tests.review.conftest import log, world

from ostiary.directory.actor import SYSTEM
from ostiary.directory.people import members

__all__ = ["api", "log", "world"]

pytestmark = pytest.mark.usefixtures("world")


def signed_in(*, admin: bool = True) -> Client:
    client = Client()
    client.force_login(members.create(by=SYSTEM, email="reader@example.com", admin=admin))
    return client


def places(client: Client, text: str) -> list[str]:
    """The addresses that a search finds as pages and actions, without JavaScript."""
    page = unescape(client.get("/search", {"find": text}).content.decode())
    section = re.search(r'aria-labelledby="found-place">(.*?)</section>', page, re.DOTALL)
    return re.findall(r'href="([^"]+)"', section[1]) if section else []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("overview", "/"),
        ("audit", "/audit-log"),
        ("settings", "/settings"),
        ("new client", "/clients/new"),
        ("cli new", "/clients/new"),
        ("sso", "/settings/single-sign-on"),
    ],
)
def test_a_page_or_an_action_is_found_by_its_words(text: str, address: str) -> None:
    assert address in places(signed_in(), text)


def test_nobody_is_offered_what_their_role_does_not_allow() -> None:
    reader = signed_in(admin=False)
    assert places(reader, "settings") == []
    assert places(reader, "new client") == []
    assert places(reader, "audit") == ["/audit-log"]


@pytest.mark.parametrize("admin", [True, False])
def test_each_place_that_is_offered_opens(*, admin: bool) -> None:
    reader = signed_in(admin=admin)
    offered: set[str] = set()
    for pair in ("au", "ac", "ap", "cl", "cr", "co", "en", "ex", "lo", "me", "ne", "no", "ov"):
        offered |= set(places(reader, pair))
    assert offered
    for address in offered:
        assert reader.get(address).status_code == 200, address
