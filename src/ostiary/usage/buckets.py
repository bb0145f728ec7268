"""Time buckets in UTC, and the buckets that cover a range with the fewest rows.

Knows no table: what is rolled up how far is told by the caller.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime


class BucketSize(enum.IntEnum):
    """The number is stored; `BY_LENGTH` has their order."""

    MINUTE = 0
    HOUR = 1
    DAY = 2
    WEEK = 3
    MONTH = 4
    TEN_MINUTES = 5


BY_LENGTH = (
    BucketSize.MINUTE,
    BucketSize.TEN_MINUTES,
    BucketSize.HOUR,
    BucketSize.DAY,
    BucketSize.WEEK,
    BucketSize.MONTH,
)


class Level(enum.IntEnum):
    """The ids that a row is grouped by: fewer ids give fewer rows to add up."""

    #: Client, profile, collection and endpoint: everything that is counted.
    PROFILE = 1
    #: Client, profile and collection.
    CONSUMER = 2
    #: Project, collection and endpoint.
    ENDPOINT = 3
    #: Project alone.
    PROJECT = 4


SECONDS = {
    BucketSize.MINUTE: 60,
    BucketSize.TEN_MINUTES: 600,
    BucketSize.HOUR: 3600,
    BucketSize.DAY: 86_400,
    BucketSize.WEEK: 7 * 86_400,
}
#: The first Monday of Unix time: 5 January 1970.
_MONDAY = 4 * 86_400
_TIMES = 32  # bits: enough for 490,000 years of hours


def start_of(span: BucketSize, time: int) -> int:
    """Start of the bucket that holds `time`."""
    if span == BucketSize.MONTH:
        day = datetime.fromtimestamp(time, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())
    offset = _MONDAY if span == BucketSize.WEEK else 0
    return (time - offset) // SECONDS[span] * SECONDS[span] + offset


def following(span: BucketSize, start: int) -> int:
    """Start of the bucket after the one that starts at `start`."""
    if span == BucketSize.MONTH:
        return start_of(span, start + 32 * 86_400)
    return start + SECONDS[span]


def within(span: BucketSize, start: int, end: int) -> Iterator[int]:
    """The buckets that lie entirely in a range."""
    time = start_of(span, start)
    if time < start:
        time = following(span, time)
    while (after := following(span, time)) <= end:
        yield time
        time = after


def slot(level: Level, span: BucketSize, time: int) -> int:
    """The stored number of a level and a bucket; grows with time."""
    return ((level << 3 | span) << _TIMES) + time // _unit(span)


def time_of(number: int) -> int:
    """Start of a slot's bucket."""
    return (number & ((1 << _TIMES) - 1)) * _unit(number >> _TIMES & 7)


def span_of(number: int) -> BucketSize:
    """The granularity of a slot's bucket."""
    return BucketSize(number >> _TIMES & 7)


def level_of(number: int) -> Level:
    return Level(number >> _TIMES >> 3)


def _unit(span: int) -> int:
    """Seconds by which a slot counts time."""
    return 600 if span == BucketSize.TEN_MINUTES else 3600


@dataclass(slots=True, kw_only=True)
class Cover:
    """Buckets that together are exactly a range: rolled-up ones, and minutes for the rest."""

    rolled_up: list[tuple[BucketSize, int]] = field(default_factory=list)
    minutes: list[tuple[int, int]] = field(default_factory=list)

    def slots(self, level: Level) -> list[int]:
        return [slot(level, span, time) for span, time in self.rolled_up]


def cover(
    start: int, end: int, *, there: Mapping[BucketSize, tuple[int, int]], longest: BucketSize
) -> Cover:
    """Cover a range with the longest buckets; `there`: the rolled-up range of each granularity."""
    found = Cover()
    longer = BY_LENGTH[1 : BY_LENGTH.index(longest) + 1]
    _cover(start, end, [span for span in reversed(longer) if span in there], there, found)
    return found


def _cover(
    start: int,
    end: int,
    spans: list[BucketSize],
    there: Mapping[BucketSize, tuple[int, int]],
    found: Cover,
) -> None:
    if start >= end:
        return
    if not spans:
        found.minutes.append((start, end))
        return
    span, *shorter = spans
    first, until = there[span]
    times = list(within(span, max(start, first), min(end, until)))
    if not times:
        _cover(start, end, shorter, there, found)
        return
    _cover(start, times[0], shorter, there, found)
    found.rolled_up += [(span, time) for time in times]
    _cover(following(span, times[-1]), end, shorter, there, found)
