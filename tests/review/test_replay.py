"""Replayed calls fare as `decide` says, and their limits as a small model of counters does."""

import ipaddress
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.access import limits
from ostiary.access.decision import Allow, Deny, decide
from ostiary.access.facts import Profile, ProfileId
from ostiary.access.reasons import Reason, describe
from ostiary.access.stages import Stage
from ostiary.review.replay import Recorded, ReplayOutcome, Terms, differences, facts, replayed

START = 1_795_521_600
ADDRESSES = [None, *map(ipaddress.ip_address, ("192.0.2.7", "198.51.100.9", "2001:db8::7"))]
NETWORKS = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.9/32", "2001:db8::/32", "0.0.0.0/0"))
)

lists = st.lists(st.sampled_from(NETWORKS), unique=True, max_size=2).map(tuple)
rates = st.lists(
    st.builds(limits.RateLimit, limit=st.integers(1, 3), interval=st.sampled_from(limits.Interval)),
    unique_by=lambda rate: rate.interval,
    max_size=3,
).map(lambda each: tuple(sorted(each, key=lambda rate: rate.interval.seconds)))
quotas = st.none() | st.builds(
    limits.Quota, limit=st.integers(1, 5), period=st.sampled_from(limits.Period)
)
profiles = st.builds(
    Profile,
    id=st.just(ProfileId(1)),
    active=st.sampled_from([True, True, True, False]),
    allowed=lists,
    denied=lists,
    addresses_watched=st.booleans(),
    expires_at=st.none() | st.integers(START - 10, START + 300),
    rates=rates,
    quota=quotas,
    limits_watched=st.booleans(),
    policy_since=st.integers(START - 200 * limits.DAY, START),
)
terms = st.builds(
    Terms,
    profile=profiles,
    collections=st.frozensets(st.sampled_from([1, 2]), max_size=2),
)
recorded = st.builds(
    Recorded,
    at=st.integers(START, START + 400),
    address=st.sampled_from(ADDRESSES),
    collection=st.sampled_from([0, 1, 2]),
    endpoint=st.sampled_from([0, 1, 1, 1]),
    reason=st.none() | st.none() | st.sampled_from(Reason),
    weight=st.sampled_from([1, 1, 1, 4]),
)
logs = st.lists(recorded, max_size=25).map(lambda calls: sorted(calls, key=lambda c: c.at))


def _fixed(call: Recorded) -> bool:
    """Refused for what no change of a profile's terms mends."""
    return call.reason is not None and describe(call.reason).stage in {
        Stage.CALLER, Stage.REQUEST, Stage.PATH, Stage.PRESENTED, Stage.AUTHORITY, Stage.KNOWN,
        Stage.METHOD, Stage.PROOF, Stage.CREDENTIAL, Stage.CLIENT,
    }  # fmt: skip


@given(logs, terms)
@settings(deadline=None)
def test_unchanged_terms_change_nothing(calls: list[Recorded], same: Terms) -> None:
    for each in differences(calls, same, same):
        assert (each.newly_refused, each.newly_allowed) == (0, 0)


@given(logs, terms)
@settings(deadline=None)
def test_a_call_fares_as_decide_says_and_only_then_meets_limits(
    calls: list[Recorded], other: Terms
) -> None:
    for call, outcome in zip(calls, replayed(calls, other), strict=True):
        if _fixed(call):
            assert outcome == ReplayOutcome(refused=call.weight, reason=call.reason)
            continue
        verdict = decide(facts(call, other))
        if isinstance(verdict, Deny):
            assert outcome == ReplayOutcome(refused=call.weight, reason=verdict.reason)
            continue
        assert isinstance(verdict, Allow)
        if verdict.would:
            assert outcome == ReplayOutcome(would=call.weight, would_for=verdict.would)
            continue
        limited = {None, Reason.QUOTA_EXCEEDED, Reason.RATE_LIMITED}
        assert outcome.reason in limited
        assert outcome.would_for in limited
        assert (outcome.would == 0) or other.profile.limits_watched
        assert (outcome.refused == 0) or not other.profile.limits_watched


@given(logs, terms)
@settings(deadline=None)
def test_limits_are_never_exceeded_in_a_window_and_never_refuse_before_they_are_reached(
    calls: list[Recorded], given_terms: Terms
) -> None:
    profile = replace(given_terms.profile, limits_watched=False, addresses_watched=False)
    passed: Counter[Any] = Counter()
    for call, outcome in zip(
        calls, replayed(calls, replace(given_terms, profile=profile)), strict=True
    ):
        if outcome.reason not in {None, Reason.QUOTA_EXCEEDED, Reason.RATE_LIMITED}:
            continue
        windows: list[tuple[Any, int]] = []
        if profile.quota:
            kind, since = profile.quota.period, profile.policy_since
            windows.append((limits.period(kind, call.at, since), profile.quota.limit))
        for rate in profile.rates:
            windows.append((limits.window(rate.interval, call.at), rate.limit))
        if not _fixed(call) and isinstance(decide(facts(call, given_terms)), Allow):
            for number, (span, limit) in enumerate(windows):
                passed[number, span] += call.weight - outcome.refused
                assert passed[number, span] <= limit
            if outcome.refused:
                assert any(passed[n, span] == limit for n, (span, limit) in enumerate(windows))


def test_a_quota_goes_on_from_what_its_period_had_seen() -> None:
    quota = limits.Quota(limit=5, period=limits.Period.DAY)
    same_day = START - START % limits.DAY
    profile = Profile(id=ProfileId(1), quota=quota)
    own = Terms(profile=profile, collections=frozenset({1}), used={same_day: 4})
    call = Recorded(at=START, address=None, collection=1, endpoint=1)
    assert [o.refused for o in replayed([call, call, replace(call, at=START + limits.DAY)], own)] == [
        0, 1, 0,
    ]  # fmt: skip
