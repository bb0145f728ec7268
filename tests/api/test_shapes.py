"""The shapes that other people's tools insist on, and the way of an owner through the API."""

import re
from typing import Any

import pytest
from tests.api.conftest import Api

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def collection(api: Api) -> Any:
    connection = api.done(
        "POST", "connections", {"name": "Orders", "input": {"base_url": "http://10.0.0.1:81/v1/"}}
    )
    return api.done(
        "POST", "api_collections", {"name": "Orders", "proxy_connection_id": connection["id"]}
    )


def test_a_new_top_level_folder_is_a_project(api: Api) -> None:
    folder = api.done("POST", "folders", {"name": "Sales"})
    assert folder["is_project"] is True
    assert folder["project_id"] == folder["id"]
    assert folder["parent_id"] is None
    inner = api.done("POST", "folders", {"name": "Inner", "parent_id": str(folder["id"])})
    assert (inner["parent_id"], inner["project_id"]) == (folder["id"], folder["id"])
    projects = api.done("GET", "projects")
    shown = {"id", "folder_id", "key", "labels", "name", "description", "home"}
    assert shown == set(projects[0])
    assert [p["name"] for p in projects] == ["Home", "Sales"]
    assert [f["name"] for f in api.done("GET", "folders?with_nested_folders=true")] == [
        "Home",
        "Sales",
        "Inner",
    ]
    assert [f["name"] for f in api.done("GET", f"folders?parent_id={folder['id']}")] == ["Inner"]
    moved = api.done("PUT", f"folders/{inner['id']}", {"name": "In", "parent_id": folder["id"]})
    assert moved["name"] == "In"
    assert api.done("DELETE", f"folders/{inner['id']}?force=true")["success"] is True
    assert api.done("DELETE", f"projects/{folder['id']}")["success"] is True


def test_home_and_full_projects_cannot_be_deleted(api: Api, collection: Any) -> None:
    assert api("DELETE", f"projects/{api.home}")[0] == 403
    message = api("DELETE", f"projects/{api.home}")[1]["message"]
    assert message == "Cannot destroy folder"


def test_a_collection_has_the_fields_that_clients_insist_on(api: Api, collection: Any) -> None:
    assert isinstance(collection["id"], int)
    assert collection["project_id"] == str(api.home)
    assert collection["version"] == "1.0"
    assert collection["url"].endswith("/orders-v1")
    assert TIME.fullmatch(collection["created_at"])
    assert isinstance(api.done("GET", "api_collections"), list)


def test_an_endpoint_has_the_fields_that_clients_insist_on(api: Api, collection: Any) -> None:
    path = f"api_collections/{collection['id']}/api_endpoints"
    endpoint = api.done("POST", path, {"name": "One", "method": "GET", "path": "/orders/{id}"})
    assert endpoint["active"] is False
    assert endpoint["flow_id"] == 0
    assert endpoint["path"] == "orders/{id}"
    assert endpoint["url"].endswith("/orders-v1/orders/{id}")
    assert api.done("PUT", f"api_endpoints/{endpoint['id']}/enable")["success"] is True
    listed = api.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
    assert [e["active"] for e in listed] == [True]
    status, answer = api("POST", path, {"name": "Two", "method": "GET", "path": "orders/{other}"})
    assert status == 400
    assert "path" in answer["errors"]


def test_an_openapi_document_becomes_a_collection_with_a_report(api: Api) -> None:
    document = """
openapi: 3.0.3
info: {title: Pets, version: "2"}
servers: [{url: /relative}, {url: "http://10.1.2.3/base"}]
paths:
  /pets: {get: {summary: List}, post: {operationId: add}}
  /pets/{id}: {get: {}, trace: {}}
  /pets/{id}.json: {get: {}}
"""
    made = api.done(
        "POST",
        "api_collections",
        {
            "name": "Pets",
            "project_id": str(api.home),
            "openapi_spec": {"content": document, "format": "yaml"},
        },
    )
    results = made["import_results"]
    assert made["message"] == "4 of 5 endpoints were imported; the others could not be taken"
    assert (results["total_endpoints"], results["failed_endpoints"]) == (5, 1)
    connection = api.done("GET", f"connections/{made['proxy_connection_id']}")
    assert connection["input"]["base_url"] == ["http://10.1.2.3/base"]
    names = [e["name"] for e in api.done("GET", f"api_endpoints?api_collection_id={made['id']}")]
    assert names == ["List", "add", "GET /pets/{id}", "GET /pets/{id}.json"]


