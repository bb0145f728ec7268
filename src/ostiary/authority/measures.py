"""What the authority counts of itself, for `/metrics`. Labels are closed sets."""

import contextlib
import functools
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from ostiary.access.reasons import by_code
from ostiary.authority.ceilings import Gate
from ostiary.authority.follower import Follower
from ostiary.authority.lookup import FeedEntry, Lookup, Row, StoredKey
from ostiary.authority.traces import Traces
from ostiary.gateway.contract import STORE_STATES, Lease, Question, Refusal
from ostiary.telemetry import tracing

#: Seconds: an upcall takes a fraction of a millisecond, and the gateway gives up after 2.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_UPCALLS = Counter(
    "ostiary_upcalls", "Calls without a lease that were decided.", ("verdict", "reason")
)


class Durations:
    """A histogram of one process, for what is measured with every decision.

    The library's takes locks that one event loop does not need, four times as long.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        bounds = (*map(str, BUCKETS), "+Inf")
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        family.add_metric(labels, buckets, self._sum)


STATEMENTS = ("credential", "quota", "claims", "signing_keys", "revoked", "address_list")


class _Deciding(Collector):
    """How long upcalls and their statements took."""

    def __init__(self) -> None:
        self.upcalls = Durations()
        self.statements = {name: Durations() for name in STATEMENTS}

    def collect(self) -> Iterator[HistogramMetricFamily]:
        upcalls = HistogramMetricFamily("ostiary_upcall_seconds", "How long deciding took.")
        self.upcalls.add_to(upcalls)
        yield upcalls
        statements = HistogramMetricFamily(
            "ostiary_lookup_seconds", "How long the database took.", labels=("statement",)
        )
        for name, durations in self.statements.items():
            durations.add_to(statements, (name,))
        yield statements


_deciding = _Deciding()
REGISTRY.register(_deciding)
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
_TRACES_LOST = Gauge(
    "ostiary_traces_lost",
    "Traces of refusals that could not be stored for Explain, since the start.",
)
_BUDGET_ASKS = Counter(
    "ostiary_limit_asks",
    "Questions of the gateway for a block of a limit that several gateways share.",
    ("state", "outcome"),
)
_STORE_SECONDS = Histogram(
    "ostiary_limit_store_seconds",
    "How long the store of shared limits took.",
    buckets=BUCKETS,
)
_STORE_UP = Gauge(
    "ostiary_limit_store_up",
    "Whether the store of shared limits answered when it was last asked; absent without a store.",
    registry=None,
)


# Initialise label combinations to 0, so that `increase()` sees the first event.
for _verdict in ("leased", "failed"):
    _UPCALLS.labels(_verdict, "")
for _state in STORE_STATES:
    for _outcome in ("granted", "nothing", "looked"):
        _BUDGET_ASKS.labels(_state, _outcome)
for _outcome in ("ok", "refused", "failed"):
    _FETCHES.labels(_outcome)
for _outcome in ("confirmed", "too_late"):
    _CONFIRM_SECONDS.labels(_outcome)


def watch(follower: Follower, gate: Gate, traces: Traces) -> None:
    """Show what the follower, the ceilings and the traces count."""
    _CONFIRMED.set_function(lambda: follower.confirmed)
    _CEILINGS.set_function(lambda: gate.refused)
    _TRACES_LOST.set_function(lambda: traces.dropped)


class SharedStore(Protocol):
    """A store of shared limits, as far as it is watched."""

    @property
    def is_away(self) -> bool: ...


def watch_store(store: SharedStore) -> None:
    """Show whether the store of shared limits answers."""
    REGISTRY.register(_STORE_UP)
    _STORE_UP.set_function(lambda: not store.is_away)


def asked_for_budget(state: str, *, granted: bool, looked: bool) -> None:
    """Count a question for a block; `state` as in `contract.STORE_STATES`."""
    _BUDGET_ASKS.labels(state, "looked" if looked else "granted" if granted else "nothing").inc()


@contextlib.contextmanager
def asking_store() -> Iterator[None]:
    """Time a question to the store of shared limits."""
    began = time.perf_counter()
    try:
        yield
    finally:
        _STORE_SECONDS.observe(time.perf_counter() - began)


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
    _upcalls(verdict, reason).inc()
    _deciding.upcalls.observe(time.perf_counter() - began)


_upcalls = functools.cache(_UPCALLS.labels)


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
        self._times = _deciding.statements
        self._credential = self._times["credential"]

    @contextlib.contextmanager
    def _timed(self, statement: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._times[statement].observe(time.perf_counter() - began)

    async def find(self, fingerprint: bytes, collection: int, endpoint: int = 0) -> Row:
        began = time.perf_counter()
        try:
            return await self._lookup.find(fingerprint, collection, endpoint)
        finally:
            self._credential.observe(time.perf_counter() - began)

    async def named(self, claim: str, key: str, collection: int, endpoint: int) -> list[Row]:
        with self._timed("credential"):
            return await self._lookup.named(claim, key, collection, endpoint)

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        with self._timed("quota"):
            return await self._lookup.quota_used(profile, interval, start)

    async def list_version(self, list_id: int) -> int | None:
        with self._timed("address_list"):
            return await self._lookup.list_version(list_id)

    async def address_list(self, list_id: int) -> tuple[int, str, str] | None:
        with self._timed("address_list"):
            return await self._lookup.address_list(list_id)

    async def custom_claims(self) -> list[str]:
        with self._timed("claims"):
            return await self._lookup.custom_claims()

    async def signing_keys(self) -> list[StoredKey]:
        with self._timed("signing_keys"):
            return await self._lookup.signing_keys()

    async def changes(self, since: int, most: int) -> list[FeedEntry]:
        return await self._lookup.changes(since, most)

    async def latest(self) -> int:
        return await self._lookup.latest()

    async def token_revoked(self, fingerprint: bytes) -> bool:
        with self._timed("revoked"):
            return await self._lookup.token_revoked(fingerprint)

    async def close(self) -> None:
        await self._lookup.close()
