"""The revocation lane: writes epochs of changed objects to the gateway before a change is confirmed.

It reads numbers of the change feed and writes numbers: nothing that an owner typed, no plan, no name
that must be resolved. Another process, the publisher, brings the configuration to the gateway.

A sequence is confirmed when nginx has acknowledged every epoch up to it: each of its workers then
sees these epochs with its next call.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict

from ostiary.authority.lookup import FeedEntry, Lookup
from ostiary.directory.changes.feed import Kind
from ostiary.gateway.contract import EPOCHS
from ostiary.gateway.control import Behind, ControlError, Lane, Revoked
from ostiary.gateway.node import Node

log = logging.getLogger(__name__)

#: Seconds between polls for changes that nobody announced.
POLL_SECONDS = 0.25
#: Seconds until the next attempt after an unexpected error.
RETRY_SECONDS = 0.2
#: Most changes in one request to the gateway.
AT_ONCE = 1000
#: Batches whose number of streams is remembered for callers that wait for a confirmation.
REMEMBERED = 1000

#: Kinds of changes that void leases, with the first letter of their epoch.
_EPOCHS = {
    Kind.PROFILE.value: EPOCHS["profile"],
    Kind.CLIENT.value: EPOCHS["client"],
    Kind.POLICY.value: EPOCHS["policy"],
    Kind.COLLECTION.value: EPOCHS["collection"],
    Kind.ENDPOINT.value: EPOCHS["endpoint"],
    Kind.ADDRESS_LIST.value: EPOCHS["address_list"],
}


class Follower:
    """Keeps the epochs of one gateway in step with the directory."""

    def __init__(self, node: Node, lookup: Lookup) -> None:
        self._lane = Lane(node.control_socket)
        self._fenced = node.fence_seconds > 0
        self._lookup = lookup
        self._birth = ""
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        #: Last sequence of a batch → open streams that it affected.
        self._streams: OrderedDict[int, int] = OrderedDict()
        #: Profiles that changed since somebody last asked.
        self.changed_profiles: asyncio.Queue[int] = asyncio.Queue(maxsize=10_000)
        self.confirmed = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._wake.clear()
            try:
                while await self._step():
                    pass
            except ControlError:
                # nginx is down, or was started again.
                self._birth = ""
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                # The only broad except here: whatever broke, nothing is confirmed, and it is tried
                # again.
                log.exception("the change feed could not be followed")
                self._birth = ""
                await asyncio.sleep(RETRY_SECONDS)
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=POLL_SECONDS)
            except TimeoutError:
                continue

    def wake(self) -> None:
        """Look for changes now."""
        self._wake.set()

    async def moved(self, sequence: int, *, seconds: float) -> None:
        """Wait until another sequence than this one is confirmed, at most for some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.confirmed != sequence)

    async def confirm(self, sequence: int, *, seconds: float) -> bool:
        """Wait until the gateway has applied `sequence`; returns whether it has."""
        self._wake.set()
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.confirmed >= sequence)
        except TimeoutError:
            return False
        return True

    def streams(self, sequence: int) -> int:
        """How many open streams the change with this sequence affected."""
        return next((n for last, n in self._streams.items() if last >= sequence), 0)

    def affected(self, most: int) -> list[tuple[int, int]]:
        """The latest sequences that affected open streams, and how many."""
        return [(last, n) for last, n in self._streams.items() if n][-most:]

    async def _step(self) -> bool:
        """Put the next changes in force; returns whether there may be more."""
        if not self._birth:
            await self._connect()
        began = time.monotonic()
        changes = await self._lookup.changes(self.confirmed, AT_ONCE)
        if not changes:
            await self._still_the_same(began)
            return False
        try:
            done = await self._lane.revoke(
                since=self.confirmed, until=changes[-1].sequence, epochs=_epochs(changes)
            )
        except Behind:
            # nginx was started again and has none of the earlier epochs.
            self._birth = ""
            return True
        if done.birth != self._birth:
            self._birth = ""
            return True
        if self._fenced and len(changes) < AT_ONCE:
            # Before anybody is told: a fence that stays down would outlive the confirmation.
            await self._lane.heard(self._birth, time.monotonic() - began)
        await self._applied(done)
        self._notice(changes)
        return len(changes) == AT_ONCE

    async def _connect(self) -> None:
        """Find out which epochs this nginx has, and raise the floor of one that has none.

        A new nginx holds only leases that were decided since it started. The floor makes those void
        that were decided before the latest change; from there on, each change is sent.
        """
        state = await self._lane.state()
        birth, applied = str(state["birth"]), int(state["applied"])
        latest = await self._lookup.latest()
        behind = len(await self._lookup.changes(applied, AT_ONCE)) == AT_ONCE
        if applied == 0 or applied > latest or behind:
            done = await self._lane.raise_floor(latest)
            birth, applied = done.birth, done.applied
        self._birth = birth
        await self._applied(Revoked(birth=birth, applied=applied))
        log.debug("connected to the gateway, epochs in force up to %s", applied)

    async def _still_the_same(self, began: float) -> None:
        """With nothing to write, check now and then that nginx was not restarted.

        `began`: when the feed was read, by the monotonic clock.
        """
        if self._fenced:
            state = await self._lane.heard(self._birth, time.monotonic() - began)
        elif self._wake.is_set():
            return
        else:
            state = await self._lane.alive()
        if state.get("birth") != self._birth:
            self._birth = ""

    async def _applied(self, done: Revoked) -> None:
        async with self._moved:
            self.confirmed = done.applied
            self._streams[done.applied] = done.streams
            while len(self._streams) > REMEMBERED:
                self._streams.popitem(last=False)
            self._moved.notify_all()

    def _notice(self, changes: list[FeedEntry]) -> None:
        for change in changes:
            if change.kind == Kind.PROFILE and not self.changed_profiles.full():
                self.changed_profiles.put_nowait(change.object_id)


def _epochs(changes: list[FeedEntry]) -> dict[str, int]:
    """Epoch's key → sequence, of the changes that void leases."""
    return {
        f"{_EPOCHS[change.kind]}{change.object_id}": change.sequence
        for change in changes
        if change.kind in _EPOCHS
    }
