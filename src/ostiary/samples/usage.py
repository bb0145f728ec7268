"""Made-up usage of a made-up population, to see how dashboards and logs do with a year of many.

Never mixed with what was counted: it is for a directory that nobody has called yet.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction

from ostiary.access.reasons import Reason, describe
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes import feed
from ostiary.directory.changes.errors import InUse
from ostiary.directory.models import AccessProfile
from ostiary.usage import latency, outcomes, rollups, upkeep
from ostiary.usage.buckets import BucketSize, Level, start_of
from ostiary.usage.models import LoggedCall, MinuteCount, MinuteLatency, Progress, RolledUp, Total
from ostiary.usage.project_history import Projects, projects
from ostiary.usage.rollups import Book, Ids, RollupKind, Sums

NAMES = ("Orders", "Billing", "Catalogue", "Reports")
PATHS = (
    ("GET", "/items"), ("GET", "/items/{id}"), ("POST", "/items"), ("PUT", "/items/{id}"),
    ("DELETE", "/items/{id}"),
)  # fmt: skip
DAY = 86_400
#: Days before today that are known by the hour.
HOURLY_DAYS = 1
LOGGED = 5000
_KINDS = (
    RollupKind(2, 0, 0),
    RollupKind(4, 0, 0),
    RollupKind(5, 0, 0),
    RollupKind(4, describe(Reason.RATE_LIMITED).code, 0),
    RollupKind(4, describe(Reason.ADDRESS_NOT_ALLOWED).code, 0),
    RollupKind(4, describe(Reason.QUOTA_EXCEEDED).code, 0),
    RollupKind(5, describe(Reason.UPSTREAM_TIMEOUT).code, 0),
)
_SHARES = (0.955, 0.015, 0.005, 0.015, 0.004, 0.004, 0.002)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    client: int
    profile: int
    #: Collection and endpoint of what it calls.
    calls: tuple[tuple[int, int], ...]
    #: Calls a day, and the share of days on which it calls at all.
    rate: float
    regular: float
    milliseconds: float


def make(*, days: int, now: int) -> None:
    """Make up usage of the last days, today's included; raises InUse where there is any."""
    if Total.objects.exists() or MinuteCount.objects.exists():
        raise InUse("There is usage already")
    # A collector that runs already leaves it alone meanwhile.
    _set("lease", now + 3600)
    chance = random.Random(7)
    callers = list(_callers(chance, _offered()))
    belongs, _ = projects()
    today = start_of(BucketSize.DAY, now)
    for start in range(today - (days - 1) * DAY, today - HOURLY_DAYS * DAY, DAY):
        _keep(BucketSize.DAY, start, _book(chance, callers, start, 1.0), belongs)
    for start in range(max(today - HOURLY_DAYS * DAY, today - (days - 1) * DAY), now - 3600, 3600):
        _keep(BucketSize.HOUR, start, _book(chance, callers, start, _of_day(start)), belongs)
    this_hour = start_of(BucketSize.HOUR, now)
    for start in range(this_hour, now - 60, 60):
        _minute(start, _book(chance, callers, start, _of_day(start) / 60))
    begin = start_of(BucketSize.DAY, today - (days - 1) * DAY)
    reached = {BucketSize.HOUR: this_hour, BucketSize.DAY: max(begin, today - HOURLY_DAYS * DAY)}
    for span, until in reached.items():
        _set(span.name, until)
    for span in (BucketSize.WEEK, BucketSize.MONTH):
        _set(span.name, start_of(span, begin))
    _set("lease", 0)
    upkeep.run(now)
    _log(chance, callers, now)


def _set(name: str, until: int) -> None:
    Progress.objects.update_or_create(name=name, defaults={"until": until})


def _offered() -> list[tuple[int, int]]:
    """Collections with endpoints, and every profile granted two of them."""
    connection = connections.create(by=SYSTEM, given=connections.ConnectionInput(name="Made-up usage", base_urls=["http://127.0.0.1:9"])).value  # fmt: skip
    found, made = [], []
    for name in NAMES:
        given = collections.CollectionInput(name=name, connection_id=connection.pk)
        collection = collections.create(by=SYSTEM, given=given).value.collection
        made.append(collection.pk)
        for method, path in PATHS:
            endpoint = endpoints.create(
                by=SYSTEM, collection_id=collection.pk,
                given=endpoints.EndpointInput(
                    name=f"{method} {path}", method=method, path=path, active=True
                ),
            ).value  # fmt: skip
            found.append((collection.pk, endpoint.pk))
    through = AccessProfile.collections.through
    grants = [
        through(accessprofile_id=pk, collection_id=made[(pk + i) % len(made)])
        for pk in AccessProfile.objects.values_list("pk", flat=True)
        for i in range(2)
    ]
    for i in range(0, len(grants), rollups.BATCH):
        with transaction.atomic():
            through.objects.bulk_create(grants[i : i + rollups.BATCH])
            feed.announce(feed.Kind.COLLECTION, made[0])
    return found


