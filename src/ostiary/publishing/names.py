"""Host names of upstreams, resolved beside everything else: nobody ever waits for a look-up in line.

Each look-up has a thread of its own, since the system's resolver (which honours /etc/hosts) blocks,
and for one name there is at most one at a time. An error or an empty answer takes nothing away: the
last good addresses serve on for a day.
"""

import asyncio
import enum
import ipaddress
import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ostiary.access.addresses import unmapped
from ostiary.directory.catalog.upstream_url import refused_address
from ostiary.publishing import measures

log = logging.getLogger(__name__)

#: A name's raw addresses; raises OSError.
Lookup = Callable[[str], Iterable[str]]

#: Seconds between look-ups of a name, give or take a fifth.
REFRESH_SECONDS = 10.0
#: Seconds that last good addresses serve while no better answer comes.
STALE_SECONDS = 24 * 3600.0
#: A look-up that takes longer, in seconds, is taken for one that fails.
PATIENCE_SECONDS = 2.0
#: Look-ups in flight at most, and those of them of names that failed before: the rest is for others.
MOST_IN_FLIGHT, MOST_FAILING = 512, 256
#: A thread's stack in bytes: a look-up needs little, and there may be hundreds.
STACK = 512 * 1024
MOST_ADDRESSES = 64


class NameState(enum.StrEnum):
    GOOD = "good"
    #: The last good addresses are used; the name does not answer now.
    STALE = "stale"
    #: It was never answered, and is not waited for any longer.
    UNRESOLVED = "unresolved"
    RESOLVING = "resolving"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameStatus:
    """A name's addresses now, and since when (Unix seconds) and why it is as it is."""

    addresses: tuple[str, ...] = ()
    state: NameState = NameState.RESOLVING
    since: float = 0.0
    reason: str = ""
    #: The name leads only to where no upstream may be.
    refused: bool = False


@dataclass(slots=True)
class _Name:
    users: set[int] = field(default_factory=set)
    addresses: tuple[str, ...] = ()
    good_at: float = 0.0
    asked_at: float = 0.0
    #: When it began to fail; 0: it does not.
    failing_since: float = 0.0
    reason: str = ""
    refused: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


