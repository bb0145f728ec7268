"""Ceilings: what one caller can take up leaves others served."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any, cast

import pytest
from tests.gateway.test_streams import Streaming, head
from tests.stage import Stage, Upstream, free_port, running, wait_for

from ostiary.access.reasons import Reason
from ostiary.authority.ceilings import SHORT_SECONDS
from ostiary.gateway import control

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

FLOOD = "127.0.7.1"
PER_SECOND, LEASES, PER_ADDRESS = 20, 30, 10
PER_PROFILE, PER_PROJECT, HEADS = 20, 30, 50
#: Open calls from which on a worker counts those of each address (lua/ostiary/gateway.lua).
BUSY = 512
#: Half-sent heads, as many as file descriptors of this process leave.
HALVES = 400
H2C = free_port()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    env = {
        "OSTIARY_UPCALLS_PER_SECOND": str(PER_SECOND),
        "OSTIARY_LEASES_PER_PROFILE": str(LEASES),
        "OSTIARY_UPCALLS_PER_ADDRESS": "4",
        "OSTIARY_CONNECTIONS_PER_ADDRESS": str(PER_ADDRESS),
        "OSTIARY_CONNECTIONS_PER_PROFILE": str(PER_PROFILE),
        "OSTIARY_CONNECTIONS_PER_PROJECT": str(PER_PROJECT),
        "OSTIARY_HEADS_PER_ADDRESS": str(HEADS),
        "OSTIARY_GATEWAY_WORKERS": "1",
        "OSTIARY_GATEWAY_H2C_BIND": f"127.0.0.1:{H2C}",
    }
    with running(tmp_path_factory.mktemp("data"), env=env) as stage:
        yield stage


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Things", handle="things-v1")


def explained(stage: Stage, request_id: str) -> Any:
    """The explanation of a refused call, once it is in the log."""
    asked = {"request_id": request_id}
    wait_for(lambda: stage.api("POST", "v2/explain", asked).status == 200, what=request_id)
    return stage.done("POST", "v2/explain", asked)["data"]


def _addresses(n: int) -> list[str]:
    return [f"127.0.{8 + i // 250}.{1 + i % 250}" for i in range(n)]


def test_a_flood_of_one_profile_is_bounded_and_others_first_calls_are_served(
    stage: Stage, things: Any
) -> None:
    """Each address of a profile with a list of addresses needs a first call of its own."""
    flooding = stage.a_profile(things, ip_allow_list=["127.0.0.0/8"])
    others = [stage.a_profile(things) for _ in range(10)]
    statuses: list[int] = []
    stop = threading.Event()

    def flood(share: list[str]) -> None:
        for address in share:
            if stop.is_set():
                return
            answer = stage.call("/things-v1/things", flooding["secret"], source=address)
            statuses.append(answer.status)

    addresses = _addresses(1500)
    threads = [threading.Thread(target=flood, args=(addresses[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: 503 in statuses or not any(t.is_alive() for t in threads), what="a ceiling")
    served = [stage.call("/things-v1/things", each["secret"]).status for each in others]
    stop.set()
    for thread in threads:
        thread.join()
    assert served == [200] * len(others)
    assert set(statuses) == {200, 503}


def test_leases_above_the_ceiling_are_short(stage: Stage, things: Any) -> None:
    profile = stage.a_profile(things, ip_allow_list=["127.0.0.0/8"])
    path = stage.data / "run" / "gateway.sock"

    def asked() -> int:
        return int(control.state(path, seconds=10)["upcalls"]["asked"])

    def status(address: str) -> int:
        return stage.call("/things-v1/things", profile["secret"], source=address).status

    # Not across the end of the ten minutes in which leases are counted.
    wait_for(lambda: 600 - time.time() % 600 > 60)
    addresses = _addresses(LEASES + 5)
    for address in addresses:
        wait_for(lambda address=address: status(address) == 200, what="room")  # type: ignore[misc]  # a default of a lambda has no type
    last = addresses[-1]
    before = asked()
    assert status(last) == 200
    wait_for(
        lambda: status(last) == 200 and asked() > before,
        seconds=SHORT_SECONDS + 60,
        what="asked again",
    )
    before = asked()
    assert status(addresses[0]) == 200
    assert asked() == before


def test_half_sent_heads_of_one_address_leave_others_served(stage: Stage, things: Any) -> None:
    profile = stage.a_profile(things)
    halves = []
    try:
        for _ in range(HALVES):
            sock = socket.create_connection(("127.0.0.1", stage.gateway), source_address=(FLOOD, 0))
            sock.sendall(b"GET /things-v1/things HTTP/1.1\r\nHost: x\r\nAPI-TO")
            halves.append(sock)
        assert stage.call("/things-v1/things", profile["secret"]).status == 200
        # And they end: a head may take so long in all.
        halves[0].settimeout(60)
        answer = b""
        with suppress(ConnectionResetError):
            answer = halves[0].recv(65536)
        assert not answer or b" 408 " in answer
    finally:
        for sock in halves:
            sock.close()


def _is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_the_oldest_half_sent_heads_above_the_ceiling_of_an_address_end(
    stage: Stage, things: Any
) -> None:
    profile = stage.a_profile(things)

    def ended() -> int:
        path = stage.data / "run" / "gateway.sock"
        return int(control.state(path, seconds=10)["ceilings"]["heads"])

    def half(source: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", stage.gateway), source_address=(source, 0))
        sock.sendall(b"GET /things-v1/things HTTP/1.1\r\nHost: x\r\nAPI-TO")
        return sock

    before = ended()
    spared = half("127.0.7.3")
    halves = [half("127.0.7.2") for _ in range(3 * HEADS)]
    try:
        wait_for(lambda: ended() - before >= 2 * HEADS, seconds=4.5, what="heads that ended")
        alive = [_is_open(sock) for sock in halves]
        assert sum(alive) <= HEADS
        # The newest ones are left, among which are those that will be whole in a moment.
        assert not any(alive[:HEADS])
        assert _is_open(spared)
        assert stage.call("/things-v1/things", profile["secret"]).status == 200
        halves[-1].setblocking(True)
        halves[-1].sendall(b"KEN: " + profile["secret"].encode() + b"\r\n\r\n")
        assert halves[-1].recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for sock in (spared, *halves):
            sock.close()


def test_a_burst_of_half_sent_heads_that_become_whole_is_let_through(
    stage: Stage, things: Any
) -> None:
    profile = stage.a_profile(things)
    rest = b"EN: " + profile["secret"].encode() + b"\r\nConnection: close\r\n\r\n"

    def burst(source: str) -> list[bytes]:
        """What twice as many as the ceiling are answered, none if it took longer than a look allows."""
        began = time.monotonic()
        with ExitStack() as stack:
            socks = [
                stack.enter_context(
                    socket.create_connection(
                        ("127.0.0.1", stage.gateway), source_address=(source, 0)
                    )
                )
                for _ in range(2 * HEADS)
            ]
            for sock in socks:
                sock.sendall(b"GET /things-v1/things HTTP/1.1\r\nHost: x\r\nAPI-TOK")
            # A worker looks each 0.25 seconds, so most bursts have a look in their middle, and none has two.
            time.sleep(max(0.0, began + 0.18 - time.monotonic()))
            for sock in socks:
                with suppress(OSError):
                    sock.sendall(rest)
            if time.monotonic() - began > 0.22:
                return []
            return [_answer(sock)[:12] for sock in socks]

    # Called before, so that each call of the bursts has its decision.
    assert stage.call("/things-v1/things", profile["secret"]).status == 200
    seen = 0
    for number in range(60):
        answers = burst(f"127.0.8.{number + 1}")
        assert set(answers) <= {b"HTTP/1.1 200"}
        seen += bool(answers)
        if seen == 3:
            return
    pytest.skip("this machine is too busy to send a burst between two looks")


def _answer(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except OSError:
        return b""


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _HEADERS, _END_STREAM, _END_HEADERS = 4, 1, 1, 4


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """One frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK has it without any index (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _http2(source: str, frames: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", H2C), source_address=(source, 0), timeout=60)
    sock.sendall(_PREFACE + _frame(_SETTINGS, 0, 0) + frames)
    return sock


def test_http2_connections_without_a_call_above_the_ceiling_of_an_address_end(
    stage: Stage, things: Any
) -> None:
    secret = stage.a_profile(things)["secret"].encode()
    path = _literal(b":path", b"/things-v1/things") + _literal(b":authority", b"x")
    # Its first two are `:method: GET` and `:scheme: http`.
    call = b"\x82\x86" + path + _literal(b"api-token", secret)
    called = _http2("127.0.7.5", _frame(_HEADERS, _END_STREAM | _END_HEADERS, 1, call))
    answer = b""
    # An answer's head begins with `:status: 200`.
    while not re.search(rb"\x01[\x04\x05]\0\0\0\x01\x88", answer):
        answer += called.recv(65536)
    half = _frame(_HEADERS, _END_STREAM, 1, b"\x82\x86")
    waiting = [_http2("127.0.7.5", half if n % 2 else b"") for n in range(3 * HEADS)]
    spared = _http2("127.0.7.6")
    try:
        wait_for(lambda: sum(map(_is_open, waiting)) <= HEADS, what="connections that ended")
        assert not any(map(_is_open, waiting[:HEADS]))
        assert _is_open(called)
        assert _is_open(spared)
        assert stage.call("/things-v1/things", secret.decode()).status == 200
    finally:
        for sock in (called, spared, *waiting):
            sock.close()


def test_a_body_that_drips_ends(stage: Stage) -> None:
    upstream = Streaming()
    collection = stage.a_collection(
        cast("Upstream", upstream), "POST /upload", name="Streams", handle="streams-v1"
    )
    secret = stage.a_profile(collection)["secret"]
    answer = b""
    with socket.create_connection(("127.0.0.1", stage.gateway), timeout=60) as sock:
        sock.sendall(head("POST", "/upload", secret, "Content-Length: 100000"))
        sock.settimeout(0.5)

        def ended() -> bool:
            nonlocal answer
            try:
                sock.sendall(b"x")
                answer += sock.recv(65536)
            except TimeoutError:
                return False
            except OSError:
                return True
            return True

        wait_for(ended, what="the body's end")
        with suppress(OSError):
            answer += sock.recv(65536)
    upstream.close()
    assert answer.startswith(b"HTTP/1.1 408") or not answer
    assert upstream.uploaded < 1000


def test_a_busy_gateway_bounds_the_open_calls_of_one_address(stage: Stage, things: Any) -> None:
    upstream = Streaming()
    collection = stage.a_collection(
        cast("Upstream", upstream), "GET /slow", name="Slow", handle="streams-v1-slow"
    )
    flooding, other = stage.a_profile(collection), stage.a_profile(things)
    assert stage.call("/things-v1/things", other["secret"]).status == 200
    call = head("GET", "/slow", flooding["secret"]).replace(b"/streams-v1/", b"/streams-v1-slow/")
    sockets = []
    try:
        for _ in range(BUSY + PER_ADDRESS + 20):
            sock = socket.create_connection(
                ("127.0.0.1", stage.gateway), source_address=(FLOOD, 0), timeout=60
            )
            sock.sendall(call)
            sockets.append(sock)
            if len(sockets) == 1:
                # From here on there is a lease.
                wait_for(lambda: upstream.waiting == 1, what="first call")
        # The last ones are refused at once; none of the others is.
        answers = [sock.recv(65536) for sock in sockets[-5:]]
        assert all(answer.startswith(b"HTTP/1.1 503") for answer in answers)
        assert stage.call("/things-v1/things", other["secret"]).status == 200
        assert upstream.waiting <= BUSY + PER_ADDRESS + 2
    finally:
        upstream.close()
        for sock in sockets:
            sock.close()


def test_a_busy_gateway_bounds_the_open_calls_of_one_profile_and_of_one_project(
    stage: Stage, things: Any
) -> None:
    upstream = Streaming()
    collection = stage.a_collection(
        cast("Upstream", upstream), "GET /slow", name="Slower", handle="streams-v1-slower"
    )
    flooding, second = stage.a_profile(collection), stage.a_profile(collection)
    sockets: list[socket.socket] = []

    def opened(profile: Any, source: str) -> socket.socket:
        call = head("GET", "/slow", profile["secret"])
        sock = socket.create_connection(
            ("127.0.0.1", stage.gateway), source_address=(source, 0), timeout=60
        )
        sock.sendall(call.replace(b"/streams-v1/", b"/streams-v1-slower/"))
        sockets.append(sock)
        return sock

    try:
        opened(flooding, FLOOD)
        wait_for(lambda: upstream.waiting == 1, what="first call")
        for _ in range(BUSY - 1):
            opened(flooding, FLOOD)
        wait_for(lambda: upstream.waiting == BUSY, what="open calls")
        for i in range(PER_PROFILE):
            opened(flooding, f"127.0.6.{1 + i // (PER_ADDRESS // 2)}")
        wait_for(lambda: upstream.waiting == BUSY + PER_PROFILE, what="open calls")
        answer = opened(flooding, "127.0.6.100").recv(65536)
        assert answer.startswith(b"HTTP/1.1 429")
        assert b'"too_many_calls"' in answer
        refused = [(Reason.TOO_MANY_CALLS, answer)]
        for i in range(PER_PROJECT - PER_PROFILE):
            opened(second, f"127.0.5.{1 + i // (PER_ADDRESS // 2)}")
        wait_for(lambda: upstream.waiting == BUSY + PER_PROJECT, what="open calls")
        answer = opened(second, "127.0.5.100").recv(65536)
        assert answer.startswith(b"HTTP/1.1 503")
        for reason, text in (*refused, (Reason.OVERLOADED, answer)):
            told = explained(stage, json.loads(text.partition(b"\r\n\r\n")[2])["request_id"])
            assert told["reason"] == reason
            (failed,) = (step for step in told["steps"] if step["outcome"] == "failed")
            assert failed["reason"] == reason
        # Of a project's own calls, that is: those of another one are served.
        project = stage.done("POST", "folders", {"name": "Another"})["id"]
        client = stage.done("POST", "api_clients", {"name": "Its own", "project_id": project})
        other = stage.a_profile(things, client=client["result"])
        assert stage.call("/things-v1/things", other["secret"]).status == 200
        # What ends gives its place back.
        for sock in sockets[BUSY : BUSY + 3]:
            sock.close()
        wait_for(
            lambda: stage.call("/things-v1/things", second["secret"]).status == 404,
            what="room again",
        )
    finally:
        upstream.close()
        for sock in sockets:
            sock.close()
