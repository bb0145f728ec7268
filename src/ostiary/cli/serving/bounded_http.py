"""uvicorn's HTTP protocol with bounds for callers who are slow to ask: in time and in number.

uvicorn alone waits forever for the rest of a request, and for any number of them. Knows no
application.
"""

import asyncio
import resource
from collections import defaultdict
from typing import Any, ClassVar, Protocol

from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ostiary.access import addresses

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
#: The share of the connections that one address may have. A proxy in front has one address for all its
#: callers, and is never near it.
ADDRESS_SHARE = 0.25

TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_CUT = Counter(
    "ostiary_control_connections_cut",
    "Connections that were closed before a whole request had come.",
    ("why",),
)
for _why in ("handshake", "head", "body", "room", "address"):
    _CUT.labels(_why)


class Guest(Protocol):
    """A connection, or what stands for it until it is one."""

    #: Whose it is; empty on a Unix socket.
    address: str

    def cut(self) -> None:
        """End it at once, to make room for another one."""


class Room:
    """The connections of one server, and which of them wait for the rest of a request."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(1, int(most * ADDRESS_SHARE))
        #: Every connection, with what its address counts as.
        self._open: dict[Guest, str] = {}
        self._by_address: dict[str, int] = defaultdict(int)
        #: Longest waiting first: all of them, and those of each address.
        self._waiting: dict[Guest, None] = {}
        self._waiting_of: dict[str, dict[Guest, None]] = defaultdict(dict)

    def enter(self, guest: Guest) -> None:
        """Take a new connection in; the one that has waited longest makes room for it.

        Where its address has its share already, one of the same address does.
        """
        whose = addresses.group(guest.address)
        self._open[guest] = whose
        self._by_address[whose] += 1
        self.wait(guest)
        if whose and self._by_address[whose] > self._most_of_one:
            self._cut(next(iter(self._waiting_of[whose])), "address")
        elif len(self._open) > self._most:
            self._cut(next(iter(self._waiting)), "room")

    def _cut(self, guest: Guest, why: str) -> None:
        self.leave(guest)
        _CUT.labels(why).inc()
        guest.cut()

    def leave(self, guest: Guest) -> None:
        self.work(guest)
        whose = self._open.pop(guest, None)
        if whose is None:
            return
        self._by_address[whose] -= 1
        if not self._by_address[whose]:
            del self._by_address[whose]
            self._waiting_of.pop(whose, None)

    def wait(self, guest: Guest) -> None:
        """It waits for a request, or for the rest of one."""
        if guest in self._open:
            self._waiting.setdefault(guest)
            self._waiting_of[self._open[guest]].setdefault(guest)

    def work(self, guest: Guest) -> None:
        """Its request is being answered."""
        if guest in self._open:
            self._waiting.pop(guest, None)
            self._waiting_of[self._open[guest]].pop(guest, None)


def count_late_handshake() -> None:
    """A caller began no TLS connection in time, or did not end its handshake."""
    _CUT.labels("handshake").inc()


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
        self.address = ""
        #: What stood for it in the room during its TLS handshake.
        self.greeting: Guest | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._await("head", HEAD_SECONDS)
        if self.greeting is not None:
            self.room.leave(self.greeting)
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
