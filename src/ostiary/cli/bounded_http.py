"""uvicorn's HTTP protocol with bounds for callers who are slow to ask: in time and in number.

uvicorn alone waits forever for the rest of a request, and for any number of them. Knows no
application.
"""

import asyncio
import resource
from typing import Any, ClassVar

from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

#: Seconds that the head of a request may take, as a whole.
HEAD_SECONDS = 10.0
#: Seconds between two pieces of a request's body.
BODY_SECONDS = 30.0
#: Seconds that a connection is left open at our end on which nothing was asked yet: what was sent
#: on it is about to be read.
FAREWELL_SECONDS = 0.5
#: Connections at once, however many files may be open: each takes about 15 KB.
MOST = 4096
#: Of the files that may be open, this share may be connections; the rest are the database's, logs'.
SHARE = 0.75

TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_CUT = Counter(
    "ostiary_control_connections_cut",
    "Connections that were closed before a whole request had come.",
    ("why",),
)
for _why in ("head", "body", "room"):
    _CUT.labels(_why)


class Room:
    """The connections of one server, and which of them wait for the rest of a request."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Bounded] = set()
        #: Longest waiting first.
        self._waiting: dict[Bounded, None] = {}

    def enter(self, connection: "Bounded") -> None:
        """Take a new connection in; the one that has waited longest makes room for it."""
        self._open.add(connection)
        self._waiting[connection] = None
        if len(self._open) > self._most:
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.cut()

    def leave(self, connection: "Bounded") -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def wait(self, connection: "Bounded") -> None:
        """It waits for a request, or for the rest of one."""
        if connection in self._open:
            self._waiting.setdefault(connection)

    def work(self, connection: "Bounded") -> None:
        """Its request is being answered."""
        self._waiting.pop(connection, None)


def room_for_files() -> int:
    """How many connections fit below the limit of open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, int(soft * SHARE)))


def bounded(room: Room) -> type[HttpToolsProtocol]:
    """The class for uvicorn's `http=` whose connections share `room`."""
    return type("BoundedHere", (Bounded,), {"room": room})


class Bounded(HttpToolsProtocol):
    """One connection."""

    room: ClassVar[Room]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        #: What the timer is for: "head", "body", or nothing.
        self._awaited = ""
        self._heard = False
        self._last = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await("head", HEAD_SECONDS)
        self.room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._await("", 0)
        self.room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)
        if not self.transport.is_closing():
            self._look(came=True)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._last:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._heard = False
            self._look(came=False)

    def shutdown(self) -> None:
        # uvicorn closes a connection that it has only just taken, with the request unread.
        if self.cycle is None:
            self._last = True
            self.loop.call_later(FAREWELL_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def cut(self) -> None:
        """Make room for another connection."""
        _CUT.labels("room").inc()
        self.transport.abort()

    def _look(self, *, came: bool) -> None:
        """Where the connection is now; `came`: something was just received."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            # While we do not read, the caller is not the one who is slow.
            if self.pipeline or not cycle.more_body or self.flow.read_paused:
                self._await("", 0)
                self.room.work(self)
            else:
                self._await("body", BODY_SECONDS)
                self.room.wait(self)
            return
        self.room.wait(self)
        if not came:
            # Between two requests uvicorn's own timer runs.
            self._await("", 0)
        elif self._awaited != "head":
            self._await("head", HEAD_SECONDS)

    def _await(self, what: str, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._awaited = what
        if what:
            self._timer = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self.transport.is_closing():
            return
        _CUT.labels(self._awaited).inc()
        if self._awaited == "head" and self._heard:
            self.transport.write(TIMEOUT)
        self.transport.close()
