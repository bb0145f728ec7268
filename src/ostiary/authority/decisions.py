"""One upcall: gather the facts, let `access.decide` decide, and put the verdict into an answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ostiary.access import limits
from ostiary.access.addresses import NamedList, Network, parse_address, stored_networks
from ostiary.access.decision import Allow, Deny, decide
from ostiary.access.facts import (
    Client,
    ClientId,
    CollectionId,
    Credential,
    CredentialId,
    EndpointId,
    Facts,
    Known,
    Profile,
    ProfileId,
    Route,
)
from ostiary.access.limits import Interval, Period, Quota, RateLimit
from ostiary.access.methods import AuthMethod
from ostiary.access.reasons import Reason, describe
from ostiary.authority.address_lists import NamedLists
from ostiary.authority.authentication import Proved, Prover
from ostiary.authority.ceilings import Gate
from ostiary.authority.lookup import Lookup, Row
from ostiary.authority.traces import Traces
from ostiary.directory.workspace.project_quotas import LEASES, UPCALLS
from ostiary.gateway.contract import METHOD_NUMBERS, Lease, Question, Refusal, code

#: Seconds for which a gateway may repeat a refusal; a change of its facts voids it sooner.
REFUSAL_SECONDS = 20
#: The same for a transient refusal, for example while a key is being fetched.
PASSING_SECONDS = 2


async def answer(
    question: Question,
    prover: Prover,
    lookup: Lookup,
    traces: Traces,
    gate: Gate,
    now: int,
    named: NamedLists | None = None,
) -> Lease | Refusal:
    """Decide about a call without a lease; `now` is Unix seconds. Raises ceilings.Busy."""
    proved = await prover.prove(question, now)
    if proved.row.credential is not None and proved.problem is None:
        # Only what is proved counts: a forged token must not use up its profile's share.
        most = _quotas(proved.row.project_quotas).get(UPCALLS)
        gate.enter(profile=proved.row.profile, project=proved.row.project, most=most)
    gathered = facts(question, proved, now, await (named or NamedLists(lookup)).of(proved.row))
    verdict = decide(gathered)
    match verdict:
        case Allow():
            return await _lease(verdict, question, proved, lookup, gate, now)
        case Deny():
            trace = traces.send(gathered, verdict.reason, proved.row.sequence)
            return _refused(verdict, proved, trace, now)


def overloaded() -> Refusal:
    """The answer to a call above a ceiling: it is neither repeated nor traced."""
    return Refusal(profile=0, bound=0, sequence=0, expires=0, code=code(Reason.OVERLOADED), trace=0)


#: The address lists that allow and that deny, of those that profiles share.
Lists = tuple[tuple[NamedList, ...], tuple[NamedList, ...]]


def facts(question: Question, proved: Proved, now: int, lists: Lists = ((), ())) -> Facts:
    """The facts of a decision, from a question and what the directory says."""
    row = proved.row
    return Facts(
        now=now,
        address=_address(question.address),
        presented=True,
        method=proved.method,
        problem=str(proved.problem) if proved.problem else "",
        proved_until=proved.until,
        fitting=tuple(map(ProfileId, proved.fitting)),
        known=known(row, now, lists) if row.credential is not None else None,
        route=Route(
            collection=CollectionId(question.collection) if question.collection else None,
            granted=bool(row.granted),
            endpoint=EndpointId(question.endpoint) if row.callable else None,
            # The gateway knew it; it is switched off, moved or deleted since.
            inactive=bool(question.endpoint) and not row.callable,
            usage=bool(question.usage),
        ),
    )


def known(row: Row, now: int, lists: Lists = ((), ())) -> Known:
    """The credential of a row that has one, with its profile and client, at `now` (Unix seconds)."""
    terms = _terms_of(row, now)
    return Known(
        credential=Credential(
            id=CredentialId(row.credential or 0),
            revoked_at=row.revoked_at,
            expires_at=row.expires_at,
            overlap_until=row.overlap_until,
        ),
        profile=Profile(
            id=ProfileId(row.profile),
            active=bool(row.profile_active),
            inactive_until=row.profile_inactive_until,
            method=AuthMethod(row.auth_type),
            expires_at=row.profile_expires_at,
            allowed=networks(row.allow_list),
            denied=networks(row.deny_list),
            allowed_lists=lists[0],
            denied_lists=lists[1],
            addresses_watched=bool(row.addresses_watched),
            rates=terms.rates,
            quota=terms.quota,
            limits_watched=bool(row.limits_watched),
            policy_since=row.policy_since or 0,
            resets=_by_name(row.limit_resets),
            raised_until=row.raised_until if _is_raised(row, now) else None,
        ),
        client=Client(
            id=ClientId(row.client),
            active=bool(row.client_active),
            inactive_until=row.client_inactive_until,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """A policy's limits, and what a lease says of them."""

    rates: tuple[RateLimit, ...]
    quota: Quota | None
    #: As in `Lease.rates` and `Lease.announced`.
    rates_text: str
    announced: str


