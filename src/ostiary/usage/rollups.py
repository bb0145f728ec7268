"""Minutes become ten minutes and hours, hours days, days weeks and months.

A stretch is always added up whole from its source, and only what differs from the rows that are
there is written: late rows, crashes and repetitions are harmless. docs/decisions says why so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from django.db import models, transaction
from django.db.models import Sum

from ostiary.usage import latency, outcomes, running_totals
from ostiary.usage.buckets import BY_LENGTH, BucketSize, Level, following, slot, start_of, within
from ostiary.usage.models import (
    MinuteCount,
    MinuteLatency,
    Outcome,
    Progress,
    RolledUp,
    Total,
)
from ostiary.usage.project_history import Projects

R = TypeVar("R", bound=models.Model)

#: Rows that one transaction writes: more would hold up every other writer.
BATCH = 500
#: Source granularity of each rollup (default: minutes), and its dependants.
SOURCE = {
    BucketSize.DAY: BucketSize.HOUR,
    BucketSize.WEEK: BucketSize.DAY,
    BucketSize.MONTH: BucketSize.DAY,
}
_LARGER = {BucketSize.HOUR: (BucketSize.DAY,), BucketSize.DAY: (BucketSize.WEEK, BucketSize.MONTH)}
ROLLED_UP = BY_LENGTH[1:]


class Ids(NamedTuple):
    """Group key of a row; 0 for dimensions that its level drops."""

    project: int
    client: int
    profile: int
    collection: int
    endpoint: int


class RollupKind(NamedTuple):
    status: int
    reason: int
    would: int


class RowChange(NamedTuple, Generic[R]):
    """An update, an insert (no `old`) or a delete (no `new`) of a row."""

    old: int | None
    new: R | None


@dataclass(slots=True)
class Sums:
    """What is added up; `refused`, `errors` and `latencies` only in totals."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    refused: int = 0
    errors: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Sums") -> None:
        self.calls += other.calls
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.refused += other.refused
        self.errors += other.errors
        for bucket, calls in other.latencies.items():
            self.latencies[bucket] = self.latencies.get(bucket, 0) + calls


@dataclass(slots=True)
class Book:
    """A stretch at the level of profiles: by outcome, and all latencies."""

    outcomes: dict[tuple[Ids, RollupKind], Sums] = field(default_factory=dict)
    latencies: dict[Ids, dict[int, int]] = field(default_factory=dict)

    def totals(self) -> dict[Ids, Sums]:
        found: dict[Ids, Sums] = {}
        for (ids, kind), sums in self.outcomes.items():
            total = found.setdefault(ids, Sums())
            total.add(sums)
            if outcomes.refused(kind.reason):
                total.refused += sums.calls
            elif outcomes.failed(kind.reason, kind.status):
                total.errors += sums.calls
        for ids, histogram in self.latencies.items():
            found.setdefault(ids, Sums()).latencies = histogram
        return found


_IDS = ("client_id", "profile_id", "collection_id", "endpoint_id")
_KIND = ("status", "reason", "would")
_SUMS = ("calls", "bytes_in", "bytes_out")


def _of_minutes(start: int, end: int) -> Book:
    book = Book()
    counts = MinuteCount.objects.filter(time__gte=start, time__lt=end)
    for row in counts.values_list(*_IDS, *_KIND).annotate(*map(Sum, _SUMS)).order_by():
        book.outcomes[Ids(0, *row[:4]), RollupKind(*row[4:7])] = Sums(*row[7:])
    timed = MinuteLatency.objects.filter(time__gte=start, time__lt=end, calls__gt=0)
    for *ids, bucket, calls in timed.values_list(*_IDS, "bucket").annotate(Sum("calls")).order_by():
        book.latencies.setdefault(Ids(0, *ids), {})[bucket] = calls
    return book


