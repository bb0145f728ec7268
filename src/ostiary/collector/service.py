"""The collector's process: counts and log lines of the gateway, brought into the database.

Quota counts are harvested as they are (base and count of a row): writing one again changes
nothing, and after a crash of anything at most one interval is lost. Log lines tell when a
credential was used last.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable

from django.db import DatabaseError, close_old_connections

from ostiary.collector import lines, rows
from ostiary.directory import retention
from ostiary.gateway.plan import Node
from ostiary.gateway.runtime import Runtime, RuntimeGone, RuntimeRefused
from ostiary.usage import counting, upkeep

log = logging.getLogger(__name__)

#: Seconds between two harvests: what a crash can lose of a quota's count.
INTERVAL = 1.0
LARGEST_DATAGRAM = 65536
#: Seconds between two times that what is too old is deleted.
TIDY_INTERVAL = 3600.0
#: Seconds between two roll-ups.
UPKEEP_INTERVAL = 30.0


def serve(*, node: Node, log: socket.socket, ready: Callable[[], None]) -> None:
    """Run until SIGTERM, and harvest a last time then."""
    asyncio.run(_Collector(node, log).run(ready))


class _Collector:
    def __init__(self, node: Node, sock: socket.socket) -> None:
        self._node, self._sock = node, sock
        self._runtime: Runtime | None = None
        self._used: dict[int, int] = {}
        self._counts: dict[tuple[int, int], int] = {}
        self._stop = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._sock.setblocking(False)
        loop.add_reader(self._sock, self._read)
        ready()
        # Beside the harvest: a month's roll-up takes longer than the interval of counts.
        keeping_up = asyncio.create_task(self._keep_up())
        tidied = float("-inf")
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=INTERVAL)
            await self._harvest()
            if loop.time() >= tidied + TIDY_INTERVAL:
                tidied = loop.time()
                await asyncio.to_thread(_tidy)
        await keeping_up

    async def _keep_up(self) -> None:
        while not self._stop.is_set():
            await asyncio.to_thread(_roll_up)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=UPKEEP_INTERVAL)

    def _read(self) -> None:
        """Take what datagrams there are, a bounded number at a time."""
        for _ in range(500):
            try:
                line = lines.read(self._sock.recv(LARGEST_DATAGRAM))
            except BlockingIOError:
                return
            if line is not None and line.credential and line.code is None:
                self._used[line.credential] = line.at

    async def _harvest(self) -> None:
        try:
            found = rows.quota(await self._table("quota"))
        except (RuntimeGone, RuntimeRefused):
            self._runtime = None
            found = {}
        changed = {key: count for key, count in found.items() if self._counts.get(key) != count}
        used, self._used = self._used, {}
        try:
            await asyncio.to_thread(_store, changed, used)
        except DatabaseError:
            # Counts are read again with the next harvest; uses are put back.
            self._used = used | self._used
            log.exception("counts could not be written")
        else:
            self._counts = found

    async def _table(self, name: str) -> list[str]:
        if self._runtime is None or self._runtime.closed:
            self._runtime = await Runtime.connect(self._node.socket)
        return await self._runtime.rows(name)


def _tidy() -> None:
    """Delete what is older than it is kept; a database that is busy is asked again later."""
    close_old_connections()
    with contextlib.suppress(DatabaseError):
        retention.tidy()


def _roll_up() -> None:
    """Roll usage up; what fails is tried again the next time."""
    close_old_connections()
    try:
        upkeep.run(int(time.time()))
    except DatabaseError:
        log.exception("usage could not be rolled up")


def _store(counts: dict[tuple[int, int], int], used: dict[int, int]) -> None:
    close_old_connections()
    counting.store_quota(counts)
    counting.store_uses(used)
