"""A port that speaks TLS: takes connections, bounds their handshakes, and hands them to uvicorn.

asyncio's own servers tell a protocol of a connection when its handshake is done, so that nobody
would count those that never end theirs. Knows no application.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from ostiary.cli.serving.bounded_http import HEAD_SECONDS, Bounded, Room, count_late_handshake
from ostiary.cli.serving.certificate import Certificate

#: First byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
HANDSHAKE = b"\x16"
#: Connections that are taken in one turn of the event loop.
TURN = 64
#: Seconds without new connections after the system had no file left for one.
PAUSE_SECONDS = 0.5
#: Seconds that handshakes have when the port is closed.
FAREWELL_SECONDS = 1.0


class TlsGreeting:
    """A connection whose protocol is not known yet, or whose handshake is under way."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.sock = sock
        self.address = address

    def cut(self) -> None:
        # The transport that may have it by now notices the end by itself.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class TlsPort:
    """One listening socket. `close` and `wait_closed` are what uvicorn calls of its servers."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        certificate: Certificate,
        room: Room,
        make: Callable[[], Bounded],
    ) -> None:
        self._sock = sock
        self._certificate = certificate
        self._room = room
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._greetings: dict[asyncio.Task[None], TlsGreeting] = {}
        self._handed_over: set[Bounded] = set()
        self._closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._take)

    def close(self) -> None:
        """Accept no more connections; accepted ones finish their requests."""
        self._closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.call_later(FAREWELL_SECONDS, self._cut_all)

    async def wait_closed(self) -> None:
        """Wait until every accepted connection has its answer."""
        while self._greetings or any(not each.transport.is_closing() for each in self._handed_over):  # noqa: ASYNC110 - transports tell nobody when they close
            await asyncio.sleep(0.02)

    def _cut_all(self) -> None:
        for greeting in list(self._greetings.values()):
            greeting.cut()

    def _take(self) -> None:
        for _ in range(TURN):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No file is left: those that are open need the loop more than new ones do.
                self._loop.remove_reader(self._sock.fileno())
                self._loop.call_later(PAUSE_SECONDS, self._resume)
                return
            sock.setblocking(False)
            greeting = TlsGreeting(sock, str(peer[0]))
            self._room.enter(greeting)
            task = self._loop.create_task(self._greet(greeting))
            self._greetings[task] = greeting
            task.add_done_callback(self._greeted)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock.fileno(), self._take)

    def _greeted(self, task: asyncio.Task[None]) -> None:
        self._room.leave(self._greetings.pop(task))
        # Handshakes that fail are callers' affairs.
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()

    async def _greet(self, greeting: TlsGreeting) -> None:
        """See what the caller speaks, and hand it over; plain HTTP gets a plain answer."""
        sock = greeting.sock
        began = self._loop.time()
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                await self._readable(sock)
            protocol = await self._handed_to(greeting, sock.recv(1, socket.MSG_PEEK))
        except OSError:
            # TimeoutError and ssl.SSLError are such, too.
            if self._loop.time() - began >= HEAD_SECONDS:
                count_late_handshake()
            protocol = None
        if protocol is None:
            sock.close()
            return
        if self._closed:
            # uvicorn has closed its other connections already; this one came later.
            self._handed_over.add(protocol)
            protocol.shutdown()

    async def _handed_to(self, greeting: TlsGreeting, first: bytes) -> Bounded | None:
        """The connection as uvicorn has it; nothing if the caller went. Raises OSError."""

        def make() -> Bounded:
            protocol = self._make()
            protocol.greeting = greeting
            return protocol

        if not first:
            return None
        context = self._certificate.context()
        if first != HANDSHAKE:
            # The first byte was looked at, not taken.
            _, protocol = await self._loop.connect_accepted_socket(make, greeting.sock)
        else:
            _, protocol = await self._loop.connect_accepted_socket(
                make, greeting.sock, ssl=context, ssl_handshake_timeout=HEAD_SECONDS
            )
        return protocol

    async def _readable(self, sock: socket.socket) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(sock.fileno(), _settle, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_reader(sock.fileno())


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
