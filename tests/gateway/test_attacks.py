"""What an attacker tries at the door, from outside: real nginx, real authority, real upstream."""

import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.stage import Stage, Upstream, ask, raw

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Things", handle="things-v1")


@pytest.fixture(scope="module")
def token(stage: Stage, things: Any) -> str:
    return str(stage.a_profile(things)["secret"])


def _sent(stage: Stage, token: str, *lines: str) -> bytes:
    """A call with header lines as they are; the whole answer."""
    head = ["GET /things-v1/things HTTP/1.1", "Host: x", f"API-TOKEN: {token}", *lines]
    # The second call ends the connection, also where a header of the first is not to say so.
    end = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return raw(stage.gateway, ("\r\n".join(head) + "\r\n\r\n" + end).encode())


@pytest.mark.parametrize("form", ["API-TOKEN", "Authorization"])
def test_the_digest_of_a_credential_opens_nothing_while_the_credential_is_in_use(
    stage: Stage, things: Any, form: str
) -> None:
    """Digests are what the database holds, and what a lease is found by."""
    token = f"held-by-a-consumer-since-long-ago-{form}"
    stage.a_profile(things, token=token)
    bearer = "Bearer " if form == "Authorization" else ""
    for _ in range(2):
        answer = stage.call("/things-v1/things", headers={form: bearer + token})
        assert answer.status == 200
    digest = hashlib.sha256(token.encode()).hexdigest()
    for guess in (digest, digest.upper()):
        for letter in ("", "t", "b", "s"):
            for headers in (
                {"API-TOKEN": letter + guess},
                {"Authorization": f"Bearer {letter}{guess}"},
                {"API-TOKEN": f"{letter}{guess}:"},
            ):
                assert stage.call("/things-v1/things", headers=headers).status == 401, headers


SOCKET = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        (("Connection: Upgrade", "Upgrade: websocket", *SOCKET), ["websocket"]),
        (("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", *SOCKET), ["websocket"]),
        (
            (
                "Connection: Upgrade", "Connection: X-Ostiary-Client", "Upgrade: websocket",
                *SOCKET,
            ),
            ["websocket"],
        ),
        (("Connection: X-Ostiary-Client, Upgrade", "Upgrade: websocket", *SOCKET), ["websocket"]),
        (("Connection: Upgrade", "Upgrade: h2c"), []),
        (
            (
                "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            ),
            [],
        ),
        (("Connection: Upgrade", "Upgrade: h2c, websocket", *SOCKET), []),
        (("Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket", *SOCKET), []),
        (("Connection: Upgrade", "Upgrade: something-else"), []),
        (("Connection: X-Ostiary-Client", "Connection: X-Ostiary-Profile"), []),
    ],
    ids=[
        "websocket", "firefox", "named beside it", "named in it", "h2c", "h2c whole", "both",
        "both apart", "another", "no upgrade",
    ],
)  # fmt: skip
def test_only_a_websocket_can_be_asked_for_and_no_header_of_ours_is_given_up(
    stage: Stage, upstream: Upstream, token: str, lines: tuple[str, ...], upgrade: list[str]
) -> None:
    """Any other protocol would carry calls that nobody decides on."""
    assert b" 200 " in _sent(stage, token, *lines).split(b"\r\n")[0]
    seen = upstream.seen[-1]
    assert seen.header("upgrade") == upgrade
    assert [value.lower() for value in seen.header("connection")] == ["upgrade"] * len(upgrade)
    assert not seen.header("http2-settings")
    assert len(seen.header("x-ostiary-client")) == 1


@pytest.mark.parametrize(
    "name",
    [
        "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Remote-IP", "X-Remote-Addr",
        "X-Originating-IP", "True-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6",
        "Fastly-Client-IP", "Fly-Client-IP", "Client-IP", "WL-Proxy-Client-IP",
        "X-ProxyUser-IP", "X-Azure-ClientIP", "X-Envoy-External-Address", "X-Appengine-User-IP",
        "Forwarded", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Original-Forwarded-For",
        "X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Original-Host",
        "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
    ],
)  # fmt: skip
def test_no_header_of_a_caller_tells_another_address_path_or_method(
    stage: Stage, upstream: Upstream, token: str, name: str
) -> None:
    for spelling in (name, name.upper()):
        answer = stage.call("/things-v1/things", token, headers={spelling: "9.9.9.9"})
        assert answer.status == 200
        # What the gateway says of its own address under some of these names is not the caller's.
        assert "9.9.9.9" not in upstream.seen[-1].header(name)


