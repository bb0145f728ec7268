"""Whatever is counted, in whatever order it comes and is rolled up: the sums are the minutes'."""

from collections import Counter
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.usage.conftest import NOW, Sides, count, took

from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import clients
from ostiary.directory.workspace import workspace_settings
from ostiary.usage import latency, outcomes, rollups, upkeep
from ostiary.usage.buckets import (
    BY_LENGTH,
    BucketSize,
    Level,
    cover,
    following,
    slot,
    start_of,
    time_of,
)
from ostiary.usage.models import (
    Belonging,
    MinuteCount,
    MinuteLatency,
    Outcome,
    Progress,
    RolledUp,
    Total,
)

DAY = 86_400


def _sums(span: BucketSize, level: Level, since: int) -> Counter[Any]:
    """Calls of a span by ids, status and reason, where the level keeps outcomes."""
    found: Counter[Any] = Counter()
    first, last = slot(level, span, since), slot(level, span, 2**31)
    for row in Outcome.objects.filter(slot__gte=first, slot__lt=last):
        key = (time_of(row.slot), row.project_id, row.client_id, row.profile_id, row.collection_id,
               row.endpoint_id, row.status, row.reason)  # fmt: skip
        found[key] += row.calls
    return found


def _expected(
    span: BucketSize, level: Level, minutes: list[dict[str, int]], since: int, until: int
) -> Counter[Any]:
    owner = {(b.kind, b.asset_id): b.project_id for b in Belonging.objects.all()}
    found: Counter[Any] = Counter()
    for row in minutes:
        time = start_of(span, row["time"])
        if time < since or following(span, time) > until:
            continue
        client, collection = row["client_id"], row["collection_id"]
        project = owner.get(("client", client) if client else ("collection", collection), 0)
        ids = (0, client, row["profile_id"], collection, row["endpoint_id"])
        if level == Level.ENDPOINT:
            ids = (project, 0, 0, collection, row["endpoint_id"])
        elif level == Level.PROJECT:
            ids = (project, 0, 0, 0, 0)
        found[(time, *ids, row["status"], row["reason"])] += row["calls"]
    return found


_count = st.fixed_dictionaries(
    {
        # Some minutes in a week, so that rows meet; a few of them around the ends of stretches.
        "time": st.integers(0, 60) | st.sampled_from([0, 59, 60, 1439, 1440, 10_079]),
        "client_id": st.sampled_from([0, 1, 2, 99]),
        "profile_id": st.integers(0, 2),
        "collection_id": st.sampled_from([0, 1, 2]),
        "endpoint_id": st.integers(0, 2),
        "status": st.sampled_from([0, 2, 4, 5]),
        "reason": st.sampled_from([0, 13, 28, 36]),
        "node": st.sampled_from(["a", "b"]),
    }
)
_step = st.one_of(
    st.tuples(st.just("count"), _count, st.integers(1, 1000)),
    st.tuples(st.just("wait"), st.integers(1, 4 * 86_400)),
    st.tuples(st.just("roll up")),
)
#: Monday, 26 October 2026: the week ends in November.
BEGIN = 1_792_972_800


@pytest.mark.slow
@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_step, max_size=25))
def test_any_order_of_counts_and_roll_ups_gives_the_sums_of_the_minutes(
    sides: Sides, steps: list[Any]
) -> None:
    with transaction.atomic():
        minutes: dict[tuple[Any, ...], dict[str, Any]] = {}
        now = BEGIN + 3600
        for kind, *given_ in steps:
            if kind == "wait":
                now += given_[0]
            elif kind == "roll up":
                upkeep.run(now)
            else:
                row, calls = dict(given_[0]), given_[1]
                # Late by six days at most: minutes are kept for seven.
                row["time"] = max(BEGIN, (now - 6 * DAY) // 3600 * 3600) + row["time"] * 60
                row["time"] = min(row["time"], now // 60 * 60)
                key = tuple(sorted(row.items()))
                kept = minutes.setdefault(key, {**row, "calls": 0})
                kept["calls"] += calls
                MinuteCount.objects.update_or_create(**row, defaults={"calls": kept["calls"]})
        # All hours are looked at every quarter of an hour.
        now += upkeep.LOOK_AT_ALL
        upkeep.run(now)
        for span, (since, until) in rollups.there().items():
            for level in rollups.OUTCOME_LEVELS:
                wanted = _expected(span, level, list(minutes.values()), since, until)
                assert _sums(span, level, since) == wanted, (span, level)
        transaction.set_rollback(True)


@settings(deadline=None)
@given(
    start=st.integers(BEGIN, BEGIN + 90 * DAY),
    length=st.integers(0, 100 * DAY),
    until=st.integers(BEGIN, BEGIN + 200 * DAY),
    longest=st.sampled_from(BucketSize),
)
def test_a_cover_is_exactly_the_range(
    start: int, length: int, until: int, longest: BucketSize
) -> None:
    reached = {span: start_of(span, until) for span in rollups.ROLLED_UP}
    there = {span: (0, end) for span, end in reached.items()}
    there[BucketSize.TEN_MINUTES] = reached[BucketSize.HOUR], reached[BucketSize.TEN_MINUTES]
    found = cover(start, start + length, there=there, longest=longest)
    stretches = [(time, following(span, time)) for span, time in found.rolled_up]
    stretches = sorted(stretches + found.minutes)
    at = start
    for first, end in stretches:
        assert (first, end > first) == (at, True)
        at = end
    assert at == start + length
    shorter = BY_LENGTH[: BY_LENGTH.index(longest) + 1]
    assert all(span in shorter for span, _ in found.rolled_up)
    assert all(there[s][0] <= t and following(s, t) <= reached[s] for s, t in found.rolled_up)
    assert [time_of(n) for n in found.slots(Level.PROFILE)] == [t for _, t in found.rolled_up]


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, len(latency.EDGES) - 1), st.integers(1, 2**40)))
def test_a_packed_histogram_is_the_histogram(histogram: dict[int, int]) -> None:
    into: dict[int, int] = {}
    latency.add_packed(latency.pack(histogram), into)
    assert into == histogram


