"""Stretches of time, in UTC, and which of them cover a range with the fewest rows.

Knows no table: what is rolled up how far is told by the caller.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime


class Span(enum.IntEnum):
    """The number is stored; a longer span has a larger one."""

    MINUTE = 0
    HOUR = 1
    DAY = 2
    WEEK = 3
    MONTH = 4


class Level(enum.IntEnum):
    """By what a row is told apart: the fewer ids, the fewer rows there are to add up."""

    #: Client, profile, collection and endpoint: everything that is counted.
    PROFILE = 1
    #: Client, profile and collection.
    CONSUMER = 2
    #: Project, collection and endpoint.
    ENDPOINT = 3
    #: Project alone.
    PROJECT = 4


SECONDS = {Span.MINUTE: 60, Span.HOUR: 3600, Span.DAY: 86_400, Span.WEEK: 7 * 86_400}
#: The first Monday of Unix time: 5 January 1970.
_MONDAY = 4 * 86_400
_HOURS = 32  # bits: enough for 490,000 years


def start_of(span: Span, time: int) -> int:
    """When the stretch that holds `time` began."""
    if span == Span.MONTH:
        day = datetime.fromtimestamp(time, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())
    offset = _MONDAY if span == Span.WEEK else 0
    return (time - offset) // SECONDS[span] * SECONDS[span] + offset


def following(span: Span, start: int) -> int:
    """When the stretch after the one that begins at `start` begins."""
    if span == Span.MONTH:
        return start_of(span, start + 32 * 86_400)
    return start + SECONDS[span]


def within(span: Span, start: int, end: int) -> Iterator[int]:
    """The stretches that lie wholly in a range."""
    time = start_of(span, start)
    if time < start:
        time = following(span, time)
    while (after := following(span, time)) <= end:
        yield time
        time = after


def slot(level: Level, span: Span, time: int) -> int:
    """The number under which rows of a level and a stretch are stored; in order of time."""
    return ((level << 3 | span) << _HOURS) + time // 3600


def time_of(number: int) -> int:
    """When the stretch of a slot began."""
    return (number & ((1 << _HOURS) - 1)) * 3600


@dataclass(slots=True, kw_only=True)
class Cover:
    """Stretches that together are exactly a range: rolled-up ones, and minutes for the rest."""

    rolled_up: list[tuple[Span, int]] = field(default_factory=list)
    minutes: list[tuple[int, int]] = field(default_factory=list)

    def slots(self, level: Level) -> list[int]:
        return [slot(level, span, time) for span, time in self.rolled_up]


def cover(start: int, end: int, *, until: Mapping[Span, int], longest: Span) -> Cover:
    """Cover a range with the longest stretches there are; `until`: how far each is rolled up."""
    found = Cover()
    spans = [span for span in sorted(until, reverse=True) if Span.MINUTE < span <= longest]
    _cover(start, end, spans, until, found)
    return found


def _cover(
    start: int, end: int, spans: list[Span], until: Mapping[Span, int], found: Cover
) -> None:
    if start >= end:
        return
    if not spans:
        found.minutes.append((start, end))
        return
    span, *shorter = spans
    times = list(within(span, start, min(end, until[span])))
    if not times:
        _cover(start, end, shorter, until, found)
        return
    _cover(start, times[0], shorter, until, found)
    found.rolled_up += [(span, time) for time in times]
    _cover(following(span, times[-1]), end, shorter, until, found)