def _of(span: BucketSize, start: int, end: int) -> Book:
    book = Book()
    slots = [slot(Level.PROFILE, span, time) for time in within(span, start, end)]
    counts = Outcome.objects.filter(slot__in=slots)
    for row in counts.values_list(*_IDS, *_KIND).annotate(*map(Sum, _SUMS)).order_by():
        book.outcomes[Ids(0, *row[:4]), RollupKind(*row[4:7])] = Sums(*row[7:])
    timed = Total.objects.filter(slot__in=slots).exclude(latencies=b"")
    for *ids, packed in timed.values_list(*_IDS, "latencies").iterator(chunk_size=5000):
        latency.add_packed(bytes(packed), book.latencies.setdefault(Ids(0, *ids), {}))
    return book


def _at(level: Level, ids: Ids, projects: Projects) -> Ids:
    if level == Level.PROFILE:
        return ids
    if level == Level.CONSUMER:
        return ids._replace(endpoint=0)
    project = projects.of(ids.client, ids.collection)
    if level == Level.ENDPOINT:
        return Ids(project, 0, 0, ids.collection, ids.endpoint)
    return Ids(project, 0, 0, 0, 0)


def _outcomes_at(
    level: Level, book: Book, projects: Projects
) -> dict[tuple[Ids, RollupKind], Sums]:
    found: dict[tuple[Ids, RollupKind], Sums] = {}
    for (ids, kind), sums in book.outcomes.items():
        found.setdefault((_at(level, ids, projects), kind), Sums()).add(sums)
    return found


def _totals_at(level: Level, totals: Mapping[Ids, Sums], projects: Projects) -> dict[Ids, Sums]:
    found: dict[Ids, Sums] = {}
    for ids, sums in totals.items():
        found.setdefault(_at(level, ids, projects), Sums()).add(sums)
    return found


#: Levels at which outcomes are kept: questions about them by consumer are few enough for PROFILE.
OUTCOME_LEVELS = (Level.PROFILE, Level.ENDPOINT, Level.PROJECT)
OF_PROJECTS = (Level.ENDPOINT, Level.PROJECT)


def roll_up(span: BucketSize, start: int, projects: Projects, *, seen: str = "") -> bool:
    """Roll one bucket up from its source; returns whether anything changed."""
    end = following(span, start)
    book = _of(SOURCE[span], start, end) if span in SOURCE else _of_minutes(start, end)
    changed = store(span, start, book, projects, tuple(Level))
    RolledUp.objects.update_or_create(
        span=span, time=start, defaults={"seen": seen, "stale": False, "moved": False}
    )
    return changed


def leave_out(
    span: BucketSize, start: int, projects: Projects, unwanted: Callable[[Ids], bool]
) -> None:
    """Make the rows of a bucket those that remain without some callers."""
    book = _of(span, start, following(span, start))
    rest = Book(
        outcomes={key: sums for key, sums in book.outcomes.items() if not unwanted(key[0])},
        latencies={ids: took for ids, took in book.latencies.items() if not unwanted(ids)},
    )
    store(span, start, rest, projects, tuple(Level))


def share_anew(span: BucketSize, start: int, projects: Projects) -> None:
    """Attribute a bucket to the current projects."""
    book = _of(span, start, following(span, start))
    store(span, start, book, projects, OF_PROJECTS)
    RolledUp.objects.filter(span=span, time=start).update(moved=False)


def store(
    span: BucketSize, start: int, book: Book, projects: Projects, levels: Iterable[Level]
) -> bool:
    """Make the rows of a stretch those of a book; whether anything has changed."""
    totals, outcome_changes = book.totals(), list[RowChange[Outcome]]()
    total_changes = list[RowChange[Total]]()
    for level in levels:
        number = slot(level, span, start)
        total_changes += _total_changes(number, _totals_at(level, totals, projects))
        if level in OUTCOME_LEVELS:
            outcome_changes += _outcome_changes(number, _outcomes_at(level, book, projects))
    changed = bool(total_changes or outcome_changes)
    if changed and Level.PROFILE in levels:
        # Before the first row is written: a crash between leaves too much to do, not too little.
        _make_stale(span, start)
    write(Total.objects, total_changes)
    write(Outcome.objects, outcome_changes)
    return changed


