"""A week of made-up usage of the demo: each call is counted and logged as the collector stores it.

Every number comes from one list of calls, so that charts, rankings, log and quotas agree. The same moment
gives the same week.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ostiary.access import limits, traces
from ostiary.access.addresses import parse_address
from ostiary.access.decision import Deny, decide, explain
from ostiary.access.facts import Facts
from ostiary.access.methods import AuthMethod
from ostiary.access.reasons import Reason, describe
from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes import feed
from ostiary.directory.clients import profile_limits
from ostiary.directory.models import AccessProfile, Collection, Credential, Endpoint
from ostiary.review import facts
from ostiary.usage import counting, latency, outcomes, recording
from ostiary.usage.models import DecisionTrace
from ostiary.usage.recording import CountKey, LatencyKey, Totals, What

DAY, HOUR, MINUTE = 86_400, 3600, 60
DAYS = 7
#: Of the last minutes nothing is made up: what is called then is the reader's own.
UNTOUCHED = 120
#: Statuses of admitted calls, and how many of a thousand have each.
_STATUSES = ((200, 968), (404, 22), (500, 7), (503, 3))
#: On Wednesday, in these minutes of an hour, the sample service could not be reached.
OUTAGE_WEEKDAY, OUTAGE_HOUR, OUTAGE_MINUTES = 2, 14, range(10, 34)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPace:
    """How often a consumer calls an endpoint: calls an hour at noon of a working day."""

    endpoint: Endpoint
    #: Below the collection's handle.
    path: str
    hourly: float
    milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConsumer:
    """A profile with its addresses, and what it calls."""

    profile: AccessProfile
    credential: Credential
    addresses: tuple[str, ...]
    paces: tuple[DemoPace, ...]
    #: The credential that most of its calls have since a moment, Unix seconds: it is being rotated.
    newer: Credential | None = None
    newer_since: int = 0
    #: It calls once a day, in the minutes after this hour; None: all day.
    nightly_hour: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoMistake:
    """A call that is refused, and on which days and in which minutes it is made."""

    consumer: DemoConsumer
    method: str
    path: str
    address: str
    #: Days before today, and minutes of each hour of them.
    days: range
    minutes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCall:
    """One made-up call."""

    at_ms: int
    status: int
    collection: int
    method: str
    address: str
    milliseconds: int
    endpoint: int = 0
    client: int = 0
    profile: int = 0
    credential: int = 0
    reason: int = 0
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoWeek:
    """Who calls what, well and badly."""

    consumers: tuple[DemoConsumer, ...]
    mistakes: tuple[DemoMistake, ...]
    #: It has a rate limit, and once a day it calls more often for a minute.
    hasty: DemoConsumer
    #: It has a daily quota, and twice in the week more to call than that.
    thirsty: DemoConsumer
    #: Strangers try this collection without a credential, or with one that they made up.
    tried: Endpoint


def store(week: DemoWeek, now: int) -> int:
    """Store the week before `now` (Unix seconds); returns how many calls it has."""
    chance = random.Random(14)
    calls = [*_strangers(week, now), *_mistakes(week, now), *_outside_limits(week, now)]
    for start in range(_first(now), now - UNTOUCHED, HOUR):
        for consumer in week.consumers:
            calls += _hour(chance, consumer, start)
    calls = sorted(
        (call for call in calls if _first(now) <= call.at_ms // 1000 < now - UNTOUCHED),
        key=lambda call: call.at_ms,
    )
    _count(calls)
    _log(calls)
    _use(week, calls, now)
    return len(calls)


def _first(now: int) -> int:
    return now // HOUR * HOUR - DAYS * DAY + HOUR


def _days_ago(now: int, days: int) -> int:
    """The start of a day (UTC)."""
    return now // DAY * DAY - days * DAY


def _busy(start: int) -> float:
    """How busy an hour is: more by day than by night, and less at the weekend."""
    moment = datetime.fromtimestamp(start, UTC)
    by_day = 1.0 if 7 <= moment.hour < 19 else 0.25
    return by_day * (0.4 if moment.weekday() >= 5 else 1.0)


def _hour(chance: random.Random, consumer: DemoConsumer, start: int) -> Iterator[DemoCall]:
    nightly = consumer.nightly_hour
    if nightly is not None and start % DAY // HOUR != nightly:
        return
    busy = _busy(start) if nightly is None else 1.0
    for pace in consumer.paces:
        for _ in range(int(pace.hourly * busy + chance.random())):
            yield _admitted(chance, consumer, pace, start * 1000 + chance.randrange(HOUR * 1000))


def _admitted(
    chance: random.Random, consumer: DemoConsumer, pace: DemoPace, at_ms: int
) -> DemoCall:
    [status] = chance.choices(*zip(*_STATUSES, strict=True))
    reason = 0
    milliseconds = round(pace.milliseconds * chance.lognormvariate(0, 0.5))
    if chance.random() < 0.008:
        milliseconds += chance.randrange(1_100, 4_000)
    if _is_proxied(pace.endpoint) and _is_out(at_ms, chance):
        row = describe(Reason.UPSTREAM_UNAVAILABLE)
        status, reason, milliseconds = row.status, row.code, chance.randrange(2, 9)
    elif _is_proxied(pace.endpoint) and chance.random() < 0.002:
        row = describe(Reason.UPSTREAM_TIMEOUT)
        status, reason, milliseconds = row.status, row.code, 30_000 + chance.randrange(9)
    number = chance.randrange(1, 4) if status == 200 else 990 + chance.randrange(9)
    path = f"/{pace.endpoint.collection.handle}{pace.path.format(id=number)}"
    profile, credential = consumer.profile, consumer.credential
    if consumer.newer and at_ms >= consumer.newer_since * 1000 and chance.random() < 0.85:
        credential = consumer.newer
    return DemoCall(
        at_ms=at_ms, status=status, reason=reason, method=pace.endpoint.method,
        collection=pace.endpoint.collection_id, endpoint=pace.endpoint.pk, client=profile.client_id,
        profile=profile.pk, credential=credential.pk,
        address=chance.choice(consumer.addresses), milliseconds=milliseconds,
        details={"path": path} if reason else {},
    )  # fmt: skip


def _is_proxied(endpoint: Endpoint) -> bool:
    return endpoint.collection.kind == Collection.Kind.PROXY


def _is_out(at_ms: int, chance: random.Random) -> bool:
    """Whether the sample service was down."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    is_then = moment.hour == OUTAGE_HOUR and moment.minute in OUTAGE_MINUTES
    return is_then and moment.weekday() == OUTAGE_WEEKDAY and chance.random() < 0.8


