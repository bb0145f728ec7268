"""Health of upstreams' servers: asked beside everything else, and never waited for.

A server is down after some failed checks in a row, and up again after one that is good. When all
servers of a connection are down, all are tried: then the check may be what is wrong.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from ostiary.publishing import measures

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
CHECK_SECONDS = 3.0
#: Failed checks in a row after which a server is down.
FALL = 3
#: Checks at a time: of all connections, and of one.
MOST_AT_ONCE, MOST_OF_ONE = 128, 8

Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is checked of a connection, and how."""

    places: tuple[Place, ...]
    host_header: str
    #: Path to ask for; empty: a TCP connect is enough.
    path: str = ""
    tls: bool = False
    #: Name to ask for and to verify; empty: the address itself.
    tls_name: str = ""
    verify: bool = True
    ca_pem: str = ""


@dataclass(slots=True)
class ServerHealth:
    """What the checks of a server say; `since` in Unix seconds."""

    down: bool = False
    since: float = 0.0
    reason: str = ""
    failures: int = 0


@dataclass(slots=True)
class _Watched:
    target: Target
    servers: dict[Place, ServerHealth] = field(default_factory=dict)
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Failed(Exception):
    """A check failed; one sentence."""


class Health:
    """`changed` is called with a connection some of whose servers went down or came up."""

    def __init__(
        self,
        *,
        changed: Callable[[int], None],
        clock: Callable[[], float] = time.time,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._changed, self._clock = changed, clock
        self._interval = interval_seconds
        self._watched: dict[int, _Watched] = {}
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._contexts: dict[tuple[bool, str], ssl.SSLContext] = {}

    def follow(self, connection: int, target: Target | None) -> None:
        """Check these servers; one server without a path is not checked at all."""
        watched = self._watched.get(connection)
        if target is None or not target.places or not (target.path or len(target.places) > 1):
            if watched is not None:
                self._stop(connection)
            return
        if watched is not None and watched.target == target:
            return
        known: dict[Place, ServerHealth] = {}
        if watched is not None:
            self._stop(connection)
            known = watched.servers
        servers = {
            place: known.get(place) or ServerHealth(since=self._clock()) for place in target.places
        }
        watched = self._watched[connection] = _Watched(target=target, servers=servers)
        watched.task = asyncio.create_task(self._watch(connection, watched))

    def down(self, connection: int) -> frozenset[Place]:
        """Servers that calls must not go to; none where all of them are down."""
        watched = self._watched.get(connection)
        if watched is None or all(server.down for server in watched.servers.values()):
            return frozenset()
        return frozenset(place for place, server in watched.servers.items() if server.down)

    def server(self, connection: int, place: Place) -> ServerHealth | None:
        """What is known of a server; nothing: it is not checked."""
        watched = self._watched.get(connection)
        return watched.servers.get(place) if watched is not None else None

    def close(self) -> None:
        """Stop checking."""
        for connection in list(self._watched):
            self._stop(connection)

    def _stop(self, connection: int) -> None:
        watched = self._watched.pop(connection)
        if watched.task is not None:
            watched.task.cancel()

    async def _watch(self, connection: int, watched: _Watched) -> None:
        own = asyncio.Semaphore(MOST_OF_ONE)
        while True:
            before = self.down(connection)
            await asyncio.gather(
                *(
                    self._look(connection, watched.target, place, server, own)
                    for place, server in watched.servers.items()
                )
            )
            if self.down(connection) != before:
                self._changed(connection)
            await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))

    async def _look(
        self,
        connection: int,
        target: Target,
        place: Place,
        server: ServerHealth,
        own: asyncio.Semaphore,
    ) -> None:
        try:
            async with own, self._room, asyncio.timeout(CHECK_SECONDS):
                await self._check(target, place)
        except TimeoutError:
            reason = "It does not answer in time."
        except Failed as error:
            reason = str(error)
        except Exception as error:
            # Whatever it was, it is this server's, and the next check comes.
            reason = f"It cannot be reached: {_cause(error)}."
        else:
            measures.checked("ok")
            if server.down:
                server.down, server.since = False, self._clock()
                log.info("server %s:%s of connection %s is up", *place, connection)
            server.failures, server.reason = 0, ""
            return
        measures.checked("failed")
        server.failures += 1
        server.reason = reason
        if server.failures >= FALL and not server.down:
            server.down, server.since = True, self._clock()
            log.warning("server %s:%s of connection %s is down: %s", *place, connection, reason)

    async def _check(self, target: Target, place: Place) -> None:
        address, port = place
        if not target.path:
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            return
        await asyncio.to_thread(import_module, "httpx")
        import httpx

        host = f"[{address}]" if ":" in address else address
        scheme = "https" if target.tls else "http"
        async with (
            httpx.AsyncClient(
                verify=self._context(target), trust_env=False, timeout=CHECK_SECONDS
            ) as client,
            client.stream(
                "GET",
                f"{scheme}://{host}:{port}{target.path}",
                headers={"Host": target.host_header, "User-Agent": "ostiary-health"},
                extensions={"sni_hostname": target.tls_name} if target.tls_name else {},
            ) as answer,
        ):
            if not 200 <= answer.status_code < 400:
                raise Failed(f"It answered {answer.status_code}.")

    def _context(self, target: Target) -> ssl.SSLContext:
        """Reading the system's certificates takes milliseconds: contexts are used again."""
        trusted = (target.verify or not target.tls, target.ca_pem)
        context = self._contexts.get(trusted)
        if context is None:
            context = ssl.create_default_context(cadata=target.ca_pem or None)
            if not trusted[0]:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if len(self._contexts) >= MOST_AT_ONCE:
                self._contexts.clear()
            self._contexts[trusted] = context
        return context


def _cause(error: Exception) -> str:
    return str(error).partition("\n")[0][:200].rstrip(".") or type(error).__name__
