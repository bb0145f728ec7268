"""The next document of a collection: previewed, chosen one by one, and taken over at once."""

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.api.conftest import Api


def a_spec(paths: object, **more: Any) -> dict[str, Any]:
    tree = {
        "openapi": "3.0.0",
        "info": {"title": "T", "version": "1"},
        "servers": [{"url": "http://10.1.2.3"}],
        "paths": paths,
        **more,
    }
    return {"content": json.dumps(tree), "format": "json"}


def answering(schema: str) -> dict[str, Any]:
    content = {"a/b": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"responses": {"200": {"description": "x", "content": content}}}


FIRST = a_spec(
    {
        "/a": {"get": {"summary": "A", **answering("Item")}},
        "/b": {"get": {"summary": "B", **answering("Item")}},
        "/c/{id}": {"get": {"summary": "C"}},
        "/d": {"get": {"summary": "D"}},
    },
    components={"schemas": {"Item": {"type": "string"}}},
)
NEXT = a_spec(
    {
        "/a": {"get": {"summary": "A", **answering("Item")}},
        "/b": {"get": {"summary": "New B", **answering("Item")}},
        "/c/{number}": {"get": {"summary": "C"}},
        "/e": {"post": {"summary": "E"}},
        "/f": {"get": {"summary": "F"}, "trace": {}},
    },
    info={"title": "T", "version": "2"},
    components={"schemas": {"Item": {"type": "integer"}}},
)


@pytest.fixture
def made(api: Api) -> Any:
    spec = FIRST | {"active": True}
    made = api.done("POST", "api_collections", {"name": "Taken", "openapi_spec": spec})
    hand = {"name": "By hand", "method": "POST", "path": "/hand", "active": True}
    api.done("POST", f"api_collections/{made['id']}/api_endpoints", hand)
    return made


def previewed(api: Api, made: Any, spec: Any = NEXT) -> Any:
    path = f"api_collections/{made['id']}/import/preview"
    return api.done("POST", path, {"openapi_spec": spec})["data"]


def endpoints(api: Api, made: Any) -> dict[str, Any]:
    listed = api.done("GET", f"api_endpoints?api_collection_id={made['id']}")
    return {f"{each['method']} /{each['path']}": each for each in listed}


def test_a_preview_says_what_is_added_changed_and_gone_and_saves_nothing(
    api: Api, made: Any
) -> None:
    before = endpoints(api, made)
    plan = previewed(api, made)
    assert [each["name"] for each in plan["added"]] == ["POST /e", "GET /f"]
    assert [(each["name"], each["changes"]) for each in plan["changed"]] == [
        ("GET /a", ["responses"]),
        ("GET /b", ["name", "responses"]),
        ("GET /c/{number}", ["path"]),
    ]
    assert [(each["name"], each["added_by_hand"]) for each in plan["gone"]] == [
        ("GET /d", False),
        ("POST /hand", True),
    ]
    assert plan["unchanged"] == 0
    assert plan["failed_actions"] == ["TRACE /f (line 1): the gateway does not forward TRACE"]
    assert endpoints(api, made) == before
    same = previewed(api, made, FIRST)
    assert (same["added"], same["changed"], same["unchanged"]) == ([], [], 4)


def test_nothing_that_is_gone_is_deleted_unless_it_is_named(api: Api, made: Any) -> None:
    path = f"api_collections/{made['id']}/import"
    taken = api.done("PUT", path, {"openapi_spec": NEXT})["data"]
    assert (taken["added"], taken["changed"], taken["deleted"]) == (2, 3, 0)
    assert taken["revocation"]["confirmed"] == 1
    found = endpoints(api, made)
    assert set(found) == {
        "GET /a", "GET /b", "GET /c/{number}", "GET /d", "POST /hand", "POST /e", "GET /f",
    }  # fmt: skip
    assert found["GET /b"]["name"] == "New B"
    assert found["GET /c/{number}"]["target_path"].endswith("c/{number}")
    assert (found["POST /e"]["active"], found["GET /d"]["active"]) == (False, True)
    assert api.done("GET", f"api_collections/{made['id']}")["version"] == "2"
    again = previewed(api, made)
    assert (again["added"], again["changed"]) == ([], [])
    taken = api.done("PUT", path, {"openapi_spec": NEXT, "gone": ["GET /d"]})["data"]
    assert taken["deleted"] == 1
    assert "GET /d" not in endpoints(api, made)
    assert "collection.import" in json.dumps(api.done("GET", "v2/audit_events"))


