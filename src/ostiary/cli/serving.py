"""Serving an ASGI application on an inherited socket until SIGTERM."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
import uvloop

from ostiary.cli.bounded_http import Room, bounded, room_for_files
from ostiary.cli.folder import BACKLOG


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


def serve(application: Any, *, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Run an ASGI application (or `module:name` of one); `ready` is called once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(application, sock, ready))


async def _serve(application: Any, sock: socket.socket, ready: Callable[[], None]) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            http=bounded(Room(room_for_files())),
            ws="none",
            backlog=BACKLOG,
            lifespan="off",
            log_config=None,
            access_log=False,
            # The address of a caller is its peer's, whatever a header claims.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    await serving