def test_an_ordinary_header_of_like_name_passes(
    stage: Stage, upstream: Upstream, token: str
) -> None:
    for name in ("X-Real-IP-2", "X-Client", "X-Original", "Client-IP-Info", "My-X-Real-IP"):
        stage.call("/things-v1/things", token, headers={name: "kept"})
        assert upstream.seen[-1].header(name) == ["kept"]


def test_a_header_name_that_could_be_taken_for_another_does_not_reach_the_upstream(
    stage: Stage, upstream: Upstream, token: str
) -> None:
    for name in ("X_Ostiary_Client", "X.Ostiary.Client", "X-Ostiary_Client", "X_Forwarded_For"):
        answer = stage.call("/things-v1/things", token, headers={name: "9"})
        assert answer.status == 200
        seen = upstream.seen[-1]
        assert not seen.header(name)
        assert seen.header("X-Ostiary-Client") != ["9"]


class Relay:
    """A proxy behind the gateway that sends every call back to it, as it came."""

    def __init__(self, gateway: int) -> None:
        self.passed = 0
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                relay.passed += 1
                kept = {"api-token", "cdn-loop"}
                lines = {k: v for k, v in self.headers.items() if k.lower() in kept}
                answer = ask(gateway, "GET", self.path, headers=lines)
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_call_that_comes_back_is_refused_at_its_second_pass(stage: Stage) -> None:
    relay = Relay(stage.gateway)
    url = f"http://127.0.0.1:{relay.server.server_address[1]}/loop-v1"
    connection = stage.done("POST", "connections", {"name": "Loop", "input": {"base_url": url}})
    collection = stage.done(
        "POST",
        "api_collections",
        {
            "name": "Loop", "handle": "loop-v1", "proxy_connection_id": connection["id"],
            "forward_credential": True,
        },
    )  # fmt: skip
    stage.an_endpoint(collection, "GET /things")
    token = stage.a_profile(collection)["secret"]
    # The first call of each way: without a lease, and by the fast path.
    for passes in (1, 2):
        answer = stage.call("/loop-v1/things", token)
        assert (answer.status, answer.json["reason"]) == (508, "loop_detected")
        assert relay.passed == passes
    relay.server.shutdown()
    relay.server.server_close()


def test_a_chain_of_two_workspaces_works_and_is_told_on(
    stage: Stage, upstream: Upstream, things: Any, token: str
) -> None:
    def told(*lines: str) -> tuple[int, list[str]]:
        upstream.seen.clear()
        answer = _sent(stage, token, *lines)
        assert answer.startswith(b"HTTP/1.1 ")
        seen = (
            [v for k, v in upstream.seen[-1].headers if k.lower() == "cdn-loop"]
            if upstream.seen
            else []
        )
        return int(answer.split()[1]), seen

    status, (own,) = told()
    assert status == 200
    assert re.fullmatch(r"ostiary-[0-9a-f]{16}", own)
    other = "ostiary-0123456789abcdef"
    assert told(f"CDN-Loop: {other}") == (200, [f"{other}, {own}"])
    assert told("CDN-Loop: a; x=1", f"CDN-Loop: {other}") == (200, [f"a; x=1, {other}, {own}"])
    assert told(f"CDN-Loop: {own}x, x{own}") == (200, [f"{own}x, x{own}, {own}"])
    for line in (own, f"a, {own}", f"{own};n=1, b", f" {own} ,b"):
        assert told(f"CDN-Loop: {line}") == (508, []), line
    assert told("CDN-Loop: a", f"CDN-Loop: {own}") == (508, [])


def test_a_name_of_this_machine_does_not_lead_back_to_our_own_ports(stage: Stage) -> None:
    """By what it resolves to: whatever name it is, and whatever address of this machine."""
    for number, host in enumerate((socket.gethostname(), "localhost.localdomain", "127.9.8.7")):
        for port in (stage.gateway, stage.control):
            given = {"base_url": f"http://{host}:{port}/x"}
            name = f"Back {number} {port}"
            answer = stage.api("POST", "connections", {"name": name, "input": given})
            if answer.status == 400:
                assert "own ports" in str(answer.json)
                continue
            collection = stage.done(
                "POST",
                "api_collections",
                {
                    "name": name,
                    "proxy_connection_id": answer.json["id"],
                    "forward_credential": True,
                },
            )
            stage.an_endpoint(collection, "GET /things")
            secret = stage.a_profile(collection)["secret"]
            assert stage.call(f"/{collection['handle']}/things", secret).status in {502, 503}
