"""A viewer is offered nothing that their role does not allow: every link and form of every page works."""

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from tests.api.conftest import Api, api
from tests.console.browsing import Browser
from tests.console.every_address import addresses

from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import Project
from ostiary.directory.people import members

__all__ = ["api"]

#: Forms that end the session, or change who signs in; they are the viewer's own.
OWN = re.compile(
    r"/(handover|sign-out|sign-in|account|password|logos|api|healthz|readyz|metrics|passkeys)\b"
)


HARMLESS = re.compile(r"/(search|help)\b")


class Offers(HTMLParser):
    """Where a page's links lead, and its forms with a button that can be pressed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.forms: list[str] = []
        self._form: tuple[str, str] | None = None
        self._can_be_pressed = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        elif tag == "form":
            self._form = (given.get("method", "get"), given.get("action", ""))
            self._can_be_pressed = False
        elif tag == "button" and "disabled" not in given:
            self._can_be_pressed = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._form:
            method, action = self._form
            if method == "post" and self._can_be_pressed:
                self.forms.append(action)
            self._form = None


@pytest.fixture
def ids(api: Api) -> dict[str, int]:
    url = {"base_url": "http://127.0.0.1:9000", "auth_type": "none"}
    connection = api.done("POST", "connections", {"name": "Upstream", "input": url})
    given: dict[str, Any] = {"name": "Things", "proxy_connection_id": connection["id"]}
    collection = api.done("POST", "api_collections", given)
    endpoint = api.done(
        "POST",
        f"api_collections/{collection['id']}/api_endpoints",
        {"name": "List", "method": "GET", "path": "/things"},
    )
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    policy = api.done("POST", "v2/api_policies", {"name": "Gold"})["data"]
    given = {
        "name": "Script", "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        "auth_type": "token", "active": True, "api_policy_id": policy["id"],
    }  # fmt: skip
    profile = api.done("POST", "api_access_profiles", given)["result"]
    entries = {"name": "Offices", "entries": ["192.0.2.0/24"], "project_id": api.home}
    found = api.done("POST", "v2/address_lists", entries)["data"]
    return {
        "client_id": client["id"], "profile_id": profile["id"], "policy_id": policy["id"],
        "collection_id": collection["id"], "connection_id": connection["id"],
        "list_id": found["id"], "project_id": api.home,
        "endpoint_id": endpoint.get("id", 1),
    }  # fmt: skip


def test_a_viewer_is_offered_nothing_that_is_refused(api: Api, ids: dict[str, int]) -> None:
    viewer = members.create(by=SYSTEM, email="viewer@example.com")
    home = Project.objects.get(pk=api.home)
    members.set_role(by=SYSTEM, member_id=viewer.pk, project_id=home.pk, role="viewer")
    browser = Browser(viewer)
    seen: set[str] = set()
    refused: set[str] = set()
    # Every page that the viewer may open, whether or not a link leads to it.
    for page in addresses(ids):
        if OWN.match(page):
            continue
        browser.open(page)
        if browser.status != 200 or browser.at.startswith("/sign-in"):
            continue
        offers = Offers(browser.page)
        at = browser.at
        for link in offers.links:
            parts = urlsplit(urljoin(at, link))
            target = parts._replace(fragment="", scheme="", netloc="").geturl()
            if parts.netloc or target in seen or OWN.match(parts.path):
                continue
            seen.add(target)
            if browser.open(target) and browser.status in {403, 404, 405}:
                refused.add(f"{at}: link to {target} ({browser.status})")
        # A viewer changes nothing, so there is no form but to find something.
        refused |= {
            f"{at}: form to {target}"
            for target in (urljoin(at, action) for action in offers.forms)
            if not OWN.match(target) and not HARMLESS.match(target)
        }
    assert refused == set()
    assert len(seen) > 40
