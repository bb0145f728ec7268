"""Consumers are ranked by standings, and the ranks are those of a naive count of everything."""

from collections import Counter
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.usage.conftest import Side, Sides, count

from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.clients import clients
from ostiary.usage import upkeep
from ostiary.usage.buckets import BucketSize, start_of
from ostiary.usage.models import MinuteCount, Standing, StandingPart
from ostiary.usage.queries import Asker, By, UsageQuestion, consumers
from ostiary.usage.running_totals import client_of, profile_of

DAY, HOUR = 86_400, 3600
#: Tuesday, 5 January 2027, 12:34:00 UTC: ranges reach over the end of a year.
NOW = 1_799_152_440

_step = st.one_of(
    st.tuples(
        st.just("count"),
        st.fixed_dictionaries(
            {
                "ago": st.integers(0, 90) | st.integers(0, 6 * 24 * 60),
                "who": st.sampled_from(["ours", "theirs", "stranger", "nobody"]),
                "profile_id": st.integers(1, 2),
                "endpoint_id": st.integers(0, 2),
                "calls": st.integers(1, 1000),
            }
        ),
    ),
    st.tuples(st.just("wait"), st.integers(1, 3 * DAY)),
    st.tuples(st.just("roll up")),
    st.tuples(st.just("move")),
    st.tuples(st.just("delete")),
    st.tuples(
        st.just("ask"), st.integers(0, 20 * 24), st.integers(0, 20 * 24), st.integers(0, 59),
        st.sampled_from(["", "collection", "endpoint", "both", "others"]),
    ),
)  # fmt: skip


def _row(sides: Sides, given_: dict[str, Any], now: int) -> dict[str, int]:
    who, time = given_["who"], now // 60 * 60 - given_["ago"] * 60
    row = {"time": time, "profile_id": given_["profile_id"], "endpoint_id": 0, "status": 2}
    if who == "nobody":
        return {**row, "client_id": 0, "profile_id": 0, "collection_id": 0}
    side: Side = sides.theirs if who == "theirs" else sides.ours
    row |= {"collection_id": side.collection}
    if given_["endpoint_id"]:
        # The endpoint of a collection is of no other.
        row |= {"endpoint_id": side.endpoint}
    if who == "stranger":
        return {**row, "client_id": 0, "profile_id": 0}
    if given_["endpoint_id"] == 2:
        row |= {"collection_id": sides.theirs.collection, "endpoint_id": sides.theirs.endpoint}
    return {**row, "client_id": side.client}


def _filters(sides: Sides, kind: str) -> dict[By, frozenset[int]]:
    collection, endpoint = sides.ours.collection, sides.ours.endpoint
    return {
        "": {},
        "collection": {By.COLLECTION: frozenset({collection})},
        "endpoint": {By.ENDPOINT: frozenset({endpoint})},
        "both": {By.COLLECTION: frozenset({collection}), By.ENDPOINT: frozenset({endpoint})},
        "others": {
            By.COLLECTION: frozenset({collection}),
            By.ENDPOINT: frozenset({sides.theirs.endpoint}),
        },
    }[kind]


def _actors(sides: Sides) -> dict[str, tuple[Actor, set[int] | None]]:
    ours, theirs = sides.ours.project, sides.theirs.project
    viewers = {
        name: Actor(kind="member", id=1, name="M", roles=dict.fromkeys(projects, Role.VIEWER))
        for name, projects in {"one": [ours], "both": [ours, theirs], "none": list[int]()}.items()
    }
    return {
        "admin": (SYSTEM, None),
        "token": (Actor(kind="token", id=1, name="T", everywhere=Role.VIEWER), None),
        "one": (viewers["one"], {ours}),
        "both": (viewers["both"], {ours, theirs}),
        "none": (viewers["none"], set()),
    }