def system_lookup(host: str) -> list[str]:
    """Ask the system; without addresses of a family that this machine does not have."""
    try:
        answers = socket.getaddrinfo(
            host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


class Names:
    """`changed` is called in the event loop with the users of a name whose addresses changed."""

    def __init__(
        self,
        *,
        changed: Callable[[Collection[int]], None],
        lookup: Lookup = system_lookup,
        clock: Callable[[], float] = time.time,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        self._changed, self._lookup, self._clock = changed, lookup, clock
        self._refresh_seconds = refresh_seconds
        self._loop = asyncio.get_running_loop()
        self._names: dict[str, _Name] = {}
        self._hosts: dict[int, frozenset[str]] = {}
        self._seeds: dict[str, tuple[tuple[str, ...], float]] = {}
        #: Hosts with a look-up in flight; the value: it had failed before.
        self._in_flight: dict[str, bool] = {}
        self._closed = False
        self._waiting: deque[str] = deque()
        self._waiting_failing: deque[str] = deque()

    def seed(self, good: Mapping[str, tuple[tuple[str, ...], float]]) -> None:
        """Last good addresses of an earlier process."""
        self._seeds = dict(good)

    def good(self) -> Mapping[str, tuple[tuple[str, ...], float]]:
        """Last good addresses, and when they were good."""
        return {h: (n.addresses, n.good_at) for h, n in self._names.items() if n.addresses}

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def follow(self, user: int, hosts: Collection[str]) -> None:
        """Have these names resolved for `user`, and no others."""
        before, now = self._hosts.get(user, frozenset()), frozenset(hosts)
        for host in before - now:
            name = self._names[host]
            name.users.discard(user)
            if not name.users:
                self._forget(host, name)
        for host in now:
            if host not in self._names:
                self._begin(host)
            self._names[host].users.add(user)
        if now:
            self._hosts[user] = now
        else:
            self._hosts.pop(user, None)

    async def settle(self, hosts: Iterable[str], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until each of these names was answered once, at most so many seconds."""
        names = [self._names[host] for host in hosts if host in self._names]
        waiting = [
            asyncio.create_task(name.answered.wait())
            for name in names
            if not name.answered.is_set() and not name.addresses
        ]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for task in late:
                task.cancel()

    def status(self, host: str) -> NameStatus:
        """The current state of a name."""
        name = self._names.get(host)
        if name is None:
            return NameStatus()
        now = self._clock()
        late = host in self._in_flight and now - name.asked_at > PATIENCE_SECONDS
        failing = name.failing_since or (name.asked_at if late else 0.0)
        reason = name.reason or ("It does not answer in time." if late else "")
        if name.addresses and (not failing or now - name.good_at < STALE_SECONDS):
            if failing:
                return NameStatus(
                    addresses=name.addresses, state=NameState.STALE, since=failing, reason=reason
                )
            return NameStatus(addresses=name.addresses, state=NameState.GOOD, since=name.good_at)
        if failing:
            return NameStatus(
                state=NameState.UNRESOLVED, since=failing, reason=reason, refused=name.refused
            )
        return NameStatus(state=NameState.RESOLVING, since=name.asked_at or now)

    def close(self) -> None:
        """Stop asking; what is known stays, so that it can be saved."""
        self._closed = True
        for name in self._names.values():
            if name.timer is not None:
                name.timer.cancel()

    def _begin(self, host: str) -> None:
        name = self._names[host] = _Name(asked_at=self._clock())
        addresses, at = self._seeds.pop(host, ((), 0.0))
        if addresses and self._clock() - at < STALE_SECONDS:
            name.addresses, name.good_at = _usable(addresses)[0], at
        self._ask(host)

    def _forget(self, host: str, name: _Name) -> None:
        if name.timer is not None:
            name.timer.cancel()
        del self._names[host]

    def _ask(self, host: str) -> None:
        """Start a look-up, or have it wait for room."""
        name = self._names.get(host)
        if name is None or host in self._in_flight:
            # One that is in flight is taken for the new user's, too.
            return
        failing = bool(name.failing_since)
        if len(self._in_flight) >= MOST_IN_FLIGHT or (
            failing and sum(self._in_flight.values()) >= MOST_FAILING
        ):
            (self._waiting_failing if failing else self._waiting).append(host)
            return
        name.asked_at = self._clock()
        self._in_flight[host] = failing
        before = threading.stack_size(STACK)
        try:
            threading.Thread(
                target=self._work, args=(host,), name="name-lookup", daemon=True
            ).start()
        except RuntimeError:
            # No more threads can be had now: it is tried again with the next refresh.
            del self._in_flight[host]
            self._learn(host, (), "This machine has no room for another look-up.")
        finally:
            threading.stack_size(before)

    def _work(self, host: str) -> None:
        """In a thread of its own."""
        addresses: tuple[str, ...] = ()
        reason = ""
        try:
            addresses = tuple(self._lookup(host))
        except socket.gaierror as error:
            reason = f"It cannot be resolved: {error.strerror}."
        except OSError as error:
            reason = f"It cannot be resolved: {error.strerror or type(error).__name__}."
        except Exception as error:
            # A name that the resolver chokes on costs that name alone.
            reason = f"It cannot be resolved ({type(error).__name__})."
        try:
            self._loop.call_soon_threadsafe(self._arrived, host, addresses, reason)
        except RuntimeError:
            return  # the process ends

    def _arrived(self, host: str, addresses: tuple[str, ...], reason: str) -> None:
        self._in_flight.pop(host, None)
        if self._closed:
            return
        if host in self._names:
            self._learn(host, addresses, reason)
        for waiting in (self._waiting, self._waiting_failing):
            for _ in range(len(waiting)):
                if len(self._in_flight) >= MOST_IN_FLIGHT:
                    break
                self._ask(waiting.popleft())

    def _learn(self, host: str, addresses: tuple[str, ...], reason: str) -> None:
        name, now = self._names[host], self._clock()
        usable, bad = _usable(addresses)
        name.answered.set()
        before = name.addresses
        if usable:
            if name.failing_since:
                log.info("the name %s is answered again", host)
            name.addresses, name.good_at, name.failing_since, name.reason = usable, now, 0.0, ""
            name.refused = False
        else:
            name.refused = bool(bad)
            if bad:
                reason = f"It leads to {bad[0]}, which no upstream may have."
            name.reason = reason or "It has no address."
            if not name.failing_since:
                name.failing_since = now
                log.warning("the name %s of an upstream: %s", host, name.reason)
            if name.addresses and now - name.good_at >= STALE_SECONDS:
                name.addresses = ()
        measures.looked_up("ok" if usable else "failed")
        pause = self._refresh_seconds * random.uniform(0.8, 1.2)
        name.timer = self._loop.call_later(pause, self._ask, host)
        if name.addresses != before or (name.refused and not name.addresses):
            self._changed(frozenset(name.users))


def _usable(addresses: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Addresses that an upstream may have, IPv4 first, and those that it may not."""
    good, bad = set(), []
    for text in addresses:
        try:
            address = unmapped(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            continue
        if "%" in text or refused_address(address):
            bad.append(str(address))
        else:
            good.add(address)
    ordered = sorted(good, key=lambda a: (a.version, int(a)))[:MOST_ADDRESSES]
    return tuple(map(str, ordered)), tuple(bad)
