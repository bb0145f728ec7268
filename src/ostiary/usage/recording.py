"""Writing down what collectors bring: counts with their baselines, latencies, log lines, traces.

A gateway's rows are written by its own collector alone, so a count can be written as it is: what is
written twice is written once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from ostiary.usage.models import (
    DecisionTrace,
    HarvestedRow,
    LoggedCall,
    MinuteCount,
    MinuteLatency,
)

T = TypeVar("T")

#: Rows in one transaction: longer ones would hold up every other writer.
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """Who called what in which minute (Unix seconds of its start)."""

    minute: int
    profile: int
    client: int
    collection: int
    endpoint: int


#: What, class of the status, code of the refusal, code of what would have refused.
CountKey = tuple[What, int, int, int]
#: What, and the bucket of `latency.bucket_of`.
LatencyKey = tuple[What, int]


@dataclass(slots=True)
class Count:
    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def plus(self, other: "Count") -> "Count":
        return Count(
            self.calls + other.calls,
            self.bytes_in + other.bytes_in,
            self.bytes_out + other.bytes_out,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Gains that belong together: they and their rows' baselines are written, or neither is."""

    gained: Mapping[CountKey, Count]
    #: A row's identity → its counters that are taken into account with `gained`.
    baselines: Mapping[str, Mapping[str, int]]


class Recorder:
    """Writes one gateway's counts. Keeps the totals of the minutes that may still grow."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._totals: dict[int, dict[CountKey, Count]] = {}
        self._latencies: dict[int, dict[LatencyKey, int]] = {}

    def baselines(self) -> dict[str, dict[str, int]]:
        """What was taken into account of every row that may still be there."""
        found = HarvestedRow.objects.filter(node=self._node)
        return dict(found.values_list("identity", "counters"))

    def store(self, batch: Batch) -> None:
        """Add gains to their minutes; raises DatabaseError, and then nothing was written."""
        totals = {key: self._total(key).plus(gained) for key, gained in batch.gained.items()}
        rows = [
            HarvestedRow(node=self._node, identity=i, counters=c)
            for i, c in batch.baselines.items()
        ]
        with transaction.atomic():
            MinuteCount.objects.bulk_create(
                [self._row(key, total) for key, total in totals.items()],
                update_conflicts=True,
                unique_fields=[*_WHAT, "status", "reason", "would"],
                update_fields=["calls", "bytes_in", "bytes_out"],
            )
            HarvestedRow.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["node", "identity"],
                update_fields=["counters", "seen_at"],
            )
        for key, total in totals.items():
            self._totals[key[0].minute][key] = total

    def forget(self, *, alive: Iterable[str], before_seconds: int) -> None:
        """Delete baselines of rows that are gone, and that nothing was gained on for so long."""
        kept = set(alive)
        old = HarvestedRow.objects.filter(
            node=self._node, seen_at__lt=timezone.now() - timedelta(seconds=before_seconds)
        )
        gone = [row for row, identity in old.values_list("pk", "identity") if identity not in kept]
        for part in _parts(gone):
            HarvestedRow.objects.filter(pk__in=part).delete()

    def store_latencies(self, gained: Mapping[LatencyKey, int]) -> None:
        """Add to the histograms of their minutes."""
        totals = {key: self._latency(key) + calls for key, calls in gained.items()}
        rows = [
            MinuteLatency(**self._what(what), bucket=bucket, calls=calls)
            for (what, bucket), calls in totals.items()
        ]
        for part in _parts(rows):
            MinuteLatency.objects.bulk_create(
                part,
                update_conflicts=True,
                unique_fields=[*_WHAT, "bucket"],
                update_fields=["calls"],
            )
        for key, calls in totals.items():
            self._latencies[key[0].minute][key] = calls

    def _total(self, key: CountKey) -> Count:
        minute = key[0].minute
        if minute not in self._totals:
            self._trim(self._totals)
            found = MinuteCount.objects.filter(node=self._node, time=minute)
            self._totals[minute] = {
                (_what_of(row), row.status, row.reason, row.would): Count(
                    row.calls, row.bytes_in, row.bytes_out
                )
                for row in found
            }
        return self._totals[minute].get(key, Count())

    def _latency(self, key: LatencyKey) -> int:
        minute = key[0].minute
        if minute not in self._latencies:
            self._trim(self._latencies)
            found = MinuteLatency.objects.filter(node=self._node, time=minute)
            self._latencies[minute] = {(_what_of(row), row.bucket): row.calls for row in found}
        return self._latencies[minute].get(key, 0)

    def _trim(self, minutes: dict[int, Any]) -> None:
        """Keep the last three minutes; an older one is read again, should it grow."""
        for old in sorted(minutes)[:-2]:
            del minutes[old]

    def _row(self, key: CountKey, total: Count) -> MinuteCount:
        what, status, reason, would = key
        return MinuteCount(
            **self._what(what),
            status=status,
            reason=reason,
            would=would,
            calls=total.calls,
            bytes_in=total.bytes_in,
            bytes_out=total.bytes_out,
        )

    def _what(self, what: What) -> dict[str, Any]:
        return {
            "time": what.minute,
            "node": self._node,
            "profile_id": what.profile,
            "client_id": what.client,
            "collection_id": what.collection,
            "endpoint_id": what.endpoint,
        }


_WHAT = ("time", "node", "profile_id", "client_id", "collection_id", "endpoint_id")


def _what_of(row: MinuteCount | MinuteLatency) -> What:
    return What(
        minute=row.time,
        profile=row.profile_id,
        client=row.client_id,
        collection=row.collection_id,
        endpoint=row.endpoint_id,
    )


def store_calls(calls: Sequence[LoggedCall]) -> None:
    """Write lines of the request log."""
    for part in _parts(calls):
        LoggedCall.objects.bulk_create(part)


def store_traces(traces: Sequence[DecisionTrace]) -> None:
    """Write what the authority saw when it refused."""
    for part in _parts(traces):
        DecisionTrace.objects.bulk_create(part)


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while part := list(islice(iterator, BATCH)):
        yield part
