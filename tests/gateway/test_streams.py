"""WebSockets, event streams and downloads end when the right that they were admitted by ends."""

import base64
import os
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import pytest
from h2.exceptions import StreamClosedError
from tests.gateway.secure import Secure
from tests.stage import Stage, Upstream, running, wait_for

from ostiary.gateway import control

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PATHS = ("GET /socket", "GET /events", "GET /silent", "GET /download", "GET /slow", "POST /upload")
#: What an upstream sends again and again.
TICK = b"data: tick\n\n"
#: More than all buffers between an upstream and a caller that does not read hold.
PLENTY = 1 << 40


class Streaming:
    """An upstream whose answers do not end by themselves."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        #: Lets `/slow` be answered.
        self.go = threading.Event()
        self.waiting = 0
        #: Bytes of bodies of `/upload`.
        self.uploaded = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = peer.recv(65536)
                    if not part:
                        return
                    head += part
                getattr(self, "_" + head.split()[1].decode().rpartition("/")[2])(peer)
            except OSError:
                return

    def _socket(self, peer: socket.socket) -> None:
        peer.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        while part := peer.recv(65536):
            peer.sendall(part)

    def _events(self, peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            peer.sendall(TICK)
            time.sleep(0.02)

    def _silent(self, peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + TICK)
        peer.recv(1)

    def _download(self, peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PLENTY)
        while True:
            peer.sendall(b"x" * 65536)
            time.sleep(0.01)

    def _slow(self, peer: socket.socket) -> None:
        self.waiting += 1
        self.go.wait(60)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def _upload(self, peer: socket.socket) -> None:
        while part := peer.recv(65536):
            self.uploaded += len(part)

    def close(self) -> None:
        self.go.set()
        self._listener.close()


def head(method: str, path: str, secret: str, *lines: str) -> bytes:
    text = [f"{method} /streams-v1{path} HTTP/1.1", "Host: x", f"API-TOKEN: {secret}", *lines]
    return ("\r\n".join(text) + "\r\n\r\n").encode()


UPGRADE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + base64.b64encode(bytes(16)).decode(),
)  # fmt: skip


#: Callers' connections of a test, which are ended after it.
OPEN: list["Call | Multiplexed"] = []


class Call:
    """A call over a connection of its own; what comes is read as it comes, or not at all."""

    def __init__(
        self, stage: Stage, path: str, secret: str, *, tls: bool = False, reads: bool = True,
        source: str = "127.0.0.1", body: bytes | None = None,
    ) -> None:  # fmt: skip
        raw = socket.socket()
        if not reads:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        raw.bind((source, 0))
        raw.settimeout(60)
        raw.connect(("127.0.0.1", stage.gateway))
        self.sock = _tls(raw, "http/1.1") if tls else raw
        OPEN.append(self)
        self.got = b""
        self.length = 0
        self.ended_at = 0.0
        if path == "/socket":
            lines: tuple[str, ...] = UPGRADE
        elif body is not None:
            lines = ("Transfer-Encoding: chunked",)
        else:
            lines = ("Accept: text/event-stream",) if path in {"/events", "/silent"} else ()
        method = "GET" if body is None else "POST"
        self.sock.sendall(head(method, path, secret, *lines) + (body or b""))
        self._reader = threading.Thread(target=self.read if reads else str, daemon=True)
        self._reader.start()

    def read(self) -> None:
        """Read until the other side ends."""
        try:
            while part := self.sock.recv(65536):
                self.length += len(part)
                if self.length < 100_000:
                    self.got += part
        except OSError:
            pass
        self.ended_at = time.monotonic()

    @property
    def opened(self) -> bool:
        return b"\r\n\r\n" in self.got

    def goes_on(self) -> bool:
        """Whether bytes come, of an upstream that sends without end or of an echo."""
        before = self.length
        if b" 101 " in self.got:
            self.sock.sendall(b"echo")
        wait_for(lambda: self.length > before or bool(self.ended_at), what="bytes")
        return not self.ended_at

    def close(self) -> None:
        _hang_up(self.sock, self._reader)


class Multiplexed:
    """Calls over one HTTP/2 connection."""

    def __init__(self, stage: Stage) -> None:
        raw = socket.create_connection(("127.0.0.1", stage.gateway), timeout=60)
        self.sock = _tls(raw, "h2")
        OPEN.append(self)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="ascii"))
        self._lock = threading.Lock()
        self.lengths: dict[int, int] = {}
        self.statuses: dict[int, str] = {}
        self.ended: dict[int, float] = {}
        #: Streams whose windows are left as they are.
        self._unread: set[int] = set()
        with self._lock:
            self._h2.initiate_connection()
            self.sock.sendall(self._h2.data_to_send())
        # One thread alone may use a TLS socket at a time.
        self.sock.settimeout(0.05)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def open(self, path: str, secret: str, *, method: str = "GET", reads: bool = True) -> int:
        with self._lock:
            number = self._h2.get_next_available_stream_id()
            headers = [
                (":method", method), (":path", f"/streams-v1{path}"), (":scheme", "https"),
                (":authority", "x"), ("api-token", secret),
            ]  # fmt: skip
            if path in {"/events", "/silent"}:
                headers.append(("accept", "text/event-stream"))
            self._h2.send_headers(number, headers, end_stream=method == "GET")
            self.lengths[number] = 0
            if not reads:
                self._unread.add(number)
            self.sock.sendall(self._h2.data_to_send())
        return number

    def send(self, number: int, data: bytes) -> None:
        with self._lock:
            self._h2.send_data(number, data)
            self.sock.sendall(self._h2.data_to_send())

    def _read(self) -> None:
        while True:
            try:
                with self._lock:
                    data = self.sock.recv(65536)
                    if not data:
                        break
                    for event in self._h2.receive_data(data):
                        self._note(event)
                    self.sock.sendall(self._h2.data_to_send())
            except TimeoutError:
                time.sleep(0.002)
            except OSError:
                break
        for number in self.lengths:
            self.ended.setdefault(number, time.monotonic())

    def _note(self, event: object) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[event.stream_id] = dict(cast("list[tuple[str, str]]", event.headers))[
                ":status"
            ]
        elif isinstance(event, h2.events.DataReceived):
            self.lengths[event.stream_id] += len(event.data)
            if event.stream_id not in self._unread:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif event.flow_controlled_length:
                # The connection's own window is the other streams' too.
                self._h2.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self.ended.setdefault(event.stream_id, time.monotonic())

    def goes_on(self, number: int) -> bool:
        before = self.lengths[number]
        wait_for(lambda: self.lengths[number] > before or number in self.ended, what="bytes")
        return number not in self.ended

    def close(self) -> None:
        _hang_up(self.sock, self._reader)


def _hang_up(sock: socket.socket, reader: threading.Thread) -> None:
    """End a connection, and close it when nobody reads from it: its number may be another's then."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    reader.join()
    sock.close()


