"""Rate limits and quotas: windows and periods on the clock, in whole Unix seconds, UTC."""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DAY = 86_400
#: Monday, 5 January 1970.
_FIRST_MONDAY = 4 * DAY
LARGEST = 1_000_000_000


class Interval(enum.StrEnum):
    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        return {"second": 1, "minute": 60, "hour": 3600, "day": DAY}[self.value]


class Period(enum.StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    DAYS_30 = "30 days"
    DAYS_60 = "60 days"
    DAYS_90 = "90 days"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `limit` calls in every window of `interval`, windows aligned to the clock."""

    limit: int
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most `limit` calls in every calendar period."""

    limit: int
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open stretch of time, Unix seconds."""

    start: int
    end: int


def window(interval: Interval, now: int) -> Span:
    """The rate limit's window that holds `now`."""
    start = now - now % interval.seconds
    return Span(start=start, end=start + interval.seconds)


def period(kind: Period, now: int, since: int) -> Span:
    """The quota's period that holds `now`.

    Weeks start on Monday. Periods of 30, 60 and 90 days count from the (UTC) day of `since`, when
    the policy was given to the profile.
    """
    match kind:
        case Period.DAY:
            return _every(DAY, 0, now)
        case Period.WEEK:
            return _every(7 * DAY, _FIRST_MONDAY, now)
        case Period.MONTH:
            return _month(now)
        case _:
            return _every(int(kind.value.split()[0]) * DAY, since - since % DAY, now)


def _every(length: int, origin: int, now: int) -> Span:
    start = now - (now - origin) % length
    return Span(start=start, end=start + length)


def _month(now: int) -> Span:
    first = datetime.fromtimestamp(now, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    following = (first + timedelta(days=32)).replace(day=1)
    return Span(start=int(first.timestamp()), end=int(following.timestamp()))
