"""The PROXY protocol on the gateway's listener: believed of trusted proxies, and of nobody else."""

import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.console.visitor import Visitor
from tests.neighbours.proxies import API, Authority, Files, Ports, block, haproxy
from tests.stage import Stage, Upstream, free_port, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def _v2(address: str, *, command: int = 1) -> bytes:
    """Version 2 (the specification, section 2.2); command 0 is LOCAL."""
    if command == 0:
        return SIGNATURE + bytes([0x20, 0x00]) + struct.pack("!H", 0)
    pair = (
        socket.inet_aton(address) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 51234, 443)
    )
    return SIGNATURE + bytes([0x21, 0x11]) + struct.pack("!H", len(pair)) + pair


@pytest.fixture(scope="module", params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, files: Files, scheme: str) -> Iterator[Stage]:
    env = {"OSTIARY_PROXY_PROTOCOL": "1"}
    if scheme == "https":
        env["OSTIARY_CERTIFICATE"] = str(files.both)
    with running(tmp_path_factory.mktemp("data"), env=env) as stage:
        stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
        yield stage


@pytest.fixture(scope="module")
def endpoint(stage: Stage, upstream: Upstream) -> Any:
    collection = stage.a_collection(upstream, name="Lines", handle="lines-v1")
    return stage.a_profile(collection, ip_allow_list=["203.0.113.7", "2001:db8::7", "127.0.0.0/8"])


class Line:
    """Calls with a line of the PROXY protocol before them."""

    def __init__(self, stage: Stage, authority: Authority, scheme: str, secret: str) -> None:
        self._stage, self._secret = stage, secret
        self._context = authority.context() if scheme == "https" else None

    def call(self, line: bytes, source: str = "127.0.0.1", **headers: str) -> tuple[int, Any]:
        """Status and body; status 0: the connection was closed."""
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = (
            f"GET /lines-v1/things HTTP/1.1\r\nHost: {API}\r\nAPI-TOKEN: {self._secret}\r\n{more}"
            "Connection: close\r\n\r\n"
        )
        plain = socket.create_connection(
            ("127.0.0.1", self._stage.gateway), timeout=60, source_address=(source, 0)
        )
        with plain:
            plain.sendall(line)
            try:
                answer = self._exchanged(plain, head.encode())
            except OSError:
                return 0, None
        if not answer:
            return 0, None
        top, _, body = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), json.loads(body)

    def _exchanged(self, plain: socket.socket, head: bytes) -> bytes:
        with _wrapped(plain, self._context) as sock:
            sock.sendall(head)
            answer = b""
            while part := sock.recv(65536):
                answer += part
            return answer


