"""The collector's process: stores counts and log lines of the gateway in the database.

Workers push counters that grew, and send them again until they are acknowledged; log lines wait in
a file. Both are stored with how far they are taken into account: a collector that was killed, or
late, or that found the database away, goes on where it was, and counts everything once.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from django.db import Error, close_old_connections, connection

from ostiary.collector import measures, retention
from ostiary.collector.counts import PushConnection, Waiting
from ostiary.collector.log_lines import Batch
from ostiary.collector.storage import Store, Stored
from ostiary.collector.tail import Piece, Tail
from ostiary.collector.traces import BadFrame, Frames
from ostiary.gateway import control
from ostiary.gateway.contract import BadPush, Pushed, read_push
from ostiary.gateway.node import Node
from ostiary.telemetry import exposition
from ostiary.usage import upkeep
from ostiary.usage.recording import LatencyKey, Position

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two looks at the log file. A row takes less time the more are stored at once.
INTERVAL = 1.0
#: Seconds between two times that latencies are stored, and how many may gather.
LATENCY_INTERVAL, LATENCIES = 10.0, 2000
#: A push that was put off for longer than this belongs to the middle of that time.
LATE_SECONDS = 5.0
#: Seconds between two times that what is too old is deleted.
TIDY_INTERVAL = 3600.0
#: Seconds between two roll-ups.
UPKEEP_INTERVAL = 30.0
#: Traces that may wait to be written.
TRACES = 5_000
#: At a stop: seconds without a push after which none is expected, and seconds at most.
LAST_QUIET, LAST = 0.2, 5.0
#: Seconds within which the gateway tells the process id of its master.
STATE_SECONDS = 2.0


def serve(
    *,
    node: Node,
    log: socket.socket,
    counts: socket.socket,
    ready: Callable[[], None],
    name: str = "",
) -> None:
    """Run until SIGTERM; then take what has come and is in the log file, and end.

    `log` takes traces of the authority, `counts` pushes of the gateway's workers. `name`: the node's,
    where several gateways store in one database.
    """
    asyncio.run(_Collector(node, log, counts, name).run(ready))


class _Collector:
    def __init__(
        self, node: Node, log_sock: socket.socket, counts: socket.socket, name: str
    ) -> None:
        self._node, self._log_sock, self._counts = node, log_sock, counts
        self._store = Store(name, log_rate=node.log_rate)
        self._lines = Lines(node, self._store)
        self._waiting: list[Waiting] = []
        self._open: set[PushConnection] = set()
        self._traces: list[bytes] = []
        self._wake, self._stop = asyncio.Event(), asyncio.Event()
        #: When the first push was put off of those that are not stored yet, Unix seconds; 0: none.
        self._failing_since = 0.0
        #: All writing is one thread's, with one connection to the database.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")

    async def run(self, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        counts = await loop.create_unix_server(
            lambda: PushConnection(self._take, self._open), sock=self._counts
        )
        traces = await asyncio.start_unix_server(self._listen, sock=self._log_sock)
        shown = await exposition.show(self._node.run, "collector")
        ready()
        # Beside the writing: a month's roll-up takes long.
        keeping_up = asyncio.create_task(self._keep_up())
        try:
            await self._write()
            await self._last_pushes()
            await self._round(last=True)
            await keeping_up
        finally:
            for server in (counts, traces, shown):
                server.close()
            for each in list(self._open):
                each.close()
            await loop.run_in_executor(self._writer, self._lines.close)
            self._writer.shutdown()

    def _end(self) -> None:
        self._stop.set()
        self._wake.set()

    def _take(self, push: Waiting) -> None:
        self._waiting.append(push)
        self._wake.set()

    async def _write(self) -> None:
        """Store pushes and lines until the process stops."""
        loop = asyncio.get_running_loop()
        tidied = loop.time()
        while not self._stop.is_set():
            began = loop.time()
            await self._round()
            if loop.time() >= tidied + TIDY_INTERVAL:
                tidied = loop.time()
                await self._written(self._store.tidy, [])
            # Pushes are stored at once, the file is looked at again in a while.
            until = began + INTERVAL
            while not self._stop.is_set() and (pause := until - loop.time()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), timeout=pause)
                self._wake.clear()
                await self._pushes()

    async def _round(self, *, last: bool = False) -> None:
        """Store all pending pushes and lines."""
        await self._pushes()
        traces, self._traces = self._traces, []
        if traces and await self._written(self._store.traces, traces) is None:
            self._traces = (traces + self._traces)[:TRACES]
        # A part at a time: pushes do not wait for a long file.
        while number := await self._written(self._lines.some):
            await self._pushes()
        if number is not None:
            await self._written(lambda: self._lines.tidy(last=last))
        measures.up_to_date(failing_since=self._failing_since)

    async def _pushes(self) -> None:
        """Store all pushes that wait, together, and answer them."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        started, now = time.monotonic(), time.time()
        since = self._failing_since
        moment = (since + now) / 2 if since and now - since > LATE_SECONDS else now
        stored = await self._written(self._store_pushes, waiting, moment)
        if stored is None:
            self._failing_since = since or now
            measures.put_off(len(waiting))
            measures.up_to_date(failing_since=self._failing_since)
            for push in waiting:
                push.answer(False)
            return
        self._failing_since = 0.0
        readable, what = stored
        measures.stored(len(readable), what, time.monotonic() - started)
        measures.unreadable(len(waiting) - len(readable))
        for push in waiting:
            if push in readable:
                push.answer(True)
            else:
                push.give_up()

    def _store_pushes(self, waiting: list[Waiting], moment: float) -> tuple[list[Waiting], Stored]:
        """Returns the pushes that could be read, which are stored now."""
        pushes: list[Pushed] = []
        readable: list[Waiting] = []
        for push in waiting:
            head, *lines = push.text.replace(b"\0", b"?").decode(errors="replace").split("\n")
            try:
                pushes.append(read_push(head, lines))
            except BadPush:
                # The log omits the push itself, which may hold anything.
                log.warning("a push of counts cannot be read")
                continue
            readable.append(push)
        return readable, self._store.pushes(pushes, moment=moment)

    async def _last_pushes(self) -> None:
        """Wait for what the gateway's workers, which have ended or are about to, still send."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + LAST
        while loop.time() < give_up:
            await self._pushes()
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=LAST_QUIET)
            except TimeoutError:
                if not any(each.in_the_middle for each in self._open):
                    return

    async def _written(self, write: Callable[..., T], *values: object) -> T | None:
        """What `write` returns, nothing if it could not; what it was to store is still to be."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._writer, lambda: write(*values))
        except Error:
            # Also InterfaceError, which Django raises for a cut connection: it isn't a DatabaseError.
            log.exception("the database could not be written")
        except OSError:
            log.exception("the log file could not be read")
        measures.WRITE_ERRORS.inc()
        # Not `connection.close` itself: that would be the close of this thread's connection.
        await loop.run_in_executor(self._writer, lambda: connection.close())  # noqa: PLW0108 - looked up in that thread
        return None

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        tidied = loop.time()
        while not self._stop.is_set():
            await asyncio.to_thread(_roll_up)
            if loop.time() >= tidied + TIDY_INTERVAL:
                tidied = loop.time()
                await asyncio.to_thread(_tidy)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=UPKEEP_INTERVAL)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        try:
            while data := await reader.read(262_144):
                for message in frames.feed(data):
                    if len(self._traces) < TRACES:
                        self._traces.append(message)
                    else:
                        measures.TRACES_LOST.inc()
        except (BadFrame, OSError):
            log.warning("a stream of traces broke off")
        except asyncio.CancelledError:
            # At our own end; asyncio would call it an error.
            return
        finally:
            writer.close()