def _strangers(week: DemoWeek, now: int) -> Iterator[DemoCall]:
    """A guess at tokens four days ago, and a monitor that has no token."""
    guessed = _days_ago(now, 4) + 3 * HOUR + 12 * MINUTE
    for i in range(60):
        yield _stranger(week.tried, Reason.MALFORMED_CREDENTIAL, guessed + 5 * i, "192.0.2.66")
    for start in range(_first(now), now, 6 * HOUR):
        yield _stranger(week.tried, Reason.CREDENTIAL_MISSING, start + 17 * MINUTE, "192.0.2.14")


def _stranger(endpoint: Endpoint, reason: Reason, at: int, address: str) -> DemoCall:
    row = describe(reason)
    return DemoCall(
        at_ms=at * 1000 + 41, status=row.status, reason=row.code, method=endpoint.method,
        collection=endpoint.collection_id, endpoint=endpoint.pk, address=address, milliseconds=0,
        details={"path": f"/{endpoint.collection.handle}{endpoint.path}"},
    )  # fmt: skip


def _mistakes(week: DemoWeek, now: int) -> Iterator[DemoCall]:
    """Calls that are refused by the code that decides, with what it saw."""
    sequence, found = feed.latest(), list[DecisionTrace]()
    for number, mistake in enumerate(week.mistakes, start=1):
        moments = [
            _days_ago(now, day) + hour * HOUR + minute * MINUTE
            for day in mistake.days
            for hour in range(8, 18)
            for minute in mistake.minutes
        ]
        moments = sorted(at for at in moments if _first(now) <= at < now - UNTOUCHED)
        if not moments:
            continue
        decided = _decided(mistake, moments[0])
        verdict = decide(decided)
        if not isinstance(verdict, Deny):
            raise TypeError(f"the demo's mistake {number} is admitted")
        row, profile = describe(verdict.reason), mistake.consumer.profile
        found.append(
            DecisionTrace(
                # Beyond the numbers that gateways give.
                number=2**31 - number, at_ms=moments[0] * 1000, sequence=sequence,
                profile_id=profile.pk, credential_id=mistake.consumer.credential.pk,
                steps=traces.written(explain(decided)),
            )
        )  # fmt: skip
        route = decided.route
        for at in moments:
            yield DemoCall(
                at_ms=at * 1000 + 7 * number, status=row.status, reason=row.code,
                method=mistake.method, collection=route.collection or 0,
                endpoint=route.endpoint or 0, client=profile.client_id, profile=profile.pk,
                address=mistake.address, milliseconds=1,
                details={"path": mistake.path, "trace": f"{2**31 - number}"},
            )  # fmt: skip
    recording.store_traces(found)


def _decided(mistake: DemoMistake, at: int) -> Facts:
    profile = mistake.consumer.profile
    return Facts(
        now=at,
        address=parse_address(mistake.address),
        presented=True,
        method=AuthMethod(profile.auth_type),
        known=facts.known(mistake.consumer.credential, profile),
        route=facts.called(profile, mistake.method, mistake.path, SYSTEM).route,
    )


