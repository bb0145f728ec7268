"""Whether a part lives: a question to its event loop, which one that hangs does not answer.

Knows the parts' sockets and the form of their answers; nothing of what becomes of a part.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

#: Bytes of an answer that are read.
LARGEST = 65_536

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


class Silent(Exception):
    """The part does not answer, or not as it should."""


class Probe(Protocol):
    """One way to ask a part."""

    async def ask(self) -> bytes:
        """The part's answer; raises Silent. Waits as long as it is let."""

    def hung(self, answer: bytes) -> Sequence[int]:
        """Process ids of the part's workers that hang, judged by this answer and those before it."""


def at_path(path: Path) -> Connect:
    """Connects to a Unix socket."""

    async def connect() -> Streams:
        return await asyncio.open_unix_connection(path)

    return connect


#: A socket that listens on all addresses is asked on loopback.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound


def at_port(host: str, port: int) -> Connect:
    """Connects to a TCP socket of this machine."""

    async def connect() -> Streams:
        return await asyncio.open_connection(_ANY.get(host, host), port)

    return connect


async def _exchange(connect: Connect, text: bytes, *, line: bool) -> bytes:
    """Send a text; the first line of the answer, or all of it."""
    try:
        reader, writer = await connect()
        try:
            writer.write(text)
            if line:
                return await reader.readline()
            answer = b""
            while len(answer) < LARGEST and (chunk := await reader.read(LARGEST)):
                answer += chunk
            return answer
        finally:
            writer.close()
    except (OSError, ValueError) as error:
        raise Silent(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """`GET /alive` (or another path), answered 200."""

    connect: Connect
    path: str = "/alive"

    async def ask(self) -> bytes:
        # HTTP/1.0: the body is neither chunked nor followed by another answer.
        text = f"GET {self.path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
        head, _, body = (await _exchange(self.connect, text, line=False)).partition(b"\r\n\r\n")
        if head.split(b" ", 2)[1:2] != [b"200"]:
            raise Silent("the answer is not 200")
        return body

    def hung(self, answer: bytes) -> Sequence[int]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`ping`, answered `pong`."""

    connect: Connect

    async def ask(self) -> bytes:
        answer = await _exchange(self.connect, b"ping\n", line=True)
        if answer != b"pong\n":
            raise Silent("the answer is not pong")
        return answer

    def hung(self, answer: bytes) -> Sequence[int]:
        return ()


@dataclass(slots=True, kw_only=True)
class Workers:
    """`GET /alive`, answered `{"workers": {"PID": TICK, …}}` by any worker for all of them.

    A tick is a time that its worker writes down about once a second. Only whether it changes
    counts: that a clock was set makes nobody hang.
    """

    http: Http
    #: A worker hangs if so many answers in a row have the same tick of it.
    same: int = 5
    _ticks: dict[int, tuple[float, int]] = field(default_factory=dict)

    async def ask(self) -> bytes:
        answer = await self.http.ask()
        if not _ticks(answer):
            raise Silent("no worker has a tick")
        return answer

    def hung(self, answer: bytes) -> Sequence[int]:
        before, self._ticks = self._ticks, {}
        for pid, tick in _ticks(answer).items():
            last, times = before.get(pid, (tick, 0))
            self._ticks[pid] = tick, times + 1 if tick == last else 1
        # Not less than it: one that does not end when it is killed is reported again and again.
        return [pid for pid, (_, times) in self._ticks.items() if times > self.same]


def _ticks(answer: bytes) -> dict[int, float]:
    try:
        workers = json.loads(answer)["workers"]
        return {int(pid): float(tick) for pid, tick in workers.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Silent("the answer is not what was expected") from error