def _make_stale(span: BucketSize, start: int) -> None:
    if span == BucketSize.HOUR:
        running_totals.forget(after=start)
    for larger in _LARGER.get(span, ()):
        RolledUp.objects.update_or_create(
            span=larger, time=start_of(larger, start), defaults={"stale": True}
        )


def _total_changes(number: int, wanted: dict[Ids, Sums]) -> Iterable[RowChange[Total]]:
    rows = Total.objects.filter(slot=number).values_list(
        "pk", "project_id", *_IDS, *_SUMS, "refused", "errors", "latencies"
    )
    for pk, *row in rows.iterator(chunk_size=5000):
        ids, is_now = Ids(*row[:5]), (*row[5:10], bytes(row[10]))
        sums = wanted.get(ids)
        if sums is not None and is_now == _total_values(sums):
            del wanted[ids]
        else:
            new = a_total(number, ids, wanted.pop(ids)) if sums is not None else None
            yield RowChange(pk, new)
    for ids, sums in wanted.items():
        yield RowChange(None, a_total(number, ids, sums))


def _total_values(sums: Sums) -> tuple[int, int, int, int, int, bytes]:
    packed = latency.pack(sums.latencies)
    return sums.calls, sums.bytes_in, sums.bytes_out, sums.refused, sums.errors, packed


def a_total(number: int, ids: Ids, sums: Sums) -> Total:
    return Total(
        slot=number, project_id=ids.project, client_id=ids.client, profile_id=ids.profile,
        collection_id=ids.collection, endpoint_id=ids.endpoint, calls=sums.calls,
        bytes_in=sums.bytes_in, bytes_out=sums.bytes_out, refused=sums.refused,
        errors=sums.errors, latencies=latency.pack(sums.latencies),
    )  # fmt: skip


def _outcome_changes(
    number: int, wanted: dict[tuple[Ids, RollupKind], Sums]
) -> Iterable[RowChange[Outcome]]:
    rows = Outcome.objects.filter(slot=number).values_list(
        "pk", "project_id", *_IDS, *_KIND, *_SUMS
    )
    for pk, *row in rows.iterator(chunk_size=5000):
        key = Ids(*row[:5]), RollupKind(*row[5:8])
        sums = wanted.get(key)
        if sums is not None and tuple(row[8:]) == (sums.calls, sums.bytes_in, sums.bytes_out):
            del wanted[key]
        else:
            new = an_outcome(number, *key, wanted.pop(key)) if sums is not None else None
            yield RowChange(pk, new)
    for key, sums in wanted.items():
        yield RowChange(None, an_outcome(number, *key, sums))


def an_outcome(number: int, ids: Ids, kind: RollupKind, sums: Sums) -> Outcome:
    return Outcome(
        slot=number, project_id=ids.project, client_id=ids.client, profile_id=ids.profile,
        collection_id=ids.collection, endpoint_id=ids.endpoint, status=kind.status,
        reason=kind.reason, would=kind.would, calls=sums.calls, bytes_in=sums.bytes_in,
        bytes_out=sums.bytes_out,
    )  # fmt: skip


def write(rows: models.Manager[R], changes: Sequence[RowChange[R]]) -> None:
    """Write changes, a bounded number at a time; a row is replaced within one transaction."""
    for i in range(0, len(changes), BATCH // 2):
        batch = changes[i : i + BATCH // 2]
        with transaction.atomic():
            old = [change.old for change in batch if change.old is not None]
            if old:
                rows.filter(pk__in=old).delete()
            rows.bulk_create([change.new for change in batch if change.new is not None])


def progress(name: str) -> int | None:
    return Progress.objects.filter(name=name).values_list("until", flat=True).first()


def until() -> dict[BucketSize, int]:
    """The time up to which each granularity is rolled up."""
    stored = dict(Progress.objects.values_list("name", "until"))
    return {span: stored.get(span.name, 0) for span in ROLLED_UP}


def there() -> dict[BucketSize, tuple[int, int]]:
    """From when to when each span may be read: ten minutes only where there is no hour yet."""
    reached = until()
    first = {BucketSize.TEN_MINUTES: reached[BucketSize.HOUR]}
    return {span: (first.get(span, 0), end) for span, end in reached.items()}
