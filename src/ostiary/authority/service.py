"""The authority's process: upcalls on one socket, the control side's questions on another."""

import asyncio
import json
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from django.db import close_old_connections

from ostiary.authority import measures
from ostiary.authority.authentication import Prover
from ostiary.authority.budgets import Budgets
from ostiary.authority.ceilings import Gate
from ostiary.authority.follower import Follower
from ostiary.authority.live_nodes import LiveNodes
from ostiary.authority.lookup import Lookup, PostgresqlLookup, SqliteLookup
from ostiary.authority.oauth import OAuth
from ostiary.authority.presence import Presence, listen
from ostiary.authority.provider_keys import FOLDER, KeySource, ProviderKeys
from ostiary.authority.signing_keys import SigningKeys
from ostiary.authority.traces import Traces
from ostiary.authority.upcalls import Upcalls, protocol
from ostiary.directory.catalog.recipes import ReportedRecipe
from ostiary.directory.workspace import public_urls, signing_keys, workspace_settings
from ostiary.directory.workspace.nodes import Identity
from ostiary.gateway import snapshot
from ostiary.gateway.control import Lane
from ostiary.gateway.node import Node
from ostiary.identity.fetching import Fetcher
from ostiary.identity.sealing import KeyRing
from ostiary.settings import Ceilings, Database
from ostiary.telemetry import exposition, tracing

log = logging.getLogger(__name__)

#: Seconds that a confirmation waits; then the owner sees "not yet in force".
CONFIRM_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How this node shares limits with others; without a URL it counts alone."""

    url: str = field(repr=False)
    #: See settings.STORE_DOWN.
    down: str
    #: The node's name.
    name: str


class AuthorityControl:
    """`POST /confirm?sequence=N`: waits until the gateway has applied N. 200, or 503.

    `GET /progress`: how far the gateway follows, at once. `GET /alive`: 200 at once, for the supervisor,
    which asks every second.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/alive":
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/progress":
            await _answered(send, 200, {"confirmed": self._follower.confirmed})
            return
        sequence = int(query.get("sequence", ["0"])[0])
        with measures.confirming() as outcome:
            done = await self._follower.confirm(sequence, seconds=CONFIRM_SECONDS)
            outcome["done"] = done
        answer = {
            "confirmed": self._follower.confirmed,
            "streams": self._follower.streams(sequence),
        }
        await _answered(send, 200 if done else 503, answer)


async def _answered(send: Any, status: int, answer: dict[str, int]) -> None:
    body = json.dumps(answer).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(
    *,
    node: Node,
    database: Database,
    keyring: KeyRing,
    upcall: socket.socket,
    control: socket.socket,
    oauth: socket.socket,
    key_set_seconds: int,
    ceilings: Ceilings,
    identity: Identity,
    alone: bool,
    recipes: Callable[[], str],
    runner: Callable[[], list[ReportedRecipe]],
    redis_url: str,
    store_down: str,
    ready: Callable[[], None],
) -> None:
    """Run until SIGTERM. The sockets are listening already; `ready` is called once.

    `alone`: no other gateway may run on the database. `recipes`: the digest of this machine's recipes.
    `runner`: what the recipe runner beside this gateway found; it raises RunnerGone.
    """

    def presence(follower: Follower) -> Presence:
        at_once = database.engine == "postgresql"
        return Presence(
            identity, follower, alone=alone, at_once=at_once, recipes=recipes, runner=runner
        )

    sockets = upcall, control, oauth
    with asyncio.Runner(loop_factory=_loop) as loop:
        loop.run(
            _serve(
                node, database, keyring, sockets, key_set_seconds, ceilings, presence,
                Sharing(url=redis_url, down=store_down, name=identity.name), ready,
            )
        )  # fmt: skip


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _serve(
    node: Node,
    database: Database,
    keyring: KeyRing,
    sockets: tuple[socket.socket, socket.socket, socket.socket],
    key_set_seconds: int,
    ceilings: Ceilings,
    presence: Callable[[Follower], Presence],
    sharing: Sharing,
    ready: Callable[[], None],
) -> None:
    lookup = measures.MeasuredLookup(await _open(database))
    providers = ProviderKeys(
        folder=node.run / FOLDER,
        fetcher=Fetcher(),
        seconds=key_set_seconds,
        allowed=_allowed_hosts,
        clock=time.time,
    )
    signing = SigningKeys(lookup, keyring)
    prover = Prover(lookup, signing, providers, keyring)
    gate = Gate(ceilings)
    traces = Traces(node.run / "log.sock")
    live = LiveNodes()
    store = budgets = None
    if sharing.url:
        from ostiary.budgets.store import PURPOSE, WindowStore

        store = WindowStore(sharing.url, owner=keyring.public_name(PURPOSE))
        budgets = Budgets(
            store,
            lookup,
            Lane(node.control_socket).granted,
            down=sharing.down,
            live=lambda: live.count,
            name=sharing.name,
        )
        measures.watch_store(budgets)
    upcalls = Upcalls(
        lookup,
        prover,
        traces,
        gate,
        budgets=budgets,
        # A span must end in the task in which it began.
        at_once=database.engine == "sqlite" and not tracing.is_on(),
    )
    follower = Follower(node, lookup)
    beside = [
        asyncio.create_task(follower.run()),
        asyncio.create_task(_warm(follower, providers)),
    ]
    present = presence(follower)
    beside.append(asyncio.create_task(present.run()))
    if database.engine == "postgresql":
        beside.append(asyncio.create_task(listen(database, follower.wake)))
    if budgets is not None:
        beside.append(asyncio.create_task(live.follow()))
        beside.append(asyncio.create_task(budgets.run()))
    measures.watch(follower, gate, traces)
    oauth = OAuth(lookup=lookup, signing=signing, issuer=_Issuer(), revoke=_revoker(follower))
    upcall, *others = sockets
    loop = asyncio.get_running_loop()
    questions = await loop.create_unix_server(protocol(upcalls), sock=upcall, backlog=4096)
    servers = (_server(AuthorityControl(follower)), _server(oauth))
    running: list[asyncio.Task[object]] = [
        asyncio.create_task(server.serve(sockets=[sock]))
        for server, sock in zip(servers, others, strict=True)
    ]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running.append(asyncio.create_task(stop.wait()))
    while not all(server.started for server in servers):  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.01)
    shown = await exposition.show(node.run, "authority")
    ready()
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*running)
    for task in beside:
        task.cancel()
    await present.end()
    questions.close()
    shown.close()
    if store is not None:
        await store.close()
    await lookup.close()


