"""A dashboard's figures for a range: totals, a time series, refusal reasons, and the top consumers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ostiary.directory.actor import Actor
from ostiary.usage import outcomes
from ostiary.usage.buckets import BucketSize, following, start_of
from ostiary.usage.queries import (
    Asker,
    By,
    Rank,
    UsageCounts,
    UsageQuestion,
    consumers,
    rows,
    with_latencies,
)
from ostiary.usage.running_totals import client_of, profile_of

TOP = 10
K = TypeVar("K", bound=int)
DAY = 86_400
#: Up to how long a range is shown by the hour, and by the day; a longer one is shown by the month.
HOURLY, DAILY = 2 * DAY, 100 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """A range in Unix seconds, and filters; without filters, everything that the actor sees."""

    start: int
    end: int
    client: int | None = None
    profile: int | None = None
    collection: int | None = None
    endpoint: int | None = None
    rank: Rank = Rank.CALLS

    def filters(self) -> dict[By, frozenset[int]]:
        chosen = {
            By.CLIENT: self.client,
            By.PROFILE: self.profile,
            By.COLLECTION: self.collection,
            By.ENDPOINT: self.endpoint,
        }
        return {column: frozenset({v}) for column, v in chosen.items() if v is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    bucket: BucketSize
    #: One row per bucket, also where nothing was called.
    course: list[UsageCounts]
    total: UsageCounts
    #: By reason, the most first: calls that were refused, and admitted ones that failed for one.
    refusals: list[tuple[str, int]]
    failures: list[tuple[str, int]]
    #: `key` is the client's id, (client's, profile's), (collection's, endpoint's).
    clients: list[UsageCounts] = field(default_factory=list)
    profiles: list[UsageCounts] = field(default_factory=list)
    endpoints: list[UsageCounts] = field(default_factory=list)


def overview(by: Actor, choice: UsageFilter, now: int) -> Overview:
    """Everything of a dashboard; raises NotFound for what the actor does not see."""
    asker = Asker(by, now)
    length = choice.end - choice.start
    bucket = (
        BucketSize.HOUR
        if length <= HOURLY
        else BucketSize.DAY
        if length <= DAILY
        else BucketSize.MONTH
    )
    asked = UsageQuestion(start=choice.start, end=choice.end, filters=choice.filters())
    if (
        asker.kept(asked).start < start_of(BucketSize.DAY, now) - 89 * DAY
        and bucket == BucketSize.HOUR
    ):
        bucket = BucketSize.DAY
    in_time = replace(asked, bucket=bucket)
    found = rows(asker, in_time)
    with_latencies(asker, in_time, found)
    course = _every_bucket(found, asker.kept(in_time), bucket)
    refusals, failures = _reasons(rows(asker, replace(asked, by=(By.REASON,))))
    clients, profiles = _largest(asker, asked, choice)
    endpoints: list[UsageCounts] = []
    if choice.endpoint is None:
        endpoints = rows(asker, replace(asked, by=(By.COLLECTION, By.ENDPOINT)))
        endpoints = _ordered([row for row in endpoints if row.key[1]], choice.rank)
    return Overview(
        bucket=bucket, course=course, total=summed(course, ()), refusals=refusals,
        failures=failures, profiles=profiles, clients=clients,
        endpoints=endpoints[:TOP],
    )  # fmt: skip


def summed(found: Iterable[UsageCounts], key: tuple[int, ...]) -> UsageCounts:
    """The total as one row."""
    total = UsageCounts(time=None, key=key)
    for row in found:
        total.calls += row.calls
        total.refused += row.refused
        total.errors += row.errors
        total.bytes_in += row.bytes_in
        total.bytes_out += row.bytes_out
        for bucket, calls in row.latencies.items():
            total.latencies[bucket] = total.latencies.get(bucket, 0) + calls
    return total


def _every_bucket(
    found: Sequence[UsageCounts], asked: UsageQuestion, bucket: BucketSize
) -> list[UsageCounts]:
    by_time = {row.time: row for row in found}
    course, time = [], start_of(bucket, asked.start)
    while time < asked.end:
        course.append(by_time.get(time) or UsageCounts(time=time, key=()))
        time = following(bucket, time)
    return course


def _reasons(found: Iterable[UsageCounts]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    refusals: list[tuple[str, int]] = []
    failures: list[tuple[str, int]] = []
    for row in found:
        name = outcomes.reason_name(row.key[0])
        if name is not None:
            (refusals if outcomes.refused(row.key[0]) else failures).append((name, row.calls))
    return refusals, failures


def _largest(
    asker: Asker, asked: UsageQuestion, choice: UsageFilter
) -> tuple[list[UsageCounts], list[UsageCounts]]:
    """The largest clients and profiles: all are ranked by their calls, and these looked up."""
    if choice.profile is not None:
        return [], []
    of_profiles = replace(asked, by=(By.CLIENT, By.PROFILE))
    calls = consumers(asker, asked, choice.rank)
    of_clients: dict[int, int] = {}
    for one, some in calls.items():
        client = client_of(one)
        of_clients[client] = of_clients.get(client, 0) + some
    top_profiles = _top({one: some for one, some in calls.items() if profile_of(one)})
    profiles = rows(
        asker, of_profiles,
        only={By.CLIENT: map(client_of, top_profiles), By.PROFILE: map(profile_of, top_profiles)},
    )  # fmt: skip
    profiles = _ordered(profiles, choice.rank)
    if choice.client is not None:
        return [], profiles
    of_each = replace(asked, by=(By.CLIENT,))
    clients = rows(asker, of_each, only={By.CLIENT: _top(of_clients)})
    return _ordered(clients, choice.rank), profiles


def _ordered(found: list[UsageCounts], rank: Rank) -> list[UsageCounts]:
    """The most first; of what was refused or failed, those alone that have any."""
    if rank is Rank.CALLS:
        return found
    some = [row for row in found if getattr(row, rank)]
    return sorted(some, key=lambda row: (-getattr(row, rank), -row.calls, row.key))


def _top(calls: Mapping[K, int]) -> list[K]:
    """The rows with the most calls; ties are broken in a stable order."""
    # Numbers alone are sorted quickly, and few keys are left to compare.
    least = min(sorted(calls.values())[-TOP:], default=0)
    largest = [key for key, some in calls.items() if some >= least]
    return sorted(largest, key=lambda key: (-calls[key], key))[:TOP]
