"""Ordinary calls to upstreams that speak HTTP/2 alone, over TLS and without it."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.certificates import Certificate, made_in
from tests.gateway.secure import Secure
from tests.stage import Answer, Stage, free_port, running

pytestmark = [pytest.mark.gateway, pytest.mark.slow]
SERVER = Path(__file__).with_name("http2_server.mjs")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Door:
    stage: Stage
    collection: dict[str, Any]
    token: str
    #: Where callers over HTTP/2 come in.
    clear: str

    def call(self, path: str, method: str = "GET", **more: Any) -> Answer:
        return self.stage.call(f"/api-v1{path}", self.token, method=method, **more)

    def curl(self, url: str, *options: str) -> str:
        """What curl prints of a call over HTTP/2."""
        done = subprocess.run(
            ["curl", "-sSk", "--http2-prior-knowledge", "--max-time", "60", *options,
             "-H", f"api-token: {self.token}", url],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return made_in(tmp_path_factory.mktemp("http2"))


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, str]]:
    """A product, and its address for callers over HTTP/2 without TLS."""
    clear = f"127.0.0.1:{free_port()}"
    data = tmp_path_factory.mktemp("data")
    with running(data, env={"OSTIARY_GATEWAY_H2C_BIND": clear}) as stage:
        yield stage, clear


@pytest.fixture(scope="module", params=["http", "https"])
def door(request: Any, product: tuple[Stage, str], certificate: Certificate) -> Iterator[Door]:
    stage, clear = product
    stage.clear()
    secure = request.param == "https"
    words = [str(certificate.certificate), str(certificate.key)] if secure else []
    server = subprocess.Popen(["node", str(SERVER), *words], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    try:
        given = {
            "base_url": f"{request.param}://localhost:{port}",
            "http_version": "2",
            "timeout_seconds": 3,
        }
        if secure:
            given["ca_pem"] = certificate.pem.decode()
        connection = stage.done("POST", "connections", {"name": "API", "input": given})
        assert connection["input"]["http_version"] == "2"
        collection = stage.done(
            "POST",
            "api_collections",
            {"name": "API", "handle": "api-v1", "proxy_connection_id": connection["id"]},
        )
        for path in ("/{path...}", "/silent"):
            stage.an_endpoint(collection, f"ANY {path}")
        token = stage.a_profile(collection)["secret"]
        yield Door(stage, collection, token, f"http://{clear}/api-v1")
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


@pytest.mark.parametrize("method", METHODS)
def test_any_method_passes_with_its_body_headers_and_query(door: Door, method: str) -> None:
    sent = {"X-Kept": "1", "Accept": "text/plain", "X-Real-IP": "9.9.9.9", "Connection": "close"}
    body = b"x" * 100_000 if method in {"POST", "PUT", "PATCH"} else None
    answer = door.call("/a/b%20c/%C3%A9?q=%2F&r=1", method, headers=sent, body=body)
    assert answer.status == 200
    if method == "HEAD":
        assert answer.body == b""
        assert int(answer.headers["content-length"]) > 100
        return
    seen = answer.json["headers"]
    assert (seen[":method"], seen[":path"]) == (method, "/a/b%20c/%C3%A9?q=%2F&r=1")
    assert answer.json["length"] == len(body or b"")
    assert (seen["x-kept"], seen["accept"]) == ("1", "text/plain")
    assert seen["x-forwarded-prefix"] == "/api-v1"
    assert seen["x-ostiary-profile"]
    assert "api-token" not in seen
    assert "connection" not in seen
    assert "9.9.9.9" not in str(seen)


@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 404, 409, 429, 500, 503])
def test_every_status_comes_back_as_it_is(door: Door, status: int) -> None:
    answer = door.call(f"/status/{status}")
    assert answer.status == status
    assert (answer.body == b"") == (status in {204, 304})


def test_answers_of_all_shapes_come_whole(door: Door) -> None:
    assert door.call("/large").body == b"x" * 5_000_000
    assert door.call("/empty").body == b""
    assert door.call("/split").body == b"123456789"
    assert door.call("/moved").headers["location"].endswith("/api-v1/things")
    assert door.call("/trailers").body == b"with trailers"
    told = door.curl(f"{door.clear}/trailers", "-v", "--stderr", "-")
    assert "checksum: abc" in told.lower()


def test_pages_are_told_of_the_collection_s_rules_or_of_the_upstream_s_and_once(door: Door) -> None:
    page = {"Origin": "https://page.example.com"}
    answer = door.call("/open", headers=page)
    assert answer.status == 200
    assert "alt-svc" not in answer.headers
    assert answer.headers["x-request-id"] != "theirs"
    assert _about_pages(answer) == ["*", "true"]
    where = f"api_collections/{door.collection['id']}"
    door.stage.done("PUT", where, {"name": "API", "cors_origins": ["https://own.example.com"]})
    try:
        assert _about_pages(door.call("/open", headers=page)) == ["*", "true"]
        own = door.call("/open", headers={"Origin": "https://own.example.com"})
        assert _about_pages(own) == ["https://own.example.com"]
    finally:
        door.stage.done("PUT", where, {"name": "API", "cors_origins": []})


def test_an_answer_without_a_status_is_refused(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_without_status, args=(listener,), daemon=True).start()
        given = {"base_url": f"http://127.0.0.1:{listener.getsockname()[1]}", "http_version": "2"}
        connection = door.stage.done("POST", "connections", {"name": "Raw", "input": given})
        raw = {"name": "Raw", "handle": "raw", "proxy_connection_id": connection["id"]}
        collection = door.stage.done("POST", "api_collections", raw)
        door.stage.an_endpoint(collection, "GET /things")
        token = door.stage.a_profile(collection)["secret"]
        assert door.stage.call("/raw/things", token).status == 502


def _answer_without_status(listener: socket.socket) -> None:
    """Answer each call with a head of HTTP/2 in which there is nothing."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, peer.makefile("rb") as read:
            read.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            peer.sendall(bytes(3) + b"\x04" + bytes(5))  # its settings
            while len(frame := read.read(9)) == 9:
                read.read(int.from_bytes(frame[:3]))
                if frame[3] == 1:  # the head of a call
                    peer.sendall(bytes(3) + b"\x01\x05" + frame[5:])


