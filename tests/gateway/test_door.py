"""What the door lets in, from outside: real nginx, real authority, real upstream."""

import http.client
import socket
import threading
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from tests.stage import Stage, Upstream, raw

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(
        upstream,
        "GET /things",
        "GET /things/{id}",
        "POST /things",
        "GET /things/{id}/parts",
        "GET /things/{id}/parts/{part}",
        "GET /{any}/x/{id}/y/z",
        "GET /status/{code}",
        "GET /slow",
        "GET /django/",
        "GET /django/{id}/",
        name="Things",
        handle="things-v1",
    )


@pytest.fixture(scope="module")
def profile(stage: Stage, things: Any) -> Any:
    return stage.a_profile(things)


def _basic(token: str) -> str:
    return "Basic " + b64encode(f"API-Token:{token}".encode()).decode()


FORMS: dict[str, Callable[[str], dict[str, str]]] = {
    "api-token": lambda token: {"API-TOKEN": token},
    "any case": lambda token: {"aPi-ToKeN": token},
    "bearer": lambda token: {"Authorization": f"Bearer {token}"},
    "basic": lambda token: {"Authorization": _basic(token)},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_token_opens_in_each_form_and_is_not_forwarded(
    stage: Stage, upstream: Upstream, profile: Any, form: str
) -> None:
    for _ in range(3):
        answer = stage.call("/things-v1/things/5", headers=FORMS[form](profile["secret"]))
        assert answer.status == 200
        seen = upstream.seen[-1]
        assert seen.target == "/things/5"
        assert not seen.header("authorization")
        assert not seen.header("api-token")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"API-TOKEN": "x"},
        {"API-TOKEN": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Digest abc"},
        {"Authorization": "Basic " + b64encode(b"someone:secret").decode()},
        {"API-TOKEN": "ost_" + "A" * 61},
    ],
    ids=["none", "unknown", "empty", "empty bearer", "digest", "other user", "forged"],
)
@pytest.mark.parametrize("path", ["/things-v1/things", "/nothing-here", "/"])
def test_a_stranger_learns_nothing_of_what_exists(
    stage: Stage, things: Any, headers: dict[str, str], path: str
) -> None:
    answer = stage.call(path, headers=headers)
    assert answer.status == 401
    assert answer.json["reason"] == "unauthorized"
    assert answer.json["request_id"]
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_more_than_one_credential_is_refused(stage: Stage, profile: Any) -> None:
    token = profile["secret"]
    both = {"API-TOKEN": token, "Authorization": f"Bearer {token}"}
    assert stage.call("/things-v1/things", headers=both).status == 400
    twice = (
        f"GET /things-v1/things HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"API-TOKEN: {token}\r\nAPI-TOKEN: {token}\r\n\r\n"
    )
    assert b"400" in raw(stage.gateway, twice.encode()).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/things-v1/things", 200),
        ("HEAD", "/things-v1/things", 200),
        ("POST", "/things-v1/things", 200),
        ("GET", "/things-v1/things/a%20b", 200),
        ("GET", "/things-v1/things/1/parts", 200),
        ("GET", "/things-v1/things/1/parts/2", 200),
        ("GET", "/things-v1/any/x/1/y/z", 200),
        ("GET", "/things-v1/things/", 404),
        ("GET", "/things-v1/django/", 200),
        ("GET", "/things-v1/django", 404),
        ("GET", "/things-v1/django/5/", 200),
        ("GET", "/things-v1/django/5", 404),
        ("GET", "/things-v1/django/./5/x/../", 200),
        ("GET", "/things-v1/other", 404),
        ("GET", "/things-v1", 404),
        ("GET", "/other/things", 404),
        ("DELETE", "/things-v1/things", 405),
        ("DELETE", "/things-v1/things/7", 405),
        ("GET", "/things-v1/a%2fb", 400),
        ("GET", "/things-v1/a%5Cb", 400),
        ("GET", "/things-v1//things", 400),
        ("GET", "/things-v1/things;x", 400),
        ("GET", "/things-v1/things%00", 400),
        ("GET", "/things-v1/%zz", 400),
        ("GET", "/other/../things-v1/things", 200),
        ("GET", "/things-v1/%74hings", 200),
        ("GET", "/things-v1/things/%2e%2e/things", 200),
        ("GET", "/THINGS-V1/things", 404),
    ],
)
def test_paths_mean_one_thing(
    stage: Stage, profile: Any, method: str, path: str, status: int
) -> None:
    answer = stage.call(path, profile["secret"], method=method)
    assert answer.status == status, answer.body


