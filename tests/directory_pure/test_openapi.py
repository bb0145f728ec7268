"""OpenAPI documents: what becomes an endpoint, what does not and why, and the way back."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ostiary.access.methods import AuthMethod
from ostiary.access.paths import ENDPOINT_METHODS, METHODS, parse_template
from ostiary.directory.catalog import openapi
from ostiary.directory.catalog.openapi import (
    BadDocument,
    Document,
    Noted,
    Operation,
    Skipped,
    read,
)
from ostiary.directory.catalog.openapi_exports import write


def a_document(paths: object = None, **more: object) -> str:
    info = {"title": "Shop", "version": "1.2"}
    return json.dumps({"openapi": "3.1.0", "info": info, "paths": paths or {}, **more})


def both(tree: Mapping[str, Any]) -> Document:
    """Read a tree as JSON and as YAML; they must say the same."""
    text = json.dumps(tree)
    dumped = yaml.safe_dump(json.loads(text), sort_keys=False)
    assert read(text, "json") == read(dumped, "yaml") == read(text, "yaml")
    return read(text, "json")


SHOP = {
    "openapi": "3.0.3",
    "info": {"title": " The\n Shop ", "version": 1.10, "description": "Sells\nthings. "},
    "servers": [{"url": "/v1"}, {"url": "https://api.example.com/v1"}, {"url": "https://b"}],
    "paths": {
        "/orders": {
            "summary": "Orders",
            "parameters": [],
            "get": {"summary": "List orders", "operationId": "list", "description": "All of them."},
            "post": {"operationId": "createOrder", "responses": {}},
        },
        "/orders/{id}": {"delete": {}, "trace": {}, "x-note": {}, "head": {"summary": " "}},
        "x-paths": {"get": {}},
    },
}


def test_each_operation_becomes_an_endpoint() -> None:
    document = both(SHOP)
    assert document.title == "The Shop"
    assert document.description == "Sells\nthings."
    assert document.server_url == "https://api.example.com/v1"
    assert document.operations == (
        Operation(name="List orders", method="GET", path="/orders", description="All of them."),
        Operation(name="createOrder", method="POST", path="/orders"),
        Operation(name="DELETE /orders/{id}", method="DELETE", path="/orders/{id}"),
        Operation(name="HEAD /orders/{id}", method="HEAD", path="/orders/{id}"),
    )
    assert document.skipped == (
        Skipped(where="TRACE /orders/{id}", reason="the gateway does not forward TRACE"),
    )
    assert document.notes == ()


@pytest.mark.parametrize("method", METHODS)
def test_each_method_that_is_passed_on_is_taken(method: str) -> None:
    document = both({"openapi": "3.1.0", "paths": {"/a": {method.lower(): {"summary": "x"}}}})
    assert document.operations == (Operation(name="x", method=method, path="/a"),)


@pytest.mark.parametrize(
    ("path", "item", "where", "reason"),
    [
        ("/a/*", {"get": {}}, "GET /a/*", "write {name} for one segment"),
        ("/a/:id", {"get": {}}, "GET /a/:id", "write {id} for a parameter"),
        ("/a/{b+}/c", {"get": {}}, "GET /a/{b+}/c", "write {b...} for the rest"),
        ("/a/{x}{y}", {"get": {}}, "GET /a/{x}{y}", "nothing between them"),
        ("/a//b", {"get": {}}, "GET /a//b", "empty segment"),
        ("/good?x=1", {"get": {}}, "GET /good?x=1", "same method and path: GET /good"),
        ("/good#x", {"get": {}}, "GET /good#x", "same method and path: GET /good"),
        ("/{x}/{x}", {"get": {}}, "GET /{x}/{x}", "names a parameter twice"),
        ("/a/../b", {"get": {}}, "GET /a/../b", "no path may have"),
        ("/a", {"get": []}, "GET /a", "isn't an object"),
        ("/a", {"connect": {}}, "CONNECT /a", "a method that the gateway forwards"),
        ("/a", {"query": {}}, "QUERY /a", "a method that the gateway forwards"),
        ("/a", {"<<": {}}, "<< /a", "a method that the gateway forwards"),
        ("/a", [], "/a", "isn't an object"),
        ("/a", "text", "/a", "isn't an object"),
        ("/a", {"$ref": "other.yaml#/x"}, "/a", "refers to another document"),
        ("/a", {"$ref": "https://example.com/x"}, "/a", "refers to another document"),
        ("/a", {"$ref": {}}, "/a", "refers to another document"),
        ("/a", {"$ref": "#/components/none"}, "/a", "not in the document"),
        ("/a", {"$ref": "#/paths/~1a"}, "/a", "refers to itself"),
        ("/a", {"get": {}, "GET": {}}, "GET /a", "same method and path"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value),
)
def test_what_cannot_be_an_endpoint_is_skipped_with_a_reason(
    path: str, item: object, where: str, reason: str
) -> None:
    paths: dict[str, object] = {"/good": {"get": {}}, path: item}
    document = both({"openapi": "3.0.0", "paths": paths})
    (skipped,) = document.skipped
    assert skipped.where == where
    assert reason in skipped.reason
    assert document.operations[0].path == "/good"


def test_paths_that_calls_cannot_tell_apart_are_taken_once() -> None:
    paths: dict[str, dict[str, object]] = {
        "/a/{x}": {"get": {}},
        "/a/{y}": {"get": {}, "put": {}},
    }
    document = both({"openapi": "3.0.0", "paths": paths})
    assert [(o.method, o.path) for o in document.operations] == [
        ("GET", "/a/{x}"),
        ("PUT", "/a/{y}"),
    ]
    assert [s.where for s in document.skipped] == ["GET /a/{y}"]


def test_references_inside_the_document_are_followed() -> None:
    paths = {
        "/a": {"$ref": "#/components/pathItems/first", "put": {"summary": "own"}},
        "/b": {"$ref": "#/paths/~1a"},
        "/c~d": {"$ref": "#/components/pathItems/a%20~0b"},
    }
    items = {
        "first": {"get": {"summary": "got"}, "put": {"summary": "theirs"}},
        "a ~b": {"patch": {"summary": "patched"}},
    }
    document = both({"openapi": "3.1.0", "paths": paths, "components": {"pathItems": items}})
    assert {(o.path, o.method, o.name) for o in document.operations} == {
        ("/a", "GET", "got"),
        ("/a", "PUT", "own"),
        ("/b", "GET", "got"),
        ("/b", "PUT", "own"),
        ("/c~d", "PATCH", "patched"),
    }
    assert document.skipped == ()


def test_servers_of_a_path_are_noted_and_their_operations_taken() -> None:
    servers = [{"url": "https://other.example.com"}]
    paths = {"/a": {"servers": servers, "get": {}}, "/b": {"put": {"servers": servers}}}
    document = both({"openapi": "3.1.0", "paths": paths})
    assert len(document.operations) == 2
    assert document.skipped == ()
    note = "its own servers are not used"
    assert document.notes == (Noted(where="/a", note=note), Noted(where="PUT /b", note=note))


def test_operations_of_any_method_and_greedy_ends_are_taken() -> None:
    paths = {
        "/{proxy+}": {
            "x-amazon-apigateway-any-method": {"summary": "all"},
            "options": {},
            "parameters": [{"name": "proxy", "in": "path"}],
        },
        "/v1/{+name}": {"get": {}},
        "/v2/{*rest}": {"get": {}},
        "/v3/{**rest}": {"get": {}},
        "/v4/{rest*}": {"get": {}},
    }
    document = both({"openapi": "3.0.1", "paths": paths})
    assert [(o.method, o.path) for o in document.operations] == [
        ("ANY", "/{proxy...}"),
        ("OPTIONS", "/{proxy...}"),
        ("GET", "/v1/{name...}"),
        ("GET", "/v2/{rest...}"),
        ("GET", "/v3/{rest...}"),
        ("GET", "/v4/{rest...}"),
    ]
    assert document.operations[0].name == "all"
    assert document.skipped == ()
    note = "{proxy+} is taken as {proxy...}, the rest of the path"
    assert document.notes[0] == Noted(where="ANY /{proxy+}", note=note)
    assert len(document.notes) == 6


def test_parameters_are_found_through_references() -> None:
    rest = {"name": "p", "in": "path", "required": True, "x-ostiary-wildcard": True}
    paths = {"/f/{p}": {"parameters": [{"$ref": "#/components/parameters/rest"}], "get": {}}}
    document = both(
        {"openapi": "3.0.0", "paths": paths, "components": {"parameters": {"rest": rest}}}
    )
    assert [o.path for o in document.operations] == ["/f/{p...}"]


@pytest.mark.parametrize(
    ("more", "url", "problem"),
    [
        ({"host": "h.example", "basePath": "/v2/", "schemes": ["http", "https"]}, "https://h.example/v2", ""),
        ({"host": "h.example:81", "basePath": "/", "schemes": ["http"]}, "http://h.example:81", ""),
        ({"host": "h.example"}, "https://h.example", ""),
        ({"basePath": "/v2"}, None, "names no host"),
        ({"host": "{env}.example"}, None, "variable that has no default"),
    ],
)  # fmt: skip
def test_swagger_is_read(more: dict[str, object], url: str | None, problem: str) -> None:
    paths = {
        "/pets/{id}": {
            "get": {"summary": "A pet", "responses": {"200": {}}},
            "parameters": [{"$ref": "#/parameters/id"}],
        },
        "/shared": {"$ref": "#/x-shared"},
    }
    shared = {"put": {"operationId": "put"}}
    document = both({"swagger": "2.0", "paths": paths, "x-shared": shared, **more})
    assert [(o.method, o.path, o.name) for o in document.operations] == [
        ("GET", "/pets/{id}", "A pet"),
        ("PUT", "/shared", "put"),
    ]
    assert document.server_url == url
    assert problem in document.server_problem
    assert bool(document.server_problem) == (url is None)


@pytest.mark.parametrize(
    ("servers", "problem"),
    [
        (None, "names no server"),
        ([{"url": "/v1"}], "without a scheme and host: '/v1'"),
        ([{"url": "//h/v1"}], "without a scheme and host"),
        ([{"url": "https://{region}.a.b"}], "variable that has no default"),
        ([{"url": "wss://a.b"}], "not http or https"),
        ([{"url": "http://["}], "does not read"),
        ([{"url": "/v1"}, {"url": "https://a.b"}], ""),
    ],
)
def test_why_there_is_no_server_is_said(servers: object, problem: str) -> None:
    said = both({"openapi": "3.0.0", "servers": servers}).server_problem
    assert (problem in said) if problem else said == ""


@pytest.mark.parametrize(
    ("servers", "url"),
    [
        (None, None),
        ("https://a.b", None),
        ([], None),
        ([5, {}, {"url": 5}, {"url": None}], None),
        ([{"url": "/v1"}], None),
        ([{"url": "//a.b/v1"}], None),
        ([{"url": "https:"}], None),
        ([{"url": "ftp://a.b"}], None),
        ([{"url": "http://["}, {"url": "http://a.b"}], "http://a.b"),
        ([{"url": "https://{region}.a.b"}], None),
        (
            [{"url": "https://{r}.a.b", "variables": {"r": {"default": "eu", "enum": ["eu"]}}}],
            "https://eu.a.b",
        ),
        ([{"url": "https://{r}.a.b", "variables": {"r": {"default": ["eu"]}}}], None),
        ([{"url": "https://{r}.a.b", "variables": ["r"]}], None),
        ([{"url": "https://a.b/" + "x" * 2048}], None),
    ],
)
def test_the_upstream_is_the_first_absolute_server(servers: object, url: str | None) -> None:
    assert both({"openapi": "3.0.0", "servers": servers}).server_url == url


@pytest.mark.parametrize(
    ("text", "form", "sentence"),
    [
        pytest.param("{", "json", "not valid JSON: see line 1", id="no JSON"),
        pytest.param('{\n"a": 1,\n}', "json", "see line 3", id="the line in JSON"),
        pytest.param("a: 1\nb: [", "yaml", "not valid YAML: see line", id="no YAML"),
        pytest.param("\x00", "yaml", "not valid YAML", id="NUL"),
        pytest.param("9" * 5000, "yaml", "must be an object", id="a number"),
        pytest.param("", "yaml", "must be an object", id="nothing"),
        pytest.param("[]", "json", "must be an object", id="a list"),
        pytest.param("- a", "yaml", "must be an object", id="a list in YAML"),
        pytest.param("openapi: 3.0.0\n---\nopenapi: 3.0.0", "yaml", "more than one", id="two"),
        pytest.param('{"swagger": "3.0"}', "json", "not swagger: 2.0 alone", id="Swagger 3"),
        pytest.param("swagger: 2.0\nopenapi: 3.0.0", "yaml", "2.0 alone", id="both"),
        pytest.param("swaggerVersion: 1.2", "yaml", "Swagger 1; convert", id="Swagger 1"),
        pytest.param("{}", "json", "does not say openapi", id="no version"),
        pytest.param('{"openapi": "3.2.0"}', "json", "3.0 or 3.1", id="3.2"),
        pytest.param('{"openapi": "3.10"}', "json", "3.0 or 3.1", id="3.10"),
        pytest.param('{"openapi": "2.0"}', "json", "3.0 or 3.1", id="2.0"),
        pytest.param('{"openapi": null}', "json", "3.0 or 3.1", id="null"),
        pytest.param('{"openapi": "3.0.0", "paths": []}', "json", "paths must be", id="paths"),
        pytest.param('{"openapi": "3.0.0", "paths": 5}', "json", "paths must be", id="number"),
        pytest.param('{"a": {"b": 1, "b": 2}}', "json", "'b' twice", id="equal keys"),
        pytest.param("a: {b: 1, 'b': 2}", "yaml", "'b' twice", id="equal keys in YAML"),
        pytest.param("? [a]\n: 1", "yaml", "key that isn't a text", id="a list as key"),
        pytest.param("a: *b", "yaml", "alias for nothing", id="alias without anchor"),
        pytest.param("a: &a [*a]", "yaml", "or for itself", id="alias in itself"),
        pytest.param("[" * 200_000, "json", "nested too deep", id="deep JSON"),
        pytest.param("[" * 200_000, "yaml", "nested too deep", id="deep YAML"),
        pytest.param("- " * 200_000, "yaml", "nested too deep", id="deep blocks"),
        pytest.param(" " * (openapi.LARGEST + 1), "json", "larger than 50 MB", id="too large"),
        pytest.param("ä" * (openapi.LARGEST // 2 + 1), "json", "larger than 50 MB", id="bytes"),
    ],
)
def test_what_is_no_document_is_refused_with_one_sentence(
    text: str, form: str, sentence: str
) -> None:
    with pytest.raises(BadDocument, match=sentence) as caught:
        read(text, form)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 200


def test_versions_are_kept_as_they_are_written() -> None:
    assert read("openapi: 3.1\ninfo: {version: 1.10}", "yaml").version == "1.10"
    assert read('{"openapi": 3.0, "info": {"version": 1.10}}', "json").version == "1.10"
    assert read("openapi: 3.0.0\ninfo: {version: 2026-01-02}", "yaml").version == "2026-01-02"


def test_a_document_without_paths_has_no_endpoints() -> None:
    assert read("openapi: 3.1.0\npaths:\n", "yaml").operations == ()
    assert read('\ufeff{"openapi": "3.1.0", "paths": null}', "json").operations == ()


def test_yaml_is_data_whatever_its_tags_say() -> None:
    text = "openapi: 3.0.0\ninfo:\n  title: !!python/object/apply:os.getcwd []\n  version: !!int x"
    document = read(text, "yaml")
    assert document.title == ""
    assert document.version == "x"


def test_aliases_stand_for_what_they_name() -> None:
    text = "openapi: 3.0.0\nx: &op {summary: Same}\npaths: {/a: {get: *op}, /b: {put: *op}}"
    assert [o.name for o in read(text, "yaml").operations] == ["Same", "Same"]


def test_aliases_of_aliases_do_not_explode() -> None:
    lines = ["openapi: 3.0.0", "a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 60)]
    lines += ["info: {title: *a59, version: *a59, description: *a59}", "servers: *a59"]
    lines += ["paths: {/a: *a59, /b: {get: *a59}, /c: {get: {summary: *a59}}}"]
    document = read("\n".join(lines), "yaml")
    assert document.title == ""
    assert document.operations == (Operation(name="GET /c", method="GET", path="/c"),)
    assert len(document.skipped) == 2


@pytest.mark.parametrize(
    "paths",
    [
        {f"/{i}": {"$ref": "#/shared"} for i in range(openapi.MOST_ENTRIES // 10 + 1)},
        {f"/{i}": [] for i in range(openapi.MOST_ENTRIES + 1)},
    ],
    ids=["references", "paths"],
)
def test_what_would_fill_a_report_without_end_is_refused(paths: object) -> None:
    shared = {f"m{i}": 1 for i in range(10)}
    with pytest.raises(BadDocument, match="more than 20000 operations"):
        read(a_document(paths, shared=shared), "json")


def test_a_path_with_entries_without_end_is_skipped() -> None:
    item: dict[str, object] = {f"m{i}": {} for i in range(openapi.MOST_ENTRIES)}
    document = read(a_document({"/a": item | {"get": {}}, "/b": {"get": {}}}), "json")
    assert document.skipped == (Skipped(where="/a", reason="has too many entries"),)
    assert len(document.operations) == 1


def test_no_more_endpoints_are_taken_than_fit() -> None:
    count = openapi.MOST_ENDPOINTS
    document = read(a_document({f"/p{i}": {"get": {}} for i in range(count + 1)}), "json")
    assert len(document.operations) == count
    assert document.skipped == (
        Skipped(where=f"GET /p{count}", reason=f"more than {count} endpoints"),
    )


def test_texts_are_what_the_directory_takes() -> None:
    operation = {
        "summary": "\x00 a\ud800\x1b  b\n" + "c" * 300,
        "description": "one\ntwo\x00\x07 " + "d" * 5000,
    }
    (taken,) = read(a_document({"/a": {"get": operation}}), "json").operations
    assert taken.name == "a b " + "c" * 251
    assert taken.description == "one\ntwo " + "d" * 3992


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.one_of(
                st.sampled_from(
                    [
                        "get",
                        "PUT",
                        "trace",
                        "$ref",
                        "servers",
                        "url",
                        "variables",
                        "default",
                        "summary",
                    ]
                    + ["/a", "/{x}", "x-y", "operationId", "description", "parameters"]
                ),
                st.text(max_size=9),
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(paths=JSON, info=JSON, servers=JSON)
def test_any_tree_is_read_or_refused(paths: object, info: object, servers: object) -> None:
    text = json.dumps({"openapi": "3.1.0", "paths": paths, "info": info, "servers": servers})
    try:
        document = read(text, "json")
    except BadDocument:
        return
    for operation in document.operations:
        assert operation.method in ENDPOINT_METHODS
        assert parse_template(operation.path).text == operation.path
        assert 0 < len(operation.name) <= 255
    for value in (document.title, document.version, document.description):
        value.encode()


@given(st.text(st.characters()), st.sampled_from(["json", "yaml"]))
def test_any_text_is_read_or_refused(text: str, form: str) -> None:
    for content in (text, f"openapi: 3.0.0\npaths: {text}", f'{{"openapi": "3.0.0", {text}}}'):
        try:
            read(content, form)
        except BadDocument as error:
            assert str(error).startswith("The")


def an_export(*operations: Operation, **more: Any) -> dict[str, Any]:
    return write(
        title="Shop",
        version="1",
        description="Sells.",
        url="https://gate.example.com/shop-v1",
        operations=operations,
        **more,
    )


def test_an_export_says_where_and_what() -> None:
    operation = Operation(name="One order", method="GET", path="/orders/{id}", description="It.")
    made = an_export(operation)
    assert made["openapi"] == "3.1.0"
    assert made["info"] == {"title": "Shop", "version": "1", "description": "Sells."}
    assert made["servers"] == [{"url": "https://gate.example.com/shop-v1"}]
    assert made["paths"] == {
        "/orders/{id}": {
            "get": {
                "summary": "One order",
                "description": "It.",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "responses": {"default": {"description": "The answer of the API"}},
            }
        }
    }


BEARER = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
TOKEN_URL = "https://gate.example.com/oauth2/token"


@pytest.mark.parametrize(
    ("method", "schemes"),
    [
        (
            AuthMethod.TOKEN,
            {
                "apiToken": {"type": "apiKey", "in": "header", "name": "API-TOKEN"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        ),
        (
            AuthMethod.OAUTH2,
            {
                "oauth2": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": TOKEN_URL, "scopes": {}}},
                }
            },
        ),
        (AuthMethod.JWT, BEARER),
        (AuthMethod.OIDC, BEARER),
    ],
)
def test_an_export_says_how_the_reader_proves_who_it_is(
    method: AuthMethod, schemes: dict[str, Any]
) -> None:
    made = an_export(method=method, token_url=TOKEN_URL)
    assert made["components"]["securitySchemes"] == schemes
    assert made["security"] == [{name: []} for name in schemes]


def test_paths_of_one_shape_are_one_path_item() -> None:
    made = an_export(
        Operation(name="a", method="GET", path="/a/{x}"),
        Operation(name="b", method="PUT", path="/a/{y}"),
    )
    assert list(made["paths"]) == ["/a/{x}"]
    assert made["paths"]["/a/{x}"]["put"]["parameters"][0]["name"] == "x"


def test_any_and_the_rest_of_a_path_go_out_so_that_others_read_them_and_come_back() -> None:
    made = an_export(
        Operation(name="every", method="ANY", path="/files/{path...}"),
        Operation(name="one", method="PUT", path="/files/{rest...}"),
        Operation(name="plain", method="GET", path="/things/{id}"),
        Operation(name="deep", method="GET", path="/things/{path...}"),
    )
    assert list(made["paths"]) == ["/files/{path}", "/things/{id}", "/things/{path...}"]
    files = made["paths"]["/files/{path}"]
    assert {"get", "put", "post", "patch", "delete"} < set(files)
    assert files["get"]["summary"] == "every"
    assert files["put"]["summary"] == "one"
    assert [p["name"] for p in files["get"]["parameters"]] == ["path"]
    assert [p["name"] for p in made["paths"]["/things/{path...}"]["get"]["parameters"]] == [
        "path..."
    ]
    back = both(made)
    assert back.skipped == ()
    assert back.notes == ()
    assert {(o.method, o.path, o.name) for o in back.operations} == {
        ("ANY", "/files/{path...}", "every"),
        ("PUT", "/files/{path...}", "one"),
        ("GET", "/things/{id}", "plain"),
        ("GET", "/things/{path...}", "deep"),
    }


SEGMENTS = st.one_of(
    st.from_regex(r"[a-z0-9~_-]{1,5}", fullmatch=True),
    st.from_regex(r"\{[a-z]{1,3}\}", fullmatch=True),
    st.from_regex(r"\{[a-z]{1,3}\}(\.json|:merge|-x)", fullmatch=True),
)
OPERATIONS = st.lists(
    st.builds(
        Operation,
        name=st.from_regex(r"[A-Za-zäß0-9]{1,9}( [a-z]{1,5})?", fullmatch=True),
        method=st.sampled_from(ENDPOINT_METHODS),
        path=st.builds(
            lambda parts, rest: "/" + "/".join([*parts, *rest]),
            st.lists(SEGMENTS, min_size=1, max_size=4, unique_by=lambda s: s.partition("}")[0]),
            st.sampled_from([[], [], ["{rest...}"]]),
        ),
        description=st.from_regex(r"([a-z]{1,9}\n?[a-z]{1,9})?", fullmatch=True),
    ),
    unique_by=lambda o: (o.method, parse_template(o.path).shape),
    max_size=8,
)


@pytest.mark.slow
@given(OPERATIONS)
def test_what_is_exported_can_be_imported(operations: list[Operation]) -> None:
    document = both(an_export(*operations))
    assert document.skipped == ()
    assert document.server_url == "https://gate.example.com/shop-v1"

    def essence(o: Operation) -> tuple[str, ...]:
        return o.method, parse_template(o.path).shape, o.name, o.description

    assert sorted(map(essence, document.operations)) == sorted(map(essence, operations))
