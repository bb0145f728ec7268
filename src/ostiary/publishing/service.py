"""The publisher's process: the publishing lane, and a socket on which others ask how far it is."""

import asyncio
import json
import logging
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from django.db import Error, close_old_connections, connection

from ostiary.directory.catalog.connections import own_listeners
from ostiary.directory.workspace import nodes, workspace_settings
from ostiary.gateway import launch
from ostiary.gateway.node import Node
from ostiary.identity.fetching import Fetcher
from ostiary.identity.sealing import KeyRing
from ostiary.publishing import measures, renewal
from ostiary.publishing.channel import Channel
from ostiary.publishing.connections import USUAL, Connections, UpstreamPace
from ostiary.publishing.health import Health
from ostiary.publishing.listeners import Listeners
from ostiary.publishing.mirror import StateWriter
from ostiary.publishing.names import Lookup, system_lookup
from ostiary.publishing.publisher import Publisher
from ostiary.publishing.trust import Apply, Trust
from ostiary.publishing.upstream_tokens import UpstreamTokens
from ostiary.telemetry import exposition

log = logging.getLogger(__name__)

#: Seconds after which the part is ready though not everything was compared: a gateway or a database
#: that is away must not stop the product.
READY_SECONDS = 10.0
#: Seconds that a confirmation waits at most.
LONGEST_WAIT = 30.0
#: Entries of a state at most: it is for people, and for readiness.
MOST_SHOWN = 2000


