"""Serving an ASGI application on an inherited socket until SIGTERM."""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
import uvloop

from ostiary.cli.serving.bounded_http import Bounded, Room, bounded, room_for_files
from ostiary.cli.serving.certificate import Certificate
from ostiary.cli.serving.tls_port import TlsPort
from ostiary.cli.startup.data_folder import BACKLOG

#: A Host header that can stand in a URL.
HOST = re.compile(rb"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
#: A request with one of these headers has already sent a secret without encryption.
PRIVATE = frozenset({b"authorization", b"cookie"})


class Alive:
    """Answers `GET /alive` itself, and leaves everything else to the application.

    The supervisor asks every second: that is no request to log, trace or count, and it must not
    wait for a database.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/alive":
            await self._application(scope, receive, send)
            return
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class OnlyTls:
    """Answers plain HTTP on a TLS port: a page request is redirected to https, all else is refused."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["scheme"] == "https":
            await self._application(scope, receive, send)
            return
        target = _https(scope)
        body = b"" if target else b"This port speaks TLS: ask for https:// and not for http://.\n"
        headers = [
            (b"location", target) if target else (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        status = 307 if target else 400
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _https(scope: Any) -> bytes:
    """The same page over https; empty if there is none to lead to."""
    names = {name for name, _ in scope["headers"]}
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if scope["method"] not in {"GET", "HEAD"} or names & PRIVATE or len(hosts) != 1:
        return b""
    path: bytes = scope["raw_path"]
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return b"https://" + hosts[0] + path + query if HOST.fullmatch(hosts[0]) else b""


class _TlsServer(uvicorn.Server):
    """uvicorn's server on ports that speak TLS."""

    def __init__(self, config: uvicorn.Config, certificate: Certificate, room: Room) -> None:
        super().__init__(config)
        self._certificate = certificate
        self._room = room

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = [
            TlsPort(sock, certificate=self._certificate, room=self._room, make=self._make)  # type: ignore[misc]  # it has what uvicorn uses of a server
            for sock in sockets or ()
        ]
        self.started = True

    def _make(self) -> Bounded:
        protocol: Any = self.config.http_protocol_class
        made: Bounded = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def serve(
    application: Any,
    *,
    sock: socket.socket,
    ready: Callable[[], None],
    certificate: Certificate | None = None,
) -> None:
    """Run an ASGI application (or `module:name` of one); `ready` is called once.

    With a certificate the port speaks TLS, and `Alive` alone answers without.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(application, sock, ready, certificate))


async def _serve(
    application: Any,
    sock: socket.socket,
    ready: Callable[[], None],
    certificate: Certificate | None,
) -> None:
    room = Room(room_for_files())
    config = uvicorn.Config(
        application,
        http=bounded(room),
        ws="none",
        backlog=BACKLOG,
        lifespan="off",
        log_config=None,
        access_log=False,
        # The caller's address is that of the peer, whatever a header claims.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = _TlsServer(config, certificate, room) if certificate else uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    await serving