def _outside_limits(week: DemoWeek, now: int) -> Iterator[DemoCall]:
    """A minute with more calls than the rate limit, and nights with more than the quota."""
    for days, wanted in ((5, 84), (3, 71), (1, 97)):
        at = _days_ago(now, days) + 11 * HOUR + 30 * MINUTE
        yield from _burst(week.hasty, at, wanted)
    nightly = week.thirsty.nightly_hour or 0
    for days in range(DAYS + 1):
        at = _days_ago(now, days) + nightly * HOUR + 5 * MINUTE
        yield from _night(week.thirsty, at, wanted=75 + 9 * (days % 3 == 1))


def _burst(consumer: DemoConsumer, at: int, wanted: int) -> Iterator[DemoCall]:
    rate = facts.rates(consumer.profile.policy)[0]
    details = {"rate_limit": f"{rate.limit}", "rate_interval": f"{rate.interval.seconds}"}
    for i in range(wanted):
        call = _plain(consumer, consumer.paces[0], at * 1000 + i * 550)
        yield call if i < rate.limit else _refused(call, Reason.RATE_LIMITED, details, consumer)


def _night(consumer: DemoConsumer, at: int, wanted: int) -> Iterator[DemoCall]:
    quota = facts.quota(consumer.profile.policy)
    most = quota.limit if quota else wanted
    details = {
        "quota_limit": f"{most}",
        "quota_end": f"{at // DAY * DAY + DAY}",
        "quota_counted": f"{most}",
    }
    for i in range(wanted):
        call = _plain(consumer, consumer.paces[0], at * 1000 + i * 2_300)
        yield call if i < most else _refused(call, Reason.QUOTA_EXCEEDED, details, consumer)


def _plain(consumer: DemoConsumer, pace: DemoPace, at_ms: int) -> DemoCall:
    profile = consumer.profile
    return DemoCall(
        at_ms=at_ms, status=200, method=pace.endpoint.method,
        collection=pace.endpoint.collection_id, endpoint=pace.endpoint.pk, client=profile.client_id,
        profile=profile.pk, credential=consumer.credential.pk, address=consumer.addresses[0],
        milliseconds=pace.milliseconds + at_ms // 50 % 11,
    )  # fmt: skip


def _refused(
    call: DemoCall, reason: Reason, details: Mapping[str, str], consumer: DemoConsumer
) -> DemoCall:
    row, pace = describe(reason), consumer.paces[0]
    path = f"/{pace.endpoint.collection.handle}{pace.path.format(id=1)}"
    return replace(
        call, status=row.status, reason=row.code, milliseconds=0, details={**details, "path": path}
    )


def _count(calls: Sequence[DemoCall]) -> None:
    """Store what counters and histograms of a gateway would have."""
    counts: dict[CountKey, Totals] = {}
    timed: dict[LatencyKey, int] = {}
    for call in calls:
        minute = call.at_ms // 60_000 * MINUTE
        what = What(minute, call.profile, call.client, call.collection, call.endpoint)
        # `would`: no rule of the demo refuses by being watched.
        key = CountKey(what, max(0, call.status) // 100, call.reason, 0)
        counts[key] = counts.get(key, Totals()).plus(Totals(1, _bytes_in(call), _bytes_out(call)))
        if call.endpoint and call.credential:
            took = what, latency.bucket_of(call.milliseconds)
            timed[took] = timed.get(took, 0) + 1
    for part in recording.parts(counts.items()):
        recording.store_counts("", dict(part), {})
    for some in recording.parts(timed.items()):
        recording.store_latencies("", dict(some), ())


def _bytes_in(call: DemoCall) -> int:
    return 212 if call.method == "GET" else 318


def _bytes_out(call: DemoCall) -> int:
    return 164 if outcomes.refused(call.reason) else 340 + call.at_ms % 700


def _log(calls: Sequence[DemoCall]) -> None:
    rows = [
        (
            call.at_ms, f"demo-{number}-1", "", call.status, call.reason, 0, call.method,
            call.collection, call.endpoint, call.client, call.profile, call.credential,
            call.address, call.milliseconds, _bytes_in(call), _bytes_out(call), 1,
            json.dumps(dict(call.details)),
        )
        for number, call in enumerate(calls, start=1)
    ]  # fmt: skip
    for part in recording.parts(rows):
        recording.store_lines("", part)


def _use(week: DemoWeek, calls: Sequence[DemoCall], now: int) -> None:
    """When credentials were last used, and what is used of the quotas."""
    uses = {call.credential: call.at_ms // 1000 for call in calls if call.credential}
    counting.store_uses(uses)
    quotas: dict[tuple[int, int], int] = {}
    for profile in (each.profile for each in week.consumers):
        if profile_limits.period(profile, now) is None:
            continue
        since = profile_limits.counted_since(profile, limits.QUOTA, now)
        used = [
            c for c in calls
            if c.profile == profile.pk and c.at_ms // 1000 >= since and not outcomes.refused(c.reason)
        ]  # fmt: skip
        quotas[profile.pk, since] = len(used)
    counting.store_quota(quotas)
