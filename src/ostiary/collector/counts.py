"""Pushes of the gateway's workers: reads them and computes what is new.

A counter's total only grows. What has been taken into account of it is its **baseline**, stored in
one transaction with the gain: a push that comes twice, or from two workers, counts once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ostiary.gateway.contract import COUNT_KEY, LIMIT_KEY, Pushed
from ostiary.usage.recording import BASELINE_HOURS, Totals

log = logging.getLogger(__name__)

#: Bytes of the largest push; the gateway's have a few hundred kilobytes.
LARGEST_PUSH = 64 * 1024 * 1024
#: Ids fit the directory's keys, totals and times the database's numbers.
_LARGEST_ID = 2**31 - 1
_LARGEST_TOTAL = 2**62
#: Characters of a counter's identity in the database.
_LONGEST_IDENTITY = 160
#: Largest code of a reason.
_LARGEST_CODE = 2**15 - 1
HOUR, MINUTE = 3600, 60

OK, LATER, PONG = b"ok\n", b"later\n", b"pong\n"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting:
    """A received push, and how to answer its worker."""

    text: bytes
    answer: Callable[[bool], None]
    #: Closes the connection after an invalid push.
    give_up: Callable[[], None]


class PushConnection(asyncio.Protocol):
    """A connection of a worker or the supervisor: pushes and pings, answered in their order."""

    def __init__(self, take: Callable[[Waiting], None], open_: set["PushConnection"]) -> None:
        self._take, self._open = take, open_
        self._buffer = bytearray()
        self._searched = 0
        self._transport: asyncio.WriteTransport | None = None

    @property
    def in_the_middle(self) -> bool:
        """Whether the buffer holds an incomplete push."""
        return bool(self._buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._transport = None
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and self._transport is not None and self._message():
            pass

    def _message(self) -> bool:
        """Take one message out of the buffer; whether there was a whole one."""
        buffer = self._buffer
        if buffer.startswith(b"ping\n"):
            del buffer[:5]
            self._send(PONG)
            return True
        end = buffer.find(b"\n\n", self._searched)
        if end < 0:
            self._searched = max(0, len(buffer) - 1)
            if len(buffer) > LARGEST_PUSH or not _may_begin(buffer):
                log.warning("what came on the socket for counts isn't a push")
                self.close()
            return False
        text = bytes(buffer[:end])
        del buffer[: end + 2]
        self._searched = 0
        self._take(Waiting(text=text, answer=self._answer, give_up=self.close))
        return True

    def _answer(self, stored: bool) -> None:
        self._send(OK if stored else LATER)

    def _send(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _may_begin(buffer: bytearray) -> bool:
    start = bytes(buffer[:7])
    return any(word.startswith(start[: len(word)]) for word in (b"counts ", b"ping\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter's key, taken apart; see `contract.COUNT_KEY`."""

    hour: int
    profile: int
    client: int
    collection: int
    endpoint: int
    credential: int
    would: int
    status: int
    reason: int


def read_identity(identity: str) -> Counter:
    """The counter of an identity (birth and key); raises ValueError for what has no such key."""
    key = identity.partition("/")[2]
    numbers = [int(part) for part in key.split("/")]
    hour, *ids, would, status, reason = numbers
    if len(numbers) != len(COUNT_KEY) or not all(0 <= n <= _LARGEST_ID for n in (hour, *ids)):
        raise ValueError(key[:40])
    if not (0 <= would <= _LARGEST_CODE and 0 <= reason <= _LARGEST_CODE and 0 <= status <= 5):
        raise ValueError(key[:40])
    profile, client, collection, endpoint, credential = ids
    return Counter(
        hour=hour,
        profile=profile,
        client=client,
        collection=collection,
        endpoint=endpoint,
        credential=credential,
        would=would,
        # An upgrade is answered 101 and is a success.
        status=2 if status == 1 else status,
        reason=reason,
    )


@dataclass(slots=True)
class Merged:
    """Pushes that are stored together."""

    #: Identity (birth and key) → the largest totals that came.
    totals: dict[str, Totals] = field(default_factory=dict)
    #: (profile, start of the period) → calls.
    quotas: dict[tuple[int, int], int] = field(default_factory=dict)
    #: (profile, seconds of the window, its start) → calls.
    rates: dict[tuple[int, int, int], int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    #: Entries that could not be read; one costs itself alone.
    strange: int = 0


def merge(pushes: Iterable[Pushed]) -> Merged:
    """Take pushes together: of the same counter or limit, the largest total counts."""
    merged = Merged()
    for push in pushes:
        for key, values in push.counts.items():
            try:
                _add_count(merged, f"{push.birth}/{key}", Totals(*values))
            except ValueError:
                merged.strange += 1
        for key, calls in push.limits.items():
            try:
                _add_limit(merged, key, calls)
            except ValueError:
                merged.strange += 1
        merged.lines.extend(push.lines)
    return merged


def _add_count(merged: Merged, identity: str, totals: Totals) -> None:
    if len(identity) > _LONGEST_IDENTITY or not all(0 <= n <= _LARGEST_TOTAL for n in totals):
        raise ValueError(identity[:40])
    before = merged.totals.get(identity)
    merged.totals[identity] = totals if before is None else before.largest(totals)


def _add_limit(merged: Merged, key: str, calls: int) -> None:
    parts = key.split("/")
    if len(parts) != len(LIMIT_KEY):
        raise ValueError(key[:40])
    kind = parts[0]
    profile, seconds, start = (int(part) for part in parts[1:])
    if not (0 < profile <= _LARGEST_ID and 0 <= start < 2**40 and 0 <= calls <= _LARGEST_TOTAL):
        raise ValueError(key[:40])
    if kind == "q":
        merged.quotas[profile, start] = max(calls, merged.quotas.get((profile, start), 0))
    elif kind == "r":
        window = profile, seconds, start
        merged.rates[window] = max(calls, merged.rates.get(window, 0))
    else:
        raise ValueError(key[:40])


def minute_of(counter: Counter, moment: float) -> int:
    """The minute to which a gain belongs that came at `moment` (Unix seconds): one of its hour."""
    minute = int(moment) // MINUTE * MINUTE
    first = counter.hour * HOUR
    return min(max(minute, first), first + HOUR - MINUTE)


def is_forgotten(counter: Counter, *, now: float) -> bool:
    """Whether the counter's baseline may have been deleted: then its gain cannot be known."""
    return counter.hour < int(now) // HOUR - BASELINE_HOURS
