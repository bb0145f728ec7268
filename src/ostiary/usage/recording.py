"""Stores counts, log lines and traces for the collector.

Progress is stored in the same transaction, so data that arrives twice counts once.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from django.db import transaction

from ostiary.usage import bulk
from ostiary.usage.models import CounterBaseline, DecisionTrace, LoggedCall, LogPosition

T = TypeVar("T")

#: Rows in one transaction: longer ones would hold up every other writer.
BATCH = 500
#: A baseline is needed for as long as the gateway may push its counter: so many hours after the
#: hour that it counts.
BASELINE_HOURS = 26
#: A position is forgotten when its file has not grown for so many seconds.
POSITION_SECONDS = 30 * 86_400


class Totals(NamedTuple):
    """A counter; none of the three ever goes down."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def plus(self, other: "Totals") -> "Totals":
        return Totals(*map(sum, zip(self, other, strict=True)))

    def minus(self, other: "Totals") -> "Totals":
        """The increase since `other`; never below 0."""
        return Totals(*(max(0, a - b) for a, b in zip(self, other, strict=True)))

    def largest(self, other: "Totals") -> "Totals":
        return Totals(*map(max, self, other))


class What(NamedTuple):
    """Who called what in which minute (Unix seconds of its start); ids are 0 where unknown."""

    minute: int
    profile: int
    client: int
    collection: int
    endpoint: int


class CountKey(NamedTuple):
    """A row of MinuteCount; see `models._Count`."""

    what: What
    status: int
    reason: int
    would: int


class Baseline(NamedTuple):
    hour: int
    totals: Totals


#: What, and the bucket of `latency.bucket_of`.
LatencyKey = tuple[What, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a file of log lines has been stored; see LogPosition."""

    identity: str
    offset: int = 0
    timed: int = 0


def baselines(node: str, identities: Sequence[str]) -> dict[str, Totals]:
    """The baselines of these counters; a missing one was never seen."""
    known: dict[str, Totals] = {}
    for part in parts(identities):
        rows = CounterBaseline.objects.filter(node=node, identity__in=part)
        for identity, *totals in rows.values_list("identity", "calls", "bytes_in", "bytes_out"):
            known[identity] = Totals(*totals)
    return known


def store_counts(
    node: str, gained: Mapping[CountKey, Totals], taken: Mapping[str, Baseline]
) -> None:
    """Add gains to their minutes, and remember what they were taken from.

    Raises DatabaseError; then it is not known whether anything was written, and the baselines tell.
    """
    # Sorted: two collectors that write the same rows must not wait for each other.
    counts = [
        (key.what.minute, node, *key.what[1:], key.status, key.reason, key.would, *totals)
        for key, totals in sorted(gained.items())
    ]
    with transaction.atomic():
        bulk.BASELINES.write(
            [(node, i, baseline.hour, *baseline.totals) for i, baseline in sorted(taken.items())]
        )
        bulk.MINUTE_COUNTS.write(counts)


def forget_baselines(node: str, *, now: float) -> int:
    """Delete baselines of counters that are gone; returns how many."""
    before = int(now) // 3600 - BASELINE_HOURS
    old = CounterBaseline.objects.filter(node=node, hour__lt=before)
    deleted = 0
    # They are in the order in which their hours came.
    while ids := list(old.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        deleted += CounterBaseline.objects.filter(pk__in=ids).delete()[0]
    return deleted


def store_lines(node: str, calls: Sequence[bulk.Row], position: Position | None = None) -> None:
    """Store lines of the request log (rows of `bulk.CALLS`), and how far their file is read.

    Raises DatabaseError, and then nothing was written.
    """
    with transaction.atomic():
        bulk.CALLS.write(calls)
        if position is not None:
            _store_positions(node, [position])


def store_latencies(
    node: str, gained: Mapping[LatencyKey, int], positions: Sequence[Position]
) -> None:
    """Add to the histograms of their minutes, and store of which lines they are now.

    Raises DatabaseError, and then nothing was written.
    """
    rows = [
        (what.minute, node, *what[1:], bucket, calls)
        for (what, bucket), calls in sorted(gained.items())
    ]
    with transaction.atomic():
        bulk.MINUTE_LATENCIES.write(rows)
        _store_positions(node, positions)


def _store_positions(node: str, positions: Sequence[Position]) -> None:
    """Store a file's offsets; they never go down."""
    now = int(time.time())
    bulk.POSITIONS.write(
        [(node, each.identity, each.offset, each.timed, now) for each in positions]
    )


def stored_already(lines: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """The pairs of request id and Unix milliseconds that the request log already has."""
    stored: set[tuple[str, int]] = set()
    for part in parts(lines):
        rows = LoggedCall.objects.filter(request_id__in={request_id for request_id, _ in part})
        stored.update(rows.values_list("request_id", "at_ms"))
    return stored


def positions(node: str) -> dict[str, Position]:
    """How far each file of log lines is stored, by its identity.

    Of a node with a name also what it stored before it had one: its files go on.
    """
    rows = LogPosition.objects.filter(node__in={"", node}).order_by("node")
    return {
        row.identity: Position(identity=row.identity, offset=row.offset, timed=row.timed)
        for row in rows
    }


def forget_positions(node: str, gone: Iterable[str]) -> None:
    """Delete positions of files that were deleted, and of those that nobody has for long."""
    own = LogPosition.objects.filter(node=node)
    own.filter(identity__in=list(gone)).delete()
    own.filter(at__lt=int(time.time()) - POSITION_SECONDS).delete()


def store_traces(traces: Sequence[DecisionTrace]) -> None:
    """Store traces of refusals from the authority."""
    for part in parts(traces):
        DecisionTrace.objects.bulk_create(part)


def parts(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of BATCH items at most."""
    iterator = iter(items)
    while part := list(islice(iterator, BATCH)):
        yield part