def test_what_is_decided_on_is_what_is_forwarded(
    stage: Stage, upstream: Upstream, profile: Any
) -> None:
    stage.call("/things-v1/x/../things/%41%7e%c3%a9?q=a%2Fb&r=//", profile["secret"])
    assert upstream.seen[-1].target == "/things/A~%C3%A9?q=a%2Fb&r=//"


def test_a_slash_at_the_end_is_forwarded(stage: Stage, upstream: Upstream, profile: Any) -> None:
    assert stage.call("/things-v1/django/5/?a=/b/", profile["secret"]).status == 200
    assert upstream.seen[-1].target == "/django/5/?a=/b/"


def test_405_names_the_methods(stage: Stage, profile: Any) -> None:
    answer = stage.call("/things-v1/things", profile["secret"], method="DELETE")
    assert answer.headers["allow"] == "GET,HEAD,POST"


def test_the_upstream_is_told_who_calls_and_nobody_else_can_tell_it(
    stage: Stage, upstream: Upstream, profile: Any
) -> None:
    lies = {
        "X-Ostiary-Client": "999",
        "x-ostiary-profile": "999",
        "X-OSTIARY-Anything": "999",
        "X-Forwarded-For": "9.9.9.9",
        "X-Real-IP": "9.9.9.9",
        "Forwarded": "for=9.9.9.9",
        "Connection": "keep-alive, X-Ostiary-Client",
    }
    stage.call("/things-v1/things", profile["secret"], headers=lies)
    seen = upstream.seen[-1]
    assert seen.header("X-Ostiary-Client") == [str(profile["api_client_id"])]
    assert seen.header("X-Ostiary-Profile") == [str(profile["id"])]
    assert len(seen.header("X-Ostiary-Request-Id")) == 1
    assert seen.header("X-Forwarded-For") == ["127.0.0.1"]
    assert not any("9.9.9.9" in value or "999" in value for _, value in seen.headers)
    assert not any("x-ostiary" in value.lower() for value in seen.header("connection"))


def test_a_header_with_an_underscore_does_not_pass_for_ours(
    stage: Stage, upstream: Upstream, profile: Any
) -> None:
    before = len(upstream.seen)
    answer = stage.call("/things-v1/things", profile["secret"], headers={"X_Ostiary_Client": "9"})
    assert answer.status == 400 or not any(
        "x_ostiary_client" == name.lower() for name, _ in upstream.seen[-1].headers
    )
    assert answer.status != 400 or len(upstream.seen) == before


def test_an_absolute_form_target_does_not_choose_the_upstream(
    stage: Stage, upstream: Upstream, profile: Any
) -> None:
    text = (
        "GET http://elsewhere.example/things-v1/things HTTP/1.1\r\nHost: elsewhere.example\r\n"
        f"Connection: close\r\nAPI-TOKEN: {profile['secret']}\r\n\r\n"
    )
    assert b" 200 " in raw(stage.gateway, text.encode()).split(b"\r\n")[0]
    seen = upstream.seen[-1]
    assert seen.target == "/things"
    assert seen.header("Host") == [f"127.0.0.1:{upstream.port}"]


def test_large_bodies_pass_both_ways(stage: Stage, upstream: Upstream, profile: Any) -> None:
    body = b"x" * (8 * 1024 * 1024)
    answer = stage.call("/things-v1/things", profile["secret"], method="POST", body=body)
    assert answer.status == 200
    assert len(upstream.seen[-1].body) == len(body)


def test_a_collection_that_is_not_granted_answers_like_one_that_does_not_exist(
    stage: Stage, upstream: Upstream, profile: Any
) -> None:
    other = stage.a_collection(upstream)
    handle = other["handle"]
    not_granted = stage.call(f"/{handle}/things", profile["secret"])
    unknown = stage.call("/no-such-thing/things", profile["secret"])
    assert not_granted.status == unknown.status == 404
    ours, theirs = not_granted.json, unknown.json
    assert {**ours, "request_id": ""} == {**theirs, "request_id": ""}


