"""A steady load on several gateways, which remembers what became of each call; and the upstream."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: Seconds that a caller waits for an answer.
PATIENCE = 10.0
_TICK = 0.01
#: No answer came.
NONE = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a name for the result, and the request as it is sent."""

    name: str
    request: bytes


def caller(name: str, target: str, secret: str, *, content: str = "") -> Caller:
    """A caller that sends GET, or POST if there is content."""
    body = content.encode()
    more = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    head = f"{'POST' if body else 'GET'} {target} HTTP/1.1\r\nHost: api\r\nAPI-TOKEN: {secret}\r\n"
    return Caller(name, f"{head}{more}\r\n".encode() + body)


@dataclass(frozen=True, slots=True)
class Call:
    """What became of a call; the times are of the clock that nobody sets."""

    caller: str
    gateway: int
    sent: float
    done: float
    #: Of the answer; NONE: none came.
    status: int
    #: How often it was sent: a kept connection may have been closed meanwhile.
    times: int = 1


class _Connection(asyncio.Protocol):
    """One connection to a gateway, for one call at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.open = True
        self.answer: asyncio.Future[int] | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, rest = self._read.partition(b"\r\n\r\n")
        if not end or self.answer is None or self.answer.done():
            return
        lower = head.lower()
        length = lower.partition(b"content-length:")[2].partition(b"\r\n")[0]
        if length:
            if len(rest) < int(length):
                return
        elif b"chunked" in lower and not rest.endswith(b"0\r\n\r\n"):
            return
        self._read = b""
        if b"connection: close" in lower:
            self.close()
        self.answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionResetError())

    def close(self) -> None:
        self.open = False
        if self.transport is not None:
            self.transport.close()

    async def ask(self, request: bytes) -> int:
        assert self.transport is not None
        self.answer = asyncio.get_running_loop().create_future()
        self._read = b""
        self.transport.write(request)
        return await self.answer


class _Upstream(asyncio.Protocol):
    """An API that answers everything alike."""

    _ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(self._ANSWER * data.count(b"\r\n\r\n"))


@dataclass(slots=True)
class Load:
    """Calls at a steady rate, also while the answers do not come; and the upstream behind all."""

    address: str
    gateways: Sequence[tuple[str, int]]
    rate: float
    calls: list[Call] = field(default_factory=list)
    upstream_port: int = 0
    began: float = 0.0
    _callers: "itertools.cycle[Caller] | None" = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None
    _idle: dict[int, list[_Connection]] = field(default_factory=dict)
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Start the upstream, and the thread in which all this runs; calls need callers."""
        began = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(began,), daemon=True)
        self._thread.start()
        began.wait()

    def begin(self, callers: Iterable[Caller]) -> None:
        """Call from now on, in turns."""
        self.calls, self.began = [], time.monotonic()
        self._callers = itertools.cycle(callers)

    def end(self) -> list[Call]:
        """Call no more; what became of all calls."""
        self._callers = None
        deadline = time.monotonic() + 2 * PATIENCE
        while self._open and time.monotonic() < deadline:
            time.sleep(0.05)
        for idle in self._idle.values():
            while idle:
                self._loop.call_soon_threadsafe(idle.pop().close)
        return self.calls

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, began: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(_Upstream, self.address, 0, backlog=512)
        )
        self.upstream_port = int(server.sockets[0].getsockname()[1])
        began.set()
        ticking = self._loop.create_task(self._tick())
        self._loop.run_forever()
        ticking.cancel()
        self._loop.run_until_complete(asyncio.wait([ticking]))

    async def _tick(self) -> None:
        turns = itertools.cycle(range(len(self.gateways)))
        due, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            callers = self._callers
            if callers is None:
                last = now
                continue
            due += (now - last) * self.rate
            last = now
            while due >= 1:
                due -= 1
                task = self._loop.create_task(self._call(next(callers), next(turns)))
                self._open.add(task)
                task.add_done_callback(self._open.discard)

    async def _call(self, one: Caller, gateway: int) -> None:
        sent, status, times = time.monotonic(), NONE, 0
        connection: _Connection | None = None
        idle = self._idle.setdefault(gateway, [])
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    kept = next(
                        (c for c in iter(lambda: idle.pop() if idle else None, None) if c.open),
                        None,
                    )
                    connection = kept or await self._connected(gateway)
                    times += 1
                    try:
                        status = await connection.ask(one.request)
                        break
                    except OSError:
                        # RFC 9110, section 9.2.2: what may be repeated is, on a connection that
                        # may have been closed before the request arrived.
                        if kept is None or one.request.startswith(b"POST"):
                            raise
        except (OSError, TimeoutError):
            status = NONE
            if connection is not None:
                connection.close()
        else:
            if connection.open:
                idle.append(connection)
        self.calls.append(Call(one.name, gateway, sent, time.monotonic(), status, times))

    async def _connected(self, gateway: int) -> _Connection:
        host, port = self.gateways[gateway]
        _, connection = await self._loop.create_connection(_Connection, host, port)
        return connection


def waited(calls: Iterable[Call]) -> float:
    """The longest that a call took that was answered."""
    return max((each.done - each.sent for each in calls if each.status), default=0.0)