def _about_pages(answer: Answer) -> list[str]:
    names = ("access-control-allow-origin", "access-control-allow-credentials")
    return [value for name, value in answer.lines if name.lower() in names]


def test_a_body_of_unknown_length_passes(door: Door) -> None:
    told = door.curl(
        f"http://127.0.0.1:{door.stage.gateway}/api-v1/things", "--http1.1",
        "-H", "Transfer-Encoding: chunked", "-d", "x" * 50_000,
    )  # fmt: skip
    assert '"length":50000' in told


def test_failures_are_told_as_of_any_upstream(door: Door) -> None:
    reset = door.call("/reset")
    assert (reset.status, reset.json["reason"]) == (502, "upstream_failed")
    silent = door.call("/silent")
    assert (silent.status, silent.json["reason"]) == (504, "upstream_timeout")
    assert door.call("/things").status == 200


def test_a_server_that_is_down_is_unavailable(door: Door) -> None:
    given = {"base_url": f"http://127.0.0.1:{free_port()}", "http_version": "2"}
    connection = door.stage.done("POST", "connections", {"name": "Gone", "input": given})
    collection = door.stage.done(
        "POST", "api_collections", {"name": "Gone", "proxy_connection_id": connection["id"]}
    )
    door.stage.an_endpoint(collection, "GET /x")
    profile = door.stage.a_profile(collection, client=door.stage.a_client("Gone"))
    answer = door.stage.call("/gone-v1/x", profile["secret"])
    assert (answer.status, answer.json["reason"]) == (502, "upstream_unavailable")


@pytest.mark.parametrize("path", ["/%40me", "/a%3Bb", "/a%5Bb%5D"])
def test_a_path_that_would_arrive_as_another_is_refused(door: Door, path: str) -> None:
    answer = door.call(path)
    assert (answer.status, answer.json["reason"]) == (400, "malformed_path")


def test_connections_are_kept_and_many_calls_pass_at_once(door: Door) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: door.call(f"/n/{n}"), range(200)))
    assert [answer.json["headers"][":path"] for answer in answers] == [
        f"/n/{n}" for n in range(200)
    ]


def test_a_websocket_is_not_asked_for(door: Door) -> None:
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    answer = door.call("/chat", headers=headers)
    assert answer.status == 200
    assert "upgrade" not in answer.json["headers"]


def test_health_checks_of_http_1_are_refused_for_http_2_without_tls(door: Door) -> None:
    for url, status in (("http://a.example", 400), ("https://a.example", 200)):
        given = {"base_url": url, "http_version": "2", "health_path": "/health"}
        answer = door.stage.api("POST", "connections", {"name": url, "input": given})
        assert answer.status == status, answer.body
    given = {"base_url": "http://a.example", "http_version": "3"}
    answer = door.stage.api("POST", "connections", {"name": "3", "input": given})
    assert "http_version" in answer.json["errors"], answer.body


def test_an_answer_of_any_length_passes_to_callers_over_tls(shared_secure: Secure) -> None:
    """Short answers over HTTP/1.1 are joined there, by what nginx has read of their bodies; frames are not."""
    stage = shared_secure.stage
    server = subprocess.Popen(["node", str(SERVER)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    try:
        given = {"base_url": f"http://localhost:{port}", "http_version": "2"}
        connection = stage.done("POST", "connections", {"name": "API", "input": given})
        collection = stage.done(
            "POST", "api_collections", {"name": "API", "proxy_connection_id": connection["id"]}
        )
        stage.an_endpoint(collection, "ANY /{path...}")
        token = stage.a_profile(collection)["secret"]
        for path, body in (("empty", ""), ("split", "123456789"), ("large", "x" * 5_000_000)):
            done = subprocess.run(
                ["curl", "-sSk", "--http2", "--max-time", "60", "-H", f"api-token: {token}",
                 f"https://127.0.0.1:{stage.gateway}/api-v1/{path}"],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            assert done.stdout == body
        assert not any("exited on signal" in line for line in stage.lines)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
