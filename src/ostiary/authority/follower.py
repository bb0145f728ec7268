"""Following the change feed: what an owner changed is put in force at the gateway, in order.

The sequence that is confirmed is the one up to which HAProxy has acknowledged every command. A
HAProxy that was started anew is first told that no lease from before now counts.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import close_old_connections

from ostiary.authority.provider_keys import ProviderKeys, Source
from ostiary.authority.upstream_tokens import Grant, UpstreamTokens, grants_of
from ostiary.directory import published
from ostiary.directory.feed import Kind, after
from ostiary.gateway import launch, publishing
from ostiary.gateway.configuration import maps, server_parameters
from ostiary.gateway.plan import Node, Plan, backend_name
from ostiary.gateway.runtime import Runtime, RuntimeGone, RuntimeRefused
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret

log = logging.getLogger(__name__)

#: Names are resolved again, and what could not be removed is tried again, after so many seconds.
REFRESH_SECONDS = 30.0
#: The database is asked for changes that nobody announced, after so many seconds.
POLL_SECONDS = 0.25
#: After something unexpected, it is tried again after so many seconds.
RETRY_SECONDS = 1.0
#: A backend that lost its connection is given to no other for so many seconds.
QUARANTINE_SECONDS = 60.0
#: Tokens for upstreams are waited for so long when a gateway is connected to: those that it has
#: serve on until then.
SETTLE_SECONDS = 2.0


@dataclass(slots=True)
class _Known:
    """What is known of the HAProxy that we are connected to."""

    maps: dict[str, Mapping[str, str]] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    freed: dict[int, float] = field(default_factory=dict)


class Follower:
    """Keeps one gateway in step with the directory."""

    def __init__(
        self,
        node: Node,
        keyring: KeyRing,
        providers: ProviderKeys,
        upstream_tokens: UpstreamTokens,
    ) -> None:
        self._node, self._keyring, self._providers = node, keyring, providers
        self._upstream_tokens = upstream_tokens
        #: A token for an upstream is new.
        self._renewed = False
        self._runtime: Runtime | None = None
        self._known = _Known()
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        self.confirmed = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        loop = asyncio.get_running_loop()
        refreshed = loop.time()
        while True:
            try:
                fresh = self._renewed or loop.time() - refreshed > REFRESH_SECONDS
                self._renewed = False
                await self._step(refresh=fresh)
                refreshed = loop.time() if fresh else refreshed
            except RuntimeGone:
                self._runtime = None
            except Exception:
                # The only broad except here: whatever broke, leases stay as they are, nothing is
                # confirmed, and it is tried again.
                log.exception("the change feed could not be followed")
                await self._disconnect()
                await asyncio.sleep(RETRY_SECONDS)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=POLL_SECONDS)
            except TimeoutError:
                continue

    async def confirm(self, sequence: int, *, seconds: float) -> bool:
        """Wait until the gateway follows `sequence`; says whether it does."""
        self._wake.set()
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.confirmed >= sequence)
        except TimeoutError:
            return False
        return True

    def renew(self) -> None:
        """A token for an upstream is new: bring it to the gateway."""
        self._renewed = True
        self._wake.set()

    async def mark_bound(self, key: str) -> None:
        """Tell the gateway that a credential's rows carry the address; best effort, only speed."""
        runtime = self._runtime
        if runtime is None:
            return
        try:
            async with runtime.lock:
                await runtime.set_rows("bound", [(key, 1)])
        except (RuntimeGone, RuntimeRefused):
            return

    async def _step(self, *, refresh: bool) -> None:
        runtime = self._runtime
        if runtime is None or runtime.closed:
            await self._connect()
            return
        changes = await asyncio.to_thread(_changes, self.confirmed)
        if not changes and not refresh:
            return
        async with runtime.lock:
            if await runtime.stopping():
                # HAProxy was reloaded by hand: what it confirms now holds for nobody.
                await runtime.close()
                raise RuntimeGone
            await self._revoke(runtime, changes)
            if refresh or any(kind in _PLANNED for _, kind, _ in changes):
                await self._replan(runtime)
            if changes:
                await runtime.raise_floor(changes[-1][0])
        if changes:
            await self._confirmed(changes[-1][0])

    async def _connect(self) -> None:
        self.confirmed = 0
        runtime = await Runtime.connect(self._node.socket)
        self._known = _Known(slots=_slots_of(await runtime.servers()))
        grants = await asyncio.to_thread(_grants, self._keyring)
        self._upstream_tokens.follow(grants, self.renew)
        await self._upstream_tokens.settle(SETTLE_SECONDS)
        plan = await self._replan(runtime)
        floor = await runtime.floor()
        # What this process has had in force since it was started cold, or last connected to: the
        # rest is replayed. Everything older than that would have been rendered into it.
        while changes := await asyncio.to_thread(_changes, floor):
            await self._revoke(runtime, changes)
            floor = changes[-1][0]
        await runtime.raise_floor(floor)
        self._runtime = runtime
        await self._confirmed(floor)
        log.debug("connected, plan %s, in force %s", plan.sequence, floor)

    async def _disconnect(self) -> None:
        if self._runtime is not None:
            await self._runtime.close()
        self._runtime = None

    async def _confirmed(self, sequence: int) -> None:
        async with self._moved:
            self.confirmed = sequence
            self._moved.notify_all()

    async def _revoke(self, runtime: Runtime, changes: list[tuple[int, str, int]]) -> None:
        """Void leases and held refusals of whatever changed, at every profile that it touches."""
        rows: dict[str | int, int] = {}
        for sequence, kind, object_id in changes:
            if kind == Kind.PROFILE:
                rows[object_id] = sequence
                await self._learn_imported(runtime, object_id)
                source = await asyncio.to_thread(published.provider_of, object_id)
                if source is not None:
                    issuer, jwks_uri = source
                    self._providers.warm(Source(issuer=issuer, jwks_uri=jwks_uri))
            elif kind in _TOUCHING:
                ids = await asyncio.to_thread(_TOUCHING[kind], object_id)
                rows |= dict.fromkeys(ids, sequence)
        if changes:
            # Held answers about unknown credentials rest on everything.
            rows[0] = changes[-1][0]
        await runtime.set_rows("rev", rows.items())

    async def _learn_imported(self, runtime: Runtime, profile_id: int) -> None:
        known = self._known.maps.get("imported.map", {})
        for digest in await asyncio.to_thread(published.imported_of, profile_id):
            if digest not in known:
                await runtime.add_to_map("imported.map", digest, "1")
                self._known.maps["imported.map"] = known = {**known, digest: "1"}

    async def _replan(self, runtime: Runtime) -> Plan:
        now = asyncio.get_running_loop().time()
        self._known.freed = {
            slot: at for slot, at in self._known.freed.items() if now - at < QUARANTINE_SECONDS
        }
        blocked = {-slot - 1: slot for slot in self._known.freed}
        plan, slots, grants = await asyncio.to_thread(
            _plan,
            self._node,
            self._keyring,
            {**self._known.slots, **blocked},
            self._upstream_tokens.bearers,
        )
        self._upstream_tokens.follow(grants, self.renew)
        for connection, slot in self._known.slots.items():
            if slots.get(connection) != slot:
                self._known.freed[slot] = now
        self._known.slots = slots
        await self._apply(runtime, plan)
        return plan

    async def _apply(self, runtime: Runtime, plan: Plan) -> None:
        """Servers first, then routes to them; servers that nothing leads to go last."""
        wanted = {
            (u.backend, s.name): server_parameters(s) for u in plan.upstreams for s in u.servers
        }
        present = await runtime.servers()
        for place, parameters in wanted.items():
            if place not in present:
                await self._add_server(runtime, "/".join(place), parameters)
        for name, entries in maps(plan).items():
            file = f"{name}.map"
            if self._known.maps.get(file) != entries:
                await runtime.replace_map(file, entries)
                self._known.maps[file] = entries
        pool = {backend_name(slot) for slot in range(self._node.slots)}
        for backend, server in present:
            if backend in pool and (backend, server) not in wanted:
                # Refused while calls are in flight: then it is tried again with the next refresh.
                await runtime.command(
                    f"set server {backend}/{server} state maint; del server {backend}/{server}"
                )

    async def _add_server(self, runtime: Runtime, place: str, parameters: str) -> None:
        answer = await runtime.command(f"add server {place} {parameters}")
        if "registered" not in answer:
            raise RuntimeRefused(f"{place}: {answer[:200]}")
        await runtime.command(f"enable server {place}; enable health {place}")


