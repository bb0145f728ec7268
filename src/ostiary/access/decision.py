"""The decision: facts in, a verdict out. Pure and total; this module defines the order of checks."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ostiary.access.addresses import Address, NamedList, Near, Network, contains, nearest
from ostiary.access.facts import Client, Credential, Facts, Known, Profile
from ostiary.access.reasons import Reason
from ostiary.access.stages import Stage

#: Longest life of a decision in seconds; then the authority decides again.
LEASE_SECONDS = 600
#: Most entries of a list in an explanation: traces of refusals are stored, and lists are long.
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may pass, and others like it until `until` (Unix seconds)."""

    known: Known
    until: int
    #: Good only for the address that called: the profile has address lists.
    address_bound: bool
    #: Reason for which a watch-only rule would have refused.
    would: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    reason: Reason
    #: The credential is known; the caller is not told so.
    known: Known | None


Verdict = Allow | Deny


class StepOutcome(enum.StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    #: The check failed, but its rule is watch-only.
    WATCHED = "only watched"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check of a decision, for the owner: its inputs and its outcome."""

    check: Stage
    outcome: StepOutcome
    #: Names and values; empty if the check was not reached.
    inputs: tuple[tuple[str, str], ...] = ()
    #: Why it failed, or would have.
    reason: Reason | None = None


def _presented_refused(facts: Facts) -> Reason | None:
    if facts.several:
        return Reason.CONFLICTING_CREDENTIALS
    return None if facts.presented else Reason.CREDENTIAL_MISSING


def _known_refused(facts: Facts) -> Reason | None:
    if facts.fitting:
        return Reason.AMBIGUOUS_CREDENTIAL
    return None if facts.known else Reason.UNKNOWN_CREDENTIAL


def _method_refused(facts: Facts) -> Reason | None:
    fits = facts.known is not None and facts.known.profile.method is facts.method
    return None if fits else Reason.METHOD_MISMATCH


def _proof_refused(facts: Facts) -> Reason | None:
    if facts.problem or _over(facts.proved_until, facts.now):
        return Reason.TOKEN_INVALID
    return None


def _credential_refused(facts: Facts) -> Reason | None:
    return refused_credential(_known(facts).credential, facts.now)


def refused_credential(credential: Credential, now: int) -> Reason | None:
    """Why every call with a credential is refused, whatever becomes of its profile."""
    if credential.revoked_at is not None:
        return Reason.REVOKED_CREDENTIAL
    if _over(credential.overlap_until, now):
        return Reason.REVOKED_CREDENTIAL
    return Reason.EXPIRED_CREDENTIAL if _over(credential.expires_at, now) else None


def is_active(active: bool, inactive_until: int | None, now: int) -> bool:
    """Whether a client or profile is active at `now`: what is off until a moment is on again after it."""
    return active or _over(inactive_until, now)


def _client_refused(facts: Facts) -> Reason | None:
    return refused_client(_known(facts).client, facts.now)


def refused_client(client: Client, now: int) -> Reason | None:
    """Why every call of a client's profiles is refused."""
    active = is_active(client.active, client.inactive_until, now)
    return None if active else Reason.CLIENT_INACTIVE


def _profile_refused(facts: Facts) -> Reason | None:
    return refused_profile(_known(facts).profile, facts.now)


def refused_profile(profile: Profile, now: int) -> Reason | None:
    """Why every call of a profile is refused, whatever becomes of its client."""
    if not is_active(profile.active, profile.inactive_until, now):
        return Reason.PROFILE_INACTIVE
    return Reason.PROFILE_EXPIRED if _over(profile.expires_at, now) else None


def _address_refused(facts: Facts) -> Reason | None:
    return refused_address(_known(facts).profile, facts.address)


def refused_address(profile: Profile, address: Address | None) -> Reason | None:
    """Why a profile's lists refuse an address, whether or not they are only watched."""
    if not profile.has_lists:
        return None
    if address is None:
        return Reason.ADDRESS_UNPARSABLE
    if _listed(address, profile.denied, profile.denied_lists):
        return Reason.ADDRESS_DENIED
    if not (profile.allowed or profile.allowed_lists):
        return None
    if not _listed(address, profile.allowed, profile.allowed_lists):
        return Reason.ADDRESS_NOT_ALLOWED
    return None


def _listed(address: Address, own: tuple[Network, ...], shared: tuple[NamedList, ...]) -> bool:
    return contains(own, address) or any(address in each for each in shared)


def _collection_refused(facts: Facts) -> Reason | None:
    if facts.route.usage:
        return None
    if facts.route.collection is None:
        return Reason.COLLECTION_NOT_FOUND
    return None if facts.route.granted else Reason.COLLECTION_NOT_GRANTED


def _endpoint_refused(facts: Facts) -> Reason | None:
    route = facts.route
    if route.endpoint is not None or route.usage:
        return None
    if route.allow:
        # Also where an inactive endpoint would take the method: to callers it is not there.
        return Reason.METHOD_NOT_ALLOWED
    return Reason.ENDPOINT_INACTIVE if route.inactive else Reason.ENDPOINT_NOT_FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: its name in stored traces, why it refuses, and what it looks at."""

    stage: Stage
    refuses: Callable[[Facts], Reason | None]
    #: Names and values for an explanation; times are Unix seconds.
    inputs: Callable[[Facts], Mapping[str, object]]
    #: The check is made and reported, but refuses nothing.
    is_watched: Callable[[Facts], bool] = lambda _: False


#: Who calls, then whether it may at all, then from where, then what. A stranger must learn
#: nothing of what exists, so everything about paths comes after everything about credentials.
CHECKS: tuple[Check, ...] = (
    Check(
        stage=Stage.PRESENTED,
        refuses=_presented_refused,
        inputs=lambda f: {"presented": f.presented, "several": f.several},
    ),
    Check(
        stage=Stage.KNOWN,
        refuses=_known_refused,
        inputs=lambda f: (
            {"fits profiles": f.fitting}
            if f.fitting
            else {"credential": f.known.credential.id if f.known else None}
        ),
    ),
    Check(
        stage=Stage.METHOD,
        refuses=_method_refused,
        inputs=lambda f: {"presented as": f.method, "profile": _known(f).profile.method},
    ),
    Check(
        stage=Stage.PROOF,
        refuses=_proof_refused,
        inputs=lambda f: {"problem": f.problem or None, "good until": f.proved_until},
    ),
    Check(
        stage=Stage.CREDENTIAL,
        refuses=_credential_refused,
        inputs=lambda f: {
            "now": f.now,
            "revoked at": _known(f).credential.revoked_at,
            "overlap until": _known(f).credential.overlap_until,
            "expires at": _known(f).credential.expires_at,
        },
    ),
    Check(
        stage=Stage.CLIENT,
        refuses=_client_refused,
        inputs=lambda f: {
            "client": _known(f).client.id,
            "active": _known(f).client.active,
            **_pause(_known(f).client.inactive_until, f.now),
        },
    ),
    Check(
        stage=Stage.PROFILE,
        refuses=_profile_refused,
        inputs=lambda f: {
            "profile": _known(f).profile.id,
            "active": _known(f).profile.active,
            **_pause(_known(f).profile.inactive_until, f.now),
            "now": f.now,
            "expires at": _known(f).profile.expires_at,
        },
    ),
    Check(
        stage=Stage.ADDRESS,
        refuses=_address_refused,
        inputs=lambda f: {
            "address": f.address,
            "denied": _known(f).profile.denied,
            "allowed": _known(f).profile.allowed,
            **_shared_lists(_known(f).profile),
            "nearest allowed": _nearest(f),
            "only watched": _known(f).profile.addresses_watched,
        },
        is_watched=lambda f: _known(f).profile.addresses_watched,
    ),
    Check(
        stage=Stage.COLLECTION,
        refuses=_collection_refused,
        inputs=lambda f: (
            _USAGE
            if f.route.usage
            else {"collection": f.route.collection, "granted": f.route.granted}
        ),
    ),
    Check(
        stage=Stage.ENDPOINT,
        refuses=_endpoint_refused,
        inputs=lambda f: (
            _USAGE
            if f.route.usage
            else {
                "endpoint": f.route.endpoint,
                "inactive": f.route.inactive,
                "methods of the path": f.route.allow,
            }
        ),
    ),
)
_USAGE: Mapping[str, object] = {"reads": "what is used of its own limits"}
#: What does not depend on a path.
_CALLER_CHECKS = tuple(
    check for check in CHECKS if check.stage not in {Stage.COLLECTION, Stage.ENDPOINT}
)


def decide(facts: Facts) -> Verdict:
    """Whether the call may pass; limits are counted afterwards, where it is forwarded."""
    would = None
    for check in CHECKS:
        reason = check.refuses(facts)
        if reason is None:
            continue
        if not check.is_watched(facts):
            return Deny(reason=reason, known=facts.known)
        would = reason
    known = _known(facts)
    return Allow(
        known=known,
        until=_until(facts, known),
        address_bound=known.profile.has_lists,
        would=would,
    )


def refused_caller(facts: Facts) -> Reason | None:
    """Why a caller is refused whatever it calls: by who it is, or where it calls from."""
    for check in _CALLER_CHECKS:
        reason = check.refuses(facts)
        if reason is not None and not check.is_watched(facts):
            return reason
    return None


def explain(facts: Facts) -> tuple[Step, ...]:
    """Every check of `decide`, in its order, with what each one looked at and found."""
    steps: list[Step] = []
    refused = False
    for check in CHECKS:
        if refused:
            steps.append(Step(check=check.stage, outcome=StepOutcome.NOT_REACHED))
        else:
            steps.append(_step(check, facts))
            refused = steps[-1].outcome is StepOutcome.FAILED
    return tuple(steps)


def _step(check: Check, facts: Facts) -> Step:
    reason = check.refuses(facts)
    outcome = StepOutcome.PASSED
    if reason is not None:
        outcome = StepOutcome.WATCHED if check.is_watched(facts) else StepOutcome.FAILED
    return Step(
        check=check.stage,
        outcome=outcome,
        inputs=tuple((name, _text(value)) for name, value in check.inputs(facts).items()),
        reason=reason,
    )


def _text(value: object) -> str:
    """A value as an owner reads it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, tuple):
        return str(value)
    more = f" and {len(value) - MOST_SHOWN:,} more" if len(value) > MOST_SHOWN else ""
    return ", ".join(map(str, value[:MOST_SHOWN])) + more


