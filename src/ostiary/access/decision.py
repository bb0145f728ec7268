"""The decision: facts in, a verdict out. Pure and total; the order of checks stands here, once."""

from collections.abc import Callable
from dataclasses import dataclass

from ostiary.access.addresses import contains
from ostiary.access.facts import Facts, Known
from ostiary.access.reasons import Reason

#: A decision is good for this many seconds at most, then it is taken again.
LEASE_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may pass, and others like it until `until` (Unix seconds)."""

    known: Known
    until: int
    #: Good only for the address that called: the profile has address lists.
    address_bound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    reason: Reason
    #: The credential was found: what is refused is known, though not to the caller.
    known: Known | None


Verdict = Allow | Deny


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check of a decision, for the owner: what it looked at, and what it found."""

    check: str
    inputs: str
    reason: Reason | None


def check_presented(facts: Facts) -> Reason | None:
    return None if facts.presented else Reason.CREDENTIAL_MISSING


def check_known(facts: Facts) -> Reason | None:
    return None if facts.known else Reason.UNKNOWN_CREDENTIAL


def check_method(facts: Facts) -> Reason | None:
    fits = facts.known is not None and facts.known.profile.method is facts.method
    return None if fits else Reason.METHOD_MISMATCH


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
    profile = _known(facts).profile
    if not profile.denied and not profile.allowed:
        return None
    if facts.address is None:
        return Reason.ADDRESS_UNPARSABLE
    if contains(profile.denied, facts.address):
        return Reason.ADDRESS_DENIED
    if profile.allowed and not contains(profile.allowed, facts.address):
        return Reason.ADDRESS_NOT_ALLOWED
    return None


def check_collection(facts: Facts) -> Reason | None:
    if facts.route.collection is None:
        return Reason.COLLECTION_NOT_FOUND
    return None if facts.route.granted else Reason.COLLECTION_NOT_GRANTED


def check_endpoint(facts: Facts) -> Reason | None:
    route = facts.route
    if route.endpoint is not None:
        return None
    if route.inactive:
        return Reason.ENDPOINT_INACTIVE
    return Reason.METHOD_NOT_ALLOWED if route.allow else Reason.ENDPOINT_NOT_FOUND


Check = Callable[[Facts], Reason | None]

#: Who calls, then whether it may at all, then from where, then what. A stranger must learn
#: nothing of what exists, so everything about paths comes after everything about credentials.
CHECKS: tuple[Check, ...] = (
    check_presented,
    check_known,
    check_method,
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
        until=_until(known, facts.now),
        address_bound=bool(profile.allowed or profile.denied),
    )


def explain(facts: Facts) -> tuple[Step, ...]:
    """The checks of `decide` up to the first that refuses, with what each one looked at."""
    steps: list[Step] = []
    for check in CHECKS:
        reason = check(facts)
        name = check.__name__.removeprefix("check_")
        steps.append(Step(check=name, inputs=_inputs(name, facts), reason=reason))
        if reason is not None:
            break
    return tuple(steps)


def _inputs(check: str, facts: Facts) -> str:
    known = facts.known
    shown: dict[str, object] = {
        "presented": facts.presented,
        "known": known.credential.id if known else None,
        "method": facts.method.value,
        "credential": known.credential if known else None,
        "client": known.client if known else None,
        "profile": (known.profile.id, known.profile.active, known.profile.expires_at)
        if known
        else None,
        "address": str(facts.address),
        "collection": (facts.route.collection, facts.route.granted),
        "endpoint": facts.route,
    }
    return str(shown[check])


def _known(facts: Facts) -> Known:
    if facts.known is None:  # pragma: no cover - `check_known` stands before all who ask
        raise AssertionError("asked about an unknown credential")
    return facts.known


def _over(moment: int | None, now: int) -> bool:
    return moment is not None and moment <= now


def _until(known: Known, now: int) -> int:
    ends = (known.credential.expires_at, known.credential.overlap_until, known.profile.expires_at)
    return min([now + LEASE_SECONDS, *(end for end in ends if end is not None)])