async def _warm(follower: Follower, providers: ProviderKeys) -> None:
    """Fetch the keys of a changed profile's OpenID provider before its first call comes.

    Apart from the follower: a provider's address is something that an owner typed.
    """
    while True:
        profile = await follower.changed_profiles.get()
        try:
            source = await asyncio.to_thread(_provider_of, profile)
        except Exception:
            # Its first call fetches them.
            log.exception("the provider of a changed profile could not be read")
            continue
        if source is not None:
            providers.warm(source)


def _provider_of(profile: int) -> KeySource | None:
    close_old_connections()
    found = snapshot.provider_of(profile)
    return KeySource(issuer=found[0], jwks_uri=found[1]) if found else None


def _allowed_hosts() -> Collection[str]:
    close_old_connections()
    return workspace_settings.read().fetch_hosts


#: Seconds until a change of the public URL shows in tokens and metadata.
ISSUER_SECONDS = 2.0


class _Issuer:
    """The gateway's public URL, remembered for a moment."""

    def __init__(self) -> None:
        self._url, self._read_at = "", float("-inf")

    async def __call__(self) -> str:
        if time.monotonic() - self._read_at > ISSUER_SECONDS:
            self._url = await asyncio.to_thread(self._read)
            self._read_at = time.monotonic()
        return self._url

    def _read(self) -> str:
        close_old_connections()
        return public_urls.gateway_url()


def _revoker(follower: Follower) -> Callable[[int, str, int], Awaitable[bool]]:
    async def revoke(profile: int, token_id: str, expires_at: int) -> bool:
        sequence = await asyncio.to_thread(_revoke, profile, token_id, expires_at)
        return await follower.confirm(sequence, seconds=CONFIRM_SECONDS)

    return revoke


def _revoke(profile: int, token_id: str, expires_at: int) -> int:
    close_old_connections()
    return signing_keys.revoke_token(profile_id=profile, token_id=token_id, expires_at=expires_at)


async def _open(database: Database) -> Lookup:
    if database.engine == "sqlite":
        return SqliteLookup(database.name)
    lookup = PostgresqlLookup(database)
    await lookup.open()
    return lookup


class _AuthorityServer(uvicorn.Server):
    """Leaves signals to us: uvicorn would end the process before it has reported that it stops."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(application: Any) -> uvicorn.Server:
    return _AuthorityServer(
        uvicorn.Config(
            application,
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
        )
    )
