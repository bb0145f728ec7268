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


def test_a_member_is_asked_with_numbers_before_rights_and_sessions_end(browser: Browser) -> None:
    other = members.create(by=SYSTEM, email="other@example.com")
    change = f"/members/{other.pk}"
    assert "see and change everything" in browser.send(change, {"admin": "1"})
    browser.send(change, browser.hidden())
    other.refresh_from_db()
    assert other.admin
    assert "have no role in a project" in browser.send(change, {"admin": "0"})
    browser.send(change, browser.hidden())
    other.refresh_from_db()
    assert not other.admin
    page = browser.send(f"/members/{other.pk}/second-factor/reset", {})
    assert "0 second factors and the recovery codes stop working" in page
    page = browser.send("/sign-out/everywhere", {})
    assert "This ends 0 other sessions" in page


def test_a_webhook_and_a_property_are_asked_for_before_they_stop(
    browser: Browser, api: Api
) -> None:
    given = {"name": "Tickets", "url": "https://hooks.example.com/x", "events": ["quota.reached"]}
    made = api.done("POST", "v2/webhooks", given)["data"]
    page = browser.send(f"/webhooks/{made['id']}/active", {"active": "0"})
    assert "Deactivate the webhook Tickets?" in page
    page = browser.send(f"/webhooks/{made['id']}/secret", {})
    assert "For 24 hours, deliveries are signed with both secrets" in page
    # The secret is shown on a page of its own, once.
    assert "data-in-place" not in page.partition('class="asks"')[2].partition(">")[0]
    assert "0 events that wait" in browser.open(f"/webhooks/{made['id']}/delete")
    browser.send("/settings/properties", {"name": "colour", "value": "red"})
    page = browser.send("/settings/properties", {"name": "colour", "delete": "1"})
    assert "Its value cannot be brought back" in page
    assert "<strong>colour</strong>" in browser.open("/settings/properties")


def test_a_deletion_says_what_goes_along_or_who_uses_it(
    browser: Browser, api: Api, profile: Any
) -> None:
    collection = profile["api_collection_ids"][0]
    page = browser.open(f"/collections/{collection}/delete")
    assert "0 endpoints, 0 of them active" in page
    assert "The access of 1 access profile to it" in page
    policy = api.done("POST", "v2/api_policies", {"name": "Gold"})["data"]["id"]
    path = f"/policies/{policy}/delete"
    assert 'name="name"' in browser.open(path)
    given = {"api_policy_id": policy}
    api.done("PUT", f"api_access_profiles/{profile['id']}", given)
    assert f'<a href="/access-profiles?policy={policy}">1 access profile</a>' in browser.open(path)
    assert 'name="name"' not in browser.page.partition("<main")[2]
    # Who sends the form that is not offered is refused.
    assert "used by" in browser.send(path, {"name": "Gold"})
    assert api.answer("GET", f"v2/api_policies/{policy}").status_code == 200
    page = browser.open("/connections/1/delete")
    assert f'<a href="/collections/{collection}">Things</a>' in page


def test_a_script_is_not_asked(browser: Browser, profile: Any) -> None:
    answer = browser.client.post(f"/profiles/{profile['id']}/active", {"active": "0"})
    assert answer.status_code == 302
    assert not AccessProfile.objects.get().active
