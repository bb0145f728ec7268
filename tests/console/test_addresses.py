"""Every address of the console in this process: what is asked of all of them, without a browser."""

from typing import Any

import pytest
from django.test import Client
from tests.api.conftest import Api, api
from tests.console.every_address import addresses

from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import AuditEvent
from ostiary.directory.people import members

__all__ = ["api"]

#: Stands wherever an owner may write, and must come back as a text.
HOSTILE = "<script>document.title='owned'</script>"


@pytest.fixture
def made(api: Api) -> dict[str, int]:
    """One object of each kind with a hostile name; its id by the name that addresses have for it."""
    connection = api.done(
        "POST", "connections", {"name": HOSTILE, "input": {"base_url": "http://10.0.0.1"}}
    )
    collection = api.done(
        "POST", "api_collections", {"name": HOSTILE, "proxy_connection_id": connection["id"]}
    )
    endpoint = api.done(
        "POST", f"api_collections/{collection['id']}/api_endpoints",
        {"name": HOSTILE, "method": "GET", "path": "/a", "active": True},
    )  # fmt: skip
    client = api.done("POST", "api_clients", {"name": HOSTILE, "description": HOSTILE})["result"]
    policy = api.done("POST", "v2/api_policies", {"name": HOSTILE, "description": HOSTILE})["data"]
    profile = api.done(
        "POST", "api_access_profiles",
        {
            "name": HOSTILE, "api_client_id": client["id"], "auth_type": "token",
            "api_collection_ids": [collection["id"]], "api_policy_id": policy["id"],
        },
    )["result"]  # fmt: skip
    return {
        "connection_id": connection["id"],
        "collection_id": collection["id"],
        "endpoint_id": endpoint["id"],
        "client_id": client["id"],
        "policy_id": policy["id"],
        "profile_id": profile["id"],
    }


@pytest.fixture
def owner(api: Api) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(members.create(by=SYSTEM, email="owner@example.com", admin=True))
    return client


def content(answer: Any) -> str:
    parts = answer.streaming_content if answer.streaming else [answer.content]
    return b"".join(parts).decode()


def test_every_page_is_shown_with_hostile_names_as_texts(
    owner: Client, made: dict[str, int]
) -> None:
    shown = 0
    for path in addresses(made):
        answer: Any = owner.get(path)
        assert answer.status_code < 500, path
        if answer.status_code == 200 and "html" in answer.headers["content-type"]:
            page = content(answer)
            assert HOSTILE not in page, path
            assert "<script>" not in page, path
            shown += "&lt;script&gt;document.title" in page
    assert shown >= 15


def test_no_get_changes_anything(owner: Client, made: dict[str, int]) -> None:
    """Links, pictures and prefetching cannot act: whatever is asked for, nothing is recorded."""
    before = AuditEvent.objects.count()
    for path in addresses(made):
        if not path.startswith("/sign-in"):
            answer: Any = owner.get(f"{path}?name=x&active=0&step=create&once=1")
            assert answer.status_code < 500, path
    assert AuditEvent.objects.count() == before


def test_no_post_is_done_without_the_token_of_a_form(owner: Client, made: dict[str, int]) -> None:
    for path in addresses(made):
        if path != "/healthz":
            answer: Any = owner.post(path, {"name": "x"})
            assert answer.status_code in {403, 404, 405}, (path, answer.status_code)


def test_no_page_may_be_framed_or_kept(owner: Client, made: dict[str, int]) -> None:
    for path in addresses(made):
        answer: Any = owner.get(path)
        if "html" not in answer.headers.get("content-type", ""):
            continue
        assert answer.headers["x-frame-options"] == "DENY", path
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert "no-store" in answer.headers["cache-control"], path


def test_a_stranger_sees_no_page_of_an_owner(made: dict[str, int]) -> None:
    stranger = Client()
    for path in addresses(made):
        answer: Any = stranger.get(path)
        assert "document.title" not in content(answer), path