def test_the_way_of_an_owner(api: Api, collection: Any) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme", "project_id": str(api.home)})[
        "result"
    ]
    policy = api.done(
        "POST",
        "v2/api_policies",
        {"name": "Ten", "rate_limit": {"limit": 10, "interval": "minute"}},
    )["data"]
    made = api.done(
        "POST",
        "api_access_profiles",
        {
            "name": "Script",
            "api_client_id": client["id"],
            "api_collection_ids": [str(collection["id"])],
            "auth_type": "token",
            "api_policy_id": policy["id"],
            "ip_allow_list": ["106.226.100.3/20"],
        },
    )["result"]
    assert re.fullmatch(r"ost_[A-Za-z0-9_-]{61}", made["secret"])
    assert made["ip_allow_list"] == ["106.226.100.3/20"]
    listed = api.done("GET", f"api_access_profiles?api_client_id={client['id']}")
    assert isinstance(listed, list)
    assert "secret" not in listed[0] or listed[0]["secret"] is None
    assert made["secret"] not in str(listed)
    assert api.done("GET", "api_access_profiles?wrap=result")["result"]
    path = f"api_access_profiles/{made['id']}"
    assert api.done("PUT", f"{path}/disable")["result"] == "success"
    assert api.done("GET", path)["result"]["active"] is False
    renewed = api.done("PUT", f"{path}/refresh_secret")["result"]
    assert renewed["secret"] != made["secret"]
    assert renewed["revocation"] == {"confirmed": 1, "of": 1, "ms": 0.1, "streams": 0, "nodes": []}
    changed = api.done("PUT", path, {"name": "Renamed", "api_policy_id": 0})["result"]
    assert (changed["name"], changed["api_policy_id"]) == ("Renamed", None)
    assert api.done("DELETE", path)["result"] == "success"
    assert api("GET", path)[0] == 404


def test_what_revokes_waits_for_the_gateway(api: Api, collection: Any) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    before = len(api.confirmer.asked)
    answer = api.done("PUT", f"v2/api_clients/{client['id']}/disable")
    assert answer == {
        "success": True,
        "revocation": {"confirmed": 1, "of": 1, "ms": 0.1, "streams": 0, "nodes": []},
    }
    assert len(api.confirmer.asked) == before + 1


def test_two_editors_do_not_overwrite_each_other(api: Api, collection: Any) -> None:
    path = f"api_collections/{collection['id']}"
    first = api.answer("GET", path)["ETag"]
    assert api("PUT", path, {"name": "A"}, **{"If-Match": first})[0] == 200
    status, answer = api("PUT", path, {"name": "B"}, **{"If-Match": first})
    assert status == 412
    assert "changed" in answer["message"]
    assert api.done("GET", path)["name"] == "A"


def test_what_is_in_use_is_not_deleted(api: Api, collection: Any) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    policy = api.done("POST", "v2/api_policies", {"name": "None"})["data"]
    api.done(
        "POST",
        "api_access_profiles",
        {
            "name": "Script",
            "api_client_id": client["id"],
            "api_collection_ids": [collection["id"]],
            "auth_type": "token",
            "api_policy_id": policy["id"],
        },
    )
    for path in (
        f"api_collections/{collection['id']}",
        f"connections/{collection['proxy_connection_id']}",
        f"v2/api_policies/{policy['id']}",
    ):
        status, answer = api("DELETE", path)
        assert status == 409
        assert answer["message"]
    api.done("DELETE", f"api_clients/{client['id']}")
    api.done("DELETE", f"api_collections/{collection['id']}")
    api.done("DELETE", f"connections/{collection['proxy_connection_id']}")


