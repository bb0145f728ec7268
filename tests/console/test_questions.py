"""What is dangerous asks first, with its numbers; scripts and browsers without scripts get along as well."""

import re
from typing import Any

import pytest
from tests.api.conftest import Api, api
from tests.console.browsing import Browser

from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import AccessProfile, Client, Endpoint, ManagementToken
from ostiary.directory.people import management_tokens, members

__all__ = ["api"]


@pytest.fixture
def browser(api: Api) -> Browser:
    return Browser(members.create(by=SYSTEM, email="owner@example.com", admin=True))


@pytest.fixture
def profile(api: Api) -> Any:
    url = {"base_url": "http://127.0.0.1:9000", "auth_type": "none"}
    connection = api.done("POST", "connections", {"name": "Upstream", "input": url})
    given = {"name": "Things", "proxy_connection_id": connection["id"]}
    collection = api.done("POST", "api_collections", given)
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    given = {
        "name": "Script", "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        "auth_type": "token", "active": True,
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", given)["result"]


def test_a_client_is_deactivated_after_a_question_and_activated_by_undo(
    browser: Browser, profile: Any
) -> None:
    page = f"/clients/{profile['api_client_id']}"
    browser.open(page)
    browser.send(f"{page}/active", {"active": "0"})
    assert "1 active access profile can call no API then" in browser.page
    assert "It made 0 requests in the last 7 days" in browser.page
    assert Client.objects.get().active
    browser.send(f"{page}/active", browser.hidden())
    assert browser.at == page
    assert not Client.objects.get().active
    undo = re.search(
        rf'action="{page}/active" data-in-place>.*?name="active" value="1"', browser.page
    )
    assert undo
    browser.send(f"{page}/active", {"active": "1", "sure": "1"})
    assert Client.objects.get().active


def test_a_switch_leads_back_to_the_page_that_it_was_on(browser: Browser, profile: Any) -> None:
    page = f"/profiles/{profile['id']}"
    browser.open(page)
    browser.send(f"{page}/active", {"active": "0"})
    assert 'href="/profiles/1">Cancel' in browser.page.replace(' class="button"', "").replace(
        " data-cancel", ""
    )
    browser.send(f"{page}/active", browser.hidden())
    assert browser.at == page
    assert not AccessProfile.objects.get().active


@pytest.mark.parametrize("back", ["//evil.example/x", "https://evil.example/x", "/\\evil.example"])
def test_a_switch_leads_nowhere_else(browser: Browser, profile: Any, back: str) -> None:
    browser.send(f"/profiles/{profile['id']}/active", {"active": "0", "sure": "1", "back": back})
    assert browser.at == f"/clients/{profile['api_client_id']}"


def test_an_endpoint_and_a_token_go_after_a_question(
    browser: Browser, api: Api, profile: Any
) -> None:
    collection = profile["api_collection_ids"][0]
    api.done(
        "POST",
        f"api_collections/{collection}/api_endpoints",
        {"name": "List", "method": "GET", "path": "/things"},
    )
    endpoint = Endpoint.objects.get()
    page = browser.send(f"/endpoints/{endpoint.pk}/delete", {})
    assert "1 access profile may call it once it is active." in page
    browser.send(f"/endpoints/{endpoint.pk}/delete", browser.hidden())
    assert not Endpoint.objects.exists()
    issued = management_tokens.create(by=SYSTEM, name="CI", admin=True)
    path = f"/tokens/{issued.token.pk}/revoke"
    assert "It was never used." in browser.send(path, {})
    browser.send(path, browser.hidden())
    assert ManagementToken.objects.get(name="CI").revoked_at is not None


def test_a_script_is_not_asked(browser: Browser, profile: Any) -> None:
    answer = browser.client.post(f"/profiles/{profile['id']}/active", {"active": "0"})
    assert answer.status_code == 302
    assert not AccessProfile.objects.get().active
