"""Usage queries over counts, answered from the fewest rows.

The youngest time is read from minutes, the rest from what is rolled up: see `rollups`.
"""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, assert_never

from django.db import models
from django.db.models import Q, Sum

from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import AccessProfile, Client, Collection, Endpoint
from ostiary.usage import (
    latency,
    outcomes,
    project_history,
    request_log,
    rollups,
    running_totals,
    upkeep,
)
from ostiary.usage.buckets import SECONDS, BucketSize, Cover, Level, cover, start_of, time_of
from ostiary.usage.models import MinuteCount, MinuteLatency, Outcome, Total
from ostiary.usage.running_totals import Consumer, client_of, consumer, profile_of

#: Rows of an answer, before paging: a question with more of them has to be narrowed.
MOST_ROWS = 200_000
DAY = 86_400


class By(enum.StrEnum):
    """What calls can be told apart by; the value is the column."""

    CLIENT = "client_id"
    PROFILE = "profile_id"
    COLLECTION = "collection_id"
    ENDPOINT = "endpoint_id"
    STATUS = "status"
    REASON = "reason"


class Rank(enum.StrEnum):
    """What the largest have the most of."""

    CALLS = "calls"
    REFUSED = "refused"
    ERRORS = "errors"


_OF_OUTCOMES = frozenset({By.STATUS, By.REASON})
#: Dimensions that would reveal a hidden collection.
_OF_COLLECTIONS = frozenset({By.COLLECTION, By.ENDPOINT, By.REASON})
#: The levels, the fewest rows first, with what each tells apart.
_LEVELS = (
    (Level.PROJECT, frozenset[By]()),
    (Level.ENDPOINT, frozenset({By.COLLECTION, By.ENDPOINT})),
    (Level.CONSUMER, frozenset({By.CLIENT, By.PROFILE, By.COLLECTION})),
    (Level.PROFILE, frozenset({By.CLIENT, By.PROFILE, By.COLLECTION, By.ENDPOINT})),
)
_FINDERS: Mapping[By, Callable[[Actor, int], object]] = {
    By.CLIENT: clients.find,
    By.PROFILE: access_profiles.find,
    By.COLLECTION: collections.find,
    By.ENDPOINT: endpoints.find,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuestion:
    """From `start` to before `end`, Unix seconds; filters name the values that count."""

    start: int
    end: int
    bucket: BucketSize | None = None
    by: tuple[By, ...] = ()
    filters: Mapping[By, frozenset[int]] = field(default_factory=dict)
    #: Further grouping columns, needed to hide collections.
    besides: frozenset[By] = frozenset()

    @property
    def told_apart(self) -> frozenset[By]:
        return frozenset(self.by) | frozenset(self.filters) | self.besides


@dataclass(slots=True, kw_only=True)
class UsageCounts:
    """What was called in a bucket by one group; `refused` and `errors` are among the calls."""

    time: int | None
    #: Values of the question's `by`, in its order.
    key: tuple[int, ...]
    calls: int = 0
    refused: int = 0
    errors: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    #: Calls by bucket of latency; filled by `with_latencies`.
    latencies: dict[int, int] = field(default_factory=dict)

    @property
    def succeeded(self) -> int:
        return self.calls - self.refused - self.errors

    def percentile(self, share: float) -> int | None:
        return latency.percentile(self.latencies, share)


@dataclass(frozen=True)
class Asker:
    """Who asks, and when (Unix seconds): what several questions share is looked up once."""

    by: Actor
    now: int
    #: Filters that the actor may see.
    _seen: set[tuple[By, int]] = field(default_factory=set, init=False)
    _clients: dict[frozenset[int], frozenset[int]] = field(default_factory=dict, init=False)
    #: Cache of profile → clients, so that queries can use the (client, slot) index.
    clients_of: dict[int, set[int]] = field(default_factory=dict, init=False)

    @cached_property
    def firsts(self) -> Mapping[BucketSize, int]:
        return upkeep.firsts(self.now)

    @cached_property
    def known_collections(self) -> frozenset[int]:
        """Of an actor with projects of its own, the collections that it may know of."""
        return project_history.known_collections(self.by)

    def shown(self, by: Sequence[By], key: Sequence[int]) -> tuple[int, ...]:
        """A group as the actor may see it: a hidden collection does not exist.

        `by` names the columns of `key`; a reason comes with its collection.
        """
        if self.by.sees_all or By.COLLECTION not in by:
            return tuple(key)
        values = dict(zip(by, key, strict=True))
        if values[By.COLLECTION] and values[By.COLLECTION] not in self.known_collections:
            values[By.COLLECTION] = 0
            if By.ENDPOINT in values:
                values[By.ENDPOINT] = 0
            if values.get(By.REASON) == request_log.NOT_GRANTED:
                values[By.REASON] = request_log.NOT_FOUND
        return tuple(values.values())

    @cached_property
    def there(self) -> Mapping[BucketSize, tuple[int, int]]:
        return rollups.there()

    def kept(self, question: UsageQuestion) -> UsageQuestion:
        """The question with its range rounded outwards to what is kept of that age.

        Raises NotFound where a filter names what the actor does not see, Invalid where buckets of
        that size are no longer there.
        """
        self._check_visible(question)
        firsts, bucket = self.firsts, question.bucket
        start, end = question.start, min(question.end, self.now + 60)
        start = start_of(BucketSize.MINUTE, start)
        end = start_of(BucketSize.MINUTE, end + 59)
        if bucket is not None and bucket in firsts and start < (first := firsts[bucket]):
            if bucket != BucketSize.DAY:
                days = (start_of(BucketSize.DAY, self.now) - start_of(BucketSize.DAY, first)) // DAY
                raise Invalid(
                    {"from": [f"must be within {days} days for a bucket of this size, or of a day"]}
                )
            start = first
        start = max(start, firsts[BucketSize.DAY])
        told = {*question.by, *(question.filters.keys() & {By.REASON})} & _OF_COLLECTIONS
        return replace(
            question,
            besides=frozenset({By.COLLECTION} if told and not self.by.sees_all else ()),
            start=_rounded(start, firsts, up=False),
            end=_rounded(end, firsts, up=True),
        )

    def _check_visible(self, question: UsageQuestion) -> None:
        """Raise NotFound for what the actor may not see; admins may ask for deleted objects."""
        if self.by.admin:
            return
        for column, find in _FINDERS.items():
            for value in question.filters.get(column, ()):
                if (column, value) not in self._seen:
                    find(self.by, value)
                    self._seen.add((column, value))

    def scope(self, level: Level) -> Q:
        """Rows of projects that the actor sees; a credential that is nobody's is for admins."""
        if self.by.admin:
            return Q()
        if level in rollups.OF_PROJECTS:
            own_projects = Q(project_id__in=self.by.project_ids)
            return Q(project_id__gt=0) if self.by.sees_all else own_projects
        if self.by.sees_all:
            return ~Q(client_id=0, collection_id=0)
        own = Client.objects.visible_to(self.by).values("pk")
        own_collections = Collection.objects.visible_to(self.by).values("pk")
        return Q(client_id__in=own) | Q(client_id=0, collection_id__in=own_collections)

    def narrowed(
        self, found: models.QuerySet[Any], question: UsageQuestion
    ) -> models.QuerySet[Any]:
        """Rows that the question's filters let through."""
        for column, values in question.filters.items():
            if column is By.REASON:
                found = found.filter(request_log.for_reasons(self.by, values))
            else:
                found = found.filter(**{f"{column.value}__in": values})
        profile_ids = question.filters.get(By.PROFILE)
        if profile_ids and By.CLIENT not in question.filters:
            # The client leads to a profile's rows by an index.
            if profile_ids not in self._clients:
                profiles = AccessProfile.objects.filter(pk__in=profile_ids)
                known = dict(profiles.values_list("pk", "client_id"))
                all_known = len(known) == len(profile_ids)
                self._clients[profile_ids] = frozenset(known.values() if all_known else ())
            if self._clients[profile_ids]:
                found = found.filter(client_id__in=self._clients[profile_ids])
        return found

    def covered(self, question: UsageQuestion) -> Cover:
        """The buckets of the query's range."""
        there = dict(self.there)
        longest = BucketSize.MONTH if question.bucket is None else question.bucket
        if question.bucket == BucketSize.MONTH:
            # Weeks may span two months.
            del there[BucketSize.WEEK]
        return cover(question.start, question.end, there=there, longest=longest)


def _rounded(time: int, firsts: Mapping[BucketSize, int], *, up: bool) -> int:
    span = BucketSize.MINUTE
    if time < firsts[BucketSize.MINUTE]:
        span = BucketSize.HOUR
    if time < firsts[BucketSize.HOUR]:
        span = BucketSize.DAY
    down = start_of(span, time)
    return down if down == time or not up else start_of(span, time + SECONDS[span] - 1)


def consumers(
    asker: Asker, question: UsageQuestion, rank: Rank = Rank.CALLS
) -> dict[Consumer, int]:
    """Calls by consumer, of all known clients: cheap enough to rank very many.

    By what was refused or failed, of those alone that have any.
    """
    asked = replace(asker.kept(question), bucket=None, by=(By.CLIENT, By.PROFILE))
    known = running_totals.Standings(rest=[(asked.start, asked.end)])
    if rank is Rank.CALLS:
        known = _standings(asked)
    model, level = _source(asked)
    covers = [asker.covered(replace(asked, start=start, end=end)) for start, end in known.rest]
    sources = [
        _rows_of(model).filter(_of(level, part), asker.scope(level))
        for part in _chunks([slot for covered in covers for slot in covered.slots(level)])
    ]
    sources += [
        MinuteCount.objects.filter(asker.scope(Level.PROFILE), time__gte=start, time__lt=end)
        for covered in covers
        for start, end in covered.minutes
    ]
    found = known.calls
    if not asker.by.sees_all:
        own = set(Client.objects.visible_to(asker.by).values_list("pk", flat=True))
        found = {one: some for one, some in found.items() if client_of(one) in own}
    for source in sources:
        known_clients = asker.narrowed(source, asked).filter(client_id__gt=0).order_by()
        if source.model is Total and rank is not Rank.CALLS:
            known_clients = known_clients.filter(**{f"{rank}__gt": 0})
        counted = known_clients.values_list("client_id", "profile_id").annotate(
            ranked=_ranked(source.model, rank)
        )
        for client, profile, calls in counted.iterator(chunk_size=5000):
            one = consumer(client, profile)
            found[one] = found.get(one, 0) + (calls or 0)
    return {one: some for one, some in found.items() if some}


def _ranked(model: type[models.Model], rank: Rank) -> Sum:
    match rank:
        case Rank.CALLS:
            return Sum("calls")
        case Rank.REFUSED:
            return _refused(model)
        case Rank.ERRORS:
            return _errors(model)
        case _:
            assert_never(rank)


def _standings(asked: UsageQuestion) -> running_totals.Standings:
    """The part of an answer that running totals give; empty if other rows are fewer."""
    collection, endpoint = (asked.filters.get(c, frozenset()) for c in (By.COLLECTION, By.ENDPOINT))
    fits = asked.filters.keys() <= {By.COLLECTION, By.ENDPOINT}
    if endpoint and collection:
        # Its collection says no more than the endpoint does.
        of_it = Endpoint.objects.filter(pk__in=endpoint, collection_id__in=collection)
        fits = fits and of_it.count() == len(endpoint)
    if not fits or len(endpoint or collection) > 1:
        return running_totals.Standings(rest=[(asked.start, asked.end)])
    level = Level.PROFILE if endpoint else Level.CONSUMER
    return running_totals.read(
        level, next(iter(endpoint or collection), None), asked.start, asked.end
    )


def rows(
    asker: Asker, question: UsageQuestion, *, only: Mapping[By, Iterable[int]] | None = None
) -> list[UsageCounts]:
    """The answer, without latencies; by time, then the most calls first. `only`: just some groups.

    Raises NotFound where a filter names what the actor does not see, Invalid for a question whose
    answer is too long or no longer kept.
    """
    asked = asker.kept(question)
    found = _Found(asker, asked)
    some = Q(**{f"{column.value}__in": set(values) for column, values in (only or {}).items()})
    covered = asker.covered(asked)
    model, level = _source(asked)
    for part in _chunks(covered.slots(level)):
        at = _rows_of(model).filter(_of(level, part), asker.scope(level), some)
        found.add(asker.narrowed(at, asked), model, time="slot")
    for start, end in covered.minutes:
        counts = MinuteCount.objects.filter(
            asker.scope(Level.PROFILE), some, time__gte=start, time__lt=end
        )
        found.add(asker.narrowed(counts, asked), MinuteCount, time="time")
    return sorted(found.rows.values(), key=lambda row: (row.time or 0, -row.calls, row.key))


def some_rows(
    asker: Asker, question: UsageQuestion, *, first: int, most: int
) -> tuple[list[UsageCounts], int]:
    """The rows from `first` on, `most` of them, as `rows` has them, and how many there are.

    Where very many consumers are told apart, all are ranked and only these looked up.
    """
    of_consumers = {By.CLIENT, By.PROFILE}
    if (
        question.bucket is not None
        or not set(question.by)
        or not set(question.by) <= of_consumers
        or not question.filters.keys() <= {By.COLLECTION, By.ENDPOINT}
    ):
        found = rows(asker, question)
        return found[first : first + most], len(found)
    calls: dict[tuple[int, ...], int] = {}
    clients_of: dict[tuple[int, ...], set[int]] = {}
    for one, some in consumers(asker, question).items():
        client = client_of(one)
        values = {By.CLIENT: client, By.PROFILE: profile_of(one)}
        group = tuple(values[column] for column in question.by)
        calls[group] = calls.get(group, 0) + some
        clients_of.setdefault(group, set()).add(client)
    for row in rows(asker, question, only={By.CLIENT: [0]}):
        calls[row.key] = calls.get(row.key, 0) + row.calls
        clients_of.setdefault(row.key, set()).add(0)
    chosen = sorted(calls, key=lambda group: (-calls[group], group))[first : first + most]
    only: dict[By, set[int]] = {
        column: {group[position] for group in chosen} for position, column in enumerate(question.by)
    }
    only[By.CLIENT] = {client for group in chosen for client in clients_of[group]}
    if By.PROFILE in question.by:
        at = question.by.index(By.PROFILE)
        for group in chosen:
            asker.clients_of.setdefault(group[at], set()).update(clients_of[group])
    found = rows(asker, question, only=only) if chosen else []
    return [row for row in found if row.key in set(chosen)], len(calls)


def with_latencies(asker: Asker, question: UsageQuestion, chosen: Sequence[UsageCounts]) -> None:
    """Fill the latencies of some rows of an answer; nothing where it is told apart by outcome."""
    asked = asker.kept(question)
    if not chosen or asked.told_apart & _OF_OUTCOMES:
        return
    wanted = {(row.time, row.key): row.latencies for row in chosen}
    only = Q()
    for position, column in enumerate(asked.by):
        values = {row.key[position] for row in chosen}
        # The rows of hidden collections are among those without one.
        if not (asked.besides and column in _OF_COLLECTIONS and 0 in values):
            only &= Q(**{f"{column.value}__in": values})
    if By.PROFILE in asked.by:
        at = asked.by.index(By.PROFILE)
        leads = [asker.clients_of.get(row.key[at]) for row in chosen]
        if all(leads):
            only &= Q(client_id__in={client for some in leads for client in some or ()})
    covered = asker.covered(asked)
    _, level = _source(asked)
    told = _columns(asked)
    columns = [column.value for column in told]
    for part in _chunks(covered.slots(level)):
        totals = Total.objects.filter(_of(level, part), asker.scope(level), only)
        stored = asker.narrowed(totals.exclude(latencies=b""), asked).values_list(
            "slot", "latencies", *columns
        )
        for slot, packed, *key in stored.iterator(chunk_size=5000):
            shown = asker.shown(told, key)[: len(asked.by)]
            into = wanted.get((_bucket(asked, time_of(slot)), shown))
            if into is not None:
                latency.add_packed(bytes(packed), into)
    for start, end in covered.minutes:
        timed = MinuteLatency.objects.filter(
            asker.scope(Level.PROFILE), only, time__gte=start, time__lt=end
        )
        counted = asker.narrowed(timed, asked).values_list("time", "bucket", *columns)
        for time, bucket, *rest in counted.annotate(Sum("calls")).order_by():
            *key, calls = rest
            into = wanted.get((_bucket(asked, time), asker.shown(told, key)[: len(asked.by)]))
            if into is not None:
                into[bucket] = into.get(bucket, 0) + calls


def _rows_of(model: type[Total | Outcome]) -> models.QuerySet[Any]:
    return Total.objects.all() if model is Total else Outcome.objects.all()


def _source(question: UsageQuestion) -> tuple[type[Total | Outcome], Level]:
    ids = question.told_apart - _OF_OUTCOMES
    if not question.told_apart & _OF_OUTCOMES:
        return Total, next(level for level, tells in _LEVELS if ids <= tells)
    kept_at = rollups.OUTCOME_LEVELS
    return Outcome, next(level for level, tells in _LEVELS if ids <= tells and level in kept_at)


def _columns(question: UsageQuestion) -> tuple[By, ...]:
    """By what rows are read: the question's own first, then what is told apart besides."""
    return (*question.by, *(question.besides - frozenset(question.by)))


def _bucket(question: UsageQuestion, time: int) -> int | None:
    return None if question.bucket is None else start_of(question.bucket, time)


def _of(level: Level, slots: list[int]) -> Q:
    """Rows of some stretches of a level."""
    wanted = Q(slot__in=slots)
    if level in rollups.OF_PROJECTS:
        # PostgreSQL takes all slots for as full as those of consumers, and would read the table:
        # by their ends it knows better.
        wanted &= Q(slot__gte=min(slots), slot__lte=max(slots))
    return wanted


def _chunks(slots: list[int]) -> Iterable[list[int]]:
    for i in range(0, len(slots), 5000):
        yield slots[i : i + 5000]


class _Found:
    """Rows of an answer while they are summed."""

    def __init__(self, asker: Asker, question: UsageQuestion) -> None:
        self._asker, self._question, self._by = asker, question, _columns(question)
        self.rows: dict[tuple[int | None, tuple[int, ...]], UsageCounts] = {}

    def add(self, found: models.QuerySet[Any], model: type[models.Model], *, time: str) -> None:
        columns = [column.value for column in self._by]
        bucketed = self._question.bucket is not None
        if bucketed:
            columns = [time, *columns]
        sums: dict[str, Sum] = {
            "sum_calls": Sum("calls"),
            "sum_refused": _refused(model),
            "sum_errors": _errors(model),
            "sum_in": Sum("bytes_in"),
            "sum_out": Sum("bytes_out"),
        }
        found = found.order_by()
        if not columns:
            self._add(None, (), list(found.aggregate(**sums).values()))
            return
        counted = found.values_list(*columns).annotate(**sums).values_list(*columns, *sums)
        for row in counted[: MOST_ROWS + 1]:
            key, values = row[: len(columns)], row[len(columns) :]
            at = None
            if bucketed:
                at = _bucket(self._question, time_of(key[0]) if time == "slot" else key[0])
                key = key[1:]
            shown = self._asker.shown(self._by, key)
            self._add(at, shown[: len(self._question.by)], values)
        if len(self.rows) > MOST_ROWS:
            raise Invalid({"group_by": [f"gives more than {MOST_ROWS} rows: narrow it"]})

    def _add(self, at: int | None, key: tuple[int, ...], sums: Sequence[int | None]) -> None:
        calls, refused, errors, bytes_in, bytes_out = (value or 0 for value in sums)
        row = self.rows.get((at, key))
        if row is None:
            if not calls:
                return
            row = self.rows[at, key] = UsageCounts(time=at, key=key)
        row.calls += calls
        row.refused += refused
        row.errors += errors
        row.bytes_in += bytes_in
        row.bytes_out += bytes_out


def _refused(model: type[models.Model]) -> Sum:
    if model is Total:
        return Sum("refused")
    return Sum("calls", filter=~Q(reason__in=outcomes.ADMITTED_CODES))


def _errors(model: type[models.Model]) -> Sum:
    if model is Total:
        return Sum("errors")
    admitted = Q(reason__in=outcomes.ADMITTED_CODES)
    return Sum("calls", filter=admitted & Q(status__in=outcomes.ERROR_CLASSES))
