"""Paths of real APIs through the running product: imported, called, logged, counted, explained."""

import json
from typing import Any

import pytest
from tests.stage import Stage, Upstream, wait_for

from ostiary.access.paths import METHODS
from ostiary.cli.serving.bounded_bodies import LARGEST

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

OPERATIONS = {
    "/accounts/{Sid}.json": {"get": {"summary": "account"}},
    "/shelves/{shelf}:merge": {"post": {"summary": "merge"}},
    "/Products({id})": {"get": {"summary": "product"}},
    "/compare/{base}...{head}": {"get": {"summary": "compare"}},
    "/files/{path+}": {"x-amazon-apigateway-any-method": {"summary": "files"}},
    "/files/{name}": {"put": {"summary": "one file"}},
    "/exact": {"x-amazon-apigateway-any-method": {"summary": "exact"}},
}


@pytest.fixture(scope="module")
def collection(stage: Stage, upstream: Upstream) -> Any:
    document = {
        "openapi": "3.0.0",
        "servers": [{"url": f"{upstream.url}/base"}],
        "paths": OPERATIONS,
    }
    spec = {"content": json.dumps(document), "format": "json", "active": True}
    content = {
        "name": "Real", "handle": "real-v1", "openapi_spec": spec, "encoded_slashes": True,
        "cors_origins": ["https://app.example"],
    }  # fmt: skip
    made = stage.done("POST", "api_collections", content)
    assert made["import_results"]["failed_endpoints"] == 0
    return made


@pytest.fixture(scope="module")
def profile(stage: Stage, collection: Any) -> Any:
    return stage.a_profile(collection)


def _lines(stage: Stage, profile: Any) -> list[Any]:
    query = f"v2/request_logs?access_profile_id={profile['id']}&per_page=100"
    found: list[Any] = stage.done("GET", query)["data"]
    return found


