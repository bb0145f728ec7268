"""What a dashboard shows of a range: sums, their course, reasons of refusals, and the largest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from heapq import nlargest

from ostiary.directory.actor import Actor
from ostiary.usage import outcomes
from ostiary.usage.queries import By, Question, Row, kept, ranked, rows, with_latencies
from ostiary.usage.spans import Span, following, start_of

TOP = 10
DAY = 86_400
#: Up to how long a range is shown by the hour, and by the day; a longer one is shown by the month.
HOURLY, DAILY = 2 * DAY, 100 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A range, Unix seconds, and what of it; nothing: all that the actor sees."""

    start: int
    end: int
    client: int | None = None
    profile: int | None = None
    collection: int | None = None
    endpoint: int | None = None

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
    bucket: Span
    #: One row per bucket, also where nothing was called.
    course: list[Row]
    total: Row
    #: By reason, the most first: calls that were refused, and admitted ones that failed for one.
    refusals: list[tuple[str, int]]
    failures: list[tuple[str, int]]
    #: `key` is the client's id, (client's, profile's), (collection's, endpoint's).
    clients: list[Row] = field(default_factory=list)
    profiles: list[Row] = field(default_factory=list)
    endpoints: list[Row] = field(default_factory=list)


def overview(by: Actor, choice: Choice, now: int) -> Overview:
    """Everything of a dashboard; raises NotFound for what the actor does not see."""
    length = choice.end - choice.start
    bucket = Span.HOUR if length <= HOURLY else Span.DAY if length <= DAILY else Span.MONTH
    asked = Question(start=choice.start, end=choice.end, filters=choice.filters())
    if kept(asked, now).start < start_of(Span.DAY, now) - 89 * DAY and bucket == Span.HOUR:
        bucket = Span.DAY
    in_time = replace(asked, bucket=bucket)
    found = rows(by, in_time, now)
    with_latencies(by, in_time, found, now)
    course = _every_bucket(found, kept(in_time, now), bucket)
    refusals, failures = _reasons(rows(by, replace(asked, by=(By.REASON,)), now))
    clients, profiles = _largest(by, asked, choice, now)
    endpoints: list[Row] = []
    if choice.endpoint is None:
        endpoints = rows(by, replace(asked, by=(By.COLLECTION, By.ENDPOINT)), now)
    return Overview(
        bucket=bucket, course=course, total=summed(course, ()), refusals=refusals,
        failures=failures, profiles=profiles, clients=clients,
        endpoints=[row for row in endpoints if row.key[1]][:TOP],
    )  # fmt: skip


def summed(found: Iterable[Row], key: tuple[int, ...]) -> Row:
    """One row for all."""
    total = Row(time=None, key=key)
    for row in found:
        total.calls += row.calls
        total.refused += row.refused
        total.errors += row.errors
        total.bytes_in += row.bytes_in
        total.bytes_out += row.bytes_out
        for bucket, calls in row.latencies.items():
            total.latencies[bucket] = total.latencies.get(bucket, 0) + calls
    return total


def _every_bucket(found: Sequence[Row], asked: Question, bucket: Span) -> list[Row]:
    by_time = {row.time: row for row in found}
    course, time = [], start_of(bucket, asked.start)
    while time < asked.end:
        course.append(by_time.get(time) or Row(time=time, key=()))
        time = following(bucket, time)
    return course


def _reasons(found: Iterable[Row]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    refusals: list[tuple[str, int]] = []
    failures: list[tuple[str, int]] = []
    for row in found:
        name = outcomes.reason_name(row.key[0])
        if name is not None:
            (refusals if outcomes.refused(row.key[0]) else failures).append((name, row.calls))
    return refusals, failures


def _largest(by: Actor, asked: Question, choice: Choice, now: int) -> tuple[list[Row], list[Row]]:
    """The largest clients and profiles: all are ranked by their calls, and these looked up."""
    if choice.profile is not None:
        return [], []
    of_profiles = replace(asked, by=(By.CLIENT, By.PROFILE))
    calls = ranked(by, of_profiles, now)
    of_clients: dict[int, int] = {}
    for (client, _), some in calls.items():
        of_clients[client] = of_clients.get(client, 0) + some
    top_profiles = nlargest(TOP, (key for key in calls if key[1]), key=calls.__getitem__)
    profiles = rows(
        by, of_profiles, now,
        only={By.CLIENT: [key[0] for key in top_profiles],
              By.PROFILE: [key[1] for key in top_profiles]},
    )  # fmt: skip
    if choice.client is not None:
        return [], profiles
    top = nlargest(TOP, (client for client in of_clients if client), key=of_clients.__getitem__)
    return rows(by, replace(asked, by=(By.CLIENT,)), now, only={By.CLIENT: top}), profiles
