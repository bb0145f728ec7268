"""How many calls of the management API a token and an address may make in a minute.

Counted in the memory of the control process, of which there is one. A call over its limit costs a
look into a table: no database, no digest of a token that could be right.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse

from ostiary.access import addresses
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import tokens

WINDOW = 60.0
#: Counters at once; the one that began first makes room for another.
MOST = 20_000
#: Seconds for which the settings are not read again.
SETTINGS_SECONDS = 1.0
#: Seconds for which a token that worked may come from an address with too many failures.
PROVEN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimit:
    """A limit by its name in the headers; `limit` 0 is none."""

    name: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStanding:
    """What is left of a limit, and for how many seconds it counts."""

    policy: CallLimit
    left: int
    seconds: float

    def __str__(self) -> str:
        return f'"{self.policy.name}";r={self.left};t={self.wait}'

    @property
    def wait(self) -> int:
        return max(1, math.ceil(self.seconds))


class TooManyCalls(Exception):
    """A limit is used up."""

    def __init__(self, standing: CallStanding) -> None:
        super().__init__()
        self.standing = standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the workspace."""

    token: CallLimit
    address: CallLimit
    failures: CallLimit


@dataclass(slots=True)
class _Counter:
    began: float
    count: int = 0


@dataclass(slots=True)
class CallLimits:
    """Counters of one process. `now` in seconds, of a clock that never goes back."""

    now: Callable[[], float] = time.monotonic
    _counters: "OrderedDict[tuple[str, object], _Counter]" = field(default_factory=OrderedDict)
    _proven: "OrderedDict[bytes, float]" = field(default_factory=OrderedDict)
    _limits: Limits | None = None
    _read_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Start again with nothing counted, and read the settings again."""
        with self._lock:
            self._counters.clear()
            self._proven.clear()
            self._limits = None

    def limits(self) -> Limits:
        """The workspace's limits, at most a second old."""
        now, limits = self.now(), self._limits
        if limits is None or now - self._read_at >= SETTINGS_SECONDS:
            settings = workspace_settings.read()
            limits = Limits(
                token=CallLimit(name="token", limit=settings.token_calls_per_minute),
                address=CallLimit(name="address", limit=settings.address_calls_per_minute),
                failures=CallLimit(name="failures", limit=settings.address_failures_per_minute),
            )
            self._limits, self._read_at = limits, now
        return limits

    def count(self, policy: CallLimit, whose: object) -> CallStanding | None:
        """Count one call; raises TooManyCalls. Nothing if there is no limit."""
        return self._counted(policy, whose, 1) if policy.limit else None

    def look(self, policy: CallLimit, whose: object) -> CallStanding | None:
        """The standing without a call; raises TooManyCalls if nothing is left."""
        return self._counted(policy, whose, 0) if policy.limit else None

    def _counted(self, policy: CallLimit, whose: object, calls: int) -> CallStanding:
        now, key = self.now(), (policy.name, whose)
        with self._lock:
            counter = self._counters.get(key)
            if counter is None or now - counter.began >= WINDOW:
                self._counters.pop(key, None)
                counter = _Counter(began=now)
                if calls:
                    self._counters[key] = counter
                    if len(self._counters) > MOST:
                        self._counters.popitem(last=False)
            over = counter.count >= policy.limit
            counter.count += 0 if over else calls
            standing = CallStanding(
                policy=policy,
                left=policy.limit - min(counter.count, policy.limit),
                seconds=WINDOW - (now - counter.began),
            )
        if over:
            raise TooManyCalls(standing)
        return standing

    def prove(self, token: str) -> None:
        """Note that a token works."""
        digest = tokens.fingerprint(token)
        with self._lock:
            self._proven.pop(digest, None)
            self._proven[digest] = self.now()
            if len(self._proven) > MOST:
                self._proven.popitem(last=False)

    def is_proven(self, token: str) -> bool:
        """Whether a token has worked lately."""
        at = self._proven.get(tokens.fingerprint(token))
        return at is not None and self.now() - at < PROVEN_SECONDS


#: The counters of this process.
counters = CallLimits()


def whose(request: HttpRequest) -> str:
    """The caller's address as it is counted."""
    return addresses.group(str(request.META.get("REMOTE_ADDR", "")))


def note(request: HttpRequest, standing: CallStanding | None) -> None:
    """Remember a limit for the headers of the answer."""
    if standing is not None:
        request.META.setdefault("ostiary.limits", []).append(standing)


def add_headers(request: HttpRequest, response: HttpResponse) -> None:
    """Tell the caller its limits (draft-ietf-httpapi-ratelimit-headers-10)."""
    found: list[CallStanding] = request.META.get("ostiary.limits", [])
    if found:
        response.headers["RateLimit"] = ", ".join(map(str, found))
        response.headers["RateLimit-Policy"] = ", ".join(
            f'"{each.policy.name}";q={each.policy.limit};w={WINDOW:.0f}' for each in found
        )