BAD: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "blank name": ("POST", "api_clients", {"name": " "}, "name"),
    "no name": ("POST", "api_clients", {}, "name"),
    "long name": ("POST", "api_clients", {"name": "x" * 256}, "name"),
    "number as name": ("POST", "api_clients", {"name": 5}, "name"),
    "control character": ("POST", "api_clients", {"name": "a\x07b"}, "name"),
    "surrogate": ("POST", "api_clients", {"name": "a\ud800"}, "name"),
    "nul": ("POST", "api_clients", {"name": "a\x00"}, "name"),
    "unknown field": ("POST", "api_clients", {"name": "a", "colour": "red"}, "colour"),
    "float id": ("POST", "api_clients", {"name": "a", "project_id": 1.5}, "project_id"),
    "huge id": ("POST", "api_clients", {"name": "a", "project_id": 2**31}, "project_id"),
    "upstream with a user": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "http://u:p@h/"}},
        "base_url",
    ),
    "upstream with a fragment": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "http://h/#x"}},
        "base_url",
    ),
    "upstream of another scheme": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "ftp://h/"}},
        "base_url",
    ),
    "metadata service": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "http://169.254.169.254/"}},
        "base_url",
    ),
    "octal address": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "http://0251.0376.0251.0376/"}},
        "base_url",
    ),
    "decimal address": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "http://2852039166/"}},
        "base_url",
    ),
    "ourselves": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "http://localhost:8080/"}},
        "base_url",
    ),
    "framing header": (
        "POST",
        "connections",
        {
            "name": "c",
            "input": {
                "base_url": "http://h/",
                "auth_type": "header",
                "auth_name": "Content-Length",
                "auth_secret": "1",
            },
        },
        "auth_name",
    ),
    "line end in a secret": (
        "POST",
        "connections",
        {
            "name": "c",
            "input": {
                "base_url": "http://h/",
                "auth_type": "header",
                "auth_name": "X-Key",
                "auth_secret": "a\r\nb",
            },
        },
        "auth_secret",
    ),
    "long timeout": (
        "POST",
        "connections",
        {"name": "c", "input": {"base_url": "http://h/", "timeout_seconds": 241}},
        "timeout_seconds",
    ),
    "reserved handle": ("POST", "api_collections", {"name": "c", "handle": "oauth2"}, "handle"),
    "handle with a slash": ("POST", "api_collections", {"name": "c", "handle": "a/b"}, "handle"),
    "swagger": (
        "POST",
        "api_collections",
        {"name": "c", "openapi_spec": {"content": '{"swagger": "1.2"}', "format": "json"}},
        "openapi_spec",
    ),
    "yaml bomb": (
        "POST",
        "api_collections",
        {
            "name": "c",
            "openapi_spec": {"content": "a: &a [x]\nb: [*a, *a]", "format": "yaml"},
        },
        "openapi_spec",
    ),
    "zero limit": (
        "POST",
        "v2/api_policies",
        {"name": "p", "rate_limit": {"limit": 0, "interval": "minute"}},
        "rate_limit.limit",
    ),
    "unknown interval": (
        "POST",
        "v2/api_policies",
        {"name": "p", "rate_limit": {"limit": 1, "interval": "week"}},
        "rate_limit.interval",
    ),
    "everyone a trusted proxy": (
        "PUT",
        "v2/settings",
        {"trusted_proxies": ["0.0.0.0/0"]},
        "trusted_proxies",
    ),
    "url with a path": (
        "PUT",
        "v2/settings",
        {"gateway_url": "https://a.example/x"},
        "gateway_url",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_input_names_its_field(api: Api, case: str) -> None:
    method, path, content, field = BAD[case]
    status, answer = api(method, path, content)
    assert status == 400, answer
    assert answer["message"] == "Validation failed"
    assert field.rpartition(".")[2] in str(list(answer["errors"])), answer


PROFILE_BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no collection": ({"api_collection_ids": []}, "api_collection_ids"),
    "unknown collection": ({"api_collection_ids": [999]}, "api_collection_ids"),
    "unknown method": ({"auth_type": "magic"}, "auth_type"),
    "no JWT method": ({"auth_type": "jwt"}, "jwt_method"),
    "unknown JWT method": ({"auth_type": "jwt", "jwt_method": "none"}, "jwt_method"),
    "no JWT key": ({"auth_type": "jwt", "jwt_method": "rsa"}, "jwt_secret"),
    "a short secret": (
        {"auth_type": "jwt", "jwt_method": "hmac", "jwt_secret": "0123456789abcdef"},
        "jwt_secret",
    ),
    "a JWT key for a token": ({"auth_type": "token", "jwt_secret": "x"}, "jwt_secret"),
    "no provider": ({"auth_type": "oidc"}, "oidc_issuer"),
    "two providers": (
        {
            "auth_type": "oidc",
            "oidc_issuer": "https://login.example.com",
            "oidc_jwks_uri": "https://login.example.com/keys",
        },
        "oidc_issuer",
    ),
    "a provider inside": (
        {"auth_type": "oidc", "oidc_jwks_uri": "https://127.0.0.1/keys"},
        "oidc_jwks_uri",
    ),
    "a provider in plain": (
        {"auth_type": "oidc", "oidc_issuer": "http://login.example.com"},
        "oidc_issuer",
    ),
    "a token for OAuth": ({"auth_type": "oauth2", "token": "x" * 40}, "token"),
    "a key for OAuth": ({"auth_type": "oauth2", "profile_key": "x"}, "profile_key"),
    "a leeway without end": (
        {"auth_type": "oidc", "oidc_issuer": "https://l.example.com", "leeway_seconds": 9999},
        "leeway_seconds",
    ),
    "bad address": ({"ip_allow_list": ["1.2.3.4", "01.2.3.4"]}, "ip_allow_list"),
    "unknown policy": ({"api_policy_id": 999}, "api_policy_id"),
    "expired": ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    "short token": ({"token": "short"}, "token"),
    "bad digest": ({"token_sha256": "xyz"}, "token_sha256"),
}


