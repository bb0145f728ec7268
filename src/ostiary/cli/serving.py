"""Serving an ASGI application on an inherited socket until SIGTERM."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
import uvloop


def serve(application: Any, *, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Run an ASGI application (or `module:name` of one); `ready` is called once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(application, sock, ready))


async def _serve(application: Any, sock: socket.socket, ready: Callable[[], None]) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            application,
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