def _tls(raw: socket.socket, protocol: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(raw)


@pytest.fixture(scope="module")
def streaming() -> Iterator[Streaming]:
    upstream = Streaming()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, streaming: Streaming) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("plain")) as stage:
        _publish(stage, streaming)
        yield stage


@pytest.fixture(scope="module")
def secure(shared_secure: Secure, streaming: Streaming) -> Stage:
    _publish(shared_secure.stage, streaming)
    return shared_secure.stage


#: Data folder → its collection.
COLLECTIONS: dict[Path, Any] = {}


def _publish(stage: Stage, streaming: Streaming) -> None:
    COLLECTIONS[stage.data] = stage.a_collection(
        cast("Upstream", streaming),
        *PATHS, name="Streams", handle="streams-v1",
    )  # fmt: skip


def a_profile(stage: Stage, **more: Any) -> Any:
    return stage.a_profile(COLLECTIONS[stage.data], **more)


def counted(stage: Stage) -> int:
    """Open streams, as the gateway counts them."""
    state = control.state(stage.data / "run" / "gateway.sock", seconds=10)
    return int(state["streams"])


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """No stream of one test counts in the next."""
    yield
    while OPEN:
        OPEN.pop().close()
    for name in ("plain", "secure"):
        if name in request.fixturenames:
            stage = request.getfixturevalue(name)
            wait_for(lambda stage=stage: counted(stage) == 0, what="no streams")  # type: ignore[misc]  # a default of a lambda has no type


