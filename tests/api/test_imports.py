"""What an import says: how much was taken, what was not and why, and what is missing for a call."""

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.api.conftest import Api

from ostiary.api.body_bounds import LARGEST_IMPORT
from ostiary.directory.catalog import documents, import_reports

SERVERS = [{"url": "http://10.1.2.3"}]


def imported(api: Api, paths: object, *, servers: object = None, **more: Any) -> Any:
    tree = {"openapi": "3.0.0", "paths": paths, "servers": servers or SERVERS}
    spec = {"content": json.dumps(tree), "format": "json", **more.pop("spec", {})}
    return api.done("POST", "api_collections", {"name": "Taken", "openapi_spec": spec, **more})


def test_an_import_of_everything_says_so(api: Api) -> None:
    made = imported(api, {"/a/{x}.json": {"get": {}, "x-amazon-apigateway-any-method": {}}})
    assert made["message"] == "Import completed successfully"
    assert made["warnings"] == []
    assert made["import_results"] == {
        "success": True, "total_endpoints": 2, "failed_endpoints": 0, "failed_actions": [],
        "notes": [],
    }  # fmt: skip
    listed = api.done("GET", f"api_endpoints?api_collection_id={made['id']}")
    assert [(e["method"], e["path"], e["active"]) for e in listed] == [
        ("GET", "a/{x}.json", False),
        ("ANY", "a/{x}.json", False),
    ]


def test_what_was_not_taken_stays_readable_until_it_is_dismissed(api: Api) -> None:
    made = imported(api, {"/{all+}": {"get": {}}, "/a/*": {"get": {}}, "/b": {"trace": {}}})
    assert made["message"] == "1 of 3 endpoints were imported; the others could not be taken"
    results = made["import_results"]
    assert results["success"] is False
    assert results["failed_actions"][0].startswith("GET /a/* (line 1): the path has '*'")
    assert results["failed_actions"][1] == "TRACE /b (line 1): the gateway does not forward TRACE"
    assert results["notes"] == [
        "GET /{all+} (line 1): {all+} is taken as {all...}, the rest of the path"
    ]
    path = f"api_collections/{made['id']}/import_report"
    report = api.done("GET", path)
    assert report["failed_actions"] == results["failed_actions"]
    assert (report["total_endpoints"], report["failed_endpoints"]) == (3, 2)
    assert api.done("DELETE", path) == {"success": True}
    assert api("GET", path)[0] == 404
    assert api("DELETE", path)[0] == 404
    events = api.done("GET", "v2/audit_events")
    assert "collection.dismiss_import_report" in json.dumps(events)


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ([{"url": "/v1"}], "has a server URL without a scheme and host: '/v1'"),
        ([{"url": "https://{a}.b"}], "variable that has no default"),
        ([{"url": "http://169.254.169.254/"}], "No connection was made to http://169.254.169.254/"),
    ],
)
def test_a_document_without_a_server_that_can_be_used_says_so_at_once(
    api: Api, servers: object, said: str
) -> None:
    made = imported(api, {"/a": {"get": {}}}, servers=servers)
    (warning,) = made["warnings"]
    assert said in warning
    assert "answered 503 until the collection has a connection" in warning
    assert made["message"] == "Imported (1), but calls can't be served yet"
    assert made["proxy_connection_id"] is None
    assert api.done("GET", f"api_collections/{made['id']}/import_report")["warnings"] == [warning]


def test_a_connection_of_ones_own_needs_no_server_in_the_document(api: Api) -> None:
    connection = api.done(
        "POST", "connections", {"name": "Own", "input": {"base_url": "http://10.9.9.9"}}
    )
    made = imported(
        api, {"/a": {"get": {}}}, servers=[{"url": "/v1"}], proxy_connection_id=connection["id"]
    )
    assert made["warnings"] == []
    assert made["message"] == "Import completed successfully"