def _wrapped(plain: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    if context is None:
        return plain
    # The handshake comes with what is sent first: one that fails leaves a socket that somebody closes.
    return context.wrap_socket(plain, server_hostname=API, do_handshake_on_connect=False)


@pytest.fixture
def line(stage: Stage, authority: Authority, scheme: str, endpoint: Any) -> Line:
    return Line(stage, authority, scheme, endpoint["secret"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param(V1, "203.0.113.7", id="v1"),
        pytest.param(V1_IPV6, "2001:db8::7", id="v1 ipv6"),
        pytest.param(_v2("203.0.113.7"), "203.0.113.7", id="v2"),
        pytest.param(b"PROXY UNKNOWN\r\n", "127.0.0.1", id="v1 unknown"),
        pytest.param(_v2("", command=0), "127.0.0.1", id="v2 local"),
    ],
)
def test_a_trusted_proxys_line_is_the_callers_address(
    line: Line, upstream: Upstream, text: bytes, address: str
) -> None:
    for _ in range(3):
        assert line.call(text)[0] == 200
        assert upstream.seen[-1].header("X-Forwarded-For") == [address]


def test_a_line_beside_a_header_is_what_counts(line: Line, upstream: Upstream) -> None:
    assert line.call(V1, X_Forwarded_For="127.0.0.9")[0] == 200
    assert upstream.seen[-1].header("X-Forwarded-For") == ["203.0.113.7"]


@pytest.mark.parametrize("text", [V1, _v2("203.0.113.7")], ids=["v1", "v2"])
def test_anybody_elses_line_is_refused_and_explained(stage: Stage, line: Line, text: bytes) -> None:
    status, told = line.call(text, source="127.0.8.8")
    assert (status, told["reason"]) == (403, "address_not_allowed")
    asked = {"request_id": told["request_id"]}
    wait_for(lambda: stage.api("POST", "v2/explain", asked).status == 200, what="explained")
    explained = json.dumps(stage.done("POST", "v2/explain", asked))
    assert "the peer isn't a trusted proxy" in explained
    assert '"PROXY protocol": "203.0.113.7"' in explained


def test_anybodys_own_call_has_its_own_address(line: Line, upstream: Upstream) -> None:
    assert line.call(b"PROXY UNKNOWN\r\n", source="127.0.8.8")[0] == 200
    assert upstream.seen[-1].header("X-Forwarded-For") == ["127.0.8.8"]


@pytest.mark.parametrize(
    "text",
    [b"", b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2", SIGNATURE],
    ids=["no line", "nonsense", "an unfinished line", "an unfinished head of version 2"],
)
def test_without_a_whole_line_nobody_is_let_in(
    stage: Stage, authority: Authority, scheme: str, endpoint: Any, upstream: Upstream, text: bytes
) -> None:
    before = len(upstream.seen)
    first = f"GET /lines-v1/things HTTP/1.1\r\nHost: x\r\nAPI-TOKEN: {endpoint['secret']}\r\n\r\n".encode()
    if scheme == "https":
        first = _hello(authority.context())
    with socket.create_connection(("127.0.0.1", stage.gateway), timeout=60) as sock:
        try:
            sock.sendall(text + first)
            answer = sock.recv(65536)
        except ConnectionError:
            answer = b""
    # Nothing, or a refusal of nginx in plain text.
    assert not answer or answer.startswith(b"HTTP/1.1 400")
    assert len(upstream.seen) == before


def _hello(context: ssl.SSLContext) -> bytes:
    """What a caller sends first over TLS."""
    sent = ssl.MemoryBIO()
    caller = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=API)
    with contextlib.suppress(ssl.SSLWantReadError):
        caller.do_handshake()
    return sent.read()


def test_who_is_trusted_no_more_is_refused_at_once(stage: Stage, line: Line) -> None:
    stage.done("PUT", "v2/settings", {"trusted_proxies": []})
    try:
        assert line.call(V1)[0] == 403
    finally:
        stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
    assert line.call(V1)[0] == 200


def test_the_console_can_try_an_endpoint(stage: Stage, upstream: Upstream, endpoint: Any) -> None:
    email = "tries@example.com"
    link = stage.command("member", "create", "--email", email, "--admin").strip()
    visitor = Visitor(stage)
    try:
        assert visitor.by_link(link).status_code == 302
        collection = {"id": endpoint["api_collection_ids"][0]}
        number = stage.an_endpoint(collection, "GET /tried")["id"]
        before = len(upstream.seen)
        page = visitor.post(f"/endpoints/{number}/try", profile=str(endpoint["id"]))
        assert page.status_code == 200, page.text
        assert len(upstream.seen) == before + 1
    finally:
        visitor.close()


def test_haproxy_as_the_manual_has_it(
    stage: Stage, authority: Authority, files: Files, upstream: Upstream, endpoint: Any, scheme: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    ports = Ports(console=stage.control, gateway=stage.gateway, proxy=free_port())
    with haproxy(block("haproxy", guide="behind-a-proxy"), tmp_path, ports, files):
        head = (
            f"GET /lines-v1/things HTTP/1.1\r\nHost: {API}\r\nAPI-TOKEN: {endpoint['secret']}\r\n"
            "Connection: close\r\n\r\n"
        )
        with (
            socket.create_connection(
                ("127.0.0.1", ports.proxy), timeout=60, source_address=("127.0.9.9", 0)
            ) as plain,
            _wrapped(plain, authority.context() if scheme == "https" else None) as sock,
        ):
            sock.sendall(head.encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
    assert upstream.seen[-1].header("X-Forwarded-For") == ["127.0.9.9"]
