"""One upcall: gather the facts, let `access.decide` decide, and put the verdict into an answer."""

import json
import random
from functools import lru_cache

from ostiary.access import limits
from ostiary.access.addresses import Network, parse_address, parse_list
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
from ostiary.access.methods import AuthMethod
from ostiary.access.reasons import Reason, refusal
from ostiary.authority.answers import Lease, Question, Refused
from ostiary.authority.lookup import Lookup, Row
from ostiary.authority.proving import Proved, Prover
from ostiary.authority.traces import Traces
from ostiary.gateway.leases import UNLIMITED

#: Seconds for which a refusal is held; what it rests on voids it sooner.
REFUSAL_SECONDS = 20
#: The same for one that may be otherwise in a moment, such as a key that is being fetched.
PASSING_SECONDS = 2
#: How a method travels through the gateway; stable, since leases and logs hold it.
METHOD_NUMBERS = {
    AuthMethod.TOKEN: 1,
    AuthMethod.OAUTH2: 2,
    AuthMethod.JWT: 3,
    AuthMethod.OIDC: 4,
}


async def answer(
    question: Question, prover: Prover, lookup: Lookup, traces: Traces, now: int
) -> Lease | Refused:
    """Decide about a call without a lease; `now` is Unix seconds."""
    proved = await prover.prove(question, now)
    known_now = facts(question, proved, now)
    verdict = decide(known_now)
    match verdict:
        case Allow():
            return await _lease(verdict, question, proved.row, lookup, now)
        case Deny():
            trace = traces.tell(known_now, verdict.reason, proved.row.sequence)
            return _refused(verdict, proved, trace, now)


def facts(question: Question, proved: Proved, now: int) -> Facts:
    """The facts of a decision, from a question and what the directory says."""
    row = proved.row
    return Facts(
        now=now,
        address=parse_address(question.address),
        presented=True,
        method=proved.method,
        problem=str(proved.problem) if proved.problem else "",
        proved_until=proved.until,
        known=known(row) if row.credential is not None else None,
        route=Route(
            collection=CollectionId(question.collection) if question.collection else None,
            granted=bool(row.granted),
            endpoint=EndpointId(question.endpoint) if question.endpoint else None,
        ),
    )


def known(row: Row) -> Known:
    """The credential of a row that has one, with its profile and client."""
    quota = None
    if row.quota_limit is not None and row.quota_interval:
        quota = limits.Quota(limit=row.quota_limit, period=limits.Period(row.quota_interval))
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
            method=AuthMethod(row.auth_type),
            expires_at=row.profile_expires_at,
            allowed=networks(row.allow_list),
            denied=networks(row.deny_list),
            addresses_watched=bool(row.addresses_watched),
            rates=limits.rate_limits(
                row.rate_limit, row.rate_interval, json.loads(row.more_rates or "[]")
            ),
            quota=quota,
            limits_watched=bool(row.limits_watched),
            policy_since=row.policy_since or 0,
        ),
        client=Client(id=ClientId(row.client), active=bool(row.client_active)),
    )


class BrokenList(ValueError):
    """A stored address list does not read: a rule that is half there must refuse, not vanish."""


@lru_cache(maxsize=10_000)
def networks(text: str) -> tuple[Network, ...]:
    """The networks of a stored list; raises BrokenList."""
    parsed = parse_list(json.loads(text))
    if parsed.problems:
        raise BrokenList(parsed.problems[0])
    return parsed.networks


async def _lease(verdict: Allow, question: Question, row: Row, lookup: Lookup, now: int) -> Lease:
    profile = verdict.known.profile
    until, start, end, used = verdict.until, 0, 0, 0
    if profile.quota is not None:
        span = limits.period(profile.quota.period, now, profile.policy_since)
        start, end = span.start, span.end
        used = await lookup.quota_used(profile.id, profile.quota.period.value, start)
        until = min(until, end)
    rate = profile.rates[0] if profile.rates else None
    limited = (rate is not None) + 2 * (profile.quota is not None)
    rate_used = 0
    if rate is not None and (kept := limits.kept_as(rate.interval)):
        window = limits.window(rate.interval, now)
        rate_used = await lookup.quota_used(profile.id, kept, window.start)
    return Lease(
        bound=int(verdict.address_bound),
        profile=profile.id,
        client=verdict.known.client.id,
        seq=row.sequence,
        exp=until,
        rate_limit=rate.limit if rate else UNLIMITED,
        rate_interval=rate.interval.seconds if rate else 1,
        quota_limit=profile.quota.limit if profile.quota else UNLIMITED,
        quota_start=start,
        quota_base=used,
        quota_end=end,
        credential=verdict.known.credential.id,
        policy=(row.policy or 0) if limited and not profile.limits_watched else 0,
        method=METHOD_NUMBERS[profile.method],
        would=refusal(verdict.would).code if verdict.would else 0,
        watched=int(profile.limits_watched),
        endpoint=question.endpoint,
        collection=question.collection,
        limited=limited,
        serial=random.randrange(1, 2**31),
        rate_used=rate_used,
    )


def _refused(verdict: Deny, proved: Proved, trace: int, now: int) -> Refused:
    found = verdict.known
    lists = found is not None and (found.profile.allowed or found.profile.denied)
    # An address is one of many: holding a row for each would let one caller fill the table.
    held = verdict.reason not in {Reason.ADDRESS_DENIED, Reason.ADDRESS_NOT_ALLOWED}
    passing = proved.problem is not None and proved.problem.passing
    return Refused(
        bound=int(bool(lists)),
        profile=found.profile.id if found else 0,
        seq=proved.row.sequence,
        exp=now + (PASSING_SECONDS if passing else REFUSAL_SECONDS) if held else 0,
        code=refusal(verdict.reason).code,
        trace=trace,
    )