@pytest.mark.parametrize(
    ("paths", "said"),
    [({}, import_reports.NOTHING_THERE), ({"/*": {"get": {}}}, import_reports.NOTHING_TAKEN)],
)
def test_a_document_of_which_nothing_can_be_taken_is_an_error(
    api: Api, paths: object, said: str
) -> None:
    tree = {"openapi": "3.0.0", "paths": paths, "servers": SERVERS}
    spec = {"content": json.dumps(tree, indent=1), "format": "json"}
    status, told = api("POST", "api_collections", {"name": "None", "openapi_spec": spec})
    assert status == 400
    sentences = told["errors"]["openapi_spec"]
    assert sentences[0] == said
    assert [s.startswith("GET /* (line 5): the path has '*'") for s in sentences[1:]] == [
        True
        for _ in paths  # type: ignore[attr-defined]  # each of them is a reason
    ]
    assert api.done("GET", "api_collections") == []
    assert api.done("GET", "connections") == []


def test_a_swagger_document_makes_its_connection(api: Api) -> None:
    text = (
        "swagger: '2.0'\nhost: 10.1.2.3:81\nbasePath: /v2\nschemes: [http]\npaths: {/a: {get: {}}}"
    )
    spec = {"content": text, "format": "yaml", "active": True}
    made = api.done("POST", "api_collections", {"name": "Old", "openapi_spec": spec})
    connection = api.done("GET", f"connections/{made['proxy_connection_id']}")
    assert connection["input"]["base_url"] == ["http://10.1.2.3:81/v2"]
    (endpoint,) = api.done("GET", f"api_endpoints?api_collection_id={made['id']}")
    assert endpoint["active"] is True


def test_a_large_document_is_taken_and_one_above_the_bound_is_refused(api: Api) -> None:
    schema = {"description": "y" * 3000}
    answer = {"200": {"content": {"text/plain": {"schema": schema}}}}
    paths = {f"/a/{i}": {"get": {"responses": answer}} for i in range(2500)}
    assert 7 * documents.SMALL < len(json.dumps(paths))
    assert imported(api, paths)["import_results"]["total_endpoints"] == 2500
    status, told = api("POST", "api_collections", {"name": "x" * LARGEST_IMPORT})
    assert (status, told["message"]) == (413, "The body of this call is larger than 100 MB")
    status, told = api("POST", "connections", {"name": "x" * 7_000_000})
    assert (status, told["message"]) == (413, "The body of this call is larger than 6 MB")


def test_endpoints_are_switched_all_at_once_or_those_that_are_named(api: Api) -> None:
    made = imported(api, {f"/{name}": {"get": {}} for name in "abcd"})
    path = f"api_collections/{made['id']}/api_endpoints"

    def states() -> list[bool]:
        listed = api.done("GET", f"api_endpoints?api_collection_id={made['id']}")
        return [endpoint["active"] for endpoint in listed]

    ids = [e["id"] for e in api.done("GET", f"api_endpoints?api_collection_id={made['id']}")]
    asked = len(api.confirmer.asked)
    assert api.done("PUT", f"{path}/enable", {"endpoint_ids": ids[:2]})["switched"] == 2
    assert states() == [True, True, False, False]
    assert api.done("PUT", f"{path}/enable", {})["switched"] == 2
    assert states() == [True] * 4
    assert len(api.confirmer.asked) == asked + 2
    assert api.done("PUT", f"{path}/enable", {})["switched"] == 0
    assert api.done("PUT", f"{path}/disable", {"endpoint_ids": ids[3:]})["switched"] == 1
    assert states() == [True, True, True, False]
    other = imported(api, {"/z": {"get": {}}})
    (foreign,) = api.done("GET", f"api_endpoints?api_collection_id={other['id']}")
    status, answer = api("PUT", f"{path}/enable", {"endpoint_ids": [ids[3], foreign["id"]]})
    assert (status, list(answer["errors"])) == (400, ["endpoint_ids"])
    assert states() == [True, True, True, False]
    # Naming none switches none.
    assert api.done("PUT", f"{path}/disable", {"endpoint_ids": []})["switched"] == 0