def _in_two_seconds() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))


def _disable(stage: Stage, profile: Any) -> Any:
    return stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")


def _delete(stage: Stage, profile: Any) -> Any:
    return stage.done("DELETE", f"api_access_profiles/{profile['id']}")


def _change(stage: Stage, profile: Any, **changes: Any) -> Any:
    return stage.done("PUT", f"api_access_profiles/{profile['id']}", changes)["result"]


def _expire(stage: Stage, profile: Any) -> Any:
    return _change(stage, profile, expires_at=_in_two_seconds())


def _narrow(stage: Stage, profile: Any) -> Any:
    return _change(stage, profile, ip_allow_list=["127.9.9.9"])


def _rename(stage: Stage, profile: Any) -> Any:
    return _change(stage, profile, name=f"Name {time.monotonic_ns()}")


ENDINGS = pytest.mark.parametrize(
    "end", [_disable, _delete, _expire, _narrow], ids=["disable", "delete", "expiry", "narrowed"]
)
End = Callable[[Stage, Any], Any]


@pytest.mark.parametrize("over", ["plain", "tls"])
@ENDINGS
def test_streams_end_with_the_right_and_others_go_on(
    request: pytest.FixtureRequest, over: str, end: End
) -> None:
    stage: Stage = request.getfixturevalue("plain" if over == "plain" else "secure")
    victim, other = a_profile(stage), a_profile(stage)
    paths = ("/socket", "/events", "/silent", "/download")
    tls = over == "tls"
    ending = [Call(stage, path, victim["secret"], tls=tls) for path in paths]
    going = [Call(stage, path, other["secret"], tls=tls) for path in paths]
    wait_for(lambda: all(call.opened for call in (*ending, *going)), what="streams open")
    wait_for(lambda: counted(stage) == len(ending) + len(going), what="streams counted")
    receipt = end(stage, victim)["revocation"]
    assert receipt["streams"] >= len(ending)
    wait_for(lambda: all(call.ended_at for call in ending), what="streams ended")
    assert all(call.goes_on() for call in going if call is not going[2])
    assert not going[2].ended_at


@ENDINGS
def test_streams_of_one_http_2_connection_end_alone(secure: Stage, end: End) -> None:
    victim, other = a_profile(secure), a_profile(secure)
    connection = Multiplexed(secure)
    paths = ("/events", "/silent", "/download")
    ending = [connection.open(path, victim["secret"]) for path in paths]
    going = [connection.open(path, other["secret"]) for path in ("/events", "/silent")]
    wait_for(lambda: len(connection.statuses) == 5, what="streams open")
    assert set(connection.statuses.values()) == {"200"}
    wait_for(lambda: counted(secure) == 5, what="streams counted")
    assert end(secure, victim)["revocation"]["streams"] >= 3
    wait_for(lambda: all(number in connection.ended for number in ending), what="ended")
    assert connection.goes_on(going[0])
    assert going[1] not in connection.ended
    fresh = connection.open("/events", other["secret"])
    assert connection.goes_on(fresh)


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_a_caller_that_does_not_read_gets_no_more_than_what_is_on_its_way(
    request: pytest.FixtureRequest, over: str
) -> None:
    stage: Stage = request.getfixturevalue("plain" if over == "plain" else "secure")
    profile = a_profile(stage)
    call = Call(stage, "/download", profile["secret"], tls=over == "tls", reads=False)
    wait_for(lambda: counted(stage) == 1, what="stream counted")
    assert _disable(stage, profile)["revocation"]["streams"] == 1
    wait_for(lambda: counted(stage) == 0, what="stream ended")
    call.read()
    # Its own kernel holds no more.
    assert call.length < 1_000_000


