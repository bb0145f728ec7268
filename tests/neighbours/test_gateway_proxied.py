"""The gateway behind real proxies: streams, bodies, callers' addresses, probes, HTTP/1.0."""

import base64
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tests.neighbours.proxies import API, PROXIES, Authority, Files, Ports
from tests.neighbours.upstream import EVENTS, LARGE, PAUSE, Streamer
from tests.stage import Stage, free_port, raw, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PATHS = ("GET /echo", "POST /echo", "DELETE /echo", "GET /large", "GET /endless", "GET /events",
         "GET /socket")  # fmt: skip
AS_IT_COMES = "nginx as it comes"
#: Address that calls are made from.
CALLER = "127.0.9.9"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Streamer]:
    streamer = Streamer()
    yield streamer
    streamer.close()


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    shared_stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
    return shared_stage


@pytest.fixture(scope="module")
def secret(stage: Stage, upstream: Streamer) -> str:
    made: Any = upstream
    collection = stage.a_collection(made, *PATHS, name="Streams", handle="streams-v1")
    profile = stage.a_profile(collection, ip_allow_list=[CALLER, "127.0.0.1", "203.0.113.7"])
    return str(profile["secret"])


class Front:
    """A proxy, as consumers reach it."""

    def __init__(self, kind: str, port: int, context: ssl.SSLContext, secret: str) -> None:
        self.kind, self.port, self.context, self.secret = kind, port, context, secret

    @contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        with (
            socket.create_connection(
                ("127.0.0.1", self.port), timeout=60, source_address=(CALLER, 0)
            ) as plain,
            self.context.wrap_socket(plain, server_hostname=API) as sock,
        ):
            yield sock

    @contextmanager
    def called(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        with self.connected() as sock:
            connection = http.client.HTTPConnection(API, self.port)
            connection.sock = sock
            headers = {"API-TOKEN": self.secret, **headers}
            connection.request(method, f"/streams-v1{path}", body, headers)
            yield connection.getresponse()


@pytest.fixture(scope="module", params=PROXIES)
def front(
    request: pytest.FixtureRequest,
    stage: Stage,
    authority: Authority,
    files: Files,
    secret: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    ports = Ports(console=stage.control, gateway=stage.gateway, proxy=free_port())
    folder = tmp_path_factory.mktemp("proxy")
    with PROXIES[request.param](folder, ports, files):
        yield Front(request.param, ports.proxy, authority.context(), secret)


@pytest.mark.parametrize("path", ["/large", "/endless"])
def test_an_answer_without_a_length_arrives_whole_and_ends(front: Front, path: str) -> None:
    began = time.monotonic()
    with front.called("GET", path) as answer:
        assert answer.status == 200
        assert len(answer.read()) == LARGE
    assert time.monotonic() - began < 30


def test_events_arrive_one_by_one(front: Front) -> None:
    with front.called("GET", "/events") as answer:
        assert answer.status == 200
        lags = []
        while line := answer.readline():
            if line.startswith(b"data:"):
                lags.append(time.time() - float(line.split()[2]))
        assert len(lags) == EVENTS
        # One that is held back waits for those after it.
        assert lags[0] < PAUSE * (EVENTS - 1)


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_a_body_passes_with_any_method(front: Front, method: str) -> None:
    assert _echoed(front, method, b"x" * 100_000) == {"length": 100_000}


def _echoed(front: Front, method: str, body: bytes) -> Any:
    """What the upstream says of a body.

    Caddy 2.6.2 breaks off about one in a thousand answers to large bodies ("aborting with incomplete
    response"), also when it stands right before the upstream; those are asked for again.
    """
    tries = 3 if front.kind == "caddy" else 1
    for number in range(tries):
        with front.called(method, "/echo", body) as answer:
            assert answer.status == 200, answer.read()
            try:
                return json.loads(answer.read())
            except http.client.IncompleteRead:
                if number + 1 == tries:
                    raise
    return None


def test_a_body_in_chunks_passes(front: Front) -> None:
    with front.called(
        "POST", "/echo", b"5\r\nhello\r\n0\r\n\r\n", **{"Transfer-Encoding": "chunked"}
    ) as answer:
        assert json.loads(answer.read()) == {"length": 5}


def test_the_caller_is_who_called_the_proxy(front: Front, upstream: Streamer) -> None:
    with front.called("GET", "/echo") as answer:
        assert answer.status == 200
    # One that says nothing of its caller is the caller.
    address = "127.0.0.1" if front.kind == AS_IT_COMES else CALLER
    assert upstream.seen[-1]["x-forwarded-for"] == address


def test_a_websocket_passes(front: Front) -> None:
    if front.kind == AS_IT_COMES:
        pytest.skip("nginx speaks HTTP/1.0 to us, which has no upgrade; the manual says so")
    key = base64.b64encode(bytes(16)).decode()
    head = (
        f"GET /streams-v1/socket HTTP/1.1\r\nHost: {API}:{front.port}\r\nAPI-TOKEN: {front.secret}\r\n"
        f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n"
    )
    with front.connected() as sock:
        sock.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        sock.sendall(b"there and back")
        assert sock.recv(100) == b"there and back"


# --- without a proxy between --------------------------------------------------------------------


def _call(stage: Stage, secret: str, forwarded: str | None, source: str = "127.0.0.1") -> Any:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return stage.call("/streams-v1/echo", secret, headers=headers, source=source)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("9.9.9.9, 203.0.113.7:51234, ", "203.0.113.7"),
        (", ,", "127.0.0.1"),
        ("", "127.0.0.1"),
        (None, "127.0.0.1"),
    ],
)
def test_what_a_trusted_proxy_says_is_understood(
    stage: Stage, upstream: Streamer, secret: str, forwarded: str | None, address: str
) -> None:
    profile = _profile(stage)
    assert _call(stage, profile, forwarded).status == 200
    assert upstream.seen[-1]["x-forwarded-for"] == address


