"""Recorded calls of a profile, decided and counted again under other terms. Pure; no clock, no I/O.

What a call was is recorded; what its profile may is given. `access.decide` decides, and limits count
in the windows of `access.limits`, in the order in which the calls came.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ostiary.access import limits
from ostiary.access.addresses import Address
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
    Route,
)
from ostiary.access.reasons import Reason, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A call as it was logged. `at` is when it came, Unix seconds."""

    at: int
    address: Address | None
    collection: int
    endpoint: int
    #: Why it was refused then; empty: it was admitted.
    reason: Reason | None = None
    #: How many calls the line stands for.
    weight: int = 1
    #: What each of them counts in limits.
    units: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a profile may: as it is, or as it would be."""

    profile: Profile
    collections: frozenset[int]
    #: Calls that a quota's period had seen before the first recorded one, by the period's start.
    used: Mapping[int, int] = field(default_factory=dict)
    #: Whoever called has no credential any more.
    credentials_revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOutcome:
    """The result of a recorded call: how many of the calls that it stands for are refused."""

    refused: int = 0
    #: Why; empty: none of them is.
    reason: Reason | None = None
    #: So many more would be, were no rule only watched.
    would: int = 0
    #: Why they would.
    would_for: Reason | None = None


def facts(call: Recorded, terms: Terms) -> Facts:
    """The facts of a recorded call under other terms; whoever called had proved it."""
    return Facts(
        now=call.at,
        address=call.address,
        presented=True,
        method=terms.profile.method,
        known=Known(
            credential=Credential(
                id=CredentialId(0), revoked_at=call.at if terms.credentials_revoked else None
            ),
            profile=terms.profile,
            client=Client(id=ClientId(0)),
        ),
        route=Route(
            collection=CollectionId(call.collection) if call.collection else None,
            granted=call.collection in terms.collections,
            endpoint=EndpointId(call.endpoint) if call.endpoint else None,
            inactive=call.reason is Reason.ENDPOINT_INACTIVE,
            allow=("another",) if call.reason is Reason.METHOD_NOT_ALLOWED else (),
        ),
    )


def replayed(calls: Iterable[Recorded], terms: Terms) -> Iterator[ReplayOutcome]:
    """What becomes of each call; they must be in the order in which they came."""
    meter = Meter(terms)
    decided: dict[object, Reason | Allow] = {}
    for call in calls:
        if call.reason is not None and not describe(call.reason).is_replayed:
            yield ReplayOutcome(refused=call.weight, reason=call.reason)
            continue
        verdict = _decided(call, terms, decided)
        if isinstance(verdict, Reason):
            yield ReplayOutcome(refused=call.weight, reason=verdict)
            continue
        yield _counted(call, verdict, meter, watched=terms.profile.limits_watched)


def _decided(call: Recorded, terms: Terms, decided: dict[object, Reason | Allow]) -> Reason | Allow:
    """`decide`, asked once for calls that are alike: a list of addresses is long, and so is a log."""
    end = terms.profile.expires_at
    alike = (
        call.address, call.collection, call.endpoint, call.reason, end is not None and end <= call.at
    )  # fmt: skip
    if alike not in decided:
        verdict = decide(facts(call, terms))
        decided[alike] = verdict.reason if isinstance(verdict, Deny) else verdict
    return decided[alike]


def _counted(call: Recorded, verdict: Allow, meter: "Meter", *, watched: bool) -> ReplayOutcome:
    if verdict.would:
        # It would not reach the limits, were its address list enforced.
        return ReplayOutcome(would=call.weight, would_for=verdict.would)
    over, reason = meter.charge(call.at, call.weight, call.units)
    if watched:
        return ReplayOutcome(would=over, would_for=reason)
    return ReplayOutcome(refused=over, reason=reason)


class Meter:
    """A profile's counters, as a gateway keeps them: what is refused counts towards nothing."""

    def __init__(self, terms: Terms) -> None:
        self._profile = terms.profile
        self._quota = dict(terms.used)
        #: The quota's period that was asked for last: most calls lie in the same.
        self._span = limits.TimeSpan(start=0, end=0)
        #: The window of each rate limit, and what it has had.
        self._rates: dict[limits.Interval, tuple[limits.TimeSpan, int]] = {}

    def charge(self, at: int, calls: int, units: int = 1) -> tuple[int, Reason | None]:
        """Count calls of `units` each that come at `at`; how many are over a limit, and which."""
        if units == 0:
            return 0, None
        quota_left, rate_left = self._quota_left(at), self._rate_left(at)
        passed = max(0, min(calls, quota_left // units, rate_left // units))
        if self._profile.quota is not None:
            start = self._period(at)
            self._quota[start] = self._quota.get(start, 0) + passed * units
        for interval, (span, used) in self._rates.items():
            self._rates[interval] = span, used + passed * units
        if passed == calls:
            return 0, None
        reason = Reason.QUOTA_EXCEEDED if quota_left <= rate_left else Reason.RATE_LIMITED
        return calls - passed, reason

    def _period(self, at: int) -> int:
        quota = self._profile.quota
        assert quota is not None  # noqa: S101 - asked for profiles with a quota alone
        if not self._span.start <= at < self._span.end:
            self._span = limits.period(quota.period, at, self._profile.policy_since)
        return self._span.start

    def _quota_left(self, at: int) -> int:
        if self._profile.quota is None:
            return limits.LARGEST
        return self._profile.quota.limit - self._quota.get(self._period(at), 0)

    def _rate_left(self, at: int) -> int:
        for rate in self._profile.rates:
            span = limits.window(rate.interval, at)
            if span != self._rates.get(rate.interval, (None, 0))[0]:
                self._rates[rate.interval] = span, 0
        return min(
            (rate.limit - self._rates[rate.interval][1] for rate in self._profile.rates),
            default=limits.LARGEST,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a change makes of one recorded call."""

    #: Place of the call among those that were replayed.
    index: int
    before: ReplayOutcome
    after: ReplayOutcome

    @property
    def newly_refused(self) -> int:
        return max(0, self.after.refused - self.before.refused)

    @property
    def newly_allowed(self) -> int:
        return max(0, self.before.refused - self.after.refused)


def differences(calls: Sequence[Recorded], before: Terms, after: Terms) -> list[Difference]:
    """Every call in its order, under both terms."""
    pairs = zip(replayed(calls, before), replayed(calls, after), strict=True)
    return [Difference(index=i, before=b, after=a) for i, (b, a) in enumerate(pairs)]
