"""Hostile requests with a right of their own: what reaches the upstream is what was decided on.

Over HTTP/1 and HTTP/2, against the running product, with an upstream that records every byte.
"""

import base64
import json
import re
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import hpack
import pytest
from tests.gateway.corpus import FOREIGN, SMUGGLED, cases, request
from tests.gateway.recording import Recorder, Request
from tests.gateway.secure import Secure
from tests.stage import Stage, Upstream, raw

from ostiary.access.paths import METHODS, normalise

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

PATHS = ("GET /things", "POST /things", "GET /things/{id}", "OPTIONS /things", "GET /a/{b}")
#: What an upstream may get of a caller's head beside what the caller says for itself.
OURS = {
    "x-ostiary-client", "x-ostiary-profile", "x-ostiary-request-id", "x-forwarded-for",
    "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
}  # fmt: skip


LAST = b"GET / HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    stage: Stage
    recorder: Recorder
    secret: str
    profile: int
    client: int

    @property
    def credential(self) -> bytes:
        return f"API-TOKEN: {self.secret}\r\n".encode()

    def sent(self, data: bytes) -> bytes:
        """Send bytes and a call that ends the connection; read until the other side ends.

        Where that call is taken for the rest of a body, nothing ends until the body is overdue.
        """
        answer = b""
        with socket.create_connection(("127.0.0.1", self.stage.gateway), timeout=1) as sock:
            with suppress(OSError):
                sock.sendall(data + LAST)
                while part := sock.recv(65536):
                    answer += part
        return answer


