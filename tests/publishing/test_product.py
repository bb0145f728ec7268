"""The publishing lane in the running product, with nginx: F1's values, names, own certificates."""

import json
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.operations.scraping import answer
from tests.publishing.certificates import a_certificate
from tests.stage import Stage, Upstream, free_port, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data")) as stage:
        yield stage


def store(stage: Stage, statement: str, *values: object) -> None:
    """Put something into the database past every check, as an older version may have."""
    with sqlite3.connect(stage.data / "ostiary.sqlite3", timeout=20) as database:
        database.execute(statement, values)
    database.close()


def announce(stage: Stage, kind: str, object_id: int) -> None:
    store(
        stage,
        "INSERT INTO directory_change (kind, object_id, at) VALUES (?, ?, datetime('now'))",
        kind, object_id,
    )  # fmt: skip


def kill(stage: Stage, part: str) -> None:
    """Kill a part, though processes come and go while it is looked for."""

    def killed() -> bool:
        try:
            stage.kill(part)
        except (FileNotFoundError, ProcessLookupError, AssertionError):
            # It is just being started again, after a pause.
            return False
        return True

    wait_for(killed, what=f"{part} is killed")


def readiness(stage: Stage) -> dict[str, Any]:
    checks: dict[str, Any] = answer(stage, stage.token, "/readyz").json["checks"]
    return checks


@pytest.mark.parametrize(
    "origins", [["http://a b"], ["http://\u00a0x"], ["http://" + "a" * 20_000], [5], {}]
)
def test_a_poisoned_collection_costs_itself_at_run_time_and_at_a_start(
    stage: Stage, upstream: Upstream, origins: object
) -> None:
    good, bad = stage.a_collection(upstream), stage.a_collection(upstream)
    mine, other = stage.a_profile(good), stage.a_profile(bad)

    def status(collection: dict[str, Any], profile: dict[str, Any]) -> int:
        return stage.call(f"/{collection['handle']}/things", profile["secret"]).status

    assert (status(good, mine), status(bad, other)) == (200, 200)
    statement = "UPDATE directory_collection SET cors_origins = ? WHERE id = ?"
    store(stage, statement, json.dumps(origins), bad["id"])
    announce(stage, "collection", bad["id"])
    wait_for(lambda: status(bad, other) == 404, what="it is set aside")
    assert status(good, mine) == 200
    wait_for(lambda: f"collection {bad['id']}" in readiness(stage)["publisher"]["state"])
    assert answer(stage, None, "/readyz").status == 503
    # Revocation and publishing of others go on.
    stage.done("DELETE", f"api_access_profiles/{mine['id']}")
    assert status(good, mine) == 401
    # nginx and the publisher are started anew, and the others have what they had.
    third = stage.a_profile(good)
    for part in ("gateway", "publisher"):
        kill(stage, part)
    wait_for(lambda: status(good, third) == 200, what="the others are served")
    wait_for(lambda: status(bad, other) == 404, what="it is set aside still")
    stage.done("PUT", f"api_collections/{bad['id']}", {"name": bad["name"], "cors_origins": []})
    wait_for(lambda: status(bad, other) == 200, what="it is well again")
    wait_for(lambda: bool(readiness(stage)["publisher"]["ok"]), what="the publisher is well")


class _Secure(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Who does not trust us goes away."""


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """An upstream with TLS for `localhost`, and the certificate that it is to be trusted by."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    pem, key = a_certificate("localhost", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server = _Secure(("127.0.0.1", free_port()), Handler)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address[1], pem.read_text()
    server.shutdown()
    server.server_close()


def test_an_upstream_of_a_private_authority_is_trusted_by_who_says_so_alone(
    stage: Stage, secure: tuple[int, str]
) -> None:
    port, pem = secure

    def made(**more: Any) -> tuple[str, str]:
        given = {"base_url": f"https://localhost:{port}", **more}
        connection = stage.done(
            "POST", "connections", {"name": f"TLS {time.monotonic_ns()}", "input": given}
        )
        collection = stage.done(
            "POST", "api_collections",
            {"name": f"TLS {time.monotonic_ns()}", "proxy_connection_id": connection["id"]},
        )  # fmt: skip
        stage.an_endpoint(collection, "GET /things")
        return f"/{collection['handle']}/things", stage.a_profile(collection)["secret"]

    trusted, strange = made(ca_pem=pem), made()
    wait_for(lambda: stage.call(*trusted).status == 200, what="it is trusted")
    assert stage.call(*strange).status == 502
    assert stage.call(*made(verify_tls=False)).status == 200
    # A gateway that is started anew trusts it still.
    kill(stage, "gateway")
    wait_for(lambda: stage.call(*trusted).status == 200, what="it is trusted after a start")
    assert stage.call(*strange).status == 502
