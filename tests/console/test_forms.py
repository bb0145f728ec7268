"""Forms of the console in this process, without a gateway: what they save, and what they say."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from tests.api.conftest import Api, api

from ostiary.directory import members
from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import Credential, Policy
from ostiary.identity import tokens

__all__ = ["api"]


class Owner:
    """An admin who is signed in: sends forms, and reads what the next page says."""

    def __init__(self) -> None:
        self._client = Client()
        self._client.force_login(members.create(by=SYSTEM, email="owner@example.com", admin=True))

    def read(self, path: str) -> str:
        answer = self._client.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return unescape(answer.content.decode())

    def send(self, path: str, content: dict[str, Any]) -> str:
        """Send a form; the page that answers it, or the one that it leads to."""
        answer = self._client.post(path, content, follow=True)
        return unescape(answer.content.decode())


@pytest.fixture
def owner(api: Api) -> Owner:
    return Owner()


def test_a_policy_has_a_window_for_each_number_that_is_filled_in(owner: Owner) -> None:
    said = owner.send(
        "/policies/new",
        {"name": "Gold", "rate_second": "5", "rate_day": "10,000", "legacy_headers": "1"},
    )
    assert "The policy Gold was made." in said
    assert "5 requests per second, and 10,000 requests per day" in said
    policy = Policy.objects.get()
    assert policy.legacy_headers
    form = owner.read(f"/policies/{policy.pk}/edit")
    assert 'name="rate_second" inputmode="numeric" value="5"' in form
    assert 'name="rate_day" inputmode="numeric" value="10000"' in form
    assert 'name="rate_hour" inputmode="numeric" value=""' in form
    owner.send(
        f"/policies/{policy.pk}/edit",
        {"name": "Gold", "rate_hour": "7", "read": _version(form), "step": "save"},
    )
    policy.refresh_from_db()
    assert (policy.rate_limit, policy.rate_interval, policy.more_rates) == (7, "hour", [])
    assert not policy.legacy_headers


def test_a_number_that_is_none_is_refused_beside_its_own_field(owner: Owner) -> None:
    page = owner.send("/policies/new", {"name": "Gold", "rate_hour": "5", "rate_day": "many"})
    assert "Requests per day must be a whole number from 1 to 1000000000" in page
    assert "Requests per hour must" not in page
    assert not Policy.objects.exists()


def test_a_window_that_refuses_nothing_is_said(owner: Owner) -> None:
    said = owner.send("/policies/new", {"name": "Gold", "rate_minute": "5", "rate_day": "5"})
    assert "Gold: The limit of 5 per minute refuses nothing that 5 per day does not." in said


def test_a_refresh_that_is_not_confirmed_shows_the_secret_and_when_the_old_one_ends(
    owner: Owner, api: Api
) -> None:
    profile = a_profile(api)
    api.confirmer.answers = False
    page = owner.send(f"/profiles/{profile['id']}/refresh", {"once": "1", "overlap": "0"})
    assert "Saved, not yet in force: the gateway has not confirmed it." in page
    assert "The old one ends when the gateway confirms, at the latest at 20" in page
    shown = re.search(r'id="secret" readonly value="([^"]+)"', page)
    assert shown
    fingerprint = tokens.fingerprint(shown[1])
    assert Credential.objects.filter(fingerprint=fingerprint, revoked_at=None).exists()


def test_what_is_made_and_not_confirmed_is_said_to_be_made(owner: Owner, api: Api) -> None:
    api.confirmer.answers = False
    said = owner.send("/policies/new", {"name": "Gold"})
    assert "The policy Gold was made." in said
    assert "Saved; the gateway has not confirmed it yet, and takes it over" in said


@pytest.mark.parametrize(
    ("streams", "sentence"),
    [
        pytest.param(1, "1 open stream is closed within a second.", id="one"),
        pytest.param(12, "12 open streams are closed within a second.", id="several"),
    ],
)
def test_streams_that_end_with_a_revocation_are_counted(
    owner: Owner, api: Api, streams: int, sentence: str
) -> None:
    profile = a_profile(api)
    assert "closed within" not in owner.send(f"/profiles/{profile['id']}/active", {"active": "1"})
    api.confirmer.streams = streams
    assert sentence in owner.send(f"/profiles/{profile['id']}/active", {"active": "0"})


def a_profile(api: Api) -> Any:
    connection = api.done(
        "POST", "connections", {"name": "Orders", "input": {"base_url": "http://10.0.0.1"}}
    )
    collection = api.done(
        "POST", "api_collections", {"name": "Orders", "proxy_connection_id": connection["id"]}
    )
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    content = {
        "name": "Script", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [collection["id"]],
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", content)["result"]


def _version(form: str) -> str:
    """The version of what a form was read from, which it carries."""
    found = re.search(r'name="read" value="([^"]*"[^"]*"|[^"]*)"', form)
    assert found
    return found[1]
