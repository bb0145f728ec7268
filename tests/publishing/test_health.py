"""Health of servers: what is down is not called, unless all are; nobody waits for a check."""

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.publishing.certificates import a_certificate
from tests.publishing.conftest import Addresses, Start
from tests.publishing.makers import a_connection
from tests.publishing.stand_in import Running, StandIn
from tests.stage import free_port, wait_for

from ostiary.directory.changes import feed


class _Upstream:
    """Answers health checks on a loopback address, until it is closed."""

    def __init__(self, address: str, port: int, *, context: ssl.SSLContext | None = None) -> None:
        seen: list[tuple[str, str]] = []
        self.seen, self.status = seen, 200
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                seen.append((self.path, self.headers["Host"]))
                self.send_response(upstream.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self._server = http.server.ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def down(gateway: StandIn, connection: int) -> dict[str, bool]:
    shown = gateway.object(f"u{connection}") or {"servers": []}
    return {server["address"]: server["down"] for server in shown["servers"]}


def states(running: Running, connection: int) -> dict[str, str]:
    shown = running.client.state().servers
    return {s.address: s.state for s in shown if s.connection == connection}


@pytest.fixture
def pair() -> Iterator[tuple[_Upstream, _Upstream, int]]:
    port = free_port()
    first, second = _Upstream("127.0.0.1", port), _Upstream("127.0.0.2", port)
    yield first, second, port
    first.close()
    second.close()


def test_a_server_that_fails_its_checks_is_not_called_until_it_is_well(
    gateway: StandIn, start: Start, addresses: Addresses, pair: tuple[_Upstream, _Upstream, int]
) -> None:
    first, second, port = pair
    addresses["api.example"] = ("127.0.0.1", "127.0.0.2")
    running = start()
    connection = a_connection(f"http://api.example:{port}/v1", health_path="/health").pk
    assert running.client.confirm(feed.latest(), 20)
    wait_for(lambda: len(first.seen) > 1)
    assert first.seen[0] == ("/v1/health", f"api.example:{port}")
    assert down(gateway, connection) == {"127.0.0.1": False, "127.0.0.2": False}
    second.status = 500
    wait_for(lambda: down(gateway, connection) == {"127.0.0.1": False, "127.0.0.2": True})
    assert states(running, connection) == {"127.0.0.1": "up", "127.0.0.2": "down"}
    (server,) = (s for s in running.client.state().servers if s.address == "127.0.0.2")
    assert "500" in server.reason
    # All of them down: then all are tried, and the state still says what is so.
    first.status = 404
    wait_for(lambda: states(running, connection) == {"127.0.0.1": "down", "127.0.0.2": "down"})
    wait_for(lambda: down(gateway, connection) == {"127.0.0.1": False, "127.0.0.2": False})
    first.status, second.status = 302, 204
    wait_for(lambda: states(running, connection) == {"127.0.0.1": "up", "127.0.0.2": "up"})


def test_several_servers_without_a_health_path_are_connected_to(
    gateway: StandIn, start: Start, pair: tuple[_Upstream, _Upstream, int]
) -> None:
    first, second, port = pair
    running = start()
    connection = a_connection(f"http://127.0.0.1:{port}", f"http://127.0.0.2:{port}").pk
    assert running.client.confirm(feed.latest(), 20)
    second.close()
    wait_for(lambda: down(gateway, connection) == {"127.0.0.1": False, "127.0.0.2": True})
    assert first.seen == []


def test_one_server_without_a_health_path_is_left_alone(gateway: StandIn, start: Start) -> None:
    running = start()
    connection = a_connection(f"http://127.0.0.1:{free_port()}").pk
    assert running.client.confirm(feed.latest(), 20)
    assert running.publisher.connections._health.server(connection, ("127.0.0.1", 1)) is None
    assert down(gateway, connection) == {"127.0.0.1": False}


def test_checks_verify_as_calls_do(
    gateway: StandIn, start: Start, addresses: Addresses, tmp_path: Path
) -> None:
    pem, key = a_certificate("api.example", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    port = free_port()
    upstream = _Upstream("127.0.0.1", port, context=context)
    addresses["api.example"] = addresses["other.example"] = ("127.0.0.1",)
    running = start()
    made = {
        name: a_connection(url, health_path="/health", **more).pk
        for name, url, more in (
            ("trusted", f"https://api.example:{port}", {"ca_pem": pem.read_text()}),
            ("strange", f"https://api.example:{port}", {}),
            ("other", f"https://other.example:{port}", {"ca_pem": pem.read_text()}),
            ("lax", f"https://other.example:{port}", {"verify_tls": False}),
        )
    }
    expected = {"trusted": "up", "strange": "down", "other": "down", "lax": "up"}
    wait_for(lambda: {n: states(running, c).get("127.0.0.1") for n, c in made.items()} == expected)
    wait_for(lambda: len(upstream.seen) > 2)
    upstream.close()


def test_a_server_that_accepts_and_is_silent_holds_up_nothing(
    gateway: StandIn, start: Start
) -> None:
    # The kernel takes connections, and nobody answers.
    silent = socket.create_server(("127.0.0.1", free_port()))
    port = silent.getsockname()[1]
    running = start()
    for _ in range(30):
        a_connection(f"http://127.0.0.1:{port}", health_path="/health")
    assert running.client.confirm(feed.latest(), 20)
    for _ in range(3):
        connection = a_connection("http://10.0.0.1").pk
        assert running.client.confirm(feed.latest(), 2)
        assert f"u{connection}" in gateway.objects
    silent.close()