def test_operations_are_chosen_one_by_one_and_the_others_keep_their_schemas(
    api: Api, made: Any
) -> None:
    path = f"api_collections/{made['id']}/import"
    choice = {"added": ["GET /f"], "changed": ["GET /b"]}
    taken = api.done("PUT", path, {"openapi_spec": NEXT | {"active": True}, **choice})["data"]
    assert (taken["added"], taken["changed"]) == (1, 1)
    document = api.done("GET", f"{path.removesuffix('import')}openapi.json")
    assert [*OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert set(document["paths"]) == {"/a", "/b", "/c/{id}", "/d", "/hand", "/f"}

    def answered(name: str) -> object:
        content = document["paths"][name]["get"]["responses"]["200"]["content"]
        return document["components"]["schemas"][
            content["a/b"]["schema"]["$ref"].rpartition("/")[2]
        ]

    assert (answered("/a"), answered("/b")) == ({"type": "string"}, {"type": "integer"})
    for field in ("added", "changed", "gone"):
        status, told = api("PUT", path, {"openapi_spec": NEXT, field: ["GET /none"]})
        assert status == 400
        assert "'GET /none' is not among them" in told["errors"][field][0]


def test_what_moved_since_the_preview_is_not_taken_over(api: Api, made: Any) -> None:
    path = f"api_collections/{made['id']}/import"
    version = previewed(api, made)["version"]
    found = endpoints(api, made)
    api.done("PUT", f"api_endpoints/{found['GET /d']['id']}/disable")
    status, _ = api("PUT", path, {"openapi_spec": NEXT}, **{"If-Match": version})
    assert status == 412
    assert "POST /e" not in endpoints(api, made)
    version = previewed(api, made)["version"]
    assert api("PUT", path, {"openapi_spec": FIRST}, **{"If-Match": version})[0] == 412
    assert api("PUT", path, {"openapi_spec": NEXT}, **{"If-Match": version})[0] == 200


def test_names_that_the_owner_gave_stay(api: Api, made: Any) -> None:
    found = endpoints(api, made)
    api.done("PUT", f"api_endpoints/{found['GET /b']['id']}", {"name": "Mine"})
    api.done("PUT", f"api_collections/{made['id']}/import", {"openapi_spec": NEXT})
    assert endpoints(api, made)["GET /b"]["name"] == "Mine"


def test_a_document_of_which_nothing_can_be_taken_changes_nothing(api: Api, made: Any) -> None:
    for path, method in (("import", "PUT"), ("import/preview", "POST")):
        where = f"api_collections/{made['id']}/{path}"
        status, told = api(method, where, {"openapi_spec": a_spec({"/*": {"get": {}}})})
        assert (status, "openapi_spec" in json.dumps(told["errors"])) == (400, True)
    assert len(endpoints(api, made)) == 5


def test_viewers_and_recipe_collections_have_no_import(api: Api, made: Any) -> None:
    viewer = api.as_(admin=False, role="viewer", project_ids=[api.home])
    where = f"api_collections/{made['id']}/import/preview"
    assert viewer("POST", where, {"openapi_spec": NEXT})[0] == 403
    recipes = api.done("POST", "api_collections", {"name": "Recipes"})
    where = f"api_collections/{recipes['id']}/import/preview"
    assert api("POST", where, {"openapi_spec": NEXT})[0] == 400
