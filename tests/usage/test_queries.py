"""Answers are those of a naive count of everything, and hold nothing that is not the asker's."""

from collections import defaultdict
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.usage.conftest import NOW, Side, Sides, count, took

from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.usage import latency, outcomes, upkeep
from ostiary.usage.buckets import BucketSize, start_of
from ostiary.usage.models import MinuteCount, MinuteLatency
from ostiary.usage.overview import UsageFilter, overview
from ostiary.usage.queries import (
    Asker,
    By,
    Rank,
    UsageQuestion,
    rows,
    some_rows,
    with_latencies,
)

DAY = 86_400

_calls = st.fixed_dictionaries(
    {
        "ago": st.integers(0, 5 * 60) | st.integers(0, 40 * 24 * 60),
        "who": st.sampled_from(["ours", "theirs", "stranger", "nobody"]),
        "profile_id": st.integers(1, 3),
        "endpoint_id": st.integers(1, 3),
        "status": st.sampled_from([0, 2, 4, 5]),
        "reason": st.sampled_from([0, 13, 28, 36]),
        "calls": st.integers(1, 1000),
        "bytes_out": st.integers(0, 10**6),
    }
)


def _naive(
    minutes: list[dict[str, Any]], question: UsageQuestion, sees: Any
) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = defaultdict(lambda: [0] * 4)
    for row in minutes:
        wanted = all(row[c.value] in v for c, v in question.filters.items())
        if not (question.start <= row["time"] < question.end and wanted and sees(row)):
            continue
        time = None if question.bucket is None else start_of(question.bucket, row["time"])
        sums = found[time, tuple(row[c.value] for c in question.by)]
        refused = outcomes.refused(row["reason"])
        sums[0] += row["calls"]
        sums[1] += row["calls"] if refused else 0
        sums[2] += row["calls"] if not refused and row["status"] in {0, 4, 5} else 0
        sums[3] += row["bytes_out"]
    return dict(found)