def _door(stage: Stage, recorder: Recorder) -> Door:
    collection = stage.a_collection(
        cast("Upstream", recorder), *PATHS, name="Things", handle="things-v1"
    )
    profile = stage.a_profile(collection)
    return Door(
        stage=stage, recorder=recorder, secret=profile["secret"], profile=profile["id"],
        client=profile["api_client_id"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def door(stage: Stage, recorder: Recorder) -> Door:
    return _door(stage, recorder)


@pytest.fixture(scope="module")
def secure(shared_secure: Secure) -> Iterator[Door]:
    recorder = Recorder()
    yield _door(shared_secure.stage, recorder)
    recorder.close()


def check(door: Door, seen: Request) -> None:
    """What holds of every request that an upstream gets."""
    assert seen.method in METHODS
    assert re.fullmatch(r"/[!-~]*", seen.target)
    path = seen.target.partition("?")[0]
    below = f"/things-v1{path}"
    assert normalise(below) == below
    assert "smuggled" not in path
    assert len(seen.target) <= 16_384
    assert len(path) <= 4096
    names = [name.lower() for name, _ in seen.headers]
    for name in OURS - {"x-forwarded-for"}:
        assert names.count(name) == 1, name
    assert seen.header("Host") == [f"127.0.0.1:{door.recorder.port}"]
    assert seen.header("X-Ostiary-Profile") == [str(door.profile)]
    assert seen.header("X-Ostiary-Client") == [str(door.client)]
    assert seen.header("X-Forwarded-For") == ["127.0.0.1"]
    for name in names:
        if name not in OURS:
            assert not name.startswith(("x-ostiary", "x-forwarded-", "proxy")), name
            assert re.fullmatch(r"[a-z0-9-]+", name), name
    for name in FOREIGN:
        assert name.lower() in OURS or not seen.header(name), name
    port = str(door.stage.gateway)
    assert seen.header("X-Forwarded-Proto")[0] in {"http", "https"}
    assert seen.header("X-Forwarded-Host")[0] in {f"localhost:{port}", f"127.0.0.1:{port}"}
    assert seen.header("X-Forwarded-Port") == [port]
    assert seen.header("X-Forwarded-Prefix") == ["/things-v1"]
    assert not seen.header("Authorization")
    assert not seen.header("API-TOKEN")
    assert not seen.header("Upgrade")
    assert all("\0" not in value for _, value in seen.headers)


def refusals_of(answer: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Status and body of each refusal in what a caller got over HTTP/1."""
    for match in re.finditer(rb"HTTP/1\.1 ([45]\d\d) ", answer):
        head, _, rest = answer[match.start() :].partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = rest[: int(length[1])] if length else rest
        if body:
            yield int(match[1]), json.loads(body)


def test_what_reaches_the_upstream_is_what_was_decided_on(door: Door) -> None:
    door.recorder.clear()
    names = [name for name, _ in cases(b"")]
    for number, name in enumerate(names):
        mark = b"Y-Case: %d\r\n" % number
        data = list(cases(door.credential + mark))[number][1]
        for status, refusal in refusals_of(door.sent(data)):
            assert refusal["reason"], name
            assert refusal["request_id"], name
            assert status in {400, 401, 404, 405, 408, 413, 414, 431, 501, 505}, name
    counts: Counter[str] = Counter()
    for seen in door.recorder.requests():
        # One that has no number was in the body of another.
        (number_text,) = seen.header("Y-Case")
        counts[names[int(number_text)]] += 1
        check(door, seen)
    assert set(counts.values()) == {1}, counts.most_common(3)
    # The corpus is not refused for some other reason.
    assert len(counts) > 60


@pytest.mark.parametrize(
    ("more", "status", "reason"),
    [
        (b"API-TOKEN: another\r\n", 400, "conflicting_credentials"),
        (b"api-token: another\r\n", 400, "conflicting_credentials"),
        (b"Authorization: Bearer another\r\n", 400, "conflicting_credentials"),
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400, "malformed_request"),
        (b"".join(b"Z%d: 1\r\n" % n for n in range(120)), 400, "malformed_request"),
        (b"Z: " + b"y" * 20_000 + b"\r\n", 431, "head_too_large"),
        (b"Host: another\r\n", 400, "malformed_request"),
    ],
    ids=["two", "two in lower case", "two forms", "framing", "many", "long", "two hosts"],
)
def test_a_head_that_two_would_read_differently_is_refused(
    door: Door, more: bytes, status: int, reason: str
) -> None:
    door.recorder.clear()
    answer = door.sent(request(door.credential, more, method=b"GET"))
    refusal = next(refusals_of(answer))
    assert (refusal[0], refusal[1]["reason"]) == (status, reason)
    assert not door.recorder.bytes


def test_encoded_slashes_pass_where_they_may_as_they_came_and_never_hide_dots(
    door: Door,
) -> None:
    """The whole corpus at a collection that lets them in, and what its parameters may hold."""
    stage, recorder = door.stage, door.recorder
    paths = (*PATHS, "GET /{any...}", "GET /cut/{a}-{b}", "ANY /{x}/projects")
    collection = stage.a_collection(
        cast("Upstream", recorder), *paths, name="Open", handle="open-v1", encoded_slashes=True
    )
    cut = next(e for e in stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
               if e["path"] == "cut/{a}-{b}")  # fmt: skip
    stage.done("PUT", f"api_endpoints/{cut['id']}", {"target_path": "/of/{b}"})
    secret = stage.a_profile(collection)["secret"]
    credential = f"API-TOKEN: {secret}\r\n".encode()
    recorder.clear()
    for name, data in cases(credential):
        if name.startswith("target"):
            door.sent(data.replace(b"things-v1", b"open-v1"))
    many = recorder.requests()
    for seen in many:
        path = f"/open-v1{seen.target.partition('?')[0]}"
        assert normalise(path, encoded_slashes=True) == path
        pieces = re.split("/|;|%2F|%5C|%3B", path)
        assert not {".", ".."} & {*pieces}, path
    assert {"/x%2Fthings", "/things;v=1", "/x%5C..%5Cthings"} & {s.target for s in many} == {
        "/x%2Fthings", "/things;v=1"
    }  # fmt: skip
    for target, wanted in [
        ("/e/group%2Fproject/7", "/e/group%2Fproject/7"),
        ("/group%2fsub%2fx/projects", "/group%2Fsub%2Fx/projects"),
        ("/@scope%2Fname", "/@scope%2Fname"),
        ("/a;v=1;w=%2F/b", "/a;v=1;w=%2F/b"),
        ("/cut/x-a%2Fb", "/of/a%2Fb"),
        ("/cut/x-..", None),
        ("/cut/x-..;y", None),
        ("/cut/x-..%2Fy", None),
    ]:
        recorder.clear()
        line = f"/open-v1{target}".encode()
        answer = door.sent(request(credential, method=b"GET", target=line))
        if wanted is None:
            assert next(refusals_of(answer))[1]["reason"] == "malformed_path", target
            assert not recorder.bytes
        else:
            (seen,) = recorder.requests()
            assert seen.target == wanted


@pytest.mark.parametrize("length", [4097, 5000, 12_850, 16_000, 40_000])
@pytest.mark.parametrize("where", ["things/", "a/"])
def test_a_path_above_the_bound_is_refused(door: Door, length: int, where: str) -> None:
    door.recorder.clear()
    target = f"/things-v1/{where}".encode().ljust(length, b"q")
    status, refusal = next(
        refusals_of(door.sent(request(door.credential, method=b"GET", target=target)))
    )
    assert status in {400, 414}
    assert refusal["reason"] in {"malformed_path", "head_too_large"}
    assert not door.recorder.bytes


def test_a_path_of_the_largest_length_passes_whole(door: Door) -> None:
    door.recorder.clear()
    target = b"/things-v1/things/".ljust(4096, b"q")
    answer = door.sent(request(door.credential, method=b"GET", target=target))
    assert answer.startswith(b"HTTP/1.1 200")
    (seen,) = door.recorder.requests()
    assert seen.target == "/things/" + "q" * (4096 - 18)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer {}", 200),
        ("bearer {}", 200),
        ("BEARER   {}", 200),
        ("Be {}", 401),
        ("Bear {}", 401),
        ("Bearer{}", 401),
        ("Bearer\t{}", 401),
        ("Bearers {}", 401),
        ("Token {}", 401),
        ("{}", 401),
    ],
)
def test_a_scheme_is_its_whole_name(door: Door, authorization: str, status: int) -> None:
    door.recorder.clear()
    line = f"Authorization: {authorization.format(door.secret)}\r\n".encode()
    answer = door.sent(request(line, method=b"GET"))
    assert int(answer.split()[1]) in ({200} if status == 200 else {400, 401})
    assert bool(door.recorder.bytes) == (status == 200)


@pytest.mark.parametrize("tail", ["\0", "\0x", "\n", "\x7f", "\x01"])
def test_a_password_is_taken_whole(door: Door, tail: str) -> None:
    door.recorder.clear()
    password = base64.b64encode(f"API-TOKEN:{door.secret}{tail}".encode()).decode()
    answer = door.sent(request(f"Authorization: Basic {password}\r\n".encode(), method=b"GET"))
    assert int(answer.split()[1]) in {400, 401}
    assert not door.recorder.bytes


def test_control_characters_in_a_value_end_no_line(door: Door) -> None:
    for byte in (*range(1, 32), 127):
        door.recorder.clear()
        value = b"Y: c" + bytes([byte]) + b"X-Ostiary-Client: 9\r\n"
        door.sent(request(door.credential, value, method=b"GET"))
        for seen in door.recorder.requests():
            assert seen.header("X-Ostiary-Client") == [str(door.client)], byte


@pytest.mark.parametrize(
    ("more", "version", "kept"),
    [
        (b"", b"HTTP/1.0", False),
        (b"Connection: keep-alive\r\n", b"HTTP/1.0", True),
        (b"Connection: close\r\n", b"HTTP/1.1", False),
    ],
)
def test_an_answer_ends_as_its_version_says(
    door: Door, more: bytes, version: bytes, kept: bool
) -> None:
    data = request(door.credential, more, method=b"GET", version=version)
    with socket.create_connection(("127.0.0.1", door.stage.gateway), timeout=60) as sock:
        sock.sendall(data)
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            part = sock.recv(65536)
            assert part
            answer += part
        if kept:
            sock.sendall(data)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        else:
            assert sock.recv(65536) == b""


# --- what nginx itself refuses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /things-v1/things HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /things-v1/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nY: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/7.1\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_refusals_of_nginx_are_ours(door: Door, data: bytes, status: int) -> None:
    ((told, refusal),) = refusals_of(raw(door.stage.gateway, data))
    assert told == status
    assert set(refusal) >= {"message", "reason", "request_id"}


# --- answers of upstreams ---------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@pytest.fixture
def answering(door: Door) -> Iterator[Recorder]:
    yield door.recorder
    door.recorder.answer, door.recorder.hangs_up = OK + b"\r\nok", False


@pytest.mark.parametrize(
    "header",
    [
        "X-Accel-Redirect: /other-v1/things", "X-Accel-Redirect: /__malformed/200",
        "X-Accel-Redirect: @any", "X-Accel-Limit-Rate: 1", "X-Accel-Buffering: yes",
        "X-Accel-Charset: utf-7", "X-Accel-Expires: 9999", "X-Sendfile: /etc/passwd",
    ],
)  # fmt: skip
def test_no_header_of_an_upstream_steers_the_gateway(
    door: Door, answering: Recorder, header: str
) -> None:
    answering.answer = OK + header.encode() + b"\r\nServer: theirs/1\r\n\r\nok"
    answer = door.sent(request(door.credential, method=b"GET"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\nokHTTP/1.1 401" in answer
    assert b"\r\nServer: theirs/1\r\n" in answer


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nY: " + b"z" * 40_000 + b"\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nY: \0\r\n\r\n", 502),
        (b"", 502),
    ],
    ids=["no colon", "long", "NUL", "none"],
)
def test_an_answer_that_is_none_is_a_bad_gateway(
    door: Door, answering: Recorder, answer: bytes, status: int
) -> None:
    answering.answer, answering.hangs_up = answer, True
    got = door.sent(request(door.credential, method=b"GET"))
    told, refusal = next(refusals_of(got))
    assert told == status
    assert refusal["reason"] == "upstream_failed"
    assert refusal["request_id"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["two lengths", "length and chunks"],
)
def test_an_answer_of_two_lengths_is_framed_anew_or_refused(
    door: Door, answering: Recorder, answer: bytes
) -> None:
    answering.answer, answering.hangs_up = answer, True
    got = door.sent(request(door.credential, method=b"GET"))
    head = got.partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"\ncontent-length:") + head.count(b"\ntransfer-encoding:") == 1
    # And the next call of the connection has its own answer.
    assert got.count(b"HTTP/1.1 401") == 1


def test_an_answer_that_ends_early_is_no_whole_answer(door: Door, answering: Recorder) -> None:
    answering.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    answering.hangs_up = True
    got = door.sent(request(door.credential, method=b"GET"))
    assert b"Content-Length: 100" in got
    assert got.endswith(b"\r\n\r\nhalf")


def test_what_follows_an_answer_is_nobody_elses(door: Door, answering: Recorder) -> None:
    """An upstream's second answer on one connection must not become another caller's."""
    answering.answer = OK + b"\r\nok" + OK + b"Y: poison\r\n\r\nno"
    for _ in range(10):
        got = door.sent(request(door.credential, method=b"GET"))
        assert b"\r\n\r\nokHTTP/1.1 401" in got
        assert b"poison" not in got


@pytest.mark.parametrize("first", [b"100 Continue", b"103 Early Hints"])
def test_the_answer_behind_an_interim_one_arrives(
    door: Door, answering: Recorder, first: bytes
) -> None:
    """nginx before 1.29 takes an interim answer for the whole; what follows goes through as it is."""
    answering.answer = b"HTTP/1.1 " + first + b"\r\nLink: </y>\r\n\r\n" + OK + b"\r\nok"
    got = door.sent(request(door.credential, method=b"GET"))
    assert OK + b"\r\nok" in got


# --- HTTP/2, frame by frame ---------------------------------------------------------------------------

HEADERS, RST, CONTINUATION, DATA = 1, 3, 9, 0
END_STREAM, END_HEADERS = 1, 4
Fields = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream
    ) + payload  # fmt: skip


def block(fields: Fields) -> bytes:
    """A header block of literals, in which anything may stand."""

    def text(value: bytes) -> bytes:
        length = len(value)
        if length < 127:
            return bytes([length]) + value
        out, length = b"\x7f", length - 127
        while length >= 128:
            out, length = out + bytes([length % 128 + 128]), length >> 7
        return out + bytes([length]) + value

    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


class Frames:
    """A client that sends frames as they are; what is answered is read to its end."""

    def __init__(self, door: Door) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", door.stage.gateway), timeout=60)
        self.sock = context.wrap_socket(plain)
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))

    def send(self, data: bytes) -> None:
        with suppress(OSError):
            self.sock.sendall(data)

    def answers(self) -> tuple[dict[int, str], bytes]:
        """Statuses by stream, and all bodies: until the connection or the first stream ends."""
        buffer, bodies = b"", b""
        statuses: dict[int, str] = {}
        decoder = hpack.Decoder()
        with suppress(OSError):
            while part := self.sock.recv(65536):
                buffer += part
                while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
                    length, kind, flags = int.from_bytes(buffer[:3], "big"), buffer[3], buffer[4]
                    stream = int.from_bytes(buffer[5:9], "big")
                    payload, buffer = buffer[9 : 9 + length], buffer[9 + length :]
                    if kind == HEADERS:
                        pairs = dict(cast("list[tuple[str, str]]", decoder.decode(payload)))
                        statuses[stream] = str(pairs.get(":status", ""))
                    elif kind == DATA:
                        bodies += payload
                    if kind in {RST, 7} or (flags & END_STREAM and kind in {HEADERS, DATA}):
                        return statuses, bodies
        return statuses, bodies

    def close(self) -> None:
        self.sock.close()


def _fields(door: Door, **changed: bytes | None) -> Fields:
    fields: dict[str, bytes | None] = {
        "method": b"GET", "scheme": b"https", "authority": b"door.example",
        "path": b"/things-v1/things", **changed,
    }  # fmt: skip
    pseudo = [(b":" + name.encode(), value) for name, value in fields.items() if value is not None]
    return [*pseudo, (b"api-token", door.secret.encode())]


def _h2_cases(door: Door) -> Iterator[tuple[str, Fields]]:
    yield "none", _fields(door)
    for name, value in {
        "line end": b"/things-v1/things HTTP/1.1\r\nX: y", "blank": b"/things-v1/thi ngs",
        "NUL": b"/things-v1/\0", "none": b"", "star": b"*", "no slash": b"things-v1/things",
        "absolute": b"https://evil.test/things-v1/things", "dots": b"/things-v1/../things-v1/things",
        "escaped": b"/things-v1%2fthings", "semicolon": b"/things-v1/things;x",
        "fragment": b"/things-v1/things#x", "slashes": b"//things-v1/things",
        "eighth bit": b"/things-v1/\xff", "question": b"/things-v1/things?x=/../y",
        "backslash": b"/things-v1\\things", "long": b"/things-v1/" + b"y" * 9000,
        "tab": b"/things-v1/things\t", "authority": b"door.example:1",
    }.items():  # fmt: skip
        yield f"path: {name}", _fields(door, path=value)
    for name, value in {
        "line end": b"GET /things-v1/smuggled HTTP/1.1\r\nHost: c\r\n\r\nGET", "blank": b"GET x",
        "lower case": b"get", "CONNECT": b"CONNECT", "none": b"", "made up": b"BREW",
        "NUL": b"GET\0", "TRACE": b"TRACE",
    }.items():  # fmt: skip
        yield f"method: {name}", _fields(door, method=value)
    for name, value in {
        "line end": b"c\r\nX: y", "slash": b"c/things-v1/things", "question": b"c?", "hash": b"c#",
        "user": b"u@c", "blank": b"c d", "NUL": b"c\0", "none": b"", "eighth bit": b"\xff",
        "quote": b'c"', "comma": b"c,d",
    }.items():  # fmt: skip
        yield f"authority: {name}", _fields(door, authority=value)
    for name, value in {
        "ftp": b"ftp",
        "line end": b"https\r\nX: y",
        "http": b"http",
        "none": b"",
    }.items():
        yield f"scheme: {name}", _fields(door, scheme=value)
    for missing in ("method", "scheme", "authority", "path"):
        yield f"no {missing}", _fields(door, **{missing: None})
    base = _fields(door)
    yield "two paths", [*base[:4], (b":path", b"/things-v1/other"), *base[4:]]
    yield "two methods", [*base[:4], (b":method", b"POST"), *base[4:]]
    yield "two authorities", [*base[:4], (b":authority", b"d"), *base[4:]]
    yield "late pseudo header", [*base, (b":path", b"/things-v1/other")]
    yield "unknown pseudo header", [*base[:4], (b":proto", b"x"), *base[4:]]
    yield "extended CONNECT", [
        (b":method", b"CONNECT"), (b":protocol", b"websocket"), *base[1:],
    ]  # fmt: skip
    yield "status", [*base[:4], (b":status", b"200"), *base[4:]]
    for header in (
        (b"host", b"other.example"), (b"host", b""), (b"connection", b"close"),
        (b"connection", b"x-ostiary-client"), (b"keep-alive", b"5"), (b"te", b"trailers, gzip"),
        (b"transfer-encoding", b"chunked"), (b"upgrade", b"websocket"), (b"upgrade", b"h2c"),
        (b"proxy-connection", b"y"), (b"proxy", b"http://evil.test"), (b"X-UPPER", b"1"),
        (b"y", b"c\r\nx-ostiary-client: 9"), (b"y", b"c\nd"), (b"y", b"c\0d"), (b"y", b"c\rd"),
        (b"y\r\nx", b"1"), (b"y z", b"1"), (b"y:z", b"1"), (b"", b"1"), (b"y\0", b"1"),
        (b"x_ostiary_client", b"9"), (b"X-Ostiary-Client", b"9"), (b"x-ostiary-client", b"9"),
        (b"x-ostiary-claims", b"9"), (b"y", b" c "), (b"y", b"c\x01\x7f"), (b"y", b"\xff"),
        (b"api-token", b"another"), (b"authorization", b"Bearer z"), (b"content-length", b"7"),
        (b"content-length", b"+0"), (b"expect", b"100-continue"), (b"trailer", b"y"),
    ):  # fmt: skip
        yield f"header: {header}", [*base, header]
    yield "split cookies", [*base, (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    yield "many", [*base, *((b"y%d" % n, b"1") for n in range(160))]
    for name in FOREIGN:
        yield f"foreign: {name}", [*base, (name.lower().encode(), b"9.9.9.9")]


def test_what_reaches_the_upstream_over_http_2_is_what_was_decided_on(secure: Door) -> None:
    reached = 0
    for name, fields in _h2_cases(secure):
        secure.recorder.clear()
        client = Frames(secure)
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields)))
        statuses, body = client.answers()
        client.close()
        requests = secure.recorder.requests()
        assert len(requests) <= 1, name
        for seen in requests:
            _check_h2(secure, seen)
            reached += 1
        if requests and statuses:
            assert statuses == {1: "200"}, name
        elif statuses and body:
            assert json.loads(body)["request_id"], name
    assert reached > 40


def _check_h2(door: Door, seen: Request) -> None:
    assert seen.header("X-Forwarded-Proto") == ["https"]
    check(door, seen)
    assert seen.target.partition("?")[0] == "/things"


@pytest.mark.parametrize(
    ("more", "frames"),
    [
        ([], [frame(DATA, END_STREAM, 1, b"hello")]),
        ([(b"content-length", b"3")], [frame(DATA, END_STREAM, 1, b"hello")]),
        ([(b"content-length", b"9")], [frame(DATA, END_STREAM, 1, b"hello")]),
        (
            [(b"content-length", b"5"), (b"content-length", b"6")],
            [frame(DATA, END_STREAM, 1, b"hello")],
        ),
        ([(b"content-length", b"+5")], [frame(DATA, END_STREAM, 1, b"hello")]),
        (
            [],
            [
                frame(DATA, 0, 1, b"hello"),
                frame(
                    HEADERS, END_HEADERS | END_STREAM, 1,
                    block([(b"x-ostiary-client", b"9"), (b"authorization", b"y")]),
                ),
            ],
        ),
        (
            [],
            [
                frame(DATA, 0, 1, b"hello"),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(b":path", b"/y")])),
            ],
        ),
        ([], [frame(DATA, END_STREAM, 1, SMUGGLED)]),
    ],
    ids=[
        "body", "length too small", "length too large", "two lengths", "odd length", "trailers",
        "pseudo trailer", "a request as body",
    ],
)  # fmt: skip
def test_bodies_over_http_2_are_framed_by_the_gateway(
    secure: Door, more: Fields, frames: list[bytes]
) -> None:
    secure.recorder.clear()
    client = Frames(secure)
    fields = [*_fields(secure, method=b"POST"), *more]
    client.send(frame(HEADERS, END_HEADERS, 1, block(fields)) + b"".join(frames))
    client.answers()
    client.close()
    requests = secure.recorder.requests()
    assert len(requests) <= 1
    for seen in requests:
        _check_h2(secure, seen)
        assert seen.body in {b"hello", SMUGGLED}


def test_floods_of_frames_end_the_connection_and_no_other_call(secure: Door) -> None:
    for payload in (b"", block([(b"y", b"z" * 60)])):
        client = Frames(secure)
        client.send(frame(HEADERS, END_STREAM, 1, block(_fields(secure))))
        for _ in range(2000):
            client.send(frame(CONTINUATION, 0, 1, payload))
        statuses, _ = client.answers()
        client.close()
        assert statuses.get(1) != "200"
    client = Frames(secure)
    secure.recorder.clear()
    for number in range(600):
        stream = 2 * number + 1
        client.send(
            frame(HEADERS, END_HEADERS | END_STREAM, stream, block(_fields(secure)))
            + frame(RST, 0, stream, struct.pack(">I", 8))
        )
    client.close()
    began = time.monotonic()
    calm = Frames(secure)
    calm.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(_fields(secure))))
    assert calm.answers()[0] == {1: "200"}, time.monotonic() - began
    calm.close()
    for seen in secure.recorder.requests():
        _check_h2(secure, seen)