def test_an_inactive_endpoint_is_not_there_until_it_is_enabled(
    stage: Stage, things: Any, profile: Any
) -> None:
    path = f"api_collections/{things['id']}/api_endpoints"
    endpoint = stage.done("POST", path, {"name": "n", "method": "GET", "path": "new"})
    assert stage.call("/things-v1/new", profile["secret"]).status == 404
    stage.done("PUT", f"api_endpoints/{endpoint['id']}/enable")
    assert stage.call("/things-v1/new", profile["secret"]).status == 200
    stage.done("PUT", f"api_endpoints/{endpoint['id']}/disable")
    assert stage.call("/things-v1/new", profile["secret"]).status == 404


def test_upstream_errors_pass_and_a_dead_upstream_is_a_bad_gateway(
    stage: Stage, upstream: Upstream, profile: Any
) -> None:
    for status in (404, 500, 503):
        answer = stage.call(f"/things-v1/status/{status}", profile["secret"])
        assert answer.status == status
        assert "reason" not in answer.json
    gone = Upstream()
    collection = stage.a_collection(gone)
    gone.close()
    dead = stage.a_profile(collection)
    answer = stage.call(f"/{collection['handle']}/things", dead["secret"])
    assert answer.status == 502
    assert answer.json["reason"] == "upstream_unavailable"


def test_a_slow_upstream_is_a_gateway_timeout(
    stage: Stage, upstream: Upstream, things: Any
) -> None:
    connection = stage.done(
        "POST",
        "connections",
        {"name": "Slow", "input": {"base_url": upstream.url, "timeout_seconds": 1}},
    )
    collection = stage.done(
        "POST", "api_collections", {"name": "Slow", "proxy_connection_id": connection["id"]}
    )
    stage.an_endpoint(collection, "GET /slow")
    profile = stage.a_profile(collection)
    answer = stage.call("/slow-v1/slow", profile["secret"])
    assert answer.status == 504
    assert answer.json["reason"] == "upstream_timeout"


def test_a_collection_without_an_upstream_says_so(stage: Stage) -> None:
    document = '{"openapi": "3.0.0", "paths": {"/x": {"get": {}}}}'
    collection = stage.done(
        "POST",
        "api_collections",
        {"name": "Later", "openapi_spec": {"content": document, "format": "json"}},
    )
    endpoints = stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
    stage.done("PUT", f"api_endpoints/{endpoints[0]['id']}/enable")
    profile = stage.a_profile(collection)
    answer = stage.call(f"/{collection['handle']}/x", profile["secret"])
    assert answer.status == 503
    assert answer.json["reason"] == "upstream_missing"


def test_a_connection_adds_its_credential_and_its_path(stage: Stage, upstream: Upstream) -> None:
    given = {
        "base_url": f"{upstream.url}/base",
        "auth_type": "header",
        "auth_name": "X-API-Key",
        "auth_secret": "upstream-secret",
    }
    connection = stage.done("POST", "connections", {"name": "Keyed", "input": given})
    assert "upstream-secret" not in str(connection)
    collection = stage.done(
        "POST", "api_collections", {"name": "Keyed", "proxy_connection_id": connection["id"]}
    )
    stage.an_endpoint(collection, "GET /a/{id}", target_path="/b/{id}/c")
    profile = stage.a_profile(collection)
    assert stage.call("/keyed-v1/a/7?x=1", profile["secret"]).status == 200
    seen = upstream.seen[-1]
    assert seen.target == "/base/b/7/c?x=1"
    assert seen.header("X-API-Key") == ["upstream-secret"]
    assert seen.header("Host") == [f"127.0.0.1:{upstream.port}"]


