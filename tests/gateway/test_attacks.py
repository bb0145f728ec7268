"""What an attacker tries at the door, from outside: real nginx, real authority, real upstream."""

import hashlib
from typing import Any

import pytest
from tests.stage import Stage, Upstream, raw

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
        assert not upstream.seen[-1].header(name)


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