def test_an_imported_document_is_called_logged_and_counted(
    stage: Stage, upstream: Upstream, collection: Any, profile: Any
) -> None:
    names = {
        e["name"]: e["id"]
        for e in stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
    }
    calls = [
        ("GET", "/accounts/AC5.json", "account"),
        ("POST", "/shelves/5:merge", "merge"),
        ("GET", "/Products(7)", "product"),
        ("GET", "/compare/v1...v2", "compare"),
        ("PUT", "/files/a", "one file"),
        ("PUT", "/files/a/b.txt", "files"),
        ("GET", "/files/a", "files"),
        ("DELETE", "/files/a%2Fb;v=1/c/", "files"),
        # By the fast path too: the second of two alike.
        *[(method, "/exact", "exact") for method in METHODS for _ in range(2)],
    ]
    for method, path, _ in calls:
        answer = stage.call(f"/real-v1{path}", profile["secret"], method=method)
        assert answer.status == 200, (method, path)
        assert (upstream.seen[-1].method, upstream.seen[-1].target) == (method, f"/base{path}")
    wait_for(lambda: len(_lines(stage, profile)) == len(calls), what="lines")
    logged = sorted((line["method"], line["api_endpoint_id"]) for line in _lines(stage, profile))
    assert logged == sorted((method, names[name]) for method, _, name in calls)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/accounts/AC5", 404, None),
        ("GET", "/files/", 404, None),
        ("PUT", "/Products(7)", 405, "GET,HEAD"),
        ("PROPFIND", "/exact", 405, ",".join(METHODS)),
        ("ANY", "/exact", 405, ",".join(METHODS)),
        ("GET", "/files/%2e%2e%2fx", 400, None),
        ("GET", "/files/..;/x", 400, None),
    ],
)
def test_what_no_endpoint_takes_is_refused(
    stage: Stage, profile: Any, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = stage.call(f"/real-v1{path}", profile["secret"], method=method)
    assert answer.status == status
    assert answer.headers.get("allow") == allow


def test_a_preflight_is_answered_and_another_options_is_a_call(
    stage: Stage, upstream: Upstream, collection: Any, profile: Any
) -> None:
    page = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    assert stage.call("/real-v1/exact", method="OPTIONS", headers=page).status == 204
    assert stage.call("/real-v1/exact", method="OPTIONS").status == 401
    assert stage.call("/real-v1/exact", profile["secret"], method="OPTIONS").status == 200
    assert upstream.seen[-1].method == "OPTIONS"


def test_explain_finds_what_the_gateway_finds(stage: Stage, profile: Any) -> None:
    def asked(method: str, path: str) -> Any:
        content = {
            "access_profile_id": profile["id"], "method": method, "path": path, "ip": "127.0.0.1",
        }  # fmt: skip
        return stage.done("POST", "v2/explain", content)["data"]

    assert asked("PATCH", "/real-v1/files/a%2fb/c")["reason"] is None
    assert asked("PATCH", "/real-v1/files/a/..%2fb")["reason"] == "malformed_path"
    assert asked("GET", "/real-v1/Products()")["reason"] == "endpoint_not_found"
    assert asked("GET", "/nobody/files/a%2fb")["reason"] == "malformed_path"
    refused = stage.call("/real-v1/Products%2F()", profile["secret"])
    assert refused.status == 404
    query = {"request_id": refused.json["request_id"]}
    wait_for(lambda: stage.api("POST", "v2/explain", query).status == 200, what="explanation")
    steps = stage.done("POST", "v2/explain", query)["data"]["steps"]
    shown = next(step["inputs"] for step in steps if step["check"] == "endpoint")
    assert shown["path"] == "/real-v1/Products%2F()"


def test_a_target_takes_the_parameters_and_the_rest_and_never_dots(
    stage: Stage, upstream: Upstream, collection: Any, profile: Any
) -> None:
    stage.an_endpoint(collection, "GET /cut/{a}-{b}", target_path="/to/{b}/{a}.json")
    stage.an_endpoint(collection, "GET /deep/{x}/{rest...}", target_path="/{x}.d/{rest...}")
    for path, target in [
        ("/cut/1-2", "/base/to/2/1.json"),
        ("/cut/1-2-3?q=1", "/base/to/2-3/1.json?q=1"),
        ("/deep/1/2/3/", "/base/1.d/2/3/"),
    ]:
        assert stage.call(f"/real-v1{path}", profile["secret"]).status == 200
        assert upstream.seen[-1].target == target
    many = len(upstream.seen)
    answer = stage.call("/real-v1/cut/1-..", profile["secret"])
    assert (answer.status, answer.json["reason"]) == (400, "malformed_path")
    assert len(upstream.seen) == many


def test_a_document_above_the_bound_of_other_bodies_is_imported(
    stage: Stage, upstream: Upstream
) -> None:
    answer = {"200": {"content": {"text/plain": {"schema": {"description": "x" * 90_000}}}}}
    paths = {f"/large/{n}/{{id}}.json": {"get": {"responses": answer}} for n in range(120)}
    document = {"openapi": "3.1.0", "servers": [{"url": upstream.url}], "paths": paths}
    content = json.dumps(document)
    assert len(content) > LARGEST
    spec = {"content": content, "format": "json", "active": True}
    made = stage.done("POST", "api_collections", {"name": "Large", "openapi_spec": spec})
    assert made["import_results"]["total_endpoints"] == 120
    token = stage.a_profile(made)["secret"]
    assert stage.call(f"/{made['handle']}/large/7/x.json", token).status == 200
    refused = stage.api("POST", "connections", {"name": "x" * (LARGEST + 1)})
    assert refused.status == 413
    assert "larger than 8 MB" in refused.json["message"]


def test_the_document_for_consumers_says_all_of_it(stage: Stage, collection: Any) -> None:
    document = stage.done("GET", f"api_collections/{collection['id']}/openapi.json")
    assert "/compare/{base}...{head}" in document["paths"]
    item = document["paths"]["/files/{path...}"]
    assert {"get", "put", "post", "patch", "delete", "x-amazon-apigateway-any-method"} == set(item)
    assert item["get"]["parameters"][0]["x-ostiary-wildcard"] is True


def test_all_endpoints_are_switched_at_once(stage: Stage, collection: Any, profile: Any) -> None:
    path = f"api_collections/{collection['id']}/api_endpoints"
    assert stage.done("PUT", f"{path}/disable", {})["switched"] >= 7
    assert stage.call("/real-v1/exact", profile["secret"]).status == 404
    assert stage.call("/real-v1/files/a/b", profile["secret"]).status == 404
    stage.done("PUT", f"{path}/enable", {})
    assert stage.call("/real-v1/exact", profile["secret"]).status == 200
