"""One upcall: gather the facts, let `access.decide` decide, and put the verdict into an answer."""

import json
from functools import lru_cache

from ostiary.access import limits
from ostiary.access.addresses import Network, parse_address, parse_list
from ostiary.access.decision import LEASE_SECONDS, Allow, Deny, decide
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
from ostiary.identity.tokens import fingerprint

#: Seconds for which a refusal is held; what it rests on voids it sooner.
REFUSAL_SECONDS = 20


async def answer(question: Question, lookup: Lookup, now: int) -> Lease | Refused:
    """Decide about a call without a lease; `now` is Unix seconds."""
    row = await lookup.find(fingerprint(question.credential), question.collection)
    verdict = decide(facts(question, row, now))
    match verdict:
        case Allow():
            return await _lease(verdict, row, lookup, now)
        case Deny():
            return _refused(verdict, row, now)


def facts(question: Question, row: Row, now: int) -> Facts:
    """The facts of a decision, from a question and what the directory says."""
    return Facts(
        now=now,
        address=parse_address(question.address),
        presented=True,
        method=AuthMethod.TOKEN,
        known=_known(row) if row.credential is not None else None,
        route=Route(
            collection=CollectionId(question.collection) if question.collection else None,
            granted=bool(row.granted),
            endpoint=EndpointId(question.endpoint) if question.endpoint else None,
        ),
    )


def _known(row: Row) -> Known:
    rate = quota = None
    if row.rate_limit is not None and row.rate_interval:
        rate = limits.RateLimit(limit=row.rate_limit, interval=limits.Interval(row.rate_interval))
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
            rate=rate,
            quota=quota,
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


async def _lease(verdict: Allow, row: Row, lookup: Lookup, now: int) -> Lease:
    profile = verdict.known.profile
    until, start, end, used = verdict.until, 0, 0, 0
    if profile.quota is not None:
        span = limits.period(profile.quota.period, now, profile.policy_since)
        start, end = span.start, span.end
        used = await lookup.quota_used(profile.id, profile.quota.period.value, start)
        until = min(until, end)
    return Lease(
        bound=int(verdict.address_bound),
        profile=profile.id,
        client=verdict.known.client.id,
        seq=row.sequence,
        exp=until,
        rate_limit=profile.rate.limit if profile.rate else 0,
        rate_interval=profile.rate.interval.seconds if profile.rate else 0,
        quota_limit=profile.quota.limit if profile.quota else 0,
        quota_start=start,
        quota_base=used,
        quota_end=end,
        credential=verdict.known.credential.id,
        policy=row.policy or 0,
    )


def _refused(verdict: Deny, row: Row, now: int) -> Refused:
    known = verdict.known
    lists = known is not None and (known.profile.allowed or known.profile.denied)
    # An address is one of many: holding a row for each would let one caller fill the table.
    held = verdict.reason not in {Reason.ADDRESS_DENIED, Reason.ADDRESS_NOT_ALLOWED}
    return Refused(
        bound=int(bool(lists)),
        profile=known.profile.id if known else 0,
        seq=row.sequence,
        exp=now + min(REFUSAL_SECONDS, LEASE_SECONDS) if held else 0,
        code=refusal(verdict.reason).code,
    )
