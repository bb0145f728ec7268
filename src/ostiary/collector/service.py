"""The collector's process: counts and log lines of the gateway, brought into the database.

Counters are harvested as they are, and written with how far they are taken into account: a
collector that was killed, or late, or that found the disk full, goes on where it was. Lines of the
request log come over a stream, from the gateway's own buffer; they may be sampled, and say so.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable

from django.db import Error, close_old_connections

from ostiary import exposition
from ostiary.collector import measures, rows
from ostiary.collector.journal import Journal
from ostiary.collector.lines import BadFrame, Frames
from ostiary.collector.rows import Row
from ostiary.collector.storing import Store
from ostiary.directory import retention
from ostiary.gateway.plan import Node
from ostiary.gateway.runtime import Runtime, RuntimeGone, RuntimeRefused
from ostiary.usage import upkeep

log = logging.getLogger(__name__)

#: Seconds between two harvests: what a crash of HAProxy itself can lose.
INTERVAL = 1.0
#: A harvest holds HAProxy up for a moment: it may take this part of the time, and at most so many
#: seconds lie between two.
SHARE, LONGEST = 0.05, 8.0
#: Seconds between two times that what is too old is deleted.
TIDY_INTERVAL = 3600.0
#: Seconds between two roll-ups.
UPKEEP_INTERVAL = 30.0
#: Traces that may wait to be written.
TRACES = 5_000
#: Seconds that the last calls of a gateway that stops are waited for.
DRAIN = 5.0

MINUTE = 60


def serve(*, node: Node, log: socket.socket, ready: Callable[[], None]) -> None:
    """Run until SIGTERM, and harvest a last time then."""
    asyncio.run(_Collector(node, log).run(ready))


class _Collector:
    def __init__(self, node: Node, sock: socket.socket) -> None:
        self._node, self._sock = node, sock
        self._runtime: Runtime | None = None
        self._store = Store()
        self._journal = Journal()
        self._traces: list[bytes] = []
        self._quota: dict[tuple[int, int], int] = {}
        self._rates: dict[tuple[int, int], int] = {}
        self._alive: set[str] = set()
        self._harvested_at = 0.0
        self._pause = INTERVAL
        self._stop = asyncio.Event()
        #: SIGUSR1 came: not we alone are stopped, but everything.
        self._farewell = False

    async def run(self, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGUSR1, self._bid_farewell)
        server = await asyncio.start_unix_server(self._listen, sock=self._sock)
        measures.watch(self._journal)
        shown = await exposition.show(self._node.run, "collector")
        ready()
        # Beside the harvest: a month's roll-up takes longer than the interval of counts.
        keeping_up = asyncio.create_task(self._keep_up())
        tidied = loop.time()
        async with server:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), timeout=self._until_next())
                await self._round()
                if loop.time() >= tidied + TIDY_INTERVAL:
                    tidied = loop.time()
                    await asyncio.to_thread(_tidy)
                    await self._written(self._store.forget, set(self._alive))
            if self._farewell:
                await self._close_gateway()
                # Their log lines come at once, but not before.
                await asyncio.sleep(0.1)
            await self._round()
        await keeping_up
        shown.close()

    async def _keep_up(self) -> None:
        while not self._stop.is_set():
            await asyncio.to_thread(_roll_up)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=UPKEEP_INTERVAL)

    def _until_next(self) -> float:
        """Seconds to the next harvest; one falls on every full minute, so that minutes are exact."""
        return min(self._pause, MINUTE - time.time() % MINUTE)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        try:
            while data := await reader.read(262_144):
                for message in frames.feed(data):
                    if message.startswith(b"{"):
                        if len(self._traces) < TRACES:
                            self._traces.append(message)
                        else:
                            measures.TRACES_LOST.inc()
                    else:
                        self._journal.take(message)
        except (BadFrame, OSError):
            log.warning("a stream of log lines broke off")
        except asyncio.CancelledError:
            # At our own end; asyncio would call it an error.
            return
        finally:
            writer.close()

    async def _round(self) -> None:
        await self._harvest()
        drained = self._journal.drain()
        lines = len(drained.kept)
        written = await self._written(self._store.journal, drained)
        # Those that are written are taken out.
        measures.LINES_WRITTEN.inc(lines - len(drained.kept))
        if not written:
            self._journal.put_back(drained)
        traces, self._traces = self._traces, []
        if traces and not await self._written(self._store.traces, traces):
            self._traces = (traces + self._traces)[:TRACES]

    async def _harvest(self) -> None:
        started = time.monotonic()
        now = time.time()
        try:
            found = [
                *rows.leases(await self._table("leases")),
                *rows.refusals(await self._table("refusals"), "r"),
                *rows.refusals(await self._table("refusals_leased"), "l"),
            ]
            quota = rows.quota(await self._table("quota"))
            rates = rows.rates(await self._table("rate_long"))
        except (RuntimeGone, RuntimeRefused):
            self._runtime = None
            return
        self._pause = min(LONGEST, max(INTERVAL, (time.monotonic() - started) / SHARE))
        # Calls of the time since the last look, which is within one minute unless we were late.
        moment = (self._harvested_at + now) / 2 if self._harvested_at else now
        minute = int(moment) // MINUTE * MINUTE
        self._harvested_at = now
        self._alive = {row.identity for row in found}
        if await self._written(self._harvested, found, minute):
            measures.harvested(len(found), time.monotonic() - started)
        changed = {key: count for key, count in quota.items() if self._quota.get(key) != count}
        if await self._written(self._store.quota, changed):
            self._quota = quota
        changed = {key: count for key, count in rates.items() if self._rates.get(key) != count}
        if await self._written(self._store.rates, changed):
            self._rates = rates

    def _harvested(self, found: list[Row], minute: int) -> None:
        self._store.harvested(found, minute=minute)

    async def _written(self, write: Callable[..., None], *values: object) -> bool:
        """Whether it could be written; what could not is kept by whoever asks."""
        try:
            await asyncio.to_thread(write, *values)
        except Error:
            # InterfaceError, too: what a cut connection is to Django, it is no DatabaseError.
            log.exception("the database could not be written")
            measures.WRITE_ERRORS.inc()
            return False
        return True

    async def _table(self, name: str) -> list[str]:
        if self._runtime is None or self._runtime.closed:
            self._runtime = await Runtime.connect(self._node.socket)
        elif name == "leases" and await self._runtime.stopping():
            await self._runtime.close()
            self._runtime = await Runtime.connect(self._node.socket)
        return await self._runtime.rows(name)

    def _bid_farewell(self) -> None:
        self._farewell = True

    async def _close_gateway(self) -> None:
        """Have HAProxy take no more calls, and wait for those that run.

        Not by its own soft stop: that empties its tables at once.
        """
        with contextlib.suppress(RuntimeGone, RuntimeRefused, TimeoutError):
            runtime = self._runtime or await Runtime.connect(self._node.socket)
            await runtime.command("shutdown frontend gateway")
            async with asyncio.timeout(DRAIN):
                # It tells nobody when its last one ends.
                while await runtime.calls():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


def _tidy() -> None:
    """Delete what is older than it is kept; a database that is busy is asked again later."""
    close_old_connections()
    with contextlib.suppress(Error):
        retention.tidy()


def _roll_up() -> None:
    """Roll usage up; what fails is tried again the next time."""
    close_old_connections()
    try:
        upkeep.run(int(time.time()))
    except Error:
        log.exception("usage could not be rolled up")
