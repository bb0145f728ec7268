"""The gateway with a certificate: TLS, HTTP/2, and the same door behind it."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from cryptography import x509
from tests.gateway.secure import Secure
from tests.stage import Stage, Upstream, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def certificate(shared_secure: Secure) -> Path:
    return shared_secure.certificate.both


@pytest.fixture(scope="module")
def secure(shared_secure: Secure) -> Stage:
    return shared_secure.stage


@pytest.fixture(scope="module")
def profile(secure: Stage, upstream: Upstream) -> Any:
    return secure.a_profile(secure.a_collection(upstream, name="Things", handle="things-v1"))


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_calls_pass_over_tls(
    secure: Stage, upstream: Upstream, certificate: Path, profile: Any, protocol: str
) -> None:
    url = f"https://127.0.0.1:{secure.gateway}/things-v1/things/5"
    for token, status in ((profile["secret"], 200), ("wrong", 401)):
        told = subprocess.run(
            ["curl", "-sS", protocol, "--cacert", str(certificate), "-w", "\n%{http_code} %{http_version}",
             "-H", f"API-TOKEN: {token}", url],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        body, _, last = told.rpartition("\n")
        assert last.split() == [str(status), "1.1" if protocol == "--http1.1" else "2"]
        assert json.loads(body)
    assert upstream.seen[-1].header("X-Forwarded-Proto") == ["https"]


def test_plain_http_is_refused_on_the_tls_port(secure: Stage, profile: Any) -> None:
    headers = {"API-TOKEN": profile["secret"]}
    url = f"http://127.0.0.1:{secure.gateway}/things-v1/things"
    answer = httpx.get(url, headers=headers, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["reason"] == "malformed_request"


class Pieces:
    """An upstream that sends an answer in the pieces given, and waits before each but the first."""

    def __init__(self) -> None:
        self.pieces: tuple[bytes, ...] = ()
        self.more = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            while peer.recv(65536):
                for number, piece in enumerate(self.pieces):
                    if number:
                        self.more.acquire()
                    peer.sendall(piece)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def pieces() -> Iterator[Pieces]:
    made = Pieces()
    yield made
    made.close()


@pytest.fixture(scope="module")
def piecewise(secure: Stage, pieces: Pieces) -> Any:
    collection = secure.a_collection(cast("Upstream", pieces), name="Pieces", handle="pieces-v1")
    return secure.a_profile(collection)


class Http2:
    """One call over HTTP/2; what comes, frame by frame."""

    def __init__(self, stage: Stage, path: str, secret: str, method: str = "GET") -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", stage.gateway), timeout=30)
        self.sock = context.wrap_socket(plain)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="ascii"))
        self._h2.initiate_connection()
        headers = [
            (":method", method), (":path", path), (":scheme", "https"), (":authority", "x"),
            ("api-token", secret),
        ]  # fmt: skip
        self._h2.send_headers(1, headers, end_stream=True)
        self.sock.sendall(self._h2.data_to_send())
        self._events: list[h2.events.Event] = []

    def close(self) -> None:
        self.sock.close()

    def next(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether the answer ends with it."""
        while True:
            while self._events:
                match self._events.pop(0):
                    case h2.events.DataReceived(data=data, stream_ended=ended):
                        return bytes(data), ended is not None
                    case h2.events.StreamEnded():
                        return b"", True
            self._events = self._h2.receive_data(self.sock.recv(65536))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PATH = "/pieces-v1/things"


def first_piece(
    stage: Stage, profile: Any, pieces: Pieces, answer: bytes, method: str = "GET"
) -> tuple[bytes, bool]:
    pieces.pieces = (answer,)
    with closing(Http2(stage, PATH, profile["secret"], method)) as call:
        return call.next()


def test_a_small_answer_over_http2_is_one_piece_with_its_end(
    secure: Stage, pieces: Pieces, piecewise: Any
) -> None:
    for body in (b"whole", b"x" * 1_400, b""):
        answer = HEAD % len(body) + body
        for _ in range(2):
            assert first_piece(secure, piecewise, pieces, answer) == (body, True)
    assert first_piece(secure, piecewise, pieces, HEAD % 100, "HEAD") == (b"", True)


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        ((HEAD % 9 + b"one", b"two", b"six"), (b"one", b"two", b"six")),
        ((HEAD % 6, b"one", b"two"), (b"one", b"two")),
        ((CHUNKED + b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"), (b"one", b"two")),
    ],
    ids=["known length", "head alone first", "chunked"],
)
def test_an_answer_that_comes_in_pieces_is_passed_on_as_it_comes(
    secure: Stage,
    pieces: Pieces,
    piecewise: Any,
    sent: tuple[bytes, ...],
    body: tuple[bytes, ...],
) -> None:
    pieces.pieces = sent
    with closing(Http2(secure, PATH, piecewise["secret"])) as call:
        read_in_pieces(call, pieces, sent, body)


def read_in_pieces(
    call: Http2, pieces: Pieces, sent: tuple[bytes, ...], body: tuple[bytes, ...]
) -> None:
    if sent[0].endswith(b"\r\n\r\n"):
        pieces.more.release()
    for number, piece in enumerate(body):
        # The next piece is sent only after this one has come.
        data, ended = call.next()
        assert data == piece
        assert not ended
        if number < len(body) - 1:
            pieces.more.release()
    if sent[0].startswith(CHUNKED):
        pieces.more.release()
    assert call.next() == (b"", True)


def _serial(port: int) -> int:
    """The serial number of the certificate that a new connection gets."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def _written(folder: Path, target: Path) -> None:
    """A new certificate in place of another, as renewing programs do it."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    both.replace(target)


def test_a_renewed_certificate_is_taken_without_a_refused_call(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> None:
    tmp_path = tmp_path_factory.mktemp("renewed")
    certificate = tmp_path / "gateway.pem"
    _written(tmp_path / "first", certificate)
    with running(tmp_path / "data", env={"OSTIARY_CERTIFICATE": str(certificate)}) as stage:
        token = stage.a_profile(stage.a_collection(upstream, handle="things-v1"))["secret"]
        url = f"https://127.0.0.1:{stage.gateway}/things-v1/things/5"
        first, statuses, done = _serial(stage.gateway), [], threading.Event()

        def call() -> None:
            while not done.is_set():
                with httpx.Client(verify=False, trust_env=False, timeout=60) as client:
                    statuses.append(client.get(url, headers={"API-TOKEN": token}).status_code)

        caller = threading.Thread(target=call)
        caller.start()
        try:
            # One that nginx cannot read leaves the last one.
            certificate.write_text("no certificate")
            said = "the gateway goes on with its last certificate"
            wait_for(lambda: any(said in line for line in stage.lines))
            assert _serial(stage.gateway) == first
            # Meanwhile connections with CA certificates of their own wait, and are not set aside.
            pem = (tmp_path / "first" / "cert.pem").read_text()
            trusting = {"base_url": "https://localhost:1", "ca_pem": pem}
            made = stage.done("POST", "connections", {"name": "Trusting", "input": trusting})
            assert made["gateway_problem"] is None
            _written(tmp_path / "second", certificate)
            wait_for(lambda: _serial(stage.gateway) != first)
            given = {"name": "Trusting", "input": trusting}
            wait_for(lambda: stage.api("PUT", f"connections/{made['id']}", given).status == 200)
            assert not any("set aside" in line for line in stage.lines)
        finally:
            done.set()
            caller.join()
        assert set(statuses) == {200}
        assert len(statuses) > 5
