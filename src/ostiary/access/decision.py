"""The decision: facts in, a verdict out. Pure and total; the order of checks stands here, once."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ostiary.access.addresses import Address, NamedList, Near, Network, contains, nearest
from ostiary.access.facts import Facts, Known, Profile
from ostiary.access.reasons import Reason

#: A decision is good for this many seconds at most, then it is taken again.
LEASE_SECONDS = 600
#: An explanation shows so much of a list: traces of refusals are kept, and lists are long.
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may pass, and others like it until `until` (Unix seconds)."""

    known: Known
    until: int
    #: Good only for the address that called: the profile has address lists.
    address_bound: bool
    #: Why a rule that is only watched would have refused.
    would: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    reason: Reason
    #: The credential was found: what is refused is known, though not to the caller.
    known: Known | None


Verdict = Allow | Deny


class Outcome(enum.StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    #: It would have failed, but is only watched.
    WATCHED = "only watched"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check of a decision, for the owner: what it looked at, and what it found."""

    check: str
    outcome: Outcome
    #: Names and values; none where the check was not reached.
    inputs: tuple[tuple[str, str], ...] = ()
    #: Why it failed, or would have.
    reason: Reason | None = None


def check_presented(facts: Facts) -> Reason | None:
    if facts.several:
        return Reason.CONFLICTING_CREDENTIALS
    return None if facts.presented else Reason.CREDENTIAL_MISSING


def check_known(facts: Facts) -> Reason | None:
    if facts.fitting:
        return Reason.AMBIGUOUS_CREDENTIAL
    return None if facts.known else Reason.UNKNOWN_CREDENTIAL


def check_method(facts: Facts) -> Reason | None:
    fits = facts.known is not None and facts.known.profile.method is facts.method
    return None if fits else Reason.METHOD_MISMATCH


def check_proof(facts: Facts) -> Reason | None:
    if facts.problem or _over(facts.proved_until, facts.now):
        return Reason.TOKEN_INVALID
    return None


def check_credential(facts: Facts) -> Reason | None:
    credential = _known(facts).credential
    if credential.revoked_at is not None:
        return Reason.REVOKED_CREDENTIAL
    if _over(credential.overlap_until, facts.now):
        return Reason.REVOKED_CREDENTIAL
    return Reason.EXPIRED_CREDENTIAL if _over(credential.expires_at, facts.now) else None


def check_client(facts: Facts) -> Reason | None:
    return None if _known(facts).client.active else Reason.CLIENT_INACTIVE


def check_profile(facts: Facts) -> Reason | None:
    profile = _known(facts).profile
    if not profile.active:
        return Reason.PROFILE_INACTIVE
    return Reason.PROFILE_EXPIRED if _over(profile.expires_at, facts.now) else None


def check_address(facts: Facts) -> Reason | None:
    return None if _known(facts).profile.addresses_watched else _address(facts)


def _address(facts: Facts) -> Reason | None:
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


def check_collection(facts: Facts) -> Reason | None:
    if facts.route.usage:
        return None
    if facts.route.collection is None:
        return Reason.COLLECTION_NOT_FOUND
    return None if facts.route.granted else Reason.COLLECTION_NOT_GRANTED


def check_endpoint(facts: Facts) -> Reason | None:
    route = facts.route
    if route.endpoint is not None or route.usage:
        return None
    if route.allow:
        # Also where an inactive endpoint would take the method: to callers it is not there.
        return Reason.METHOD_NOT_ALLOWED
    return Reason.ENDPOINT_INACTIVE if route.inactive else Reason.ENDPOINT_NOT_FOUND


Check = Callable[[Facts], Reason | None]

#: Who calls, then whether it may at all, then from where, then what. A stranger must learn
#: nothing of what exists, so everything about paths comes after everything about credentials.
CHECKS: tuple[Check, ...] = (
    check_presented,
    check_known,
    check_method,
    check_proof,
    check_credential,
    check_client,
    check_profile,
    check_address,
    check_collection,
    check_endpoint,
)


def decide(facts: Facts) -> Verdict:
    """Whether the call may pass; limits are counted afterwards, where it is forwarded."""
    for check in CHECKS:
        reason = check(facts)
        if reason is not None:
            return Deny(reason=reason, known=facts.known)
    known = _known(facts)
    profile = known.profile
    return Allow(
        known=known,
        until=_until(facts, known),
        address_bound=profile.has_lists,
        would=_would(check_address, facts),
    )


def explain(facts: Facts) -> tuple[Step, ...]:
    """Every check of `decide`, in its order, with what each one looked at and found."""
    steps: list[Step] = []
    refused = False
    for check in CHECKS:
        steps.append(_unreached(check) if refused else _step(check, facts))
        refused |= steps[-1].outcome is Outcome.FAILED
    return tuple(steps)


def _step(check: Check, facts: Facts) -> Step:
    reason, would = check(facts), _would(check, facts)
    passed = Outcome.WATCHED if would else Outcome.PASSED
    return Step(
        check=_name(check),
        outcome=Outcome.FAILED if reason else passed,
        inputs=tuple((name, _text(value)) for name, value in _INPUTS[check](facts).items()),
        reason=reason or would,
    )


def _would(check: Check, facts: Facts) -> Reason | None:
    """Why a check would refuse, were it not only watched."""
    if check is check_address and _known(facts).profile.addresses_watched:
        return _address(facts)
    return None


def _unreached(check: Check) -> Step:
    return Step(check=_name(check), outcome=Outcome.NOT_REACHED)


def _name(check: Check) -> str:
    return check.__name__.removeprefix("check_")


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


#: What each check looks at; times are Unix seconds.
_INPUTS: Mapping[Check, Callable[[Facts], Mapping[str, object]]] = {
    check_presented: lambda f: {"presented": f.presented, "several": f.several},
    check_known: lambda f: (
        {"fits profiles": f.fitting}
        if f.fitting
        else {"credential": f.known.credential.id if f.known else None}
    ),
    check_method: lambda f: {"presented as": f.method, "profile": _known(f).profile.method},
    check_proof: lambda f: {"problem": f.problem or None, "good until": f.proved_until},
    check_credential: lambda f: {
        "now": f.now,
        "revoked at": _known(f).credential.revoked_at,
        "overlap until": _known(f).credential.overlap_until,
        "expires at": _known(f).credential.expires_at,
    },
    check_client: lambda f: {"client": _known(f).client.id, "active": _known(f).client.active},
    check_profile: lambda f: {
        "profile": _known(f).profile.id,
        "active": _known(f).profile.active,
        "now": f.now,
        "expires at": _known(f).profile.expires_at,
    },
    check_address: lambda f: {
        "address": f.address,
        "denied": _known(f).profile.denied,
        "allowed": _known(f).profile.allowed,
        **_shared_lists(_known(f).profile),
        "nearest allowed": _nearest(f),
        "only watched": _known(f).profile.addresses_watched,
    },
    check_collection: lambda f: (
        {"reads": "what is used of its own limits"}
        if f.route.usage
        else {
            "collection": f.route.collection,
            "granted": f.route.granted,
        }
    ),
    check_endpoint: lambda f: (
        {"reads": "what is used of its own limits"}
        if f.route.usage
        else {
            "endpoint": f.route.endpoint,
            "inactive": f.route.inactive,
            "methods of the path": f.route.allow,
        }
    ),
}


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


def _shared_lists(profile: Profile) -> Mapping[str, object]:
    """The lists that a profile shares with others, where it has any."""
    named = {"denied lists": profile.denied_lists, "allowed lists": profile.allowed_lists}
    return {name: lists for name, lists in named.items() if lists}


def _known(facts: Facts) -> Known:
    if facts.known is None:  # `check_known` stands before all who ask
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
