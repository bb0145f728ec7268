"""Rate limits and quotas: windows and periods on the clock, in whole Unix seconds, UTC."""

import enum
from collections.abc import Iterable, Mapping
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
        return _SECONDS[self]


_SECONDS = {Interval.SECOND: 1, Interval.MINUTE: 60, Interval.HOUR: 3600, Interval.DAY: DAY}


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

    def __post_init__(self) -> None:
        _check(self.limit)


def rate_limits(
    limit: int | None, interval: str | None, more: Iterable[Mapping[str, object]]
) -> tuple[RateLimit, ...]:
    """A policy's rate limits as they are stored, the shortest interval first.

    `limit` and `interval` are the first; `more` holds the others as `{"limit": …, "interval": …}`.
    Raises ValueError for a rule that cannot be read: it must refuse, and not vanish.
    """
    first = [] if limit is None and not interval else [{"limit": limit, "interval": interval}]
    rates = [_rate_limit(each) for each in (*first, *more)]
    if len({rate.interval for rate in rates}) < len(rates):
        raise ValueError("a policy has one rate limit for each interval")
    return tuple(sorted(rates, key=lambda rate: rate.interval.seconds))


def _rate_limit(stored: Mapping[str, object]) -> RateLimit:
    limit, interval = stored.get("limit"), stored.get("interval")
    if not isinstance(limit, int) or isinstance(limit, bool) or not isinstance(interval, str):
        raise ValueError("a rate limit is a whole number and an interval")  # noqa: TRY004 - a wrong value, as the others
    return RateLimit(limit=limit, interval=Interval(interval))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most `limit` calls in every calendar period."""

    limit: int
    period: Period

    def __post_init__(self) -> None:
        _check(self.limit)


#: The name of a usage quota where windows are named.
QUOTA = "quota"
#: What a profile's limits are named by: the interval of a rate limit, or the quota.
WINDOWS = (*(interval.value for interval in Interval), QUOTA)


def raised(
    rates: tuple[RateLimit, ...], quota: Quota | None, limits: Mapping[str, int]
) -> tuple[tuple[RateLimit, ...], Quota | None]:
    """A policy's limits with those of one profile that are raised, by name (see WINDOWS).

    It only ever raises: a limit that the policy does not have is not made, and one that has become
    wider since is not narrowed.
    """
    wider = tuple(
        RateLimit(limit=max(rate.limit, limits.get(rate.interval.value, 0)), interval=rate.interval)
        for rate in rates
    )
    if quota is None:
        return wider, None
    return wider, Quota(limit=max(quota.limit, limits.get(QUOTA, 0)), period=quota.period)


def _check(limit: int) -> None:
    """A gateway reads zero as "no limit", so an incomplete rule must not become zero."""
    if not 1 <= limit <= LARGEST:
        raise ValueError(f"a limit is a number from 1 to {LARGEST:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpan:
    """A half-open stretch of time, Unix seconds."""

    start: int
    end: int


def since(span: TimeSpan, reset: int | None) -> int:
    """From when a window or period is counted: its start, or its last reset if that lies within."""
    return reset if reset is not None and span.start < reset < span.end else span.start


def kept_as(interval: Interval) -> str:
    """Storage key for windows that survive a restart; empty for shorter ones.

    Shorter windows start at zero after a restart, so at most one more limit passes.
    """
    return f"1 {interval}" if interval.seconds > 60 else ""


def window(interval: Interval, now: int) -> TimeSpan:
    """The rate limit's window that holds `now`."""
    start = now - now % interval.seconds
    return TimeSpan(start=start, end=start + interval.seconds)


def period(kind: Period, now: int, since: int) -> TimeSpan:
    """The quota's period that holds `now`.

    Weeks start on Monday. Periods of 30, 60 and 90 days count from the (UTC) day of `since`, when
    the policy was given to the profile; before that day (a clock was set back) they go on
    backwards, so that there is a period at any time.
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


def _every(length: int, origin: int, now: int) -> TimeSpan:
    start = now - (now - origin) % length
    return TimeSpan(start=start, end=start + length)


def _month(now: int) -> TimeSpan:
    first = datetime.fromtimestamp(now, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    following = (first + timedelta(days=32)).replace(day=1)
    return TimeSpan(start=int(first.timestamp()), end=int(following.timestamp()))