# A tenth of a decision, and there are far fewer policies and callers than decisions.
@lru_cache(maxsize=10_000)
def _terms(
    rate_limit: int | None,
    rate_interval: str | None,
    more_rates: str | None,
    quota_limit: int | None,
    quota_interval: str | None,
    raised: str | None,
) -> _Terms:
    rates = limits.rate_limits(rate_limit, rate_interval, json.loads(more_rates or "[]"))
    quota = None
    if quota_limit is not None and quota_interval:
        quota = Quota(limit=quota_limit, period=Period(quota_interval))
    rates, quota = limits.raised(rates, quota, _by_name(raised))
    return _Terms(
        rates=rates,
        quota=quota,
        rates_text=",".join(f"{rate.limit}:{rate.interval.seconds}" for rate in rates),
        announced=announced(rates, quota),
    )


def _is_raised(row: Row, now: int) -> bool:
    return row.raised_until is not None and row.raised_until > now


def _terms_of(row: Row, now: int) -> _Terms:
    return _terms(
        row.rate_limit, row.rate_interval, row.more_rates, row.quota_limit, row.quota_interval,
        row.raised_limits if _is_raised(row, now) else None,
    )  # fmt: skip


@lru_cache(maxsize=10_000)
def _quotas(text: str | None) -> Mapping[str, int]:
    """What a project may ask, as it is stored."""
    stored = json.loads(text or "{}")
    return {name: stored[name] for name in (UPCALLS, LEASES) if name in stored}


class BrokenNumbers(ValueError):
    """Stored limits that cannot be parsed: the rule must refuse, not be ignored."""


@lru_cache(maxsize=10_000)
def _by_name(text: str | None) -> Mapping[str, int]:
    """Numbers by the names of limits, as they are stored; raises BrokenNumbers."""
    stored = json.loads(text or "{}")
    if not isinstance(stored, dict) or not all(
        name in limits.WINDOWS and isinstance(number, int) and number > 0
        for name, number in stored.items()
    ):
        raise BrokenNumbers(text)
    return stored


_address = lru_cache(maxsize=10_000)(parse_address)


@lru_cache(maxsize=10_000)
def networks(text: str) -> tuple[Network, ...]:
    """The networks of a stored list; raises BrokenList."""
    return stored_networks(json.loads(text))


#: Names of windows in the RateLimit-Policy header, where a policy has several.
_NAMES = {
    Interval.SECOND: "second",
    Interval.MINUTE: "minute",
    Interval.HOUR: "hour",
    Interval.DAY: "day",
}
#: Days of a quota's period; months differ in length, and have none.
_DAYS = {
    Period.DAY: 1, Period.WEEK: 7, Period.DAYS_30: 30, Period.DAYS_60: 60, Period.DAYS_90: 90,
}  # fmt: skip