def nearest_allowed(profile: Profile, address: Address | None) -> Near | None:
    """The allowed range that comes nearest to an address that is in none."""
    if address is None or _listed(address, profile.allowed, profile.allowed_lists):
        return None
    each_nearest = (
        nearest(profile.allowed, address),
        *(each.nearest(address) for each in profile.allowed_lists),
    )
    found = [each for each in each_nearest if each is not None]
    return min(found, key=lambda each: each.missed) if found else None


def _nearest(facts: Facts) -> str | None:
    found = nearest_allowed(_known(facts).profile, facts.address)
    return str(found) if found else None


def _pause(inactive_until: int | None, now: int) -> Mapping[str, object]:
    """Until when it is off, where that is said."""
    return {} if inactive_until is None else {"inactive until": inactive_until, "now": now}


def _shared_lists(profile: Profile) -> Mapping[str, object]:
    """The lists that a profile shares with others, where it has any."""
    named = {"denied lists": profile.denied_lists, "allowed lists": profile.allowed_lists}
    return {name: lists for name, lists in named.items() if lists}


def _known(facts: Facts) -> Known:
    if facts.known is None:  # the check of `known` comes before all that ask
        raise AssertionError("asked about an unknown credential")
    return facts.known


def _over(moment: int | None, now: int) -> bool:
    return moment is not None and moment <= now


def _until(facts: Facts, known: Known) -> int:
    ends = (
        known.credential.expires_at,
        known.credential.overlap_until,
        known.profile.expires_at,
        known.profile.raised_until,
        facts.proved_until,
    )
    return min([facts.now + LEASE_SECONDS, *(end for end in ends if end is not None)])
