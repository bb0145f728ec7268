"""Windows and periods lie on the clock and the calendar, without gap or overlap."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.access.limits import (
    DAY,
    LARGEST,
    Interval,
    Period,
    Quota,
    RateLimit,
    TimeSpan,
    kept_as,
    period,
    raised,
    rate_limits,
    since,
    window,
)

#: 1970 to 2099.
_TIMES = st.integers(0, 4_102_444_799)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def span(start: str, end: str) -> TimeSpan:
    return TimeSpan(start=at(start), end=at(end))


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        (Interval.SECOND, "2026-11-24T10:20:30", "2026-11-24T10:20:31"),
        (Interval.MINUTE, "2026-11-24T10:20:00", "2026-11-24T10:21:00"),
        (Interval.HOUR, "2026-11-24T10:00:00", "2026-11-24T11:00:00"),
        (Interval.DAY, "2026-11-24", "2026-11-25"),
    ],
)
def test_windows_are_aligned_to_the_clock(interval: Interval, start: str, end: str) -> None:
    assert window(interval, at("2026-11-24T10:20:30")) == span(start, end)


@pytest.mark.parametrize(
    ("kind", "now", "since", "start", "end"),
    [
        pytest.param(
            Period.DAY, "2026-11-24T23:59:59", "2026-01-01", "2026-11-24", "2026-11-25", id="day"
        ),
        pytest.param(
            Period.WEEK, "2026-11-24", "2026-01-01", "2026-11-23", "2026-11-30", id="week"
        ),
        pytest.param(
            Period.WEEK, "2026-11-23", "2026-01-01", "2026-11-23", "2026-11-30", id="on-a-monday"
        ),
        pytest.param(
            Period.WEEK,
            "2026-11-22T23:59:59",
            "2026-01-01",
            "2026-11-16",
            "2026-11-23",
            id="late-on-a-sunday",
        ),
        pytest.param(
            Period.WEEK, "1970-01-01", "1970-01-01", "1969-12-29", "1970-01-05", id="first-week"
        ),
        pytest.param(
            Period.MONTH, "2026-11-24", "2026-01-01", "2026-11-01", "2026-12-01", id="month"
        ),
        pytest.param(
            Period.MONTH, "2026-12-31", "2026-01-01", "2026-12-01", "2027-01-01", id="december"
        ),
        pytest.param(
            Period.MONTH, "2028-02-29", "2026-01-01", "2028-02-01", "2028-03-01", id="leap-february"
        ),
        pytest.param(
            Period.DAYS_30,
            "2026-11-24",
            "2026-11-20T15:00:00",
            "2026-11-20",
            "2026-12-20",
            id="30-days-from-the-day-of-giving",
        ),
        pytest.param(
            Period.DAYS_30,
            "2026-12-20",
            "2026-11-20T15:00:00",
            "2026-12-20",
            "2027-01-19",
            id="second-30-days",
        ),
        pytest.param(
            Period.DAYS_60,
            "2027-01-18T23:59:59",
            "2026-11-20",
            "2026-11-20",
            "2027-01-19",
            id="60-days",
        ),
        pytest.param(
            Period.DAYS_90, "2027-02-17", "2026-11-20", "2026-11-20", "2027-02-18", id="90-days"
        ),
        pytest.param(
            Period.DAYS_30,
            "2026-11-19T23:59:59",
            "2026-11-20",
            "2026-10-21",
            "2026-11-20",
            id="before-it-was-given",
        ),
    ],
)
def test_periods_lie_on_the_calendar(
    kind: Period, now: str, since: str, start: str, end: str
) -> None:
    assert period(kind, at(now), at(since)) == span(start, end)


@given(st.sampled_from(Interval), _TIMES)
def test_windows_hold_their_moment_and_meet(interval: Interval, now: int) -> None:
    this = window(interval, now)
    assert this.start <= now < this.end
    assert this.end - this.start == interval.seconds
    assert window(interval, this.end).start == this.end
    assert window(interval, this.end - 1) == this


@given(st.sampled_from(Period), _TIMES, _TIMES)
def test_periods_hold_their_moment_and_meet(kind: Period, now: int, since: int) -> None:
    this = period(kind, now, since)
    assert this.start <= now < this.end
    assert this.start % DAY == this.end % DAY == 0
    assert period(kind, this.end, since).start == this.end
    assert period(kind, this.end - 1, since) == this


@given(_TIMES)
def test_weeks_begin_on_monday_and_months_on_the_first(now: int) -> None:
    week, month = period(Period.WEEK, now, 0), period(Period.MONTH, now, 0)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert (epoch + timedelta(seconds=week.start)).weekday() == 0
    assert (epoch + timedelta(seconds=month.start)).day == 1
    assert (epoch + timedelta(seconds=month.end)).day == 1
    assert 28 * DAY <= month.end - month.start <= 31 * DAY


@given(st.sampled_from([Period.DAYS_30, Period.DAYS_60, Period.DAYS_90]), _TIMES, _TIMES)
def test_periods_of_days_count_from_the_day_of_giving(kind: Period, now: int, since: int) -> None:
    this = period(kind, now, since)
    days = int(kind.value.split()[0])
    assert this.end - this.start == days * DAY
    assert (this.start - (since - since % DAY)) % (days * DAY) == 0


@given(st.sampled_from(Interval), _TIMES)
def test_to_try_again_then_is_to_be_in_the_next_window(interval: Interval, now: int) -> None:
    this = window(interval, now)
    seconds = this.end - now
    assert 1 <= seconds <= interval.seconds
    assert window(interval, now + seconds) != this
    assert window(interval, now + seconds - 1) == this


@pytest.mark.parametrize("limit", [1, LARGEST])
def test_limits_may_be_that_small_and_that_large(limit: int) -> None:
    assert RateLimit(limit=limit, interval=Interval.SECOND).limit == limit
    assert Quota(limit=limit, period=Period.DAY).limit == limit


@pytest.mark.parametrize("limit", [-1, 0, LARGEST + 1])
def test_a_limit_that_a_gateway_would_misread_is_no_limit(limit: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 1,000,000,000"):
        RateLimit(limit=limit, interval=Interval.SECOND)
    with pytest.raises(ValueError, match="from 1 to 1,000,000,000"):
        Quota(limit=limit, period=Period.DAY)


@pytest.mark.parametrize(
    ("interval", "name"),
    [
        (Interval.SECOND, ""),
        (Interval.MINUTE, ""),
        (Interval.HOUR, "1 hour"),
        (Interval.DAY, "1 day"),
    ],
)
def test_windows_of_hours_and_days_are_kept_beyond_a_restart(interval: Interval, name: str) -> None:
    assert kept_as(interval) == name


def test_a_policys_rate_limits_come_the_shortest_interval_first() -> None:
    stored = [{"limit": 5, "interval": "day"}, {"limit": 3, "interval": "minute"}]
    found = rate_limits(2, "hour", stored)
    assert [(rate.limit, rate.interval) for rate in found] == [
        (3, Interval.MINUTE), (2, Interval.HOUR), (5, Interval.DAY),
    ]  # fmt: skip


def test_a_policy_without_rate_limits_has_none() -> None:
    assert rate_limits(None, None, []) == rate_limits(None, "", []) == ()


@pytest.mark.parametrize(
    ("first", "more"),
    [
        pytest.param((1, "hour"), [{"limit": 2, "interval": "hour"}], id="one-interval-twice"),
        pytest.param((None, ""), [{"limit": 2}], id="no-interval"),
        pytest.param((None, ""), [{"interval": "day"}], id="no-limit"),
        pytest.param((None, ""), [{"limit": True, "interval": "day"}], id="a-truth-value"),
        pytest.param((None, ""), [{"limit": "2", "interval": "day"}], id="a-text"),
        pytest.param((None, ""), [{"limit": 2.0, "interval": "day"}], id="a-fraction"),
        pytest.param((None, ""), [{"limit": 0, "interval": "day"}], id="nothing"),
        pytest.param((None, ""), [{"limit": 2, "interval": "year"}], id="no-such-interval"),
        pytest.param((None, "day"), [], id="an-interval-alone"),
        pytest.param((5, ""), [], id="a-limit-alone"),
    ],
)
def test_rate_limits_that_do_not_read_raise_and_do_not_vanish(
    first: tuple[int | None, str], more: list[dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match=r".+"):
        rate_limits(*first, more)


def test_a_raise_widens_the_limits_that_a_policy_has_and_no_other() -> None:
    rates = rate_limits(2, "minute", [{"limit": 50, "interval": "day"}])
    quota = Quota(limit=10, period=Period.MONTH)
    wider, more = raised(rates, quota, {"minute": 5, "day": 40, "hour": 9, "quota": 11})
    assert [(rate.limit, rate.interval.value) for rate in wider] == [(5, "minute"), (50, "day")]
    assert more == Quota(limit=11, period=Period.MONTH)
    assert raised(rates, None, {"quota": 11}) == (rates, None)
    assert raised(rates, quota, {}) == (rates, quota)


@pytest.mark.parametrize(
    ("reset", "start"), [(None, 60), (59, 60), (60, 60), (61, 61), (119, 119), (120, 60)], ids=str
)
def test_a_window_is_counted_from_its_reset_if_that_lies_within(
    reset: int | None, start: int
) -> None:
    assert since(TimeSpan(start=60, end=120), reset) == start