def announced(rates: tuple[RateLimit, ...], quota: Quota | None) -> str:
    """A policy as a structured field (draft-ietf-httpapi-ratelimit-headers-10, section 3)."""
    items = [
        f'"{"rate" if len(rates) == 1 else f"per-{_NAMES[rate.interval]}"}"'
        f";q={rate.limit};w={rate.interval.seconds}"
        for rate in rates
    ]
    if quota is not None:
        days = _DAYS.get(quota.period)
        items.append(f'"quota";q={quota.limit}' + (f";w={days * limits.DAY}" if days else ""))
    return ", ".join(items)


async def _rates_used(profile: Profile, lookup: Lookup, now: int) -> str:
    words = []
    for rate in profile.rates:
        span = limits.window(rate.interval, now)
        start, used = limits.since(span, profile.resets.get(rate.interval.value)), 0
        if kept := limits.kept_as(rate.interval):
            used = await lookup.quota_used(profile.id, kept, start)
        words.append(f"{used}:{start}")
    return ",".join(words)


async def _lease(
    verdict: Allow, question: Question, proved: Proved, lookup: Lookup, gate: Gate, now: int
) -> Lease:
    profile, row = verdict.known.profile, proved.row
    terms = _terms_of(row, now)
    # Calls with weight 0 are not limited.
    weight = 1 if question.usage or row.weight is None else row.weight
    quota = profile.quota if weight else None
    until, start, end, used = verdict.until, 0, 0, 0
    if profile.quota is not None and quota is not None:
        span = limits.period(profile.quota.period, now, profile.policy_since)
        start, end = limits.since(span, profile.resets.get(limits.QUOTA)), span.end
        used = await lookup.quota_used(profile.id, profile.quota.period.value, start)
        until = min(until, end)
    return Lease(
        profile=profile.id,
        client=verdict.known.client.id,
        project=row.project,
        policy=row.policy or 0,
        collection=question.collection,
        endpoint=question.endpoint,
        credential=verdict.known.credential.id,
        sequence=row.sequence,
        expires=min(
            until,
            now + gate.seconds(profile.id, row.project, _quotas(row.project_quotas).get(LEASES)),
        ),
        ends=_ends(verdict.known, proved),
        method=METHOD_NUMBERS[profile.method],
        bound=int(verdict.address_bound),
        address_lists=",".join(
            str(each.id) for each in (*profile.allowed_lists, *profile.denied_lists)
        ),
        would=code(verdict.would) if verdict.would else 0,
        report_only=int(profile.limits_watched),
        legacy_headers=int(bool(row.legacy_headers)),
        weight=weight or 1,
        rates=terms.rates_text if weight else "",
        rates_used=await _rates_used(profile, lookup, now) if weight else "",
        quota=quota.limit if quota else 0,
        quota_starts=start,
        quota_ends=end,
        quota_used=used,
        announced=terms.announced if weight and not profile.limits_watched else "",
        policy_name=_one_line(row.policy_name or "") if question.usage else "",
        quota_period=quota.period.value if quota else "",
    )


def _one_line(text: str) -> str:
    """A name as a field of an answer, which tabs part."""
    return " ".join(text.split())


def _ends(known: Known, proved: Proved) -> int:
    """When the access itself ends; 0: never."""
    credential, profile = known.credential, known.profile
    ends = (credential.expires_at, credential.overlap_until, profile.expires_at, proved.ends)
    return min((end for end in ends if end is not None), default=0)


def _back_at(known: Known | None, now: int) -> int | None:
    """When what is off until a moment comes back: no refusal is repeated after it."""
    both = (known.profile.inactive_until, known.client.inactive_until) if known else ()
    return min((each for each in both if each is not None and each > now), default=None)


def _refused(verdict: Deny, proved: Proved, trace: int, now: int) -> Refusal:
    known = verdict.known
    lists = known is not None and known.profile.has_lists
    held = describe(verdict.reason).is_held
    passing = proved.problem is not None and proved.problem.passing
    until = now + (PASSING_SECONDS if passing else REFUSAL_SECONDS)
    return Refusal(
        profile=known.profile.id if known else 0,
        bound=int(bool(lists)),
        sequence=proved.row.sequence,
        expires=min(until, _back_at(known, now) or until) if held else 0,
        code=code(verdict.reason),
        trace=trace,
    )
