"""Running totals: each consumer's cumulative calls since the start of the year.

Calls in a range are the later snapshot minus the earlier one, however long the range is. A standing
is added up from hours and days that are rolled up, and forgotten before one of them changes; what
no standing covers is left to whoever asks.
"""

import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NewType, cast

from django.db import transaction
from django.db.models import F, Sum

from ostiary.usage.buckets import BucketSize, Level, cover, start_of
from ostiary.usage.models import Standing, StandingPart, Total

DAY = 86_400
#: Most snapshots that one run makes.
MOST = 40
#: The levels at which standings are kept, and by what column each is cut into parts.
_PARTS = {Level.CONSUMER: "collection_id", Level.PROFILE: "endpoint_id"}


#: A client and a profile as one number, which is quicker to add up by than a pair.
Consumer = NewType("Consumer", int)
_CLIENT = 32  # bits


@dataclass(slots=True, kw_only=True)
class Standings:
    """Calls by consumer as far as there are standings, and the ranges that are left."""

    calls: dict[Consumer, int] = field(default_factory=dict)
    rest: list[tuple[int, int]] = field(default_factory=list)


def consumer(client: int, profile: int) -> Consumer:
    return Consumer(client << _CLIENT | profile)


def client_of(one: Consumer) -> int:
    return one >> _CLIENT


def profile_of(one: Consumer) -> int:
    return one & (1 << _CLIENT) - 1


def read(level: Level, part: int | None, start: int, end: int) -> Standings:
    """What was called in a range, as far as there are standings; of one part or of all."""
    first, last = dict[int, tuple[int, int]](), dict[int, tuple[int, int]]()
    rows = Standing.objects.filter(time__gte=start, time__lte=end).order_by("time")
    for since, time, pk in rows.values_list("since", "time", "pk"):
        first.setdefault(since, (time, pk))
        last[since] = time, pk
    between = [(first[since], last[since]) for since in first if first[since] != last[since]]
    pks = {pk for two in between for _, pk in two}
    parts = StandingPart.objects.filter(standing_id__in=pks, level=level)
    if part is not None:
        parts = parts.filter(part=part)
    found = Standings()
    for pk, packed in parts.values_list("standing_id", "packed"):
        _add(found.calls, bytes(packed), -1 if any(pk == begun for (_, begun), _ in between) else 1)
    # What is forgotten meanwhile was perhaps there only in part.
    if Standing.objects.filter(pk__in=pks).count() < len(pks):
        return Standings(rest=[(start, end)])
    at = start
    for (begun, _), (ended, _) in between:
        found.rest.append((at, begun))
        at = ended
    found.rest.append((at, end))
    return found


def _add(into: dict[Consumer, int], packed: bytes, sign: int) -> None:
    counted = _unpacked(packed)
    if not into and sign > 0:
        into.update(counted)
        return
    get = into.get
    for one, calls in counted:
        into[one] = get(one, 0) + sign * calls


def _pack(calls: Mapping[Consumer, int]) -> bytes:
    """The consumers, and then the calls of each: eight bytes each, the lowest first."""
    numbers = array("Q", [*calls, *calls.values()])
    if sys.byteorder == "big":
        numbers.byteswap()
    return zlib.compress(numbers.tobytes(), 1)


def _unpacked(packed: bytes) -> Iterable[tuple[Consumer, int]]:
    numbers = array("Q", zlib.decompress(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    middle = len(numbers) // 2
    consumers = cast("Sequence[Consumer]", numbers[:middle])
    return zip(consumers, numbers[middle:], strict=True)


@dataclass(slots=True, kw_only=True)
class _Book:
    """A standing while the next one is made from it."""

    since: int
    time: int
    parts: dict[tuple[int, int], dict[Consumer, int]] = field(default_factory=dict)

    def go_on_to(self, time: int, there: Mapping[BucketSize, tuple[int, int]]) -> None:
        stretches = cover(self.time, time, there=there, longest=BucketSize.DAY)
        for level, column in _PARTS.items():
            rows = Total.objects.filter(slot__in=stretches.slots(level), client_id__gt=0).order_by()
            counted = rows.values_list(column, "client_id", "profile_id").annotate(Sum("calls"))
            for part, client, profile, calls in counted.iterator(chunk_size=5000):
                consumers = self.parts.setdefault((level, part), {})
                one = consumer(client, profile)
                consumers[one] = consumers.get(one, 0) + calls
        self.time = time

    def keep(self) -> None:
        with transaction.atomic():
            standing, _ = Standing.objects.get_or_create(since=self.since, time=self.time)
            standing.parts.all().delete()
            StandingPart.objects.bulk_create(
                StandingPart(standing=standing, level=level, part=part, packed=_pack(consumers))
                for (level, part), consumers in self.parts.items()
            )

    def turned(self) -> "_Book":
        """The same, or where a year is over, the empty one of the next."""
        year = _year(self.time)
        if year == self.since:
            return self
        following_year = _Book(since=year, time=year)
        following_year.keep()
        return following_year


def _opened(standing: Standing) -> _Book:
    book = _Book(since=standing.since, time=standing.time)
    for level, part, packed in standing.parts.values_list("level", "part", "packed"):
        book.parts[level, part] = dict(_unpacked(bytes(packed)))
    return book


def _year(time: int) -> int:
    return int(datetime(datetime.fromtimestamp(time, UTC).year, 1, 1, tzinfo=UTC).timestamp())


def bring_up(*, begin: int, days: int, hours: int, go_on: Callable[[], None]) -> None:
    """Make the standings that are missing: of every day, and of the last hour that is rolled up.

    `begin`: the day from which there is anything; `days`, `hours`: how far each is rolled up.
    """
    there = {BucketSize.HOUR: (0, hours), BucketSize.DAY: (0, days)}
    of_days = Standing.objects.annotate(past=F("time") % DAY).order_by("since", "time")
    last = of_days.filter(past=0).last()
    book = _Book(since=_year(begin), time=begin) if last is None else _opened(last)
    if last is None:
        book.keep()
    book, left = book.turned(), MOST
    while left and book.time + DAY <= days:
        book.go_on_to(book.time + DAY, there)
        book.keep()
        book, left = book.turned(), left - 1
        go_on()
    if book.time < hours < book.time + DAY:
        of_today = Standing.objects.filter(time__gt=book.time).order_by("time").last()
        book = book if of_today is None else _opened(of_today)
        if book.time < hours:
            book.go_on_to(hours, there)
            book.keep()
    # Of yesterday and today every hour is kept, for ranges that begin in it.
    of_days.exclude(past=0).filter(time__lt=start_of(BucketSize.DAY, hours) - DAY).delete()


def forget(after: int) -> None:
    """What changes before it is written: the standings in which a time was counted."""
    Standing.objects.filter(time__gt=after).delete()