#: Changes that touch many profiles, and how to find these.
_TOUCHING: dict[str, Callable[[int], list[int]]] = {
    Kind.CLIENT: published.profiles_of_client,
    Kind.POLICY: published.profiles_of_policy,
}
#: Changes after which maps and servers are compared with the directory.
_PLANNED = frozenset(
    {Kind.COLLECTION, Kind.ENDPOINT, Kind.CONNECTION, Kind.POLICY, Kind.RECIPE, Kind.SETTINGS}
)


def _slots_of(servers: Mapping[tuple[str, str], str]) -> dict[int, int]:
    """Connection → backend number, as the servers' names tell."""
    slots = {}
    for backend, server in servers:
        if backend.startswith("up_") and server.startswith("c"):
            slots[int(server[1:].partition("_")[0])] = int(backend.removeprefix("up_"))
    return slots


def _changes(since: int) -> list[tuple[int, str, int]]:
    close_old_connections()
    return after(since, most=1000)


def _grants(keyring: KeyRing) -> dict[int, Grant]:
    close_old_connections()
    return grants_of(published.read(), keyring)


def _plan(
    node: Node,
    keyring: KeyRing,
    taken: Mapping[int, int],
    bearers: Callable[[Mapping[int, Grant]], Mapping[int, Secret]],
) -> tuple[Plan, dict[int, int], dict[int, Grant]]:
    close_old_connections()
    snapshot = published.read()
    slots = publishing.assign_slots(snapshot, taken, node)
    launch.write_certificates(node, snapshot)
    grants = grants_of(snapshot, keyring)
    plan = publishing.build(
        snapshot,
        slots=slots,
        keyring=keyring,
        certificates=launch.folder(node),
        bearers=bearers(grants),
    )
    return plan, slots, grants
