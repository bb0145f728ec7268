"""What the authority counts of itself, for `/metrics`. Labels are closed sets."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

from ostiary import tracing
from ostiary.access.reasons import by_code
from ostiary.authority.ceilings import Gate
from ostiary.authority.follower import Follower
from ostiary.authority.lookup import Change, Lookup, Row, StoredKey
from ostiary.gateway.contract import Lease, Question, Refusal

#: Seconds: an upcall takes a fraction of a millisecond, and the gateway gives up after 2.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_UPCALLS = Counter(
    "ostiary_upcalls", "Calls without a lease that were decided.", ("verdict", "reason")
)
_UPCALL_SECONDS = Histogram("ostiary_upcall_seconds", "How long deciding took.", buckets=BUCKETS)
_LOOKUP_SECONDS = Histogram(
    "ostiary_lookup_seconds", "How long the database took.", ("statement",), buckets=BUCKETS
)
_FETCHES = Counter("ostiary_key_set_fetches", "Fetches of OpenID providers' keys.", ("outcome",))
_CONFIRM_SECONDS = Histogram(
    "ostiary_confirm_seconds",
    "How long it took until a change was in force, as who asked saw it.",
    ("outcome",),
    buckets=BUCKETS,
)
_CONFIRMED = Gauge(
    "ostiary_confirmed_sequence", "The last change of the feed that is in force at the gateway."
)
_CEILINGS = Gauge(
    "ostiary_upcalls_above_ceiling",
    "First calls that a profile's or project's ceiling refused, since the start.",
)


# Of what never happened there is a zero, so that its first time is seen to be one more.
for _verdict in ("leased", "failed"):
    _UPCALLS.labels(_verdict, "")
for _outcome in ("ok", "refused", "failed"):
    _FETCHES.labels(_outcome)
for _outcome in ("confirmed", "too_late"):
    _CONFIRM_SECONDS.labels(_outcome)


def watch(follower: Follower, gate: Gate) -> None:
    """Tell of the follower and of the ceilings what they count."""
    _CONFIRMED.set_function(lambda: follower.confirmed)
    _CEILINGS.set_function(lambda: gate.refused)


def decided(verdict: Lease | Refusal, began: float) -> None:
    """Count an upcall that was answered; `began` by `time.perf_counter`."""
    if isinstance(verdict, Lease):
        _count("leased", "", began)
    else:
        _count("refused", by_code(verdict.code).value, began)


def attributes(question: Question, verdict: Lease | Refusal) -> dict[str, tracing.Value]:
    """What a span tells of a decision: numbers of ours, and the reason."""
    refused = isinstance(verdict, Refusal)
    return {
        "ostiary__verdict": "refused" if refused else "leased",
        "ostiary__reason": by_code(verdict.code).value if isinstance(verdict, Refusal) else "",
        "ostiary__profile": verdict.profile,
        "ostiary__collection": question.collection,
        "ostiary__endpoint": question.endpoint,
    }


def failed(began: float) -> None:
    """Count an upcall that has no answer."""
    _count("failed", "", began)


def _count(verdict: str, reason: str, began: float) -> None:
    _UPCALLS.labels(verdict, reason).inc()
    _UPCALL_SECONDS.observe(time.perf_counter() - began)


def fetched(outcome: str) -> None:
    """Count a fetch of keys: `ok`, `refused` or `failed`."""
    _FETCHES.labels(outcome).inc()


@contextlib.contextmanager
def confirming() -> Iterator[dict[str, bool]]:
    """Time a confirmation; the block says in `done` how it ended."""
    began, told = time.perf_counter(), {"done": False}
    try:
        yield told
    finally:
        outcome = "confirmed" if told["done"] else "too_late"
        _CONFIRM_SECONDS.labels(outcome).observe(time.perf_counter() - began)


class MeasuredLookup:
    """A lookup whose statements are timed."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._times = {
            name: _LOOKUP_SECONDS.labels(name)
            for name in ("credential", "quota", "claims", "signing_keys", "revoked", "address_list")
        }

    async def find(self, fingerprint: bytes, collection: int, endpoint: int = 0) -> Row:
        with self._times["credential"].time():
            return await self._lookup.find(fingerprint, collection, endpoint)

    async def named(self, claim: str, key: str, collection: int, endpoint: int) -> list[Row]:
        with self._times["credential"].time():
            return await self._lookup.named(claim, key, collection, endpoint)

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        with self._times["quota"].time():
            return await self._lookup.quota_used(profile, interval, start)

    async def list_version(self, list_id: int) -> int | None:
        with self._times["address_list"].time():
            return await self._lookup.list_version(list_id)

    async def address_list(self, list_id: int) -> tuple[int, str, str] | None:
        with self._times["address_list"].time():
            return await self._lookup.address_list(list_id)

    async def custom_claims(self) -> list[str]:
        with self._times["claims"].time():
            return await self._lookup.custom_claims()

    async def signing_keys(self) -> list[StoredKey]:
        with self._times["signing_keys"].time():
            return await self._lookup.signing_keys()

    async def changes(self, since: int, most: int) -> list[Change]:
        return await self._lookup.changes(since, most)

    async def latest(self) -> int:
        return await self._lookup.latest()

    async def token_revoked(self, fingerprint: bytes) -> bool:
        with self._times["revoked"].time():
            return await self._lookup.token_revoked(fingerprint)

    async def close(self) -> None:
        await self._lookup.close()
