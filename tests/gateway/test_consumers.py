"""Consumers of other gateways call as they always did: other places of a key, Authorization that is the
upstream's, pages of browsers, and an id on every answer.
"""

import base64
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.stage import Answer, Stage, Upstream, ask, raw, wait_for

from ostiary.access.reasons import Reason, describe

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PLACES = [
    "X-API-Key", "apikey", "Ocp-Apim-Subscription-Key", "Authorization: ApiKey", "Authorization: Token",
    "Authorization", "?api_key", "?subscription-key", "Sec-WebSocket-Protocol: ostiary.token.",
]  # fmt: skip


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, credential_places=PLACES)


@pytest.fixture(scope="module")
def plain(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream)


@pytest.fixture(scope="module")
def token(stage: Stage, things: Any, plain: Any) -> str:
    return str(stage.a_profile(things, plain)["secret"])


def _call(stage: Stage, target: str, *lines: tuple[str, str]) -> int:
    sent = "".join(f"{name}: {value}\r\n" for name, value in lines)
    call = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{sent}\r\n"
    return int(raw(stage.gateway, call.encode("latin-1")).split(b" ")[1])


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


# --- places of a key -------------------------------------------------------------------------------

#: Header lines and query with a token; status where the places are allowed, and where they are not.
CASES: dict[str, tuple[list[tuple[str, str]], str, int, int]] = {
    "X-API-Key": ([("X-API-Key", "T")], "", 200, 401),
    "another case": ([("x-api-KEY", "T")], "", 200, 401),
    "apikey": ([("apikey", "T")], "", 200, 401),
    "Azure's header": ([("Ocp-Apim-Subscription-Key", "T")], "", 200, 401),
    "scheme": ([("Authorization", "ApiKey T")], "", 200, 401),
    "scheme in another case": ([("Authorization", "token T")], "", 200, 401),
    "another scheme": ([("Authorization", "Key T")], "", 401, 401),
    "no scheme": ([("Authorization", "T")], "", 200, 401),
    "bearer": ([("Authorization", "Bearer T")], "", 200, 200),
    "usual": ([("API-TOKEN", "T")], "", 200, 200),
    "parameter": ([], "?api_key=T", 200, 401),
    "parameter among others": ([], "?a=1&subscription-key=T&b=%20", 200, 401),
    "escaped parameter": ([], "?api%5Fkey=T", 200, 401),
    "empty parameter": ([], "?api_key=", 401, 401),
    "parameter in another case": ([], "?API_KEY=T", 401, 401),
    "two parameters": ([], "?api_key=T&api_key=T", 400, 401),
    "two headers": ([("X-API-Key", "T"), ("apikey", "T")], "", 400, 401),
    "header twice": ([("X-API-Key", "T"), ("X-API-Key", "T")], "", 400, 401),
    "header and usual": ([("X-API-Key", "T"), ("API-TOKEN", "T")], "", 400, 200),
    "header and parameter": ([("X-API-Key", "T")], "?api_key=T", 400, 401),
    "usual and parameter": ([("API-TOKEN", "T")], "?api_key=T", 400, 200),
    "empty one beside": ([("X-API-Key", ""), ("API-TOKEN", "T")], "", 400, 200),
    "subprotocol": ([("Sec-WebSocket-Protocol", "chat, ostiary.token.T")], "", 200, 401),
    "two subprotocols": (
        [("Sec-WebSocket-Protocol", "ostiary.token.T"), ("Sec-WebSocket-Protocol", "ostiary.token.T")],
        "", 400, 401,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_key_comes_where_its_owner_lets_it(
    stage: Stage, upstream: Upstream, things: Any, plain: Any, token: str, case: str
) -> None:
    lines, query, allowed, usual = CASES[case]
    sent = _with(lines, token)
    for collection, status in ((things, allowed), (plain, usual)):
        upstream.seen.clear()
        target = f"/{collection['handle']}/things{query.replace('=T', '=' + token)}"
        assert _call(stage, target, *sent) == status
        if status == 200 and collection is things:
            [seen] = upstream.seen
            assert token not in json.dumps([seen.target, *seen.headers])
            assert "api_key" not in seen.target


def _with(lines: list[tuple[str, str]], token: str) -> list[tuple[str, str]]:
    """The lines with the token where `T` stands as a word."""
    return [(name, re.sub(r"\bT\b", token, value)) for name, value in lines]


def test_what_is_beside_a_key_goes_on(
    stage: Stage, upstream: Upstream, things: Any, token: str
) -> None:
    upstream.seen.clear()
    query = f"?a=%20b&api_key={token}&c"
    lines = [("Sec-WebSocket-Protocol", "chat"), ("X-Other", "1")]
    assert _call(stage, f"/{things['handle']}/things{query}", *lines) == 200
    [seen] = upstream.seen
    assert seen.target == "/things?a=%20b&c"
    assert (seen.header("Sec-WebSocket-Protocol"), seen.header("X-Other")) == (["chat"], ["1"])
    lines = [("Sec-WebSocket-Protocol", f"chat,  ostiary.token.{token} , ostiary.token, other")]
    assert _call(stage, f"/{things['handle']}/things", *lines) == 200
    assert upstream.seen[-1].header("Sec-WebSocket-Protocol") == ["chat, other"]


def test_the_workspace_s_places_are_those_of_collections_without_their_own(
    stage: Stage, things: Any, plain: Any, token: str
) -> None:
    answer = stage.done("PUT", "v2/settings", {"credential_places": ["x-key", "?api_key"]})
    try:
        assert answer["data"]["credential_places"] == ["x-key", "?api_key"]
        assert "in every URL" in answer["warnings"][0]
        assert _call(stage, f"/{plain['handle']}/things", ("X-Key", token)) == 200
        assert _call(stage, f"/{plain['handle']}/things?api_key={token}") == 200
        assert _call(stage, f"/{things['handle']}/things", ("X-Key", token)) == 401
        stage.done("PUT", f"api_collections/{plain['id']}", {"credential_places": []})
        assert _call(stage, f"/{plain['handle']}/things", ("X-Key", token)) == 401
        changed = stage.done(
            "PUT", f"api_collections/{plain['id']}", {"credential_places": "inherited"}
        )
        assert changed["credential_places"] is None
        assert _call(stage, f"/{plain['handle']}/things", ("X-Key", token)) == 200
    finally:
        stage.done("PUT", "v2/settings", {"credential_places": []})
    assert _call(stage, f"/{plain['handle']}/things", ("X-Key", token)) == 401


@pytest.mark.parametrize(
    "place",
    [
        "Host", "Cookie", "Content-Length", "Connection", "Transfer-Encoding", "X-Forwarded-For", "X-Ostiary-Key",
        "X_Api_Key", "Proxy-Authorization", "API-TOKEN", "Authorization: Bearer", "Authorization: Basic",
        "Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: a b", "Origin", "X-API-Key: x", "?", "?a=b", "", "a b",
    ],
)  # fmt: skip
def test_what_no_key_can_come_in_is_refused(stage: Stage, place: str) -> None:
    answer = stage.api("PUT", "v2/settings", {"credential_places": [place]})
    assert answer.status == 400
    assert "credential_places" in answer.json["errors"]


def test_a_key_in_a_url_is_in_no_log(
    stage: Stage, upstream: Upstream, tmp_path: Path, token: str, things: Any
) -> None:
    connection = stage.done(
        "POST", "connections", {"name": "Nobody", "input": {"base_url": "http://127.0.0.1:9"}}
    )
    dead = stage.done(
        "POST",
        "api_collections",
        {
            "name": "Dead", "proxy_connection_id": connection["id"],
            "credential_places": ["?api_key"],
        },
    )  # fmt: skip
    stage.an_endpoint(dead, "GET /things")
    secret = str(stage.a_profile(dead)["secret"])
    answer = ask(stage.gateway, "GET", f"/{dead['handle']}/things?api_key={secret}&b=2")
    assert (answer.status, answer.json["reason"]) == (502, "upstream_unavailable")
    lines = "\n".join(stage.lines)
    wait_for(lambda: "/things?" in "\n".join(stage.lines), what="nginx's error")
    found = [line for line in stage.lines if "/things?" in line]
    assert found and secret not in "\n".join(stage.lines), lines[-500:]
    for file in stage.data.rglob("*"):
        if file.is_file() and file.stat().st_size < 50_000_000:
            assert secret.encode() not in file.read_bytes(), file


def test_a_websocket_of_a_browser_selects_what_was_offered(stage: Stage, token: str) -> None:
    for offered, selected, expected in (
        ("chat, ostiary.token.T, ostiary.token", "chat", ["chat"]),
        ("ostiary.token.T, ostiary.token", "", ["ostiary.token"]),
        ("ostiary.token.T", "", []),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            collection = _websocket_collection(stage, listener.getsockname()[1])
            secret = str(stage.a_profile(collection)["secret"])
            caller = socket.create_connection(("127.0.0.1", stage.gateway), timeout=30)
            protocols = offered.replace("token.T", f"token.{secret}")
            caller.sendall(
                f"GET /{collection['handle']}/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Sec-WebSocket-Protocol: {protocols}\r\n\r\n".encode()
            )
            listener.settimeout(30)
            server, _ = listener.accept()
            head = _head(server)
            assert secret not in head and "ostiary.token" not in head
            chosen = f"Sec-WebSocket-Protocol: {selected}\r\n" if selected else ""
            server.sendall(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{chosen}\r\n".encode()
            )
            answer = _head(caller)
            assert answer.startswith("HTTP/1.1 101")
            assert [
                line.partition(": ")[2]
                for line in answer.splitlines()
                if line.lower().startswith("sec-websocket-protocol")
            ] == expected
            server.close()
            caller.close()


def _websocket_collection(stage: Stage, port: int) -> Any:
    name = f"Sockets {time.monotonic_ns()}"
    connection = stage.done(
        "POST", "connections", {"name": name, "input": {"base_url": f"http://127.0.0.1:{port}"}}
    )
    collection = stage.done(
        "POST",
        "api_collections",
        {
            "name": name, "proxy_connection_id": connection["id"],
            "credential_places": ["Sec-WebSocket-Protocol: ostiary.token."],
        },
    )  # fmt: skip
    stage.an_endpoint(collection, "GET /socket")
    return collection


def _head(sock: socket.socket) -> str:
    sock.settimeout(30)
    text = b""
    while b"\r\n\r\n" not in text:
        part = sock.recv(65536)
        assert part, text
        text += part
    return text.decode("latin-1")


# --- consumers of others, as they are ---------------------------------------------------------------


def test_consumers_of_kong_tyk_and_azure_keep_key_and_code(
    stage: Stage, upstream: Upstream
) -> None:
    places = [
        "apikey", "?apikey", "Authorization", "Ocp-Apim-Subscription-Key", "?subscription-key",
    ]  # fmt: skip
    collection = stage.a_collection(upstream, credential_places=places)
    keys = {
        "kong": "q2kXyVVT0zGmBqOQ0LZk3UvwmE5ZPd2b",
        "tyk": "5e9d9544a1dcd60001d0ed20e7f75f9e03534825b7aef9df749582e5",
        "azure": "8f2c1d0e9b7a4655a3c2d1e0f9b8a7c6",
    }
    for key in keys.values():
        stage.done(
            "POST",
            "api_access_profiles",
            {
                "name": f"Moved {key[:6]}",
                "api_client_id": stage.a_client(f"Client of {key[:6]}")["id"],
                "api_collection_ids": [collection["id"]],
                "auth_type": "token",
                "token": key,
            },
        )
    target = f"/{collection['handle']}/things"
    calls: list[tuple[str, list[tuple[str, str]]]] = [
        (target, [("apikey", keys["kong"])]),
        (f"{target}?apikey={keys['kong']}", []),
        (target, [("Authorization", keys["tyk"])]),
        (target, [("Authorization", f"Bearer {keys['tyk']}")]),
        (target, [("Ocp-Apim-Subscription-Key", keys["azure"])]),
        (f"{target}?subscription-key={keys['azure']}&page=2", []),
    ]
    for called, lines in calls:
        assert _call(stage, called, *lines) == 200, (called, lines)


# --- Authorization that is the upstream's -----------------------------------------------------------


def test_authorization_can_be_left_to_the_upstream(
    stage: Stage, upstream: Upstream, token: str
) -> None:
    collection = stage.a_collection(
        upstream, leave_authorization=True, credential_places=["X-API-Key"]
    )
    profile = stage.a_profile(collection)
    secret = str(profile["secret"])
    target = f"/{collection['handle']}/things"
    for theirs in ("Bearer a.user.token", _basic("me:secret"), "Digest x=1, y=2"):
        for name in ("API-TOKEN", "X-API-Key"):
            upstream.seen.clear()
            assert _call(stage, target, (name, secret), ("Authorization", theirs)) == 200
            [seen] = upstream.seen
            assert seen.header("Authorization") == [theirs]
            assert not seen.header("API-TOKEN") and not seen.header("X-API-Key")
    assert _call(stage, target, ("Authorization", f"Bearer {secret}")) == 401
    twice = [("API-TOKEN", secret), ("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    assert _call(stage, target, *twice) == 400
    document = stage.done("GET", f"api_collections/{collection['id']}/openapi.json")
    assert list(document["components"]["securitySchemes"]) == ["apiToken"]


def test_authorization_is_not_left_to_an_upstream_that_gets_ours(
    stage: Stage, upstream: Upstream
) -> None:
    basic = {"auth_type": "basic", "auth_name": "me", "auth_secret": "s3cret"}
    made = stage.api(
        "POST", "connections", {"name": "Basic", "input": {"base_url": upstream.url, **basic}}
    )
    assert made.status == 200, made.body
    answer = stage.api(
        "POST",
        "api_collections",
        {"name": "Both", "proxy_connection_id": made.json["id"], "leave_authorization": True},
    )
    assert answer.status == 400
    assert "leave_authorization" in answer.json["errors"]


# --- pages of browsers --------------------------------------------------------------------------------


def _from(stage: Stage, target: str, origin: str, **more: Any) -> Answer:
    headers = {"Origin": origin, **more.pop("headers", {})}
    return ask(stage.gateway, more.pop("method", "GET"), target, headers=headers, **more)


def _allowed(answer: Answer) -> list[str]:
    return [v for k, v in answer.lines if k.lower() == "access-control-allow-origin"]


@pytest.fixture(scope="module")
def pages(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(
        upstream,
        cors_origins=[
            "https://*.example.com", "https://one.test", "capacitor://localhost", "chrome-extension://abcdef", "null",
            "http://*.dev.test:8443",
        ],
        cors_exposed_headers=["X-Total-Count"],
        cors_max_age=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True), ("https://a.b.example.com", True), ("https://example.com", False),
        ("https://evilexample.com", False), ("https://a.example.com.evil.test", False),
        ("http://a.example.com", False), ("https://a.example.com:8443", False),
        ("http://x.dev.test:8443", True), ("http://x.dev.test", False), ("https://one.test", True),
        ("https://evil:1.example.com", False), ("https://.example.com", False),
        ("capacitor://localhost", True), ("chrome-extension://abcdef", True), ("chrome-extension://other", False),
        ("null", True),
    ],
)  # fmt: skip
def test_pages_of_allowed_origins_alone_may_read(
    stage: Stage, pages: Any, origin: str, *, allowed: bool
) -> None:
    target = f"/{pages['handle']}/things"
    for called in (
        target,
        f"/{pages['handle']}/nothing",
        f"/{pages['handle']}//x",
        f"{target}/%2f",
    ):
        assert _allowed(_from(stage, called, origin)) == ([origin] if allowed else []), called
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-api-key"}
    answer = _from(stage, target, origin, method="OPTIONS", headers=asked)
    if allowed:
        assert (answer.status, answer.headers["access-control-max-age"]) == (204, "60")
        assert answer.headers["access-control-allow-headers"] == "x-api-key"
        assert "access-control-allow-credentials" not in answer.headers
    else:
        assert answer.status == 401


def test_every_page_may_read_and_none_with_credentials(stage: Stage, upstream: Upstream) -> None:
    collection = stage.a_collection(upstream, cors_origins=["*"])
    answer = _from(stage, f"/{collection['handle']}/things", "https://anybody.test")
    assert (answer.status, _allowed(answer)) == (401, ["*"])
    change = stage.api("PUT", f"api_collections/{collection['id']}", {"cors_credentials": True})
    assert (change.status, list(change.json["errors"])) == (400, ["cors_credentials"])
    stage.done(
        "PUT",
        f"api_collections/{collection['id']}",
        {"cors_origins": ["https://app.example.com"], "cors_credentials": True},
    )
    secret = str(stage.a_profile(collection)["secret"])
    answer = _from(
        stage,
        f"/{collection['handle']}/things",
        "https://app.example.com",
        headers={"API-TOKEN": secret},
    )
    assert (answer.status, _allowed(answer)) == (200, ["https://app.example.com"])
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://*.com", "https://*", "https://a.*.example.com", "https://*example.com", "https://app.example.com/",
        "https://*.10.0.0.1", "file:///x", "data:x", "wss://app.example.com", "app.example.com", "*.example.com",
        "https://*.*.example.com", "https://app.example.com:99999", "javascript://x", "**",
    ],
)  # fmt: skip
def test_an_origin_that_can_never_match_is_refused(stage: Stage, pages: Any, origin: str) -> None:
    answer = stage.api("PUT", f"api_collections/{pages['id']}", {"cors_origins": [origin]})
    assert (answer.status, list(answer.json["errors"])) == (400, ["cors_origins"])


# --- ids and nginx's own answers ----------------------------------------------------------------------


def test_every_answer_has_a_request_id(stage: Stage, plain: Any, pages: Any, token: str) -> None:
    handle = plain["handle"]
    answers = [
        ask(stage.gateway, "GET", f"/{handle}/things", headers={"API-TOKEN": token}),
        ask(stage.gateway, "GET", f"/{handle}/things"),
        ask(stage.gateway, "GET", f"/{handle}/things/", headers={"API-TOKEN": token}),
        ask(stage.gateway, "GET", "//"),
        ask(stage.gateway, "GET", "/.well-known/oauth-authorization-server"),
        ask(stage.gateway, "TRACE", f"/{handle}/things"),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    for answer, request_id in zip(answers, ids, strict=True):
        if answer.status >= 400 and answer.body:
            assert answer.json["request_id"] == request_id


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, Reason.MALFORMED_REQUEST),
        (b"GE\x01T / HTTP/1.1\r\nHost: x\r\n\r\n", 400, Reason.MALFORMED_REQUEST),
        (b"GET / HTTP/3.1\r\nHost: x\r\n\r\n", 505, Reason.MALFORMED_REQUEST),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, Reason.MALFORMED_REQUEST),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, Reason.HEAD_TOO_LARGE),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
            431,
            Reason.HEAD_TOO_LARGE,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            400,
            Reason.MALFORMED_REQUEST,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            Reason.MALFORMED_REQUEST,
        ),
    ],
    ids=[
        "no host", "method", "version", "trace", "line", "header", "negative length", "coding",
    ],
)  # fmt: skip
def test_what_nginx_refuses_is_answered_as_the_table_of_reasons_says(
    stage: Stage, call: bytes, status: int, reason: Reason
) -> None:
    head, _, body = raw(stage.gateway, call).partition(b"\r\n\r\n")
    row = describe(reason)
    assert int(head.split(b" ")[1]) == status
    assert status in row.statuses
    told = json.loads(body)
    assert (told["message"], told["reason"]) == (row.public.message, row.public.name)
    assert f"X-Request-Id: {told['request_id']}".encode() in head
