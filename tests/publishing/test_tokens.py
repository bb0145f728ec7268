"""A connection with OAuth 2.0 is called with a token that is good, or not at all."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.publishing.conftest import Start
from tests.publishing.makers import a_connection
from tests.publishing.stand_in import StandIn
from tests.stage import wait_for

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import connections
from ostiary.directory.changes import feed
from ostiary.directory.workspace import workspace_settings


class _Issuer:
    """A token endpoint that numbers its tokens."""

    def __init__(self) -> None:
        self.issued, self.life, self.status = 0, 3600, 200
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                issuer.issued += issuer.status == 200
                token = {
                    "access_token": f"t{issuer.issued}",
                    "token_type": "Bearer",
                    "expires_in": issuer.life,
                }
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(json.dumps(token).encode())

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def issuer() -> Iterator[_Issuer]:
    server = _Issuer()
    yield server
    server.close()


def guarded(issuer: _Issuer) -> int:
    workspace_settings.change(by=SYSTEM, values={"fetch_hosts": ["127.0.0.1"]})
    return a_connection(
        "http://10.0.0.1", auth_type="oauth2_client_credentials", auth_name="acme",
        auth_secret="s3cret", token_url=issuer.url,
    ).pk  # fmt: skip


def shown(gateway: StandIn, connection: int) -> tuple[int, str]:
    """How many servers the gateway has, and which credential."""
    there = gateway.object(f"u{connection}")
    header = there["header"] or {"value": ""}
    return len(there["servers"]), header["value"]


def test_a_token_is_there_when_the_connection_is_confirmed(
    gateway: StandIn, start: Start, issuer: _Issuer
) -> None:
    running = start()
    connection = guarded(issuer)
    assert running.client.confirm(feed.latest(), 20)
    assert shown(gateway, connection) == (1, "Bearer t1")
    assert running.client.state().tokens == {}
    # Another secret is another client: the token of the old one is used no more.
    issuer.status = 401
    given = connections.ConnectionInput(
        name="Other", base_urls=["http://10.0.0.1"], auth_type="oauth2_client_credentials", auth_name="acme",
        auth_secret="other", token_url=issuer.url,
    )  # fmt: skip
    connections.change(by=SYSTEM, connection_id=connection, given=given)
    assert running.client.confirm(feed.latest(), 20)
    assert shown(gateway, connection) == (0, "")
    assert "401" in running.client.state().tokens[connection]
    assert "s3cret" not in json.dumps(gateway.objects)


def test_without_a_token_there_is_no_server_and_with_one_there_is(
    gateway: StandIn, start: Start, issuer: _Issuer
) -> None:
    issuer.status = 500
    running = start()
    connection = guarded(issuer)
    assert running.client.confirm(feed.latest(), 20)
    assert shown(gateway, connection) == (0, "")
    issuer.status = 200
    wait_for(lambda: shown(gateway, connection) == (1, "Bearer t1"), what="a token")


@pytest.mark.slow
def test_a_token_is_renewed_and_one_that_ran_out_is_used_no_more(
    gateway: StandIn, start: Start, issuer: _Issuer
) -> None:
    issuer.life = 5
    running = start()
    connection = guarded(issuer)
    assert running.client.confirm(feed.latest(), 20)
    wait_for(lambda: shown(gateway, connection) == (1, "Bearer t2"), what="it is renewed")
    issuer.status = 500
    wait_for(lambda: shown(gateway, connection) == (0, ""), what="it ran out")