def test_a_stream_of_http_2_that_is_not_read_gets_no_more_than_was_framed(secure: Stage) -> None:
    profile, other = a_profile(secure), a_profile(secure)
    connection = Multiplexed(secure)
    number = connection.open("/download", profile["secret"], reads=False)
    going = connection.open("/events", other["secret"])
    wait_for(lambda: connection.lengths[number] > 60_000, what="window is full")
    wait_for(lambda: counted(secure) == 2, what="streams counted")
    _disable(secure, profile)
    assert connection.goes_on(going)
    # HTTP/2's first window (RFC 9113, section 6.5.2).
    assert connection.lengths[number] <= 65_535


@pytest.mark.parametrize("over", ["plain", "http2"])
def test_an_upload_ends_with_the_right(
    request: pytest.FixtureRequest, streaming: Streaming, over: str
) -> None:
    stage: Stage = request.getfixturevalue("plain" if over == "plain" else "secure")
    profile = a_profile(stage)
    chunk = b"x" * 1000
    before = streaming.uploaded
    if over == "plain":
        call = Call(stage, "/upload", profile["secret"], body=b"")

        def send() -> bool:
            call.sock.sendall(b"3e8\r\n" + chunk + b"\r\n")
            return bool(call.ended_at)
    else:
        connection = Multiplexed(stage)
        number = connection.open("/upload", profile["secret"], method="POST")

        def send() -> bool:
            if number not in connection.ended:
                connection.send(number, b"x" * 10)
            return number in connection.ended

    def ended() -> bool:
        try:
            return send()
        except (OSError, StreamClosedError):
            return True

    wait_for(lambda: not ended() and streaming.uploaded > before, what="upload began")
    wait_for(lambda: not ended() and counted(stage) == 1, what="upload counted")
    _disable(stage, profile)
    wait_for(ended, what="upload ended")


def test_a_renamed_profile_keeps_its_streams(plain: Stage) -> None:
    profile = a_profile(plain)
    calls = [Call(plain, path, profile["secret"]) for path in ("/socket", "/events", "/silent")]
    wait_for(lambda: all(call.opened for call in calls), what="streams open")
    for _ in range(3):
        wait_for(lambda: counted(plain) == 3, what="streams counted")
        asked = _asked(plain)
        assert _rename(plain, profile)["revocation"]["streams"] >= 3
        wait_for(lambda asked=asked: _asked(plain) >= asked + 3, what="decided on again")  # type: ignore[misc]  # a default of a lambda has no type
        assert calls[0].goes_on()
        assert calls[1].goes_on()
        assert not calls[2].ended_at
    _disable(plain, profile)
    wait_for(lambda: all(call.ended_at for call in calls), what="streams ended")


def _asked(stage: Stage) -> int:
    state = control.state(stage.data / "run" / "gateway.sock", seconds=10)
    return int(state["upcalls"]["asked"])


def test_a_call_that_waits_for_its_answer_finishes(plain: Stage, streaming: Streaming) -> None:
    profile = a_profile(plain)
    streaming.go.clear()
    before = streaming.waiting
    stream = Call(plain, "/events", profile["secret"])
    call = Call(plain, "/slow", profile["secret"])
    wait_for(lambda: streaming.waiting > before and stream.opened, what="calls under way")
    _disable(plain, profile)
    wait_for(lambda: bool(stream.ended_at), what="stream ended")
    assert not call.ended_at
    streaming.go.set()
    wait_for(lambda: call.got.endswith(b"ok"), what="answer")