def serve(
    *,
    node: Node,
    keyring: KeyRing,
    sock: socket.socket,
    ready: Callable[[], None],
    reported_as: str = "",
) -> None:
    """Run until SIGTERM. The socket is listening already; `ready` is called once.

    `reported_as`: the name of the node whose progress others wait for; empty: nobody does.
    """
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(node, keyring, sock, reported_as, ready))


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _serve(
    node: Node, keyring: KeyRing, sock: socket.socket, reported_as: str, ready: Callable[[], None]
) -> None:
    listeners = await asyncio.to_thread(Listeners, {(node.host, node.port), *own_listeners()})

    def apply(certificates: Mapping[str, str]) -> Mapping[str, str]:
        return launch.trust(node, certificates)

    publisher = make(node=node, keyring=keyring, listeners=listeners, apply=apply)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(publisher.run())
    reporting = asyncio.create_task(_report(publisher, reported_as))
    renewing = asyncio.create_task(renewal.follow(lambda: launch.renew_certificate(node)))
    server = _PublisherServer(
        uvicorn.Config(
            Questions(publisher),
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    shown = await exposition.show(node.run, "publisher")
    _measure(publisher)
    telling = asyncio.create_task(_tell_ready(publisher, ready))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    reporting.cancel()
    if reported_as and stop.is_set():
        # The publisher is the first part of a gateway that ends.
        await asyncio.to_thread(_reported, nodes.drains, reported_as)
    server.should_exit = True
    await serving
    shown.close()
    telling.cancel()
    stopping.cancel()
    running.cancel()
    renewing.cancel()
    results = await asyncio.gather(running, return_exceptions=True)
    await publisher.save()
    for result in results:
        if isinstance(result, Exception):
            raise result


#: Seconds between two looks at how far publishing is, and between two reports of the same.
LOOK_SECONDS, REPORT_SECONDS = 0.02, 1.0


async def _report(publisher: Publisher, name: str) -> None:
    """Report how far publishing is, for those who wait for it on other machines, until cancelled."""
    reported, at = -1, float("-inf")
    while name:
        published = publisher.agenda.published
        if published != reported or time.monotonic() - at > REPORT_SECONDS:
            if await asyncio.to_thread(_reported, nodes.published, name, published):
                reported = published
            at = time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)


def _reported(report: Callable[..., None], *values: object) -> bool:
    close_old_connections()
    try:
        report(*values)
    except Error:
        connection.close()
        return False
    return True


class _PublisherServer(uvicorn.Server):
    """Leaves signals to us: uvicorn would end the process before the last state is saved."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make(
    *,
    node: Node,
    keyring: KeyRing,
    listeners: Listeners,
    apply: Apply,
    lookup: Lookup = system_lookup,
    pace: UpstreamPace = USUAL,
) -> Publisher:
    """A publisher for the gateway of this machine, put together."""

    def connections(changed: Callable[[Collection[int]], None]) -> Connections:
        def one_changed(connection: int) -> None:
            changed((connection,))

        return Connections(
            keyring=keyring,
            listeners=listeners,
            trust=Trust(apply),
            tokens=UpstreamTokens(
                fetcher=Fetcher(), allowed=_allowed_hosts, clock=time.time, changed=one_changed
            ),
            health=Health(changed=one_changed, interval_seconds=pace.check),
            changed=changed,
            lookup=lookup,
            pace=pace,
        )

    return Publisher(
        channel=Channel(node.control_socket),
        connections=connections,
        saved=StateWriter(node.run / "gateway"),
    )


def _allowed_hosts() -> Collection[str]:
    close_old_connections()
    return workspace_settings.read().fetch_hosts


async def _tell_ready(publisher: Publisher, ready: Callable[[], None]) -> None:
    try:
        await asyncio.wait_for(publisher.compared.wait(), timeout=READY_SECONDS)
    except TimeoutError:
        log.warning("not everything could be compared with the gateway yet; it is tried on")
    ready()


def _measure(publisher: Publisher) -> None:
    measures.PUBLISHED.set_function(lambda: publisher.agenda.published)
    measures.OBJECTS.set_function(lambda: publisher.objects)
    measures.LOOKUPS_IN_PROGRESS.set_function(lambda: publisher.connections.names.in_flight)
    for kind in measures.KINDS:
        measures.SET_ASIDE.labels(kind).set_function(partial(_aside_of, publisher, kind))
    for state in measures.STATES:
        measures.SERVERS.labels(state).set_function(partial(_servers_in, publisher, state))


def _aside_of(publisher: Publisher, kind: str) -> int:
    return sum(each.kind == kind for each in publisher.aside.all())


def _servers_in(publisher: Publisher, state: str) -> int:
    return sum(server.state == state for server in publisher.connections.states())


class Questions:
    """`GET /alive`, `GET /state`, and `POST /confirm?sequence=N&seconds=S`."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        body: dict[str, Any]
        match scope["method"], scope["path"]:
            case "GET", "/alive":
                status, body = 200, {"alive": True}
            case "GET", "/state":
                status, body = 200, self._state()
            case "POST", "/confirm":
                status, body = await self._confirm(query)
            case _:
                status, body = 404, {"message": "Not found."}
        content = json.dumps(body).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _confirm(self, query: Mapping[str, list[str]]) -> tuple[int, dict[str, Any]]:
        try:
            sequence = int(query.get("sequence", ["0"])[0])
            seconds = min(float(query.get("seconds", ["5"])[0]), LONGEST_WAIT)
        except ValueError:
            return 400, {"message": "sequence and seconds must be numbers."}
        done = await self._publisher.confirm(sequence, seconds=seconds)
        return 200 if done else 503, {
            "published": self._publisher.agenda.published,
            "set_aside": [asdict(each) for each in self._publisher.concerning(sequence)],
        }

    def _state(self) -> dict[str, Any]:
        publisher = self._publisher
        return {
            "published": publisher.agenda.published,
            "read": publisher.agenda.read,
            "objects": publisher.objects,
            "set_aside": [asdict(each) for each in publisher.aside.all()[:MOST_SHOWN]],
            "servers": [asdict(each) for each in _worst_first(publisher)[:MOST_SHOWN]],
            "tokens": [
                {"connection": connection, "reason": reason}
                for connection, reason in publisher.connections.tokens.items()
            ][:MOST_SHOWN],
            "troubles": publisher.troubles,
        }


def _worst_first(publisher: Publisher) -> list[Any]:
    order = {"down": 0, "unresolved": 1, "stale": 2, "resolving": 3}
    return sorted(
        publisher.connections.states(), key=lambda s: (order.get(s.state, 4), s.connection)
    )
