"""What holds for changes of every noun: only what is given changes, and nobody overwrites another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from tests.api.conftest import Api

from ostiary.directory.changes import feed
from ostiary.directory.models import AccessProfile, AuditEvent, Recipe

LATER = "2999-01-31T12:00:00.000Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """One noun: how an object is made, and a change that it takes.

    `make` returns the object's path and the answer to its creation, if there was one.
    """

    make: Callable[[Api], tuple[str, Any]]
    change: Mapping[str, Any]
    #: What is around the object in answers.
    wrapper: str = ""
    #: Calls below the path that switch or renew the object.
    acts: tuple[tuple[str, str], ...] = ()
    deletable: bool = True

    def shown(self, answer: Any) -> dict[str, Any]:
        found: dict[str, Any] = answer[self.wrapper] if self.wrapper else answer
        return found


def _made(
    path: str, content: object, *, wrapper: str = "", shown_at: str = ""
) -> Callable[[Api], tuple[str, Any]]:
    def make(api: Api) -> tuple[str, Any]:
        answer = api.answer("POST", path, content)
        assert answer.status_code == 200, answer.content
        found = answer.json()[wrapper] if wrapper else answer.json()
        return f"{shown_at or path}/{found['id']}", answer

    return make


def connection(api: Api, name: str = "Up") -> tuple[str, Any]:
    upstream = {
        "base_url": ["https://one.example.com", "https://two.example.com"], "auth_type": "header",
        "auth_name": "X-Key", "auth_secret": "s3cret", "timeout_seconds": 7, "weights": [1, 2],
        "verify_tls": False, "retries": 1, "health_path": "/health",
    }  # fmt: skip
    return _made("connections", {"name": name, "input": upstream})(api)


def collection(api: Api) -> tuple[str, Any]:
    upstream = int(connection(api)[0].rpartition("/")[2])
    content = {
        "name": "Things", "proxy_connection_id": upstream, "description": "d",
        "cors_origins": ["https://shop.example.com"], "cache_seconds": 5, "version": "3.1",
    }  # fmt: skip
    return _made("api_collections", content)(api)


def endpoint(api: Api) -> tuple[str, Any]:
    path = f"{collection(api)[0]}/api_endpoints"
    content = {
        "name": "One", "method": "GET", "path": "/orders/{id}", "target_path": "/o/{id}",
        "timeout_seconds": 9, "weight": 3, "active": True,
    }  # fmt: skip
    return _made(path, content, shown_at="api_endpoints")(api)


def recipe_endpoint(api: Api) -> tuple[str, Any]:
    made = Recipe.objects.create(name="total")
    group = api.done("POST", "api_collections", {"name": "R", "kind": "recipe"})
    content = {"name": "E", "method": "POST", "path": "/e", "flow_id": made.pk, "active": True}
    path = f"api_collections/{group['id']}/api_endpoints"
    found = _made(path, content, shown_at="api_endpoints")(api)
    # One that is on stays on while its recipe is stopped.
    api.done("PUT", f"recipes/{made.pk}/stop")
    # Its state is another than when it was made.
    return found[0], None


def _profile(api: Api, **more: Any) -> tuple[str, Any]:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    policy = api.done("POST", "v2/api_policies", {"name": "P"})["data"]
    listed = api.done("POST", "v2/address_lists", {"name": "L", "entries": ["192.0.2.1"]})["data"]
    content = {
        "name": "Script", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [int(collection(api)[0].rpartition("/")[2])],
        "api_policy_id": policy["id"], "expires_at": LATER, "ip_allow_list": ["192.0.2.0/24"],
        "ip_deny_list_ids": [listed["id"]], **more,
    }  # fmt: skip
    return _made("api_access_profiles", content, wrapper="result")(api)


def expired(api: Api) -> tuple[str, Any]:
    path, answer = _profile(api)
    ago = timezone.now() - timedelta(days=1)
    AccessProfile.objects.filter(pk=answer.json()["result"]["id"]).update(expires_at=ago)
    return path, None


JWT = {
    "auth_type": "jwt", "jwt_method": "hmac", "audience": "a",
    "jwt_secret": "7Zc1v9QmX2pLr8TnYw4KdJ6hBs3GfEa0",
    "access_profile_claim": "client", "required_claims": ["scope"], "leeway_seconds": 5,
}  # fmt: skip


def with_defaults(api: Api) -> tuple[str, Any]:
    things = int(collection(api)[0].rpartition("/")[2])
    content = {"name": "Acme", "api_collection_ids": [things], "auth_type": "token"}
    return _made("v2/api_clients", content, wrapper="data")(api)


def key(api: Api) -> tuple[str, Any]:
    path = f"{with_defaults(api)[0]}/api_keys"
    return _made(path, {"name": "K", "active": True}, wrapper="data")(api)


def settings(api: Api) -> tuple[str, Any]:
    api.done("PUT", "v2/settings", {"trusted_proxies": ["192.0.2.0/24"]})
    return "v2/settings", None


def recipe(api: Api) -> tuple[str, Any]:
    return f"recipes/{Recipe.objects.create(name='total').pk}", None


def folder(api: Api) -> tuple[str, Any]:
    return _made("folders", {"name": "In", "parent_id": api.home})(api)


def project(api: Api) -> tuple[str, Any]:
    path, _ = _made("folders", {"name": "Sales", "description": "d"})(api)
    return path.replace("folders", "projects"), None


RATES = {
    "rate_limits": [
        {"limit": 5, "interval": "minute"},
        {"limit": 50, "interval": "day"},
    ],
    "usage_quota": {"limit": 9, "interval": "month"},
    "legacy_headers": True,
}
SWITCHES = (("PUT", "enable"), ("PUT", "disable"))
REFRESH = (*SWITCHES, ("PUT", "refresh_secret"))
NOUNS: Mapping[str, Noun] = {
    "connection": Noun(make=connection, change={"input": {"timeout_seconds": 8}}),
    "connection, renamed": Noun(make=connection, change={"name": "Other"}),
    "collection": Noun(
        make=collection, change={"version": "3.2"}, acts=(("POST", "purge_cache"),)
    ),
    "endpoint": Noun(make=endpoint, change={"timeout_seconds": None}, acts=SWITCHES),
    "recipe endpoint": Noun(make=recipe_endpoint, change={"name": "F"}, acts=SWITCHES[1:]),
    "client": Noun(
        make=_made("api_clients", {"name": "Acme", "description": "d"}, wrapper="result"),
        change={"description": "e"}, wrapper="result",
    ),
    "profile": Noun(
        make=_profile, change={"ip_watch_only": True}, wrapper="result", acts=REFRESH
    ),
    "client with defaults": Noun(
        make=with_defaults, change={"description": "e"}, wrapper="data", acts=SWITCHES
    ),
    "API key": Noun(
        make=key, change={"ip_allow_list": ["192.0.2.7"]}, wrapper="data", acts=REFRESH
    ),
    "expired profile": Noun(make=expired, change={"name": "Other"}, wrapper="result"),
    "profile with JWT": Noun(
        make=lambda api: _profile(api, **JWT), change={"audience": None}, wrapper="result"
    ),
    "policy": Noun(
        make=_made("v2/api_policies", {"name": "P", **RATES}, wrapper="data"),
        change={"name": "Renamed"}, wrapper="data",
    ),
    "address list": Noun(
        make=_made("v2/address_lists", {"name": "L", "entries": ["192.0.2.1"]}, wrapper="data"),
        change={"description": "office"}, wrapper="data",
    ),
    "webhook": Noun(
        make=_made(
            "v2/webhooks",
            {"name": "W", "url": "https://hooks.example.com/a", "events": ["profile.activated"]},
            wrapper="data",
        ),
        change={"expiry_days": 9}, wrapper="data",
        acts=(*SWITCHES, ("POST", "rotate_secret")),
    ),
    "project": Noun(make=project, change={"name": "Trade"}),
    "folder": Noun(make=folder, change={"name": "Out"}),
    "member": Noun(
        make=_made("v2/members", {"email": "a@b.example"}, wrapper="data"),
        change={"active": False}, wrapper="data",
    ),
    "token": Noun(
        make=_made("v2/tokens", {"name": "T", "admin": True}, wrapper="data"),
        change={"name": "U"}, wrapper="data", acts=(("POST", "rotate"),),
    ),
    "recipe": Noun(
        make=recipe, change={"shared": False}, deletable=False,
        acts=(("PUT", "start"), ("PUT", "stop")),
    ),
    "settings": Noun(
        make=settings, change={"audit_log_days": 90}, wrapper="data",
        deletable=False,
    ),
}  # fmt: skip
#: What every save changes.
VERSION = {"updated_at", "epoch"}

every_noun = pytest.mark.parametrize("noun", NOUNS.values(), ids=NOUNS)


def merged(shown: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    inner = {k: {**shown[k], **v} for k, v in change.items() if k == "input"}
    return {**shown, **change, **inner}


def without_version(shown: Mapping[str, Any]) -> dict[str, Any]:
    # The state follows from the others.
    of_call = {"revocation", "warnings", "effective_state"}
    return {name: value for name, value in shown.items() if name not in VERSION | of_call}


@every_noun
def test_what_is_given_changes_and_what_cannot_is_refused_by_its_name(api: Api, noun: Noun) -> None:
    path, _ = noun.make(api)
    before = noun.shown(api.done("GET", path))
    after = noun.shown(api.done("PUT", path, noun.change))
    assert without_version(after) == without_version(merged(before, noun.change))
    shown = noun.shown(api.done("GET", path))
    assert without_version(shown) == without_version(after)
    for name in ("id", "created_at", "epoch", "colour"):
        if name not in {*shown, "colour"}:
            continue
        status, answer = api("PUT", path, {**noun.change, name: 999_999})
        assert status == 400, (name, answer)
        assert list(answer["errors"]) == [name]
        assert name == "colour" or answer["errors"] == {name: ["can't be changed"]}
    assert noun.shown(api.done("GET", path)) == shown


@every_noun
def test_what_a_get_answered_can_be_sent_back(api: Api, noun: Noun) -> None:
    path, _ = noun.make(api)
    read = api.answer("GET", path)
    shown = noun.shown(read.json())
    events, sequence, asked = AuditEvent.objects.count(), feed.latest(), len(api.confirmer.asked)
    again = api.answer("PUT", path, shown)
    assert again.status_code == 200, again.content
    assert {**noun.shown(again.json()), "warnings": 0, "revocation": 0} == (
        {**shown, "warnings": 0, "revocation": 0}
    )
    assert again["ETag"] == read["ETag"]
    # It changed nothing: no event, no epoch, and nothing to wait for.
    assert (AuditEvent.objects.count(), feed.latest()) == (events, sequence)
    assert len(api.confirmer.asked) == asked
    changed = api.answer("PUT", path, merged(shown, noun.change), **{"If-Match": read["ETag"]})
    assert changed.status_code == 200, changed.content
    after = noun.shown(changed.json())
    assert without_version(after) == without_version(merged(shown, noun.change))
    assert changed["ETag"] not in {read["ETag"], ""}
    assert changed["ETag"] == api.answer("GET", path)["ETag"]


@every_noun
def test_an_object_shows_its_version_and_nobody_overwrites_another(api: Api, noun: Noun) -> None:
    path, made = noun.make(api)
    read = api.answer("GET", path)
    assert made is None or made["ETag"] == read["ETag"]
    same = api.answer("GET", path, **{"If-None-Match": f'"x", W/{read["ETag"]}'})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", read["ETag"])
    assert api.answer("GET", path, **{"If-None-Match": '"x"'}).status_code == 200
    head = api.answer("HEAD", path)
    assert (head.status_code, head.content, head["ETag"]) == (200, b"", read["ETag"])
    assert head["Content-Length"] == str(len(read.content))
    calls = [("PUT", path, noun.change), *((m, f"{path}/{act}", None) for m, act in noun.acts)]
    if noun.deletable:
        calls.append(("DELETE", path, None))
    events = AuditEvent.objects.count()
    for method, where, content in calls:
        status, answer = api(method, where, content, **{"If-Match": '"another"'})
        assert (status, "changed" in answer["message"]) == (412, True), where
    assert AuditEvent.objects.count() == events
    assert api.answer("GET", path)["ETag"] == read["ETag"]
    for method, where, content in calls:
        tag = api.answer("GET", path)["ETag"]
        status, answer = api(method, where, content, **{"If-Match": f'"a", {tag}'})
        assert status == 200, (where, answer)


#: Fields of nouns that have no "none".
NEVER_NULL: Mapping[str, list[dict[str, Any]]] = {
    "connection": [{"input": {"timeout_seconds": None}}, {"input": None}, {"name": None},
                   {"input": {"auth_secret": None}}, {"project_id": None}, {"provider": None}],
    "collection": [{"version": None}, {"handle": None}, {"project_id": None}],
    "endpoint": [{"active": None}, {"weight": None}, {"method": None}, {"path": None}],
    "recipe endpoint": [{"flow_id": None}],
    "client": [{"project_id": None}, {"name": None}],
    "profile": [{"auth_type": None}, {"api_client_id": None}, {"active": None}],
    "profile with JWT": [{"jwt_method": None}, {"allow_without_exp": None}],
    "policy": [{"name": None}, {"rate_limits": None}, {"watch_only": None}],
    "address list": [{"entries": None}, {"project_id": None}],
    "webhook": [{"events": None}, {"url": None}, {"active": None}],
    "project": [{"name": None}],
    "folder": [{"parent_id": None}],
    "member": [{"admin": None}, {"active": None}],
    "recipe": [{"shared": None}],
    "settings": [{"name": None}, {"gateway_url": None}, {"require_second_factor": None},
                 {"usage_day_days": None}, {"trusted_proxies": None}],
}  # fmt: skip


@pytest.mark.parametrize("name", NEVER_NULL)
def test_null_is_refused_by_name_where_there_is_no_none(api: Api, name: str) -> None:
    path, _ = NOUNS[name].make(api)
    read = api.answer("GET", path)
    for change in NEVER_NULL[name]:
        [(field, value)] = change.items()
        [expected] = value if field == "input" and isinstance(value, dict) else [field]
        status, answer = api("PUT", path, change)
        assert (status, list(answer["errors"])) == (400, [expected]), answer
    assert api.answer("GET", path)["ETag"] == read["ETag"]


#: Fields that may be empty, and what is shown of them then.
EMPTIED: Mapping[str, dict[str, Any]] = {
    "endpoint": {"timeout_seconds": None, "cache_seconds": None, "description": ""},
    "profile": {"expires_at": None, "api_policy_id": None},
    "profile with JWT": {"audience": None, "access_profile_claim": None},
    "policy": {"usage_quota": None, "description": ""},
    "collection": {"credential_places": None, "proxy_connection_id": None, "description": ""},
}


@pytest.mark.parametrize("name", EMPTIED)
def test_null_takes_away_what_may_be_empty(api: Api, name: str) -> None:
    noun = NOUNS[name]
    path, _ = noun.make(api)
    for field, empty in EMPTIED[name].items():
        after = noun.shown(api.done("PUT", path, {field: None}))
        assert after[field] == empty


def test_a_booleans_word_is_no_boolean_anywhere(api: Api) -> None:
    document = Client().get("/api/openapi.json").json()
    shapes = document["components"]["schemas"]
    found = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is None or "$ref" not in body["schema"]:
                continue
            fields = shapes[body["schema"]["$ref"].rpartition("/")[2]]["properties"]
            where = path.removeprefix("/api/")
            for parameter in operation.get("parameters", []):
                where = where.replace(f"{{{parameter['name']}}}", "1")
            for name, field in fields.items():
                kinds = [field, *field.get("anyOf", [])]
                if any(kind.get("type") == "boolean" for kind in kinds):
                    for wrong in ("yes", "true", 1):
                        status, answer = api(method.upper(), where, {name: wrong})
                        assert (status, name in answer.get("errors", {})) == (400, True), where
                        found += 1
    assert found > 50


def test_a_repeated_change_waits_until_the_first_is_in_force(api: Api) -> None:
    path, _ = _profile(api)
    api.confirmer.answers = False
    assert api("PUT", f"{path}/disable")[0] == 503
    assert api("PUT", f"{path}/disable")[0] == 503
    assert api("PUT", path, {"active": False})[0] == 503
    api.confirmer.answers = True
    assert api("PUT", f"{path}/disable")[0] == 200
    assert AuditEvent.objects.filter(action="profile.deactivate").count() == 1
