"""What a dashboard shows of a range: sums, their course, reasons of refusals, and the largest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ostiary.directory.actor import Actor
from ostiary.usage import outcomes
from ostiary.usage.queries import By, Question, Row, kept, rows, with_latencies
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
    consumers: list[Row] = []
    if choice.profile is None:
        consumers = rows(by, replace(asked, by=(By.CLIENT, By.PROFILE)), now)
    endpoints: list[Row] = []
    if choice.endpoint is None:
        endpoints = rows(by, replace(asked, by=(By.COLLECTION, By.ENDPOINT)), now)
    return Overview(
        bucket=bucket, course=course, total=summed(course, ()), refusals=refusals,
        failures=failures, profiles=[row for row in consumers if row.key[1]][:TOP],
        clients=_by_client(consumers)[:TOP] if choice.client is None else [],
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


def _by_client(consumers: Iterable[Row]) -> list[Row]:
    grouped: dict[int, list[Row]] = {}
    for row in consumers:
        if row.key[0]:
            grouped.setdefault(row.key[0], []).append(row)
    found = [summed(its, (client,)) for client, its in grouped.items()]
    return sorted(found, key=lambda row: (-row.calls, row.key))