def test_a_path_that_only_resembles_a_pattern_is_refused_with_the_right_spelling(api: Api) -> None:
    made = imported(api, {"/a": {"get": {}}})
    where = f"api_collections/{made['id']}/api_endpoints"
    for path, right in [("/files/*", "{path...}"), ("/:id", "{id}"), ("/{a+}", "{a...}")]:
        status, told = api("POST", where, {"name": "n", "method": "ANY", "path": path})
        assert status == 400
        assert right in told["errors"]["path"][0]
    made = api.done("POST", where, {"name": "n", "method": "ANY", "path": "/files/{path...}"})
    status, told = api("POST", where, {"name": "n", "method": "ANY", "path": "/files/{rest...}"})
    assert "is the path of another endpoint" in told["errors"]["path"][0]
    target = {"name": "n", "method": "GET", "path": "/g/{id}.json"}
    assert api("POST", where, target | {"target_path": "/h/{id...}"})[0] == 400
    assert api.done("POST", where, target | {"target_path": "/h/{id}"})["path"] == "g/{id}.json"
    assert api("POST", where, {"name": "n", "method": "GET", "path": "/g/{other}.json"})[0] == 400


def test_encoded_slashes_are_warned_of(api: Api) -> None:
    made = imported(api, {"/a": {"get": {}}})
    path = f"api_collections/{made['id']}"
    assert made["encoded_slashes"] is False
    changed = api.done("PUT", path, {"encoded_slashes": True})
    assert changed["encoded_slashes"] is True
    assert "%2F" in changed["warnings"][0]
    assert api.done("PUT", path, {"name": "Other"})["warnings"] == []


def test_the_export_has_endpoints_as_they_are_now(api: Api) -> None:
    query = [{"name": "q", "in": "query", "schema": {"type": "string"}}]
    tree = {
        "openapi": "3.0.0",
        "info": {"title": "T", "version": "7", "description": "About it."},
        "servers": SERVERS,
        "paths": {
            f"/{name}/{{id}}": {"get": {"operationId": name, "parameters": query}}
            for name in "abcd"
        },
    }
    spec = {"content": json.dumps(tree), "format": "json", "active": True}
    made = api.done("POST", "api_collections", {"name": "Taken", "openapi_spec": spec})
    assert (made["version"], made["description"]) == ("7", "About it.")
    listed = api.done("GET", f"api_endpoints?api_collection_id={made['id']}")
    _, b, c, d = (f"api_endpoints/{each['id']}" for each in listed)
    api.done("PUT", f"{b}/disable")
    api.done("DELETE", c)
    api.done("PUT", d, {"name": "Mine", "path": "/moved/{number}"})
    hand = {"name": "By hand", "method": "POST", "path": "/hand", "active": True}
    api.done("POST", f"api_collections/{made['id']}/api_endpoints", hand)
    where = f"api_collections/{made['id']}/openapi.json"
    document = api.done("GET", where)
    assert [*OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["info"] == {"title": "Taken", "version": "7", "description": "About it."}
    assert list(document["paths"]) == ["/a/{id}", "/moved/{number}", "/hand"]
    assert document["paths"]["/a/{id}"]["get"]["operationId"] == "a"
    moved = document["paths"]["/moved/{number}"]["get"]
    assert (moved["summary"], moved["operationId"]) == ("Mine", "d")
    assert [p["name"] for p in moved["parameters"]] == ["number", "q"]
    assert document["paths"]["/hand"]["post"]["summary"] == "By hand"
    assert list(document["components"]["securitySchemes"]) == ["apiToken", "bearer"]
    oauth = api.done("GET", f"{where}?auth_type=oauth2")
    assert list(oauth["components"]["securitySchemes"]) == ["oauth2"]
    assert api("GET", f"{where}?auth_type=basic")[0] == 400


def test_a_version_and_a_description_of_ones_own_win(api: Api) -> None:
    tree = {"openapi": "3.0.0", "info": {"version": "7", "description": "x"}, "servers": SERVERS}
    spec = {"content": json.dumps(tree | {"paths": {"/a": {"get": {}}}}), "format": "json"}
    own = {"name": "Own", "version": "2", "description": "", "openapi_spec": spec}
    made = api.done("POST", "api_collections", own)
    assert (made["version"], made["description"], made["handle"]) == ("2", "", "own-v2")