@pytest.mark.parametrize("case", PROFILE_BAD)
def test_wrong_profiles_name_their_field(api: Api, collection: Any, case: str) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    change, field = PROFILE_BAD[case]
    content = {
        "name": "P",
        "api_client_id": client["id"],
        "api_collection_ids": [collection["id"]],
        "auth_type": "token",
        **change,
    }
    status, answer = api("POST", "api_access_profiles", content)
    assert status == 400, answer
    assert field in answer["errors"]
    assert api.done("GET", "api_access_profiles") == []


def test_an_imported_token_has_one_owner(api: Api, collection: Any) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    content = {
        "name": "P",
        "api_client_id": client["id"],
        "api_collection_ids": [collection["id"]],
        "auth_type": "token",
        "token": "legacy-token-0123456789",
    }
    api.done("POST", "api_access_profiles", content)
    status, answer = api("POST", "api_access_profiles", content)
    assert status == 400
    assert "token" in answer["errors"]
    assert len(api.done("GET", "api_access_profiles")) == 1


@pytest.mark.parametrize("name", ["Łódź 株式会社", "مرحبا", "<b>x</b>", "a'; DROP TABLE--", "🙂"])
def test_names_in_any_script_are_kept_as_they_are(api: Api, name: str) -> None:
    client = api.done("POST", "api_clients", {"name": name})["result"]
    assert api.done("GET", f"api_clients/{client['id']}")["result"]["name"] == name


def test_without_a_token_nothing_is_told(api: Api) -> None:
    for token in ("", "x", "ostm_" + "a" * 49):
        stranger = Api(token, api.confirmer)
        for path in ("users/me", "api_clients", "api_clients/1", "v2/settings"):
            status, answer = stranger("GET", path)
            assert (status, answer) == (401, {"message": "Unauthorized", "code": "unauthorized"})
    legacy = {"X-USER-TOKEN": api.token, "X-USER-EMAIL": "a@b.c", "Authorization": ""}
    assert api("GET", "users/me", **legacy)[0] == 401


def test_a_token_of_one_project_sees_nothing_of_another(api: Api, collection: Any) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    other = api.done("POST", "folders", {"name": "Other"})
    theirs = api.as_(admin=False, role="owner", project_ids=[other["id"]])
    assert theirs.done("GET", "api_clients") == []
    assert theirs.done("GET", "api_collections") == []
    assert [p["name"] for p in theirs.done("GET", "projects")] == ["Other"]
    for method, path in (
        ("GET", f"api_clients/{client['id']}"),
        ("PUT", f"v2/api_clients/{client['id']}/disable"),
        ("DELETE", f"api_clients/{client['id']}"),
        ("GET", f"api_collections/{collection['id']}"),
        ("DELETE", f"api_collections/{collection['id']}"),
        ("GET", f"connections/{collection['proxy_connection_id']}"),
    ):
        assert theirs(method, path)[0] == 404, path
    for path in ("v2/tokens", "v2/members", "v2/settings"):
        assert theirs("GET", path)[0] == 403
    status, answer = theirs(
        "POST",
        "api_collections",
        {"name": "x", "project_id": other["id"],
         "proxy_connection_id": collection["proxy_connection_id"]},
    )  # fmt: skip
    assert status == 400
    assert "proxy_connection_id" in answer["errors"]


