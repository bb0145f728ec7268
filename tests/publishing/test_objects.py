"""Building objects: whatever is stored, nothing but Unpublishable is raised, and texts are plain."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ostiary.access.paths import parse_template
from ostiary.directory.workspace import origins
from ostiary.gateway import connection_objects, objects
from ostiary.gateway.connection_objects import Server
from ostiary.gateway.objects import LARGEST, Unpublishable
from ostiary.gateway.snapshot import CollectionRow, ConnectionRow, EndpointRow
from ostiary.identity.secret import Secret

TEXT = st.text(max_size=40) | st.sampled_from([
    "", " ", "a b", "http://a b", "http://\u00a0x", "é", "\x00", "a\r\nX: y", "a\tb", "\ud800", "\u202ex",
    "/", "/a", "/a/../b", "/{id}", "//", "/a;b", "/%2f", "http://" + "a" * 20_000, "x" * 70_000,
    "https://api.example.com", "http://[::1]:80/v1", "X-Key", "Host", "ok", "%41", "127.0.0.1",
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
STRICT = re.compile(r"[ -~]*")


def collection(**changes: Any) -> CollectionRow:
    values: dict[str, Any] = {
        "id": 1, "handle": "orders-v1", "kind": "proxy", "connection": 2,
        "forward_credential": False, "forward_claims": False, "encoded_slashes": False,
        "cors_origins": [],
        "cors_credentials": False, "cors_exposed_headers": [], "cors_max_age": 600,
        "leave_authorization": False, "credential_places": None,
        "cache_seconds": 0, "cache_shared": False, "cache_generation": 0,
    }  # fmt: skip
    return CollectionRow(**(values | changes))


def endpoint(**changes: Any) -> EndpointRow:
    values: dict[str, Any] = {
        "id": 1, "collection": 1, "kind": "proxy", "method": "GET", "path": "/orders/{id}",
        "target_path": "", "timeout_seconds": None, "recipe": None, "validate": True,
        "cache_seconds": None,
    }  # fmt: skip
    return EndpointRow(**(values | changes))


def connection(**changes: Any) -> ConnectionRow:
    values: dict[str, Any] = {
        "id": 1, "base_urls": ["https://api.example"], "auth_type": "none", "auth_name": "",
        "auth_secret": "", "token_url": "", "scope": "", "verify_tls": True, "ca_pem": "",
        "timeout_seconds": 30, "health_path": "", "public_address": "x_forwarded",
        "translate_urls": True, "stream_timeout_seconds": 3600, "balancing": "round_robin", "http_version": "1.1",
        "weights": [], "retries": None, "retry_writes": False,
    }  # fmt: skip
    return ConnectionRow(**(values | changes))


def check(text: str) -> Any:
    """What the gateway takes: one line of printable ASCII, and no control character within."""
    assert STRICT.fullmatch(text)
    assert len(text) <= LARGEST
    value = json.loads(text)
    assert json.dumps(value, sort_keys=True, separators=(",", ":")) == text
    _plain(value)
    return value


def _plain(value: Any) -> None:
    match value:
        case str():
            assert STRICT.fullmatch(value), value
            assert len(value) <= 8 * 1024 + 100
        case list():
            for each in value:
                _plain(each)
        case dict():
            for each in value.values():
                _plain(each)


@given(st.fixed_dictionaries({}, optional={
    "handle": JSON, "kind": JSON | st.sampled_from(["proxy", "recipe"]), "cors_origins": JSON,
    "connection": st.none() | st.integers(1), "forward_claims": JSON, "forward_credential": JSON,
    "encoded_slashes": JSON,
    "cors_credentials": JSON, "cors_exposed_headers": JSON | st.lists(TEXT), "cors_max_age": JSON,
    "leave_authorization": JSON, "credential_places": JSON | st.lists(TEXT),
}))  # fmt: skip
@example({"cors_origins": ["http://a b"]})
@example({"cors_origins": ["http://\u00a0a"]})
@example({"cors_origins": ["http://" + "a" * 20_000]})
@example({"cors_origins": ["https://app.example\n"]})
@example({"handle": "orders\n"})
def test_any_collection_is_built_plainly_or_refused(changes: dict[str, Any]) -> None:
    try:
        value = check(objects.collection(collection(**changes)))
    except Unpublishable as problem:
        assert str(problem).isascii() or "…" in str(problem)
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", value["handle"])
    assert all(origins.ALLOWED.fullmatch(origin) for origin in value["origins"])
    assert isinstance(value["forward_claims"], bool)
    assert isinstance(value["encoded_slashes"], bool)


@given(st.fixed_dictionaries({}, optional={
    "kind": JSON | st.sampled_from(["proxy", "recipe"]),
    "method": TEXT | st.sampled_from(["GET", "get", "TRACE", "POST"]), "path": JSON,
    "target_path": JSON, "timeout_seconds": JSON | st.integers(), "recipe": JSON, "validate": JSON,
}))  # fmt: skip
@example({"path": "/a\n"})
@example({"path": " /a"})
@example({"kind": "recipe", "recipe": "a\r\nX: y"})
@example({"target_path": "/{other}"})
def test_any_endpoint_is_built_plainly_or_refused(changes: dict[str, Any]) -> None:
    try:
        value = check(objects.endpoint(endpoint(**changes)))
    except Unpublishable:
        return
    path = parse_template(value["path"])
    assert path.text == value["path"]
    if value["target"]:
        assert set(parse_template(value["target"]).parameters) <= set(path.parameters)
        assert value["target"] != value["path"]
    assert 0 <= value["timeout"] <= 86_400
    assert (value["recipe"] is None) == (changes.get("kind", "proxy") != "recipe")


@given(
    st.fixed_dictionaries({}, optional={
        "base_urls": JSON | st.lists(TEXT, max_size=3), "auth_name": JSON, "verify_tls": JSON,
        "auth_type": TEXT | st.sampled_from(["none", "header", "query", "basic",
                                             "oauth2_client_credentials"]),
        "ca_pem": JSON, "timeout_seconds": JSON | st.integers(), "health_path": JSON,
    }),
    TEXT,
    st.none() | TEXT,
)  # fmt: skip
@example({"auth_type": "header", "auth_name": "Host"}, "x", None)
@example({"auth_type": "header", "auth_name": "X-Key"}, "a\r\nX: y", None)
@example({"auth_type": "header", "auth_name": "X-Key\n"}, "a", None)
@example({"auth_type": "query", "auth_name": "key"}, "a&b=c", None)
@example({"auth_type": "oauth2_client_credentials"}, "x", "a\r\nX: y")
@example({"health_path": "/a b"}, "", None)
@example({"health_path": "/\ud800"}, "", None)
@example({"ca_pem": "\ud800"}, "", None)
def test_any_connection_is_built_plainly_or_refused(
    changes: dict[str, Any], secret: str, bearer: str | None
) -> None:
    row = connection(**changes)
    try:
        upstream = connection_objects.upstream(row)
        token = None if bearer is None else Secret(bearer)
        added = connection_objects.credential(row, Secret(secret), token)
        servers = [Server(address="10.0.0.1", port=443, host="api.example")]
        down = frozenset({("10.0.0.1", 443)})
        value = check(
            connection_objects.connection(upstream, servers=servers, down=down, added=added)
        )
    except Unpublishable as problem:
        if len(secret) > 8 and secret not in str(changes):
            assert secret not in str(problem)
        return
    assert STRICT.fullmatch(upstream.health_path)
    assert value["servers"] == [{"address": "10.0.0.1", "port": 443, "down": True, "weight": 1}]
    if value["header"] is not None:
        assert value["header"]["name"].lower() not in {"host", "connection", "content-length"}
    if value["query"]:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+=[A-Za-z0-9_.~%+-]*", value["query"])


@given(JSON | st.lists(TEXT))
@example(["10.0.0.0/8\n"])
@example(["10.0.0.1/8"])
@example(["0.0.0.0/0"])
@example("10.0.0.0/8")
def test_any_settings_are_built_plainly_or_refused(value: Any) -> None:
    try:
        check(objects.settings(value, [], public_url="https://api.example", configured=True))
    except Unpublishable:
        return


@pytest.mark.parametrize(
    ("auth", "header", "query"),
    [
        ({"auth_type": "none"}, None, ""),
        ({"auth_type": "header", "auth_name": "X-Key"}, {"name": "X-Key", "value": "s3"}, ""),
        ({"auth_type": "query", "auth_name": "key"}, None, "key=s3"),
        ({"auth_type": "basic", "auth_name": "me"},
         {"name": "Authorization", "value": "Basic bWU6czM="}, ""),
        ({"auth_type": "oauth2_client_credentials"},
         {"name": "Authorization", "value": "Bearer t0"}, ""),
    ],
)  # fmt: skip
def test_each_kind_of_credential(auth: dict[str, Any], header: Any, query: str) -> None:
    row = connection(**auth)
    added = connection_objects.credential(row, Secret("s3"), Secret("t0"))
    text = connection_objects.connection(
        connection_objects.upstream(row), servers=[], down=frozenset(), added=added
    )
    value = json.loads(text)
    assert (value["header"], value["query"]) == (header, query)


def test_a_credential_that_was_lost_is_not_left_out() -> None:
    row = connection(auth_type="header", auth_name="X-Key")
    with pytest.raises(Unpublishable, match="secret is missing"):
        connection_objects.credential(row, Secret(""), None)


def test_certificates_matter_only_where_they_are_verified() -> None:
    for more, expected in (
        ({}, connection_objects.certificate_digest("PEM")),
        ({"verify_tls": False}, ""),
        ({"base_urls": ["http://api.example"]}, ""),
    ):
        assert connection_objects.upstream(connection(ca_pem="PEM", **more)).ca == expected
    unverified = connection(base_urls=["https://10.0.0.1"], verify_tls=False)
    assert connection_objects.upstream(unverified).tls_name == ""


def test_an_address_whose_certificate_nginx_cannot_verify_is_not_published() -> None:
    with pytest.raises(objects.Unpublishable, match="by its host name"):
        connection_objects.upstream(connection(base_urls=["https://10.0.0.1"]))
