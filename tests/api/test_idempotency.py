"""`Idempotency-Key`: a call that is repeated has one effect and one answer."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from tests.api.conftest import Api

from ostiary.api.application import api as application
from ostiary.collector import retention
from ostiary.directory.changes import stored_answers
from ostiary.directory.models import (
    AccessProfile,
    Client,
    ManagementToken,
    StoredAnswer,
    WebhookDelivery,
)

KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"


def _post(api: Api, path: str, content: object, key: str = "k-1") -> Any:
    return api.answer("POST", path, content, **{KEY: key})


def _profile(api: Api) -> dict[str, object]:
    connection = api.done(
        "POST", "connections", {"name": "Upstream", "input": {"base_url": "http://10.0.0.1"}}
    )
    collection = api.done(
        "POST", "api_collections", {"name": "Things", "proxy_connection_id": connection["id"]}
    )
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    return {
        "name": "Script", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [collection["id"]],
    }  # fmt: skip


def test_a_retry_makes_nothing_and_gets_the_same_answer_with_the_secret_masked(api: Api) -> None:
    content = _profile(api)
    first = _post(api, "api_access_profiles", content)
    assert first.status_code == 200
    assert REPLAYED not in first
    secret = first.json()["result"]["secret"]
    assert secret.startswith("ost_")
    assert first.json()["result"]["warnings"] == []
    again = _post(api, "api_access_profiles", content)
    assert (again.status_code, again[REPLAYED]) == (200, "true")
    expected = first.json()
    expected["result"]["secret"] = "********"
    assert again.json() == expected
    assert AccessProfile.objects.count() == 1
    assert secret not in str(list(StoredAnswer.objects.values()))


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        ("v2/tokens", {"name": "T", "admin": True}, "secret"),
        (
            "v2/webhooks",
            {"name": "W", "url": "https://example.com/", "events": ["client.activated"]},
            "secret",
        ),
    ],
    ids=["token", "webhook"],
)
def test_no_secret_that_an_answer_shows_is_stored(
    api: Api, path: str, content: object, field: str
) -> None:
    first = _post(api, path, content)
    assert first.status_code == 200, first.content
    secret = first.json()["data"][field]
    assert secret not in str(list(StoredAnswer.objects.values()))
    assert _post(api, path, content).json()["data"][field] == "********"


@pytest.mark.parametrize(
    ("path", "content"),
    [("api_clients", {"name": "Other"}), ("folders", {"name": "Acme"})],
    ids=["body", "path"],
)
def test_the_key_of_another_call_is_refused(api: Api, path: str, content: object) -> None:
    assert _post(api, "api_clients", {"name": "Acme"}).status_code == 200
    answer = _post(api, path, content)
    assert answer.status_code == 409
    assert "was used for another call" in answer.json()["message"]
    assert list(Client.objects.values_list("name", flat=True)) == ["Acme"]


def test_the_order_of_fields_is_no_difference(api: Api) -> None:
    first = _post(api, "api_clients", {"name": "Acme", "description": "x"}).json()
    assert _post(api, "api_clients", {"description": "x", "name": "Acme"}).json() == first


def test_a_key_belongs_to_its_token(api: Api) -> None:
    other = api.as_(admin=True)
    ids = {
        _post(each, "api_clients", {"name": "A"}).json()["result"]["id"] for each in (api, other)
    }
    assert len(ids) == 2


def test_a_refused_call_uses_no_key_up(api: Api) -> None:
    assert _post(api, "api_clients", {"name": ""}).status_code == 400
    wrong = {"name": "S", "api_client_id": 99, "auth_type": "token", "api_collection_ids": [9]}
    assert _post(api, "api_access_profiles", wrong).status_code in {400, 404}
    assert not StoredAnswer.objects.exists()
    assert _post(api, "api_clients", {"name": "Acme"}).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "a\x7fb", "é"])
def test_a_malformed_key_is_refused(api: Api, key: str) -> None:
    answer = _post(api, "api_clients", {"name": "Acme"}, key)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [KEY]
    assert not Client.objects.exists()


@pytest.mark.parametrize("key", ["x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', " ~"])
def test_every_printable_key_is_taken(api: Api, key: str) -> None:
    assert _post(api, "api_clients", {"name": "Acme"}, key).status_code == 200
    assert REPLAYED in _post(api, "api_clients", {"name": "Acme"}, key)


def test_after_a_day_a_key_is_free_and_its_row_is_deleted(api: Api) -> None:
    _post(api, "api_clients", {"name": "Acme"})
    _post(api, "api_clients", {"name": "Acme"}, "k-2")
    before = timezone.now() - stored_answers.LIFE
    StoredAnswer.objects.update(created_at=before + timedelta(minutes=5))
    assert REPLAYED in _post(api, "api_clients", {"name": "Acme"})
    StoredAnswer.objects.update(created_at=before)
    assert REPLAYED not in _post(api, "api_clients", {"name": "Acme"})
    assert StoredAnswer.objects.count() == 2
    retention.tidy()
    assert list(StoredAnswer.objects.values_list("key", flat=True)) == ["k-1"]


def test_what_adds_and_is_not_confirmed_is_answered_with_its_warning_each_time(api: Api) -> None:
    content = _profile(api)
    api.confirmer.answers = False
    first = _post(api, "api_access_profiles", content).json()["result"]
    again = _post(api, "api_access_profiles", content).json()["result"]
    assert first["warnings"] == again["warnings"]
    assert first["warnings"][0].startswith("Saved; the gateway has not confirmed it yet,")
    api.confirmer.answers = True
    assert _post(api, "api_access_profiles", content).json()["result"]["warnings"] == []


def test_what_revokes_is_answered_503_until_the_gateway_confirms_and_done_once(api: Api) -> None:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    path = f"api_collections/{collection['id']}/purge_cache"
    api.confirmer.answers = False
    assert _post(api, path, None).status_code == 503
    assert _post(api, path, None).status_code == 503
    api.confirmer.answers = True
    asked = len(api.confirmer.asked)
    assert _post(api, path, None).status_code == 200
    assert len(set(api.confirmer.asked[asked - 2 :])) == 1


def test_a_confirmation_is_waited_for_after_the_transaction(
    api: Api, django_capture_on_commit_callbacks: Any
) -> None:
    """With a key as without one: exactly one change is waited for, and it is the call's own."""
    for key in ({}, {KEY: "k"}):
        asked = len(api.confirmer.asked)
        api.answer("POST", "v2/api_policies", {"name": f"P{len(key)}"}, **key)
        assert len(api.confirmer.asked) == asked + 1


