"""The authority's process: upcalls on one socket, the control side's questions on another."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from ostiary.authority.follower import Follower
from ostiary.authority.lookup import Lookup, PostgresqlLookup, SqliteLookup
from ostiary.authority.upcalls import Upcalls
from ostiary.gateway.plan import Node
from ostiary.identity.sealing import KeyRing
from ostiary.settings import Database

#: Seconds that a change may take to be confirmed before its owner is told that it is not.
CONFIRM_SECONDS = 5.0


class Control:
    """`POST /confirm?sequence=N`: waits until the gateway follows N. 200, or 503."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        sequence = int(query.get("sequence", ["0"])[0])
        done = await self._follower.confirm(sequence, seconds=CONFIRM_SECONDS)
        body = json.dumps({"confirmed": self._follower.confirmed}).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send(
            {"type": "http.response.start", "status": 200 if done else 503, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})


def serve(
    *,
    node: Node,
    database: Database,
    keyring: KeyRing,
    upcall: socket.socket,
    control: socket.socket,
    ready: Callable[[], None],
) -> None:
    """Run until SIGTERM. Both sockets are listening already; `ready` is called once."""
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(node, database, keyring, upcall, control, ready))


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _serve(
    node: Node,
    database: Database,
    keyring: KeyRing,
    upcall: socket.socket,
    control: socket.socket,
    ready: Callable[[], None],
) -> None:
    lookup = await _open(database)
    follower = Follower(node, keyring)
    following = asyncio.create_task(follower.run())
    servers = (
        _server(Upcalls(lookup, follower.mark_bound)),
        _server(Control(follower)),
    )
    running = [
        asyncio.create_task(server.serve(sockets=[sock]))
        for server, sock in zip(servers, (upcall, control), strict=True)
    ]
    while not all(server.started for server in servers):  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.01)
    ready()
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*running)
    following.cancel()
    await lookup.close()


async def _open(database: Database) -> Lookup:
    if database.engine == "sqlite":
        return SqliteLookup(database.name)
    lookup = PostgresqlLookup(database)
    await lookup.open()
    return lookup


def _server(application: Any) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http="httptools",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
        )
    )