class _Model:
    """What was counted, and whose clients are."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.minutes: Counter[tuple[tuple[str, int], ...]] = Counter()
        self.projects = {
            sides.ours.client: sides.ours.project, sides.theirs.client: sides.theirs.project,
        }  # fmt: skip

    def count(self, row: dict[str, Any], calls: int) -> None:
        key = tuple(sorted(row.items()))
        self.minutes[key] += calls
        total = {"calls": self.minutes[key]}
        MinuteCount.objects.update_or_create(**row, defaults=total)

    def asked(self, question: UsageQuestion, projects: set[int] | None) -> Counter[tuple[int, int]]:
        found: Counter[tuple[int, int]] = Counter()
        for key, calls in self.minutes.items():
            row = dict(key)
            sees = projects is None or self.projects.get(row["client_id"]) in projects
            wanted = all(row[c.value] in v for c, v in question.filters.items())
            in_time = question.start <= row["time"] < question.end
            if row["client_id"] and sees and wanted and in_time:
                found[row["client_id"], row["profile_id"]] += calls
        return found


def _answers_fit(model: _Model, now: int, asked: tuple[int, int, int, str]) -> None:
    first, last, minutes, kind = asked
    end = (now // HOUR - min(first, last)) * HOUR + minutes * 60
    start = (now // HOUR - max(first, last)) * HOUR
    question = UsageQuestion(start=start, end=end, filters=_filters(model.sides, kind))
    if upkeep.firsts(now)[BucketSize.MINUTE] > end:
        # So old a range is rounded to whole hours.
        question = UsageQuestion(
            start=start, end=start_of(BucketSize.HOUR, end), filters=question.filters
        )
    for name, (actor, projects) in _actors(model.sides).items():
        if projects is not None and len(projects) < {"": 0, "others": 2}.get(kind, 1):
            continue  # What it does not see, it cannot ask for.
        found = consumers(Asker(actor, now), question)
        told = {(client_of(one), profile_of(one)): calls for one, calls in found.items()}
        assert told == model.asked(question, projects), name


@pytest.mark.slow
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_step, max_size=10))
def test_calls_of_consumers_are_those_of_a_naive_count(sides: Sides, steps: list[Any]) -> None:
    with transaction.atomic():
        model, now = _Model(sides), NOW
        # What there is before the first standing.
        for days in (14, 9, 3):
            model.count(_row(sides, {"who": "ours", "ago": days * 24 * 60, "profile_id": 1,
                                     "endpoint_id": 1}, now), 5)  # fmt: skip
        upkeep.run(now)
        assert Standing.objects.filter(time=1_798_761_600).count() == 2  # the end of the year
        for kind, *given_ in steps:
            if kind == "wait":
                now += given_[0]
            elif kind == "roll up":
                now += upkeep.LOOK_AT_ALL
                upkeep.run(now)
            elif kind == "count":
                model.count(_row(sides, given_[0], now), given_[0]["calls"])
            elif kind == "move" and sides.ours.client in model.projects:
                clients.change(
                    by=SYSTEM, client_id=sides.ours.client,
                    given=clients.ClientInput(project_id=sides.theirs.project),
                )  # fmt: skip
                model.projects[sides.ours.client] = sides.theirs.project
            elif kind == "delete" and sides.theirs.client in model.projects:
                clients.delete(by=SYSTEM, client_id=sides.theirs.client)
                del model.projects[sides.theirs.client]
            elif kind == "ask":
                upkeep.run(now := now + upkeep.LOOK_AT_ALL)
                _answers_fit(model, now, tuple(given_))
        upkeep.run(now := now + upkeep.LOOK_AT_ALL)
        _answers_fit(model, now, (20 * 24, 0, 59, ""))
        transaction.set_rollback(True)


def _kept() -> list[tuple[int, int]]:
    return sorted(Standing.objects.values_list("since", "time"))


@pytest.mark.slow
def test_there_is_a_standing_of_every_day_and_of_the_hours_of_the_last_two(sides: Sides) -> None:
    count(NOW - 5 * DAY, sides.ours, 3)
    for hours in range(60, -1, -1):
        count(NOW - hours * HOUR, sides.ours)
        upkeep.run(NOW - hours * HOUR + 600)
    today = start_of(BucketSize.DAY, NOW)
    times = [time for _, time in _kept()]
    days = range(today - 5 * DAY, today + 1, DAY)
    hours_of_them = range(today - DAY, start_of(BucketSize.HOUR, NOW) + 1, HOUR)
    assert set(times) == {*days, *hours_of_them}
    assert StandingPart.objects.filter(standing__time=times[0]).count() == 0


def test_a_year_begins_with_nothing(sides: Sides) -> None:
    new_year = 1_798_761_600
    count(new_year - 3 * DAY, sides.ours, 3)
    count(new_year + DAY, sides.ours, 4)
    upkeep.run(NOW)
    since = 1_767_225_600
    assert [s for s, time in _kept() if time == new_year] == [since, new_year]
    assert {s for s, time in _kept() if time < new_year} == {since}
    of_new_years_eve = UsageQuestion(start=new_year - 3 * DAY, end=new_year + 2 * DAY)
    [calls] = consumers(Asker(SYSTEM, NOW), of_new_years_eve).values()
    assert calls == 7


def test_a_late_row_is_counted_and_leaves_no_standing_that_does_not_know_it(sides: Sides) -> None:
    for days in range(6):
        count(NOW - days * DAY, sides.ours)
    upkeep.run(NOW)
    before = _kept()
    count(NOW - 3 * DAY - HOUR, sides.ours, 100)
    # Hours that are long over are looked at now and then.
    upkeep.run(NOW + upkeep.LOOK_AT_ALL)
    assert _kept() == before
    start = start_of(BucketSize.DAY, NOW)
    for days, wanted in ((6, 106), (4, 105), (3, 104), (2, 3)):
        asked = UsageQuestion(start=start - days * DAY, end=NOW + 60)
        assert sum(consumers(Asker(SYSTEM, NOW), asked).values()) == wanted, days


def test_standings_go_with_the_days_that_they_count(sides: Sides) -> None:
    for days in range(0, 450, 50):
        count(NOW - days * DAY, sides.ours)
        count(NOW - days * DAY, sides.theirs, 2)
    for _ in range(20):
        upkeep.run(NOW)
    first = upkeep.firsts(NOW)[BucketSize.DAY]
    times = [time for _, time in _kept()]
    assert times[0] == first
    assert {first + days * DAY for days in range((NOW - first) // DAY + 1)} <= set(times)
    asked = UsageQuestion(start=NOW - 450 * DAY, end=NOW + 60)
    told = {client_of(one): calls for one, calls in consumers(Asker(SYSTEM, NOW), asked).items()}
    assert told == {sides.ours.client: 9, sides.theirs.client: 18}
