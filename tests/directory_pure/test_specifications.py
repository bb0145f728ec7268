"""What is kept of documents: it goes out as it came in, valid by a validator that is not ours."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from ostiary.access.methods import AuthMethod
from ostiary.directory.catalog import openapi, openapi_operations
from ostiary.directory.catalog.openapi import BadDocument, Document, read
from ostiary.directory.catalog.openapi_exports import write

GATEWAY = "https://gate.example.com/shop-v1"
ORDER = {
    "type": "object",
    "required": ["id", "lines"],
    "properties": {
        "id": {"type": "integer", "format": "int64", "minimum": 1},
        "note": {"type": "string", "maxLength": 80, "default": "none", "nullable": True},
        "lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}},
        "parent": {"$ref": "#/components/schemas/Order"},
        "state": {"type": "string", "enum": ["open", "paid"], "default": "open"},
    },
}
SHOP: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "2.7", "description": "Sells things."},
    "servers": [{"url": "https://internal.example.com"}],
    "security": [{"secret": []}],
    "tags": [{"name": "orders", "description": "All of them."}, {"name": "unused"}],
    "paths": {
        "/orders": {
            "parameters": [{"$ref": "#/components/parameters/trace"}],
            "get": {
                "tags": ["orders"],
                "operationId": "listOrders",
                "summary": "List orders",
                "security": [{"secret": []}],
                "servers": [{"url": "https://other.example.com"}],
                "parameters": [
                    {
                        "name": "limit",
                        "in": "query",
                        "schema": {
                            "type": "integer",
                            "minimum": 0,
                            "exclusiveMinimum": True,
                            "default": 20,
                        },
                    },
                    {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {
                        "description": "Some",
                        "headers": {"X-Total": {"schema": {"type": "integer"}}},
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "array",
                                    "items": {"$ref": "#/components/schemas/Order"},
                                },
                                "example": [{"id": 1, "lines": []}],
                            }
                        },
                    },
                    "4XX": {"$ref": "#/components/responses/problem"},
                },
            },
            "post": {
                "operationId": "createOrder",
                "deprecated": True,
                "x-internal": {"lambda": "arn:secret"},
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Order"}}
                    },
                },
                "responses": {"201": {"description": "Made"}},
            },
        },
        "/orders/{id}": {
            "get": {
                "operationId": "oneOrder",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
                ],
                "responses": {"200": {"description": "One"}},
            }
        },
    },
    "components": {
        "parameters": {"trace": {"name": "trace", "in": "query", "schema": {"type": "boolean"}}},
        "responses": {"problem": {"description": "No"}},
        "schemas": {
            "Order": ORDER,
            "Line": {"type": "object", "properties": {"sku": {"type": "string", "pattern": "^a"}}},
            "Unused": {"type": "string"},
        },
        "securitySchemes": {"secret": {"type": "http", "scheme": "basic"}},
    },
}


def exported(document: Document, **more: Any) -> dict[str, Any]:
    return write(
        title=document.title or "T",
        version=document.version or "1",
        description=document.description,
        url=GATEWAY,
        operations=document.operations,
        specification=document.specification,
        **more,
    )


def checked(document: Document, **more: Any) -> dict[str, Any]:
    """The export, which is valid; imported again, it makes the same export."""
    made = exported(document, **more)
    assert [error.message for error in OpenAPIV31SpecValidator(made).iter_errors()] == []
    assert exported(read(json.dumps(made), "json"), **more) == made
    return made


def test_what_was_imported_is_given_back() -> None:
    document = read(json.dumps(SHOP), "json")
    assert read(yaml.safe_dump(SHOP, sort_keys=False), "yaml") == document
    made = checked(document)
    assert made["info"] == {"title": "Shop", "version": "2.7", "description": "Sells things."}
    assert made["servers"] == [{"url": GATEWAY}]
    assert made["tags"] == [{"name": "orders", "description": "All of them."}]
    listed = made["paths"]["/orders"]["get"]
    assert (listed["operationId"], listed["tags"]) == ("listOrders", ["orders"])
    limit, trace = listed["parameters"]
    assert limit["schema"] == {"exclusiveMinimum": 0, "type": "integer", "default": 20}
    assert trace == {"name": "trace", "in": "query", "schema": {"type": "boolean"}}
    answer = listed["responses"]["200"]
    assert answer["headers"] == {"X-Total": {"schema": {"type": "integer"}}}
    assert answer["content"]["application/json"]["example"] == [{"id": 1, "lines": []}]
    assert listed["responses"]["4XX"] == {"description": "No"}
    made_post = made["paths"]["/orders"]["post"]
    assert made_post["deprecated"] is True
    assert made_post["requestBody"] == SHOP["paths"]["/orders"]["post"]["requestBody"]
    (own,) = made["paths"]["/orders/{id}"]["get"]["parameters"]
    assert own["schema"] == {"type": "integer"}
    assert sorted(made["components"]["schemas"]) == ["Line", "Order"]
    note = made["components"]["schemas"]["Order"]["properties"]["note"]
    assert note == {
        "type": ["string", "null"], "maxLength": 80, "default": "none",
    }  # fmt: skip


def test_nothing_of_the_api_behind_the_gateway_goes_out() -> None:
    text = json.dumps(checked(read(json.dumps(SHOP), "json")))
    for hidden in ("internal.example", "other.example", "arn:secret", '"secret"', "Authorization"):
        assert hidden not in text


@pytest.mark.parametrize("method", AuthMethod)
def test_each_readers_way_to_authenticate_makes_a_valid_document(method: AuthMethod) -> None:
    document = read(json.dumps(SHOP), "json")
    made = checked(document, method=method, token_url="https://gate.example.com/oauth2/token")
    assert made["security"]


def test_swagger_goes_out_as_openapi() -> None:
    tree = {
        "swagger": "2.0",
        "info": {"title": "Pets", "version": "1"},
        "host": "pets.example.com",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": {
            "/pets": {
                "get": {
                    "operationId": "list",
                    "parameters": [
                        {"name": "tags", "in": "query", "type": "array", "items": {"type": "string"},
                         "collectionFormat": "multi"},
                        {"$ref": "#/parameters/size"},
                    ],
                    "responses": {
                        "200": {
                            "description": "ok",
                            "schema": {"type": "array", "items": {"$ref": "#/definitions/Pet"}},
                            "headers": {"X-Next": {"type": "string"}},
                        }
                    },
                },
                "post": {
                    "parameters": [
                        {"name": "body", "in": "body", "required": True,
                         "schema": {"$ref": "#/definitions/Pet"}}
                    ],
                    "responses": {"default": {"$ref": "#/responses/any"}},
                },
            },
            "/pets/{id}/image": {
                "post": {
                    "consumes": ["multipart/form-data"],
                    "parameters": [
                        {"name": "id", "in": "path", "required": True, "type": "integer"},
                        {"name": "image", "in": "formData", "type": "file", "required": True},
                        {"name": "title", "in": "formData", "type": "string"},
                    ],
                    "responses": {"204": {"description": "done"}},
                }
            },
        },
        "parameters": {"size": {"name": "size", "in": "query", "type": "integer", "maximum": 9}},
        "responses": {"any": {"description": "any"}},
        "definitions": {
            "Pet": {"type": "object", "discriminator": "kind", "required": ["kind"],
                    "properties": {"kind": {"type": "string"}, "«odd»": {"x-nullable": True, "type": "string"}}},
            "Cat": {"allOf": [{"$ref": "#/definitions/Pet"}, {"type": "object"}]},
            "Other": {"type": "object"},
        },
    }  # fmt: skip
    document = read(json.dumps(tree), "json")
    assert document.notes == ()
    made = checked(document)
    tags, size = made["paths"]["/pets"]["get"]["parameters"]
    assert (tags["style"], tags["explode"], tags["schema"]["type"]) == ("form", True, "array")
    assert size["schema"] == {"type": "integer", "maximum": 9}
    body = made["paths"]["/pets"]["post"]["requestBody"]
    assert body == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
    }
    form = made["paths"]["/pets/{id}/image"]["post"]["requestBody"]["content"]
    assert form["multipart/form-data"]["schema"] == {
        "type": "object",
        "properties": {
            "image": {"type": "string", "format": "binary"},
            "title": {"type": "string"},
        },
        "required": ["image"],
    }
    # A subtype that only names its base is part of the base's family.
    assert sorted(made["components"]["schemas"]) == ["Cat", "Pet"]
    pet = made["components"]["schemas"]["Pet"]
    assert pet["discriminator"] == {"propertyName": "kind"}
    assert pet["properties"]["«odd»"] == {"type": ["string", "null"]}


@pytest.mark.parametrize(
    ("schema", "kept", "said"),
    [
        ({"$ref": "https://evil.example/x.json"}, {}, "outside of the document"),
        ({"$ref": "file:///etc/passwd"}, {}, "outside of the document"),
        ({"$ref": "other.yaml#/A"}, {}, "outside of the document"),
        ({"$ref": "#/components/schemas/None"}, {}, "is not in the document"),
        ({"$ref": "#/components/schemas/Loop"}, {}, "refers to itself"),
        ({"type": "uuid"}, {}, "isn't a type"),
        ({"type": "string", "pattern": "("}, {"type": "string"}, "the pattern"),
        ({"type": "integer", "default": "x"}, {"type": "integer"}, "a default"),
        ({"type": "string", "default": 5}, {"type": "string"}, "a default"),
        ({"type": "string", "minLength": -1, "x": 1, "unknown": {}}, {"type": "string"}, ""),
        ({"type": "integer", "maximum": 10**400}, {"type": "integer", "maximum": 1.7976931348623157e308}, ""),
        ({"const": "a\ud800"}, {"const": "a?"}, ""),
        (["no object"], {}, "isn't an object"),
        ({"$ref": "#/paths/~1a/get/responses/200/content/text~1plain/schema"},
         {"$ref": "#/components/schemas/schema"}, ""),
    ],
)  # fmt: skip
def test_what_readers_would_stumble_over_is_left_out_with_a_note(
    schema: object, kept: object, said: str
) -> None:
    own = {"200": {"description": "x", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    body = {"content": {"application/json": {"schema": schema}}}
    paths = {"/a": {"get": {"responses": own}, "post": {"requestBody": body}}}
    loop = {"Loop": {"$ref": "#/components/schemas/Loop"}}
    document = read(
        json.dumps({"openapi": "3.0.0", "paths": paths, "components": {"schemas": loop}}, indent=1),
        "json",
    )
    made = checked(document)
    posted = made["paths"]["/a"]["post"]["requestBody"]["content"]["application/json"]
    assert posted["schema"] == kept
    assert [note.note for note in document.notes if said in note.note] == [
        note.note for note in document.notes
    ]
    assert bool(document.notes) == bool(said)
    assert all(note.place.startswith("POST /a (line ") for note in document.notes)


def test_aliases_and_references_that_stand_for_much_cost_little() -> None:
    lines = ["openapi: 3.0.0", "a0: &a0 {type: object, properties: {a: {type: string}}}"]
    lines += [f"a{i}: &a{i} {{allOf: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 30)]
    lines += ["paths: {/a: {get: {responses: {200: {content: {a/b: {schema: *a29}}}}}}}"]
    document = read("\n".join(lines), "yaml")
    assert len(document.operations) == 1
    assert document.specification is None
    (note,) = document.notes
    assert note.where == "The document"
    shared = {"r": {"description": "x" * 100_000}}
    answers = {str(status): {"$ref": "#/components/responses/r"} for status in range(200, 299)}
    paths = {f"/{i}": {"get": {"responses": answers}} for i in range(20)}
    tree = {"openapi": "3.1.0", "paths": paths, "components": {"responses": shared}}
    document = read(json.dumps(tree), "json")
    assert (len(document.operations), document.specification) == (20, None)


def test_what_is_nested_without_end_is_refused() -> None:
    schema: dict[str, object] = {}
    for _ in range(200):
        schema = {"items": schema}
    body = {"content": {"a/b": {"schema": schema}}}
    paths = {"/a": {"post": {"requestBody": body}}}
    with pytest.raises(BadDocument, match="nested too deep"):
        read(json.dumps({"openapi": "3.1.0", "paths": paths}), "json")


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_what_does_not_come_in_is_named_with_its_line(form: str) -> None:
    tree = {
        "openapi": "3.0.0",
        "x-first": {"paths": {"/b": {"trace": {}}}},
        "paths": {
            "/a": {"get": {"parameters": [{"name": "get", "in": "query"}]}, "trace": {}},
            "/b/*": {"parameters": [], "post": {"responses": {"get": 1}}, "get": {}},
            "/c": [],
        },
    }
    text = json.dumps(tree, indent=2) if form == "json" else yaml.safe_dump(tree, sort_keys=False)
    lines = [line.strip().strip('"') for line in text.splitlines()]
    document = read(text, form)
    assert [(each.where, lines[each.line - 1].partition('"')[0].partition(":")[0]) for each in document.skipped] == [
        ("TRACE /a", "trace"), ("POST /b/*", "post"), ("GET /b/*", "get"), ("/c", "/c"),
    ]  # fmt: skip
    assert [each.line for each in document.skipped] == sorted(e.line for e in document.skipped)


def test_two_operations_with_one_id_keep_it_once() -> None:
    paths = {"/a": {"get": {"operationId": "x"}}, "/b": {"get": {"operationId": "x"}}}
    document = read(json.dumps({"openapi": "3.0.0", "paths": paths}), "json")
    made = checked(document)
    assert "operationId" not in made["paths"]["/b"]["get"]
    assert "is another operation's" in document.notes[0].note


def test_any_method_with_a_body_is_spelled_out_with_ids_of_its_own() -> None:
    operation = {"operationId": "all", "requestBody": {"content": {"a/b": {}}}}
    paths = {"/{rest+}": {"x-amazon-apigateway-any-method": operation}}
    made = checked(read(json.dumps({"openapi": "3.0.0", "paths": paths}), "json"))
    ids = [entry["operationId"] for entry in made["paths"]["/{rest}"].values()]
    assert ids == ["all", "all_get", "all_post", "all_put", "all_patch", "all_delete"]


def test_changes_by_hand_win_over_the_document() -> None:
    document = read(json.dumps(SHOP), "json")
    kept = document.specification
    assert kept is not None
    one = openapi.Operation(name="Mine", method="GET", path="/orders/{number}/x", description="D")
    moved = openapi_operations.Specification(
        schemas=kept.schemas,
        operations={"GET /orders/{}/x": kept.operations["GET /orders/{}"]},
    )
    made = write(
        title="T", version="1", description="", url=GATEWAY, operations=[one], specification=moved
    )
    entry: Mapping[str, Any] = made["paths"]["/orders/{number}/x"]["get"]  # type: ignore[index]
    assert (entry["summary"], entry["description"], entry["operationId"]) == (
        "Mine", "D", "oneOrder",
    )  # fmt: skip
    assert [p["name"] for p in entry["parameters"]] == ["number"]
    assert [*OpenAPIV31SpecValidator(made).iter_errors()] == []


WORDS = st.sampled_from(
    ["a", "b", "string", "object", "array", "query", "path", "#/components/schemas/A", "x/y", "200"]
    + ["", "#/components/schemas/B", "simple", "body", "formData", "1", "null", "http://h/x", "4xx"]
)
KEYS = st.sampled_from(
    ["a", "$ref", "type", "items", "properties", "allOf", "required", "default", "enum", "nullable"]
    + [
        "in",
        "name",
        "schema",
        "content",
        "x/y",
        "200",
        "description",
        "example",
        "examples",
        "value",
    ]
    + [
        "parameters",
        "requestBody",
        "responses",
        "headers",
        "tags",
        "operationId",
        "style",
        "format",
    ]
    + [
        "minimum",
        "exclusiveMinimum",
        "pattern",
        "discriminator",
        "mapping",
        "propertyName",
        "explode",
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)
@given(st.sampled_from(["2.0", "3.0.1", "3.1.0"]), TREES, TREES, TREES)
def test_whatever_is_read_goes_out_valid(
    version: str, operation: object, one: object, other: object
) -> None:
    named = {"A": one, "B": other}
    said = {"swagger": version, "definitions": named} if version == "2.0" else {
        "openapi": version, "components": {"schemas": named},
    }  # fmt: skip
    paths = {"/x/{a}": {"post": operation, "put": {"requestBody": operation, "responses": one}}}
    document = read(json.dumps({**said, "paths": paths}), "json")
    checked(document)