def test_live_changes_drop_no_call(stage: Stage, upstream: Upstream, profile: Any) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        while not stop.is_set():
            statuses.append(stage.call("/things-v1/things", profile["secret"]).status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        stage.a_collection(upstream)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_forwarded_addresses_are_believed_from_trusted_proxies_alone(
    stage: Stage, upstream: Upstream, things: Any
) -> None:
    profile = stage.a_profile(things, ip_allow_list=["198.51.100.7", "127.0.9.9"])
    token = profile["secret"]

    def calls(forwarded: str, source: str = "127.0.8.8") -> int:
        headers = {"X-Forwarded-For": forwarded}
        return stage.call("/things-v1/things", token, headers=headers, source=source).status

    assert calls("198.51.100.7") == 403
    stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.8.0/24", "203.0.113.0/24"]})
    try:
        assert calls("198.51.100.7") == 200
        assert upstream.seen[-1].header("X-Forwarded-For") == ["198.51.100.7"]
        assert calls("198.51.100.7, 203.0.113.5") == 200
        assert calls("198.51.100.7, 192.0.2.1") == 403
        assert calls("198.51.100.7, , 203.0.113.5, ") == 200
        assert calls("6.6.6.6, 198.51.100.7, 203.0.113.5") == 200
        assert calls("198.51.100.7", source="127.0.7.7") == 403
        for nonsense in ("198.51.100.7, x", "198.51.100.07", "unknown", "1.2.3"):
            assert calls(nonsense) == 403, nonsense
    finally:
        stage.done("PUT", "v2/settings", {"trusted_proxies": []})
    assert calls("198.51.100.7") == 403


def test_every_call_through_a_trusted_proxy_tells_the_upstream_its_own_caller(
    stage: Stage, upstream: Upstream, things: Any
) -> None:
    profile = stage.a_profile(things)

    def call(*, source: str, **headers: str) -> list[str]:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = stage.call("/things-v1/things/5", profile["secret"], headers=told, source=source)
        assert answer.status == 200
        return upstream.seen[-1].header("X-Forwarded-For")

    stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.8.0/24"]})
    try:
        # The first calls of each take longer ways than those that follow.
        for number in range(4):
            for caller in ("198.51.100.7", "2001:db8::7"):
                forwarded = f"6.6.6.{number}, {caller}"
                assert call(source="127.0.8.8", X_Forwarded_For=forwarded) == [caller]
            assert call(source="127.0.8.8") == ["127.0.8.8"]
            assert call(source="127.0.7.7", X_Forwarded_For="198.51.100.7") == ["127.0.7.7"]
            assert upstream.seen[-1].header("X-Ostiary-Profile") == [str(profile["id"])]
    finally:
        stage.done("PUT", "v2/settings", {"trusted_proxies": []})
    for _ in range(2):
        assert call(source="127.0.8.8", X_Forwarded_For="198.51.100.7") == ["127.0.8.8"]


def test_a_connection_may_add_its_credential_in_any_header_or_in_the_query(
    stage: Stage, upstream: Upstream
) -> None:
    for number, (kind, name, expected) in enumerate(
        (("header", "X-Own-Key", "header"), ("query", "api_key", "query"), ("basic", "me", "basic"))
    ):
        given = {
            "base_url": upstream.url,
            "auth_type": kind,
            "auth_name": name,
            "auth_secret": "s3cret",
        }
        connection = stage.done("POST", "connections", {"name": f"Auth {kind}", "input": given})
        collection = stage.done(
            "POST",
            "api_collections",
            {"name": f"Auth {number}", "proxy_connection_id": connection["id"]},
        )
        stage.an_endpoint(collection, "GET /things")
        profile = stage.a_profile(collection)
        assert stage.call(f"/{collection['handle']}/things?a=1", profile["secret"]).status == 200
        seen = upstream.seen[-1]
        if expected == "header":
            assert seen.header("X-Own-Key") == ["s3cret"]
        elif expected == "query":
            assert seen.target == "/things?a=1&api_key=s3cret"
        else:
            assert seen.header("Authorization") == ["Basic " + b64encode(b"me:s3cret").decode()]


def test_browsers_may_call_from_the_origins_of_the_collection_alone(
    stage: Stage, upstream: Upstream
) -> None:
    collection = stage.a_collection(
        upstream, name="Pages", handle="pages-v1", cors_origins=["https://app.example"]
    )
    token = stage.a_profile(collection)["secret"]
    asking = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "api-token,content-type",
    }
    answer = stage.call("/pages-v1/things", method="OPTIONS", headers=asking)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-headers"] == "api-token,content-type"
    other = {**asking, "Origin": "https://evil.example"}
    answer = stage.call("/pages-v1/things", method="OPTIONS", headers=other)
    assert answer.status == 401
    assert "access-control-allow-origin" not in answer.headers
    for headers, allowed in (
        ({"Origin": "https://app.example"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({}, False),
    ):
        answer = stage.call("/pages-v1/things", token, headers=headers)
        assert answer.status == 200
        assert ("access-control-allow-origin" in answer.headers) == allowed
        refused = stage.call("/pages-v1/things", "wrong", headers=headers)
        assert refused.status == 401
        assert ("access-control-allow-origin" in refused.headers) == allowed


def test_a_websocket_passes_and_is_counted_once(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = stage.done(
            "POST",
            "connections",
            {"name": "WS", "input": {"base_url": f"http://127.0.0.1:{server.getsockname()[1]}"}},
        )
        collection = stage.done(
            "POST",
            "api_collections",
            {"name": "WS", "handle": "ws-v1", "proxy_connection_id": connection["id"]},
        )
        stage.an_endpoint(collection, "GET /socket")
        policy = stage.a_policy(quota=(10, "month"))
        profile = stage.a_profile(collection, api_policy_id=policy["id"])
        got: list[bytes] = []

        def serve() -> None:
            while True:
                peer, _ = server.accept()
                with peer:
                    head = peer.recv(65536)
                    # A health check connects, and says nothing.
                    if not head:
                        continue
                    got.append(head)
                    peer.sendall(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                        b"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                        b"\r\n\r\n"
                    )
                    for _ in range(3):
                        peer.sendall(peer.recv(100).upper())
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with socket.create_connection(("127.0.0.1", stage.gateway), timeout=10) as sock:
            sock.sendall(
                b"GET /ws-v1/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                + f"API-TOKEN: {profile['secret']}\r\n\r\n".encode()
            )
            head = sock.recv(65536)
            assert b" 101 " in head.split(b"\r\n")[0]
            assert b'"quota";r=9' in head
            for word in (b"one", b"two", b"three"):
                sock.sendall(word)
                assert sock.recv(100) == word.upper()
        thread.join(timeout=10)
        assert b"API-TOKEN" not in got[0].upper()


def test_answers_stream_as_they_come(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = stage.done(
            "POST",
            "connections",
            {"name": "Str", "input": {"base_url": f"http://127.0.0.1:{server.getsockname()[1]}"}},
        )
        collection = stage.done(
            "POST",
            "api_collections",
            {"name": "Str", "handle": "stream-v1", "proxy_connection_id": connection["id"]},
        )
        stage.an_endpoint(collection, "GET /events")
        token = stage.a_profile(collection)["secret"]
        go_on = threading.Event()

        def serve() -> None:
            while True:
                peer, _ = server.accept()
                with peer:
                    if not peer.recv(65536):
                        continue
                    peer.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
                    )
                    assert go_on.wait(10)
                    peer.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with socket.create_connection(("127.0.0.1", stage.gateway), timeout=10) as sock:
            text = f"GET /stream-v1/events HTTP/1.1\r\nHost: x\r\nAPI-TOKEN: {token}\r\n\r\n"
            sock.sendall(text.encode())
            seen = b""
            while b"first" not in seen:
                seen += sock.recv(65536)
            # The second part has not been sent by anybody yet.
            go_on.set()
            while b"second" not in seen:
                seen += sock.recv(65536)
        thread.join(timeout=10)


def test_connections_to_an_upstream_that_was_just_added_are_used_again(
    stage: Stage, upstream: Upstream
) -> None:
    collection = stage.a_collection(upstream)
    profile = stage.a_profile(collection)
    before = len(upstream.seen)
    consumer = http.client.HTTPConnection("127.0.0.1", stage.gateway)
    for _ in range(20):
        consumer.request(
            "GET", f"/{collection['handle']}/things", headers={"API-TOKEN": profile["secret"]}
        )
        answer = consumer.getresponse()
        assert answer.status == 200
        answer.read()
    consumer.close()
    assert len({seen.port for seen in upstream.seen[before:]}) <= 3