_profiles: dict[int, str] = {}


def _profile(stage: Stage) -> str:
    """A profile of the collection that may call from everywhere."""
    if stage.gateway not in _profiles:
        found = stage.done("GET", "api_collections")
        collections = found["result"] if isinstance(found, dict) else found
        collection = next(each for each in collections if each["handle"] == "streams-v1")
        _profiles[stage.gateway] = stage.a_profile(collection, name="Anywhere")["secret"]
    return _profiles[stage.gateway]


@pytest.mark.parametrize("entry", ["unknown", "203.0.113.7:", "[203.0.113.7]:80", "_gate"])
def test_what_is_no_address_is_refused_and_named(stage: Stage, secret: str, entry: str) -> None:
    answer = _call(stage, secret, f"203.0.113.7, {entry}")
    assert (answer.status, answer.json["reason"]) == (403, "address_not_allowed")
    asked = {"request_id": answer.json["request_id"]}
    wait_for(lambda: stage.api("POST", "v2/explain", asked).status == 200, what="explained")
    told = stage.done("POST", "v2/explain", asked)
    assert f'"not understood": "{entry}"' in json.dumps(told)
    assert "address_unparsable" in json.dumps(told)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", id="HEAD"),
        pytest.param(b"OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", id="OPTIONS"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", id="OPTIONS *"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP/1.0 without Host"),
        pytest.param(b"", id="connect and close"),
    ],
)
def test_load_balancers_that_probe_get_an_answer_and_cost_nobody(
    stage: Stage, secret: str, text: bytes
) -> None:
    if text:
        status = int(raw(stage.gateway, text).split(b" ", 2)[1])
        assert status in {400, 401, 404}
    else:
        for _ in range(100):
            socket.create_connection(("127.0.0.1", stage.gateway), timeout=60).close()
    assert _call(stage, _profile(stage), None).status == 200


@pytest.mark.parametrize("path", ["/large", "/endless", "/echo"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_client_of_http_1_0_gets_an_answer_that_ends(
    stage: Stage, secret: str, path: str, connection: str
) -> None:
    head = (
        f"GET /streams-v1{path} HTTP/1.0\r\nAPI-TOKEN: {_profile(stage)}\r\n"
        f"Connection: {connection}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", stage.gateway), timeout=30)) as sock:
        sock.sendall(head.encode())
        reply = http.client.HTTPResponse(sock)
        reply.begin()
        assert reply.status == 200
        assert reply.headers["Transfer-Encoding"] is None
        body = reply.read()
    assert len(body) == LARGE if path != "/echo" else json.loads(body)