def test_a_narrowed_list_ends_streams_of_other_addresses_alone(plain: Stage) -> None:
    profile = a_profile(plain)
    inside = Call(plain, "/events", profile["secret"], source="127.0.4.1")
    outside = Call(plain, "/events", profile["secret"], source="127.0.4.2")
    wait_for(lambda: inside.opened and outside.opened, what="streams open")
    _change(plain, profile, ip_allow_list=["127.0.4.1"])
    wait_for(lambda: bool(outside.ended_at), what="stream ended")
    assert inside.goes_on()
    _change(plain, profile, ip_allow_list=[], ip_deny_list=["127.0.4.0/24"])
    wait_for(lambda: bool(inside.ended_at), what="stream ended")


def _tunnel_lines(stage: Stage, profile: Any) -> list[str]:
    with closing(sqlite3.connect(stage.data / "ostiary.sqlite3")) as database:
        rows = database.execute(
            "SELECT request_id, status, json_extract(details, '$.tunnel') FROM usage_loggedcall"
            " WHERE profile_id = ? ORDER BY id",
            (profile["id"],),
        ).fetchall()
    assert len({row[0] for row in rows}) <= 1
    assert {row[1] for row in rows} <= {101}
    return [row[2] for row in rows]


def test_a_tunnel_has_a_line_when_it_opens_and_one_when_it_ends(plain: Stage) -> None:
    long, short = a_profile(plain), a_profile(plain)
    first = Call(plain, "/socket", long["secret"])
    wait_for(lambda: _tunnel_lines(plain, long) == ["opened"], what="line of the opening")
    assert first.goes_on()
    second = Call(plain, "/socket", short["secret"])
    wait_for(lambda: second.opened, what="tunnel open")
    second.close()
    wait_for(lambda: sorted(_tunnel_lines(plain, short)) == ["ended", "opened"], what="both lines")
    _disable(plain, long)
    wait_for(lambda: _tunnel_lines(plain, long) == ["opened", "ended"], what="line of the end")


def test_two_hundred_idle_websockets_end_at_once(plain: Stage) -> None:
    profiles = [a_profile(plain) for _ in range(4)]
    calls = [Call(plain, "/socket", profiles[i % 4]["secret"]) for i in range(200)]
    wait_for(lambda: all(call.opened for call in calls), what="tunnels open")
    wait_for(lambda: counted(plain) == 200, what="tunnels counted")
    assert _disable(plain, profiles[0])["revocation"]["streams"] >= 50
    wait_for(lambda: all(call.ended_at for call in calls[::4]), what="tunnels ended")
    assert all(call.goes_on() for i, call in enumerate(calls) if i % 4)


def test_streams_go_on_while_the_authority_is_away_and_end_once_it_is_back(plain: Stage) -> None:
    profile = a_profile(plain)
    call = Call(plain, "/socket", profile["secret"])
    wait_for(lambda: call.opened, what="tunnel open")
    ready = plain.lines.count("authority ready")
    plain.kill("authority")
    assert call.goes_on()
    wait_for(lambda: plain.lines.count("authority ready") > ready, what="authority back")
    assert call.goes_on()
    _disable(plain, profile)
    wait_for(lambda: bool(call.ended_at), what="tunnel ended")


def test_streams_outlive_a_reload_and_end_with_the_right(plain: Stage) -> None:
    """nginx reads its configuration anew when what is trusted of upstreams changes."""
    profile, other = a_profile(plain), a_profile(plain)
    call, going = (Call(plain, "/socket", each["secret"]) for each in (profile, other))
    wait_for(lambda: call.opened and going.opened, what="tunnels open")
    socket_path = plain.data / "run" / "gateway.sock"
    state = control.state(socket_path, seconds=10)
    before = set(state["workers"])
    os.kill(int(state["master"]), 1)
    wait_for(lambda: not before & set(control.state(socket_path, seconds=10)["workers"]))
    assert call.goes_on()
    _disable(plain, profile)
    wait_for(lambda: bool(call.ended_at), what="tunnel ended")
    assert going.goes_on()