def test_calls_that_change_nothing_have_keys_as_well(api: Api) -> None:
    profile = _post(api, "api_access_profiles", _profile(api), "p").json()["result"]
    call = {"access_profile_id": profile["id"], "method": "GET", "path": "/x", "ip": "192.0.2.1"}
    first = _post(api, "v2/explain", call)
    assert first.status_code == 200, first.content
    again = _post(api, "v2/explain", call)
    assert again[REPLAYED] == "true"
    assert again.json() == first.json()
    assert _post(api, "v2/explain", call | {"path": "/y"}).status_code == 409


def test_an_import_with_a_key_is_taken_once(api: Api) -> None:
    document = (
        '{"openapi": "3.1.0", "info": {"title": "T", "version": "1"},'
        ' "servers": [{"url": "http://10.0.0.1"}], "paths": {"/a": {"get": {"responses": {}}}}}'
    )
    content = {"name": "Imported", "openapi_spec": {"content": document, "format": "json"}}
    first = _post(api, "api_collections", content)
    assert first.json()["import_results"]["total_endpoints"] == 1, first.content
    assert _post(api, "api_collections", content).json() == first.json()
    assert len(api.done("GET", "api_collections")) == 1


def test_a_webhook_is_tried_once(api: Api) -> None:
    made = {"name": "W", "url": "https://example.com/", "events": ["client.activated"]}
    webhook = api.done("POST", "v2/webhooks", made)["data"]
    before = WebhookDelivery.objects.count()
    for _ in range(3):
        assert _post(api, f"v2/webhooks/{webhook['id']}/test", None).status_code == 200
    assert WebhookDelivery.objects.count() == before + 1


def test_a_key_ends_with_the_token(api: Api) -> None:
    other = api.as_(admin=True)
    assert _post(other, "api_clients", {"name": "Acme"}).status_code == 200
    token = ManagementToken.objects.get(name="other")
    api.done("DELETE", f"v2/tokens/{token.pk}")
    assert _post(other, "api_clients", {"name": "Acme"}).status_code == 401


def test_every_post_of_the_api_heeds_keys() -> None:
    posts = [
        operation
        for bound in application._get_bound_routers()
        for path in bound.path_operations.values()
        for operation in path.operations
        if "POST" in operation.methods
    ]
    assert len(posts) > 15
    assert all(hasattr(each.view_func, "__wrapped__") for each in posts)


def test_an_answer_that_cannot_be_stored_leaves_no_object(api: Api) -> None:
    def full(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "storedanswer" in sql:
            raise OperationalError("database or disk is full")
        return execute(sql, *rest)

    with connection.execute_wrapper(full):
        assert _post(api, "api_clients", {"name": "Acme"}).status_code == 503
    assert not Client.objects.exists()
    assert REPLAYED not in _post(api, "api_clients", {"name": "Acme"})