class Lines:
    """The log file and its way into the database. Blocking, used by the writer's thread."""

    def __init__(self, node: Node, store: Store) -> None:
        self._node, self._store = node, store
        self._tail: Tail | None = None
        #: What was read, until it is stored: lines are counted once, however often that is tried.
        self._read: tuple[Piece, Batch] | None = None
        #: Latencies that are not stored yet, and how far in which file they come from.
        self._latencies: Counter[LatencyKey] = Counter()
        self._timed: dict[str, int] = {}
        self._timed_at = time.monotonic()
        self._torn = 0

    def some(self) -> int:
        """Store some lines; how many there were. Raises Error or OSError, and goes on there."""
        if self._read is None:
            piece = self._files().next()
            if piece is None:
                return 0
            self._read = piece, self._store.read(piece.lines)
        piece, batch = self._read
        if not piece.is_stored:
            position = Position(identity=piece.identity, offset=piece.end)
            refused = self._store.lines(batch, position)
            measures.lines(batch, refused=refused)
            measures.strange_lines(batch.strange + piece.strange)
        self._files().taken(piece)
        self._read = None
        self._latencies.update(batch.latencies)
        self._timed[piece.identity] = piece.end
        if len(self._latencies) >= LATENCIES:
            self._store_latencies()
        return max(1, len(piece.lines))

    def tidy(self, *, last: bool = False) -> None:
        """Store latencies, exchange and delete files, when all lines are stored."""
        tail = self._files()
        due = time.monotonic() - self._timed_at >= LATENCY_INTERVAL
        if self._timed and (due or last or tail.has_old):
            self._store_latencies()
        if not last:
            tail.tidy()
            measures.strange_lines(tail.torn - self._torn)
            self._torn = tail.torn
        if tail.gone:
            self._store.tidy(tail.gone, moment=time.time())
            tail.forget()

    def _store_latencies(self) -> None:
        positions = [Position(identity=i, timed=timed) for i, timed in self._timed.items()]
        self._store.latencies(self._latencies, positions)
        self._latencies.clear()
        self._timed.clear()
        self._timed_at = time.monotonic()

    def close(self) -> None:
        if self._tail is not None:
            self._tail.close()
        connection.close()

    def _files(self) -> Tail:
        if self._tail is None:
            self._tail = Tail(
                self._node.run / "lines",
                self._store.positions(),
                reopen=lambda: reopen(self._node.control_socket),
            )
        return self._tail


def reopen(gateway: Path) -> bool:
    """Ask nginx, by its control socket, to reopen its files; says whether it could be asked."""
    try:
        master = int(control.state(gateway, seconds=STATE_SECONDS)["master"])
        if master <= 1:
            raise ValueError(master)
        os.kill(master, signal.SIGUSR1)
    except (control.ControlError, OSError, ValueError, KeyError, TypeError):
        log.warning("the gateway could not be asked to reopen its files")
        return False
    return True


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