def test_a_run_that_changes_nothing_writes_nothing(sides: Sides) -> None:
    count(NOW - 7200, sides.ours, 5)
    upkeep.run(NOW)
    ids = set(Total.objects.values_list("pk", flat=True))
    Progress.objects.update(until=0)
    RolledUp.objects.update(stale=True, seen="")
    upkeep.run(NOW)
    assert ids == set(Total.objects.values_list("pk", flat=True))
    assert len(ids) == len(Level)


def test_refused_errors_and_the_rest_are_told_apart(sides: Sides) -> None:
    count(NOW - 7200, sides.ours, 10, bytes_out=100)
    count(NOW - 7200, sides.ours, 3, status=4, reason=28)
    count(NOW - 7200, sides.ours, 2, status=5, reason=36)
    count(NOW - 7200, sides.ours, 1, status=4)
    count(NOW - 7200, sides.ours, 4, status=0)
    took(NOW - 7200, sides.ours, 7, 12)
    upkeep.run(NOW)
    for level in Level:
        row = Total.objects.get(
            slot=slot(level, BucketSize.HOUR, start_of(BucketSize.HOUR, NOW - 7200))
        )
        assert (row.calls, row.refused, row.errors, row.bytes_out) == (20, 3, 7, 100)
        histogram: dict[int, int] = {}
        latency.add_packed(bytes(row.latencies), histogram)
        assert histogram == {7: 12}
    assert outcomes.refused(28)
    assert not outcomes.refused(36)


def test_a_client_that_moves_takes_its_past_along(sides: Sides) -> None:
    count(NOW - 2 * DAY, sides.ours, 5)
    upkeep.run(NOW)
    clients.change(
        by=SYSTEM,
        client_id=sides.ours.client,
        given=clients.ClientInput(project_id=sides.theirs.project),
    )
    upkeep.run(NOW + 30)
    rows = Total.objects.filter(project_id__gt=0)
    assert set(rows.values_list("project_id", flat=True)) == {sides.theirs.project}
    assert rows.count() == 3 * 2  # an hour, a day and a week, by endpoint and by project


def test_a_deleted_client_is_counted_where_it_was(sides: Sides) -> None:
    count(NOW - 7200, sides.theirs, 5)
    upkeep.run(NOW)
    clients.delete(by=SYSTEM, client_id=sides.theirs.client)
    count(NOW - 7000, sides.theirs, 3)
    upkeep.run(NOW + 30)
    number = slot(Level.PROJECT, BucketSize.HOUR, start_of(BucketSize.HOUR, NOW - 7200))
    found = Total.objects.get(slot=number)
    assert (found.project_id, found.calls) == (sides.theirs.project, 8)


def test_one_process_at_a_time_and_another_after_a_crash(sides: Sides) -> None:
    count(NOW - 7200, sides.ours, 5)
    Progress.objects.create(name="lease", until=NOW + upkeep.LEASE)
    upkeep.run(NOW)
    assert not Total.objects.exists()
    upkeep.run(NOW + upkeep.LEASE)
    assert Total.objects.exists()


def test_what_is_too_old_goes_and_its_sums_stay(sides: Sides) -> None:
    start = NOW - 500 * DAY
    for days in range(0, 500, 20):
        count(start + days * DAY, sides.ours, 1)
    upkeep.run(NOW - 10 * DAY)
    count(NOW - 3600, sides.ours, 1)
    took(NOW - 30 * DAY, sides.ours, 3)
    upkeep.run(NOW)
    assert MinuteCount.objects.count() == 1
    assert not MinuteLatency.objects.exists()
    for span, days in ((BucketSize.HOUR, 90), (BucketSize.DAY, 400), (BucketSize.MONTH, 400)):
        first, last = slot(Level.PROJECT, span, 0), slot(Level.PROJECT, span, 2**32)
        rows = Total.objects.filter(slot__gte=first, slot__lt=last).order_by("slot")
        oldest = start_of(
            BucketSize.DAY if span == BucketSize.HOUR else BucketSize.MONTH, NOW - days * DAY
        )
        assert oldest <= time_of(rows[0].slot) < oldest + 32 * DAY, span
        assert sum(row.calls for row in rows) >= 90 // 20


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"usage_minute_days": 20, "usage_hour_days": 10}, "usage_minute_days"),
        ({"usage_hour_days": 300, "usage_day_days": 40}, "usage_hour_days"),
        ({"usage_day_days": 5}, "usage_day_days"),
        ({"request_log_rows": -1}, "request_log_rows"),
        ({"usage_minute_days": "x"}, "usage_minute_days"),
    ],
)
def test_retention_that_would_lose_sums_is_refused(
    sides: Sides, values: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        workspace_settings.change(by=SYSTEM, values=values)
    assert set(refused.value.errors) == {field}
