"""Whether a part lives: a question to its event loop, which one that hangs does not answer.

Knows the parts' sockets and the form of their answers; nothing of what becomes of a part.
"""

import asyncio
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Bytes of an answer that are read.
LARGEST = 65_536


class Silent(Exception):
    """The part does not answer, or not as it should."""


class Probe(Protocol):
    """One way to ask a part."""

    async def ask(self) -> bytes:
        """The part's answer; raises Silent. Waits as long as it is let."""

    def hung(self, answer: bytes) -> Sequence[int]:
        """Process ids of the part's workers that hang, judged by this answer and those before it."""


#: A socket that listens on all addresses is asked on loopback.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where a part listens on this machine."""

    family: int
    #: As socket.connect takes it.
    address: Any

    @classmethod
    def of(cls, listener: socket.socket) -> "ListenAddress":
        """The address of a listening socket, Unix or TCP."""
        address = listener.getsockname()
        if listener.family != socket.AF_UNIX:
            address = (_ANY.get(address[0], address[0]), *address[1:])
        return cls(family=listener.family, address=address)


async def _exchange(at: ListenAddress, text: bytes, *, end: bytes = b"") -> bytes:
    """Send a text; the answer up to its `end`, or all of it.

    Plain sockets: six parts are asked about once a second, and streams cost ten times as much.
    """
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(at.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            await loop.sock_connect(sock, at.address)
            await loop.sock_sendall(sock, text)
            answer = b""
            while len(answer) < LARGEST and (chunk := await loop.sock_recv(sock, LARGEST)):
                answer += chunk
                if end and answer.endswith(end):
                    break
            return answer
    except OSError as error:
        raise Silent(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """`GET /alive` (or another path), answered 200."""

    at: ListenAddress
    path: str = "/alive"

    async def ask(self) -> bytes:
        # HTTP/1.0: the body is neither chunked nor followed by another answer.
        text = f"GET {self.path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
        head, _, body = (await _exchange(self.at, text)).partition(b"\r\n\r\n")
        if head.split(b" ", 2)[1:2] != [b"200"]:
            raise Silent("the answer is not 200")
        return body

    def hung(self, answer: bytes) -> Sequence[int]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProbe:
    """`ping`, answered `pong`."""

    at: ListenAddress

    async def ask(self) -> bytes:
        answer = await _exchange(self.at, b"ping\n", end=b"\n")
        if answer != b"pong\n":
            raise Silent("the answer is not pong")
        return answer

    def hung(self, answer: bytes) -> Sequence[int]:
        return ()


@dataclass(slots=True, kw_only=True)
class Workers:
    """`GET /alive`, answered `{"workers": {"PID": TICK, …}}` by any worker for all of them.

    A tick is a time that its worker writes down several times a second. Only whether it changes
    counts: that a clock was set makes nobody hang.
    """

    http: Http
    #: A worker hangs if this many answers in a row have the same tick for it.
    same: int = 3
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