def _callers(chance: random.Random, offered: list[tuple[int, int]]) -> Iterator[_Caller]:
    known = AccessProfile.objects.values_list("pk", "client_id")
    for rank, (profile, client) in enumerate(chance.sample(list(known), known.count()), start=1):
        granted = {(profile + i) % len(NAMES) for i in range(2)}
        mine = [offer for i, offer in enumerate(offered) if i // len(PATHS) in granted]
        yield _Caller(
            client=client, profile=profile, calls=tuple(chance.sample(mine, chance.choice((1, 1, 2, 3)))),
            # A few call very much, most a little.
            rate=60_000 / rank**0.9, regular=chance.uniform(0.3, 1.0),
            milliseconds=chance.uniform(4, 120),
        )  # fmt: skip


def _of_day(start: int) -> float:
    """The share of a day's calls that comes in this hour: more by day than by night."""
    hour = start % DAY // 3600
    return (1 + 0.8 * (8 <= hour < 19)) / (24 + 0.8 * 11)


def _book(chance: random.Random, callers: list[_Caller], start: int, share: float) -> Book:
    book = Book()
    weekday = (start // DAY + 3) % 7
    for caller in callers:
        wanted = caller.rate * share * (0.5 if weekday >= 5 else 1.0)
        if chance.random() > caller.regular or chance.random() > wanted:
            continue
        for collection, endpoint in caller.calls:
            ids = Ids(0, caller.client, caller.profile, collection, endpoint)
            _fill(chance, book, ids, caller, max(1, round(wanted * chance.uniform(0.3, 1.7))))
    return book


def _fill(chance: random.Random, book: Book, ids: Ids, caller: _Caller, calls: int) -> None:
    histogram: dict[int, int] = {}
    for kind, share in zip(_KINDS, _SHARES, strict=True):
        some = int(calls * share * chance.uniform(0.2, 1.8) + (kind == _KINDS[0]))
        if not some:
            continue
        book.outcomes[ids, kind] = Sums(calls=some, bytes_in=some * 90, bytes_out=some * 1400)
        if outcomes.refused(kind.reason):
            continue
        for factor, part in ((0.6, 0.3), (1.0, 0.5), (2.2, 0.15), (6.0, 0.05)):
            bucket = latency.bucket_of(round(caller.milliseconds * factor))
            if timed := round(some * part):
                histogram[bucket] = histogram.get(bucket, 0) + timed
    book.latencies[ids] = histogram


def _keep(span: BucketSize, start: int, book: Book, belongs: Projects) -> None:
    rollups.store(span, start, book, belongs, tuple(Level))
    RolledUp.objects.update_or_create(span=span, time=start, defaults={"stale": False})


def _minute(start: int, book: Book) -> None:
    with transaction.atomic():
        MinuteCount.objects.bulk_create(
            MinuteCount(
                time=start, client_id=ids.client, profile_id=ids.profile,
                collection_id=ids.collection, endpoint_id=ids.endpoint, status=kind.status,
                reason=kind.reason, calls=sums.calls, bytes_in=sums.bytes_in,
                bytes_out=sums.bytes_out,
            )
            for (ids, kind), sums in book.outcomes.items()
        )  # fmt: skip
        MinuteLatency.objects.bulk_create(
            MinuteLatency(
                time=start, client_id=ids.client, profile_id=ids.profile,
                collection_id=ids.collection, endpoint_id=ids.endpoint, bucket=bucket, calls=calls,
            )
            for ids, histogram in book.latencies.items()
            for bucket, calls in histogram.items()
        )  # fmt: skip


def _log(chance: random.Random, callers: list[_Caller], now: int) -> None:
    """The youngest calls; the busiest callers have the most of them."""
    statuses = {0: 200, 1: 404, 2: 500, 3: 429, 4: 403, 5: 429, 6: 504}
    chosen = chance.choices(callers, [caller.rate for caller in callers], k=LOGGED)
    at = now * 1000 - LOGGED * 700
    made = []
    for caller in chosen:
        at += chance.randrange(1400)
        [number] = chance.choices(range(len(_KINDS)), _SHARES)
        collection, endpoint = chance.choice(caller.calls)
        refused = outcomes.refused(_KINDS[number].reason)
        made.append(
            LoggedCall(
                at_ms=min(at, now * 1000), request_id=f"{chance.getrandbits(96):024x}",
                status=statuses[number], reason=_KINDS[number].reason, method="GET",
                collection_id=collection, endpoint_id=endpoint, client_id=caller.client,
                profile_id=caller.profile, address=f"198.51.100.{caller.profile % 250 + 1}",
                latency_ms=1 if refused else round(caller.milliseconds * chance.uniform(0.5, 3)),
                bytes_in=90, bytes_out=1400, details={"path": "/items"} if refused else {},
            )
        )  # fmt: skip
    for i in range(0, len(made), rollups.BATCH):
        with transaction.atomic():
            LoggedCall.objects.bulk_create(made[i : i + rollups.BATCH])
