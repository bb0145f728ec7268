"""The console with a certificate of its own: members, probes, slow callers, a renewed certificate."""

import http.client
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.neighbours import visits
from tests.neighbours.proxies import API, CONSOLE, Authority, Files
from tests.stage import Stage, ask, raw, running, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


class Secure(Stage):
    """A product whose management API is asked over https."""


@pytest.fixture(scope="module")
def mine(files: Files, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Copies of certificate and key that a test may replace."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(files.certificate, folder / "console.pem")
    shutil.copy(files.key, folder / "console.key")
    return folder / "console.pem", folder / "console.key"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, mine: tuple[Path, Path]) -> Iterator[Stage]:
    env = {
        "OSTIARY_CONSOLE_CERTIFICATE": str(mine[0]),
        "OSTIARY_CONSOLE_KEY": str(mine[1]),
        "OSTIARY_CONSOLE_HSTS_SECONDS": "600",
    }
    with running(tmp_path_factory.mktemp("data"), env=env) as stage:
        yield stage


def _asked(
    stage: Stage, authority: Authority, method: str, path: str, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPSConnection(
        "localhost", stage.control, timeout=60, context=authority.context()
    )
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_members_work_over_https(stage: Stage, page: Page, tmp_path: Path, logo: Path) -> None:
    url = f"https://localhost:{stage.control}"
    link = visits.a_link(stage, "own@example.com")
    assert link.startswith(f"{url}/sign-in/link#")
    visits.by_link(page, link)
    assert visits.cookies_are_secure(page.context)
    visits.uploads_a_logo(page, url, "Over https", logo)
    visits.sign_out(page, url)
    visits.with_password(page, url, "own@example.com")
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    # By a name of its own, without a public URL too.
    named = f"https://{CONSOLE}:{stage.control}"
    visits.with_password(page, named, "own@example.com")
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    visits.uses_a_passkey(page, named, CONSOLE)


def test_answers_over_https_tell_browsers_to_stay(stage: Stage, authority: Authority) -> None:
    status, headers, _ = _asked(stage, authority, "GET", "/sign-in")
    assert (status, headers["Strict-Transport-Security"]) == (200, "max-age=600")


def test_plain_http_leads_pages_to_https_and_refuses_all_else(stage: Stage) -> None:
    answer = ask(stage.control, "GET", "/sign-in?next=%2Fpolicies")
    assert answer.status == 307
    assert (
        answer.headers["location"] == f"https://127.0.0.1:{stage.control}/sign-in?next=%2Fpolicies"
    )
    for method, headers in (
        ("POST", {}),
        ("GET", {"Authorization": f"Bearer {stage.token}"}),
        ("GET", {"Cookie": "a=b"}),
        ("GET", {"Host": "a/b"}),
    ):
        answer = ask(stage.control, method, "/api/v2/settings", headers=headers, body=b"")
        assert answer.status == 400, (method, headers)
        assert b"speaks TLS" in answer.body
    assert ask(stage.control, "GET", "/alive").status == 200


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /readyz HTTP/1.0\r\n\r\n", b"200"),
        (b"HEAD / HTTP/1.0\r\n\r\n", b"302"),
        (b"OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"302"),
    ],
)
def test_load_balancers_that_probe_are_answered(
    stage: Stage, authority: Authority, text: bytes, status: bytes
) -> None:
    wait_for(lambda: _asked(stage, authority, "GET", "/readyz")[0] == 200, what="ready")
    with (
        socket.create_connection(("127.0.0.1", stage.control), timeout=60) as plain,
        authority.context().wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(text)
        assert sock.recv(4096).split(b" ", 2)[1] == status


def test_who_connects_and_closes_costs_nobody_else(stage: Stage, authority: Authority) -> None:
    for _ in range(50):
        socket.create_connection(("127.0.0.1", stage.control), timeout=60).close()
    # What only looks like TLS is ended as well.
    raw(stage.control, b"\x16\x03\x01\x00\x05hello")
    assert _asked(stage, authority, "GET", "/healthz")[0] == 200


def test_slow_handshakes_end_and_keep_nobody_out(stage: Stage, authority: Authority) -> None:
    """A connection that says nothing, one that begins a handshake, one that stops in the head."""
    began = time.monotonic()
    silent = socket.create_connection(("127.0.0.1", stage.control), timeout=60)
    half = socket.create_connection(("127.0.0.1", stage.control), timeout=60)
    half.sendall(b"\x16\x03\x01\x02\x00\x01")
    slow = authority.context().wrap_socket(
        socket.create_connection(("127.0.0.1", stage.control), timeout=60),
        server_hostname="localhost",
    )
    slow.sendall(b"GET /healthz HTTP/1.1\r\nHo")
    assert _asked(stage, authority, "GET", "/healthz")[0] == 200
    for sock in (silent, half):
        try:
            assert sock.recv(100) == b""
        except ConnectionResetError:
            pass
        sock.close()
    assert slow.recv(100).startswith(b"HTTP/1.1 408")
    slow.close()
    assert time.monotonic() - began < 45
    headers = {"Authorization": f"Bearer {stage.token}"}
    _, _, text = _asked(stage, authority, "GET", "/metrics", **headers)
    assert b'ostiary_control_connections_cut_total{why="handshake"} 2.0' in text


def test_one_address_cannot_take_all_connections(stage: Stage, authority: Authority) -> None:
    """More than a quarter of the room from one address: another one is served meanwhile."""
    many = []
    try:
        for _ in range(1100):
            many.append(
                socket.create_connection(
                    ("127.0.0.1", stage.control), timeout=60, source_address=("127.0.7.7", 0)
                )
            )
        assert _asked(stage, authority, "GET", "/healthz")[0] == 200
        headers = {"Authorization": f"Bearer {stage.token}"}
        _, _, text = _asked(stage, authority, "GET", "/metrics", **headers)
        assert b'ostiary_control_connections_cut_total{why="address"} 0.0' not in text
    finally:
        for sock in many:
            sock.close()


def _served(stage: Stage) -> str:
    return ssl.get_server_certificate(("127.0.0.1", stage.control))


def test_a_renewed_certificate_is_used_without_a_restart(
    stage: Stage, authority: Authority, mine: tuple[Path, Path]
) -> None:
    before, pid = _served(stage), stage.pids("control")
    renewed = authority.issue(CONSOLE, API, "localhost", "127.0.0.1", stem="renewed")
    # In two steps, as tools do it; between them the pair does not fit, and the last one serves.
    shutil.copy(renewed.certificate, mine[0])
    time.sleep(6)
    assert _served(stage) == before
    shutil.copy(renewed.key, mine[1])
    wait_for(lambda: _served(stage) == renewed.certificate.read_text(), what="renewed")
    assert _asked(stage, authority, "GET", "/healthz")[0] == 200
    assert stage.pids("control") == pid
    assert any("goes on with its last certificate" in line for line in stage.lines)


def test_a_restart_refuses_nobody(stage: Stage, authority: Authority) -> None:
    stage.command("restart")
    assert _asked(stage, authority, "GET", "/healthz")[0] == 200