def test_a_viewer_reads_and_changes_nothing(api: Api, collection: Any) -> None:
    viewer = api.as_(admin=False, role="viewer", everywhere=True)
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    assert viewer.done("GET", f"api_clients/{client['id']}")["result"]["name"] == "Acme"
    for method, path, content in (
        ("POST", "api_clients", {"name": "x"}),
        ("PUT", f"api_clients/{client['id']}", {"name": "x"}),
        ("PUT", f"v2/api_clients/{client['id']}/disable", None),
        ("DELETE", f"api_collections/{collection['id']}", None),
        ("POST", "v2/api_policies", {"name": "x"}),
        ("POST", "folders", {"name": "x"}),
    ):
        assert viewer(method, path, content)[0] == 403, path


def test_properties_are_set_and_read(api: Api) -> None:
    api.done("POST", f"properties?project_id={api.home}", {"properties": {"a.x": "1", "b": "2"}})
    api.done("POST", f"properties?project_id={api.home}", {"properties": {"a.x": "3"}})
    assert api.done("GET", f"properties?prefix=a.&project_id={api.home}") == {"a.x": "3"}
    api.done("POST", "properties", {"properties": {"a.x": "env"}})
    assert api.done("GET", "properties?prefix=") == {"a.x": "env"}
    path = f"properties?project_id={api.home}"
    api.done("POST", path, {"properties": {"a.x": None, "never.there": None, "c": ""}})
    assert api.done("GET", path) == {"b": "2", "c": ""}
    assert api.done("GET", "properties") == {"a.x": "env"}


def test_properties_that_were_changed_in_the_meantime_are_not_overwritten(api: Api) -> None:
    for path in (f"properties?project_id={api.home}", "properties?"):
        api.done("POST", path, {"properties": {"a": "1", "b": "2"}})
        read = api.answer("GET", path)["ETag"]
        assert api.answer("GET", path, **{"If-None-Match": read}).status_code == 304
        part = api.answer("GET", f"{path}&prefix=a")["ETag"]
        first = api.answer("POST", path, {"properties": {"a": "3"}}, **{"If-Match": read})
        assert first.status_code == 200
        for late in (read, part):
            assert api("POST", path, {"properties": {"a": "4"}}, **{"If-Match": late})[0] == 412
            assert api("DELETE", f"{path}&name=b", **{"If-Match": late})[0] == 412
        assert api.done("GET", path) == {"a": "3", "b": "2"}
        assert api("DELETE", f"{path}&name=b", **{"If-Match": first["ETag"]})[0] == 200
        assert api.done("GET", path) == {"a": "3"}


def test_members_and_roles(api: Api) -> None:
    member = api.done("POST", "v2/members", {"email": "A@B.example", "name": "A"})["data"]
    assert member["email"] == "a@b.example"
    assert api("POST", "v2/members", {"email": "a@b.example"})[0] == 400
    assert api("POST", "v2/members", {"email": "nonsense"})[0] == 400
    api.done("PUT", f"v2/members/{member['id']}/projects/{api.home}", {"role": "editor"})
    listed = api.done("GET", "v2/members")
    assert listed["count"] == 1
    assert listed["data"][0]["roles"] == {str(api.home): "editor"}


def test_me_has_the_fields_that_clients_insist_on(api: Api) -> None:
    me = api.done("GET", "users/me")
    for name in ("id", "name", "created_at", "plan_id", "current_billing_period_start",
                 "current_billing_period_end", "recipes_count", "active_recipes_count", "email",
                 "root_folder_id"):  # fmt: skip
        assert me[name] is not None


def test_pages_are_bounded(api: Api) -> None:
    for query in ("page=0", "per_page=101", "per_page=x", "page=-1"):
        assert api("GET", f"api_clients?{query}")[0] == 400
    for number in range(3):
        api.done("POST", "api_clients", {"name": f"c{number}"})
    assert len(api.done("GET", "api_clients?per_page=2")) == 2
    assert len(api.done("GET", "api_clients?per_page=2&page=2")) == 1


def test_no_secret_is_in_the_audit_log(api: Api, collection: Any) -> None:
    from ostiary.directory.models import AuditEvent

    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    made = api.done(
        "POST",
        "api_access_profiles",
        {
            "name": "S",
            "api_client_id": client["id"],
            "api_collection_ids": [collection["id"]],
            "auth_type": "token",
        },
    )["result"]
    events = list(AuditEvent.objects.order_by("pk"))
    text = "\n".join(f"{e.action} {e.before} {e.after}" for e in events)
    assert made["secret"] not in text
    assert "profile.create" in text
    assert {e.actor_name for e in events if e.action == "profile.create"} == {"tests"}