def _ids(sides: Sides, who: str) -> dict[str, int]:
    if who == "nobody":
        return {"client_id": 0, "profile_id": 0, "collection_id": 0, "endpoint_id": 0}
    if who == "stranger":  # no credential of ours, at a collection of ours
        return {"client_id": 0, "profile_id": 0, "collection_id": sides.ours.collection}
    side: Side = getattr(sides, who)
    return {"client_id": side.client, "collection_id": side.collection}


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    calls=st.lists(_calls, max_size=20),
    by=st.lists(st.sampled_from(By), unique=True, max_size=3),
    bucket=st.sampled_from([BucketSize.MINUTE, BucketSize.HOUR, BucketSize.DAY, BucketSize.MONTH, None]),
    filters=st.dictionaries(st.sampled_from(By), st.frozensets(st.integers(0, 3), min_size=1), max_size=2),
    hours=st.tuples(st.integers(0, 50 * 24), st.integers(0, 50 * 24)),
    asker=st.sampled_from(["admin", "member", "token"]),
    rolled_up=st.booleans(),
)  # fmt: skip
def test_answers_are_those_of_a_naive_count(
    sides: Sides,
    calls: list[dict[str, Any]],
    by: list[By],
    bucket: BucketSize | None,
    filters: dict[By, frozenset[int]],
    hours: tuple[int, int],
    asker: str,
    rolled_up: bool,
) -> None:
    actors = {
        "admin": (SYSTEM, lambda row: True),
        "member": (
            sides.ours.member,
            lambda row: (
                row["client_id"] == sides.ours.client
                or (not row["client_id"] and row["collection_id"] == sides.ours.collection)
            ),
        ),
        "token": (
            Actor(kind="token", id=1, name="T", everywhere=Role.VIEWER),
            lambda row: row["client_id"] or row["collection_id"],
        ),
    }
    actor, sees = actors[asker]
    if asker != "admin":
        filters = {c: v for c, v in filters.items() if c in {By.STATUS, By.REASON}}
    ago = sorted(hours)
    if bucket in {BucketSize.MINUTE, BucketSize.HOUR}:
        ago = [a % (6 * 24) for a in ago]
    start, end = (NOW // 3600 - max(ago)) * 3600, (NOW // 3600 - min(ago)) * 3600 + 3600
    question = UsageQuestion(start=start, end=end, bucket=bucket, by=tuple(by), filters=filters)
    with transaction.atomic():
        minutes = []
        for call in calls:
            who, minute = call["who"], NOW // 60 * 60 - call["ago"] * 60
            values = {k: v for k, v in call.items() if k not in {"who", "ago"}}
            row = {**values, "time": minute, **_ids(sides, who)}
            if not MinuteCount.objects.filter(
                **{k: v for k, v in row.items() if k not in {"calls", "bytes_out"}}
            ).exists():
                MinuteCount.objects.create(**row)
                minutes.append(row)
        if rolled_up:
            upkeep.run(NOW)
        found = rows(Asker(actor, NOW), question)
        got = {(r.time, r.key): [r.calls, r.refused, r.errors, r.bytes_out] for r in found}
        assert got == _naive(minutes, question, sees)
        some = some_rows(Asker(actor, NOW), question, first=1, most=2)
        assert some == (found[1:3], len(found))
        transaction.set_rollback(True)


def _ask(actor: Actor, **more: Any) -> dict[Any, tuple[int, int, int]]:
    asked = UsageQuestion(**{"start": NOW - 30 * DAY, "end": NOW + 60, **more})
    return {row.key: (row.calls, row.refused, row.errors) for row in rows(Asker(actor, NOW), asked)}


def test_a_call_counts_at_once_and_once_it_is_rolled_up_no_more_than_that(sides: Sides) -> None:
    count(NOW, sides.ours, 3)
    count(NOW - 5 * 3600, sides.ours, 4, status=4, reason=28)
    count(NOW - 20 * DAY, sides.ours, 5, status=5)
    before = _ask(SYSTEM)
    upkeep.run(NOW)
    assert before == _ask(SYSTEM) == {(): (12, 4, 5)}


def test_a_member_sees_its_project_alone_and_what_is_nobodys_only_an_admin(sides: Sides) -> None:
    count(NOW - 7200, sides.ours, 1)
    count(NOW - 7200, sides.theirs, 10)
    count(NOW - 7200, None, 100, status=4, reason=13)
    count(NOW - 7200, None, 1000, collection_id=sides.ours.collection, status=4, reason=12)
    for _ in range(2):
        assert _ask(sides.ours.member) == {(): (1001, 1000, 0)}
        assert _ask(sides.theirs.member) == {(): (10, 0, 0)}
        assert _ask(SYSTEM) == {(): (1111, 1100, 0)}
        everywhere = Actor(kind="token", id=1, name="T", everywhere=Role.VIEWER)
        assert _ask(everywhere) == {(): (1011, 1000, 0)}
        assert set(_ask(sides.ours.member, by=(By.CLIENT,))) == {(0,), (sides.ours.client,)}
        assert set(_ask(sides.theirs.member, by=(By.ENDPOINT,))) == {(sides.theirs.endpoint,)}
        upkeep.run(NOW)


def test_their_client_at_our_collection_is_none_of_ours(sides: Sides) -> None:
    count(NOW - 7200, sides.theirs, 7, collection_id=sides.ours.collection)
    upkeep.run(NOW)
    assert _ask(sides.ours.member) == {}
    assert _ask(sides.theirs.member) == {(): (7, 0, 0)}


@pytest.mark.parametrize("column", [By.CLIENT, By.PROFILE, By.COLLECTION, By.ENDPOINT])
def test_what_a_member_does_not_see_does_not_exist(sides: Sides, column: By) -> None:
    value = getattr(sides.theirs, column.value.removesuffix("_id"))
    with pytest.raises(NotFound):
        _ask(sides.ours.member, filters={column: frozenset({value})})
    with pytest.raises(NotFound):
        _ask(sides.ours.member, filters={column: frozenset({999})})


@pytest.mark.parametrize(
    "by", [(By.CLIENT,), (By.PROFILE,), (By.CLIENT, By.PROFILE), (By.PROFILE, By.CLIENT)]
)
@pytest.mark.parametrize("of_ours", [False, True])
def test_a_page_of_consumers_is_that_of_all_of_them(
    sides: Sides, by: tuple[By, ...], of_ours: bool
) -> None:
    for number in range(7):
        for ago in (0, 3 * 3600, 10 * DAY):
            client = sides.ours.client if number % 3 else sides.theirs.client
            count(
                NOW - ago, sides.ours, number % 5 + 1, client_id=client,
                profile_id=100 * client + number, bytes_out=number,
            )  # fmt: skip
            MinuteLatency.objects.create(
                time=(NOW - ago) // 60 * 60, client_id=client, profile_id=100 * client + number,
                collection_id=sides.ours.collection, endpoint_id=sides.ours.endpoint,
                bucket=number, calls=number % 5 + 1,
            )  # fmt: skip
    count(NOW - 7200, None, 4, collection_id=sides.ours.collection, status=4, reason=12)
    count(NOW - 7200, None, 50, status=4, reason=13)
    filters = {By.COLLECTION: frozenset({sides.ours.collection})} if of_ours else {}
    question = UsageQuestion(start=NOW - 30 * DAY, end=NOW + 60, by=by, filters=filters)
    for _ in range(2):
        for actor in (SYSTEM, sides.ours.member):
            found = rows(Asker(actor, NOW), question)
            assert len(found) > 1
            with_latencies(Asker(actor, NOW), question, found)
            timed = [row.latencies for row in found]
            found = rows(Asker(actor, NOW), question)
            for first in range(len(found) + 1):
                asker = Asker(actor, NOW)
                some = some_rows(asker, question, first=first, most=3)
                assert some == (found[first : first + 3], len(found))
                with_latencies(asker, question, some[0])
                assert [row.latencies for row in some[0]] == timed[first : first + 3]
        upkeep.run(NOW)


def test_latencies_are_those_of_all_calls_of_a_group(sides: Sides) -> None:
    for side, calls in ((sides.ours, 90), (sides.theirs, 10)):
        count(NOW - 2 * DAY, side, calls)
        count(NOW, side, calls)
        took(NOW - 2 * DAY, side, latency.bucket_of(3), calls)
        took(NOW, side, latency.bucket_of(9), calls)
    upkeep.run(NOW)
    asked = UsageQuestion(start=NOW - 30 * DAY, end=NOW + 60, by=(By.CLIENT,))
    found = rows(Asker(SYSTEM, NOW), asked)
    with_latencies(Asker(SYSTEM, NOW), asked, found)
    assert [(row.key, row.percentile(0.5), row.percentile(0.95)) for row in found] == [
        ((sides.ours.client,), 3, 9),
        ((sides.theirs.client,), 3, 9),
    ]
    assert sum(found[0].latencies.values()) == 180
    by_day = UsageQuestion(start=NOW - 30 * DAY, end=NOW + 60, bucket=BucketSize.DAY)
    found = rows(Asker(sides.ours.member, NOW), by_day)
    with_latencies(Asker(sides.ours.member, NOW), by_day, found)
    assert [(row.calls, row.latencies) for row in found] == [(90, {3: 90}), (90, {9: 90})]


@pytest.mark.parametrize(("bucket", "days"), [(BucketSize.MINUTE, 8), (BucketSize.HOUR, 91)])
def test_buckets_that_are_no_longer_kept_are_refused(
    sides: Sides, bucket: BucketSize, days: int
) -> None:
    with pytest.raises(Invalid) as refused:
        _ask(SYSTEM, start=NOW - days * DAY, bucket=bucket)
    assert "from" in refused.value.errors


@pytest.mark.parametrize("asker", ["admin", "member", "both"])
def test_the_largest_of_a_dashboard_are_the_first_of_all(sides: Sides, asker: str) -> None:
    both = dict.fromkeys((sides.ours.project, sides.theirs.project), Role.VIEWER)
    actor = {
        "admin": SYSTEM,
        "member": sides.ours.member,
        "both": Actor(kind="member", id=1, name="M", roles=both),
    }[asker]
    # Many of them called as often as others.
    for number in range(40):
        side = sides.theirs if number % 4 else sides.ours
        for ago in (60, 5 * 3600, 3 * DAY, 200 * DAY):
            count(NOW - ago, side, 1 + number % 7, profile_id=1000 * side.client + number)
    count(NOW - 60, None, 5000, status=4, reason=13)
    count(NOW - 60, None, 5000, collection_id=sides.ours.collection, status=4, reason=12)
    for _ in range(3):
        for days in (1, 30, 365):
            choice = UsageFilter(start=NOW - days * DAY, end=NOW + 60)
            found = overview(actor, choice, NOW)
            for by, largest in (
                ((By.CLIENT,), found.clients),
                ((By.CLIENT, By.PROFILE), found.profiles),
            ):
                asked = UsageQuestion(start=choice.start, end=choice.end, by=by)
                every = rows(Asker(actor, NOW), asked)
                assert largest == [row for row in every if row.key[0]][:10]
        upkeep.run(NOW)


@pytest.mark.parametrize("rank", [Rank.REFUSED, Rank.ERRORS])
def test_the_most_refused_and_the_most_failing_are_ranked_among_all(
    sides: Sides, rank: Rank
) -> None:
    refused = {"status": 4, "reason": 28}
    failed = {"status": 5}
    told = refused if rank is Rank.REFUSED else failed
    other = failed if rank is Rank.REFUSED else refused
    for number in range(15):
        own = {"client_id": sides.ours.client, "profile_id": 100 + number}
        for ago in (0, 3 * 3600, 10 * DAY):
            # Who calls the most is refused the least.
            count(NOW - ago, sides.ours, 1000 - number, **own)
            count(NOW - ago, sides.ours, number, **own, **told)
            count(NOW - ago, sides.ours, 500, **own, **other)
    count(NOW, sides.theirs, 7, **told)
    for _ in range(2):
        choice = UsageFilter(start=NOW - 30 * DAY, end=NOW + 60, rank=rank)
        found = overview(SYSTEM, choice, NOW)
        shown = [(row.key[1], getattr(row, rank)) for row in found.profiles]
        wanted = sorted(
            [(100 + number, 3 * number) for number in range(15)] + [(sides.theirs.profile, 7)],
            key=lambda each: -each[1],
        )[:10]
        assert shown == wanted
        assert [row.key for row in found.clients] == [(sides.ours.client,), (sides.theirs.client,)]
        assert [getattr(row, rank) for row in found.endpoints] == [315, 7]
        mine = overview(sides.ours.member, choice, NOW)
        assert {row.key[0] for row in mine.profiles} == {sides.ours.client}
        upkeep.run(NOW)
