"""The decision: every way to refuse, the order, and what an allowance is good for."""

import ipaddress
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.access import traces
from ostiary.access.decision import (
    CHECKS,
    LEASE_SECONDS,
    MOST_SHOWN,
    Allow,
    Deny,
    StepOutcome,
    decide,
    explain,
    refused_caller,
)
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
from ostiary.access.reasons import Reason, by_code, describe
from ostiary.access.stages import Stage

NOW = 1_800_000_000
HERE = ipaddress.ip_address("192.0.2.7")
NET = ipaddress.ip_network("192.0.2.0/24")
OTHER_NET = ipaddress.ip_network("198.51.100.0/24")


def some_facts(
    *,
    credential: dict[str, Any] | None = None,
    profile: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    route: dict[str, Any] | None = None,
    **more: Any,
) -> Facts:
    """A call that is allowed, but for what is given."""
    known = Known(
        credential=Credential(id=CredentialId(1), **(credential or {})),
        profile=Profile(id=ProfileId(2), **(profile or {})),
        client=Client(id=ClientId(3), **(client or {})),
    )
    path = Route(
        **{
            "collection": CollectionId(4),
            "granted": True,
            "endpoint": EndpointId(5),
            **(route or {}),
        }
    )
    facts = Facts(
        now=NOW, address=HERE, presented=True, method=AuthMethod.TOKEN, known=known, route=path
    )
    return replace(facts, **more)


REFUSED: dict[str, tuple[Facts, Reason]] = {
    "several presented": (some_facts(several=True), Reason.CONFLICTING_CREDENTIALS),
    "nothing presented": (some_facts(presented=False), Reason.CREDENTIAL_MISSING),
    "unknown": (some_facts(known=None), Reason.UNKNOWN_CREDENTIAL),
    "two that fit": (
        some_facts(known=None, fitting=(ProfileId(2), ProfileId(7))),
        Reason.AMBIGUOUS_CREDENTIAL,
    ),
    "another method": (some_facts(profile={"method": AuthMethod.JWT}), Reason.METHOD_MISMATCH),
    "a token that proves nothing": (some_facts(problem="aud"), Reason.TOKEN_INVALID),
    "a token that is over": (some_facts(proved_until=NOW), Reason.TOKEN_INVALID),
    "revoked": (some_facts(credential={"revoked_at": NOW - 1}), Reason.REVOKED_CREDENTIAL),
    "revoked later": (some_facts(credential={"revoked_at": NOW + 9}), Reason.REVOKED_CREDENTIAL),
    "overlap over": (some_facts(credential={"overlap_until": NOW}), Reason.REVOKED_CREDENTIAL),
    "expired": (some_facts(credential={"expires_at": NOW}), Reason.EXPIRED_CREDENTIAL),
    "client off": (some_facts(client={"active": False}), Reason.CLIENT_INACTIVE),
    "profile off": (some_facts(profile={"active": False}), Reason.PROFILE_INACTIVE),
    "profile over": (some_facts(profile={"expires_at": NOW}), Reason.PROFILE_EXPIRED),
    "not among the allowed": (
        some_facts(profile={"allowed": (OTHER_NET,)}),
        Reason.ADDRESS_NOT_ALLOWED,
    ),
    "denied, though allowed": (
        some_facts(profile={"allowed": (NET,), "denied": (NET,)}),
        Reason.ADDRESS_DENIED,
    ),
    "no address": (
        some_facts(profile={"allowed": (NET,)}, address=None),
        Reason.ADDRESS_UNPARSABLE,
    ),
    "no collection": (some_facts(route={"collection": None}), Reason.COLLECTION_NOT_FOUND),
    "not granted": (some_facts(route={"granted": False}), Reason.COLLECTION_NOT_GRANTED),
    "no endpoint": (some_facts(route={"endpoint": None}), Reason.ENDPOINT_NOT_FOUND),
    "inactive endpoint": (
        some_facts(route={"endpoint": None, "inactive": True}),
        Reason.ENDPOINT_INACTIVE,
    ),
    "inactive endpoint beside other methods": (
        some_facts(route={"endpoint": None, "inactive": True, "allow": ("GET",)}),
        Reason.METHOD_NOT_ALLOWED,
    ),
    "other methods": (
        some_facts(route={"endpoint": None, "allow": ("GET",)}),
        Reason.METHOD_NOT_ALLOWED,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_for_that_reason(case: str) -> None:
    facts, reason = REFUSED[case]
    verdict = decide(facts)
    assert isinstance(verdict, Deny)
    assert verdict.reason is reason
    assert verdict.known == facts.known


@pytest.mark.parametrize("case", REFUSED)
def test_the_explanation_fails_once_for_the_reason_of_the_decision(case: str) -> None:
    facts, reason = REFUSED[case]
    steps = explain(facts)
    failed = [step.outcome for step in steps].index(StepOutcome.FAILED)
    assert steps[failed].reason is reason
    assert all(s.outcome is StepOutcome.PASSED and s.reason is None for s in steps[:failed])
    assert all(s.outcome is StepOutcome.NOT_REACHED and not s.inputs for s in steps[failed + 1 :])
    assert len(steps) == len(CHECKS)


def test_an_allowed_call_is_explained_to_the_end() -> None:
    steps = explain(some_facts())
    assert [step.check for step in steps] == [
        "presented", "known", "method", "proof", "credential", "client", "profile", "address", "collection",
        "endpoint",
    ]  # fmt: skip
    assert all(step.outcome is StepOutcome.PASSED and step.reason is None for step in steps)


def test_what_is_used_may_be_read_by_whoever_may_call_at_all() -> None:
    route = {"collection": None, "granted": False, "endpoint": None, "usage": True}
    facts = some_facts(route=route)
    assert isinstance(decide(facts), Allow)
    reads = (("reads", "what is used of its own limits"),)
    assert [step.inputs for step in explain(facts)[-2:]] == [reads, reads]
    refused = decide(some_facts(route=route, profile={"active": False}))
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.PROFILE_INACTIVE


def test_the_explanation_shows_what_each_check_looked_at() -> None:
    profile = {"allowed": (NET, OTHER_NET), "expires_at": NOW + 7}
    shown = {s.check: dict(s.inputs) for s in explain(some_facts(profile=profile))}
    assert shown == {
        "presented": {"presented": "yes", "several": "no"},
        "known": {"credential": "1"},
        "method": {"presented as": "token", "profile": "token"},
        "proof": {"problem": "none", "good until": "none"},
        "credential": {
            "now": "1800000000",
            "revoked at": "none",
            "overlap until": "none",
            "expires at": "none",
        },
        "client": {"client": "3", "active": "yes"},
        "profile": {
            "profile": "2",
            "active": "yes",
            "now": "1800000000",
            "expires at": "1800000007",
        },
        "address": {
            "address": "192.0.2.7",
            "denied": "none",
            "allowed": "192.0.2.0/24, 198.51.100.0/24",
            "nearest allowed": "none",
            "only watched": "no",
        },
        "collection": {"collection": "4", "granted": "yes"},
        "endpoint": {"endpoint": "5", "inactive": "no", "methods of the path": "none"},
    }


def test_of_two_things_that_are_wrong_the_first_check_tells() -> None:
    everything: dict[str, Any] = {
        "several": True,
        "credential": {"revoked_at": NOW},
        "client": {"active": False},
        "profile": {"active": False, "method": AuthMethod.JWT, "allowed": (OTHER_NET,)},
        "route": {"granted": False, "endpoint": None},
    }
    repairs: list[dict[str, Any]] = [
        {"several": False},
        {"profile": {"active": False, "allowed": (OTHER_NET,)}},
        {"credential": {}},
        {"client": {}},
        {"profile": {"allowed": (OTHER_NET,)}},
        {"profile": {}},
        {"route": {"endpoint": None}},
        {"route": {}},
    ]
    told = []
    for repair in ({}, *repairs):
        everything |= repair
        verdict = decide(some_facts(**everything))
        told.append(verdict.reason if isinstance(verdict, Deny) else None)
    assert told == [
        Reason.CONFLICTING_CREDENTIALS,
        Reason.METHOD_MISMATCH,
        Reason.REVOKED_CREDENTIAL,
        Reason.CLIENT_INACTIVE,
        Reason.PROFILE_INACTIVE,
        Reason.ADDRESS_NOT_ALLOWED,
        Reason.COLLECTION_NOT_GRANTED,
        Reason.ENDPOINT_NOT_FOUND,
        None,
    ]


def test_a_check_that_is_asked_about_nobody_does_not_pass() -> None:
    (check,) = (each for each in CHECKS if each.stage is Stage.CLIENT)
    with pytest.raises(AssertionError):
        check.refuses(some_facts(known=None))


@pytest.mark.parametrize(
    ("facts", "until"),
    [
        (some_facts(), NOW + LEASE_SECONDS),
        (some_facts(credential={"expires_at": NOW + 5}), NOW + 5),
        (some_facts(credential={"overlap_until": NOW + 6}), NOW + 6),
        (some_facts(profile={"expires_at": NOW + 7}), NOW + 7),
        (some_facts(profile={"raised_until": NOW + 8}), NOW + 8),
        (some_facts(profile={"expires_at": NOW + 10 * LEASE_SECONDS}), NOW + LEASE_SECONDS),
    ],
    ids=["lease", "expiry", "overlap", "profile", "raised limits", "never longer than a lease"],
)
def test_an_allowance_ends_with_the_first_of_what_it_rests_on(facts: Facts, until: int) -> None:
    verdict = decide(facts)
    assert isinstance(verdict, Allow)
    assert verdict.until == until
    assert not verdict.address_bound


def test_an_allowance_by_address_is_bound_to_it() -> None:
    for profile in ({"allowed": (NET,)}, {"denied": (OTHER_NET,)}):
        verdict = decide(some_facts(profile=profile))
        assert isinstance(verdict, Allow)
        assert verdict.address_bound


def test_an_address_of_the_other_version_is_in_no_list() -> None:
    facts = some_facts(profile={"allowed": (NET,)}, address=ipaddress.ip_address("2001:db8::7"))
    assert decide(facts) == Deny(reason=Reason.ADDRESS_NOT_ALLOWED, known=facts.known)


WATCHED: dict[str, tuple[dict[str, Any], Reason | None]] = {
    "not among the allowed": ({"allowed": (OTHER_NET,)}, Reason.ADDRESS_NOT_ALLOWED),
    "denied": ({"allowed": (NET,), "denied": (NET,)}, Reason.ADDRESS_DENIED),
    "allowed": ({"allowed": (NET,)}, None),
    "no lists": ({}, None),
}


@pytest.mark.parametrize("case", WATCHED)
def test_lists_that_are_only_watched_say_what_they_would_do_and_refuse_nobody(case: str) -> None:
    lists, reason = WATCHED[case]
    facts = some_facts(profile={**lists, "addresses_watched": True})
    verdict = decide(facts)
    assert isinstance(verdict, Allow)
    assert verdict.would is reason
    assert verdict.address_bound == bool(lists)
    steps = {step.check: step for step in explain(facts)}
    assert steps[Stage.ADDRESS].reason is reason
    assert steps[Stage.ADDRESS].outcome is (StepOutcome.WATCHED if reason else StepOutcome.PASSED)
    assert steps[Stage.ENDPOINT].outcome is StepOutcome.PASSED
    enforced = decide(some_facts(profile=lists))
    assert (enforced.reason if isinstance(enforced, Deny) else None) is reason


def test_an_explanation_names_the_range_that_came_nearest() -> None:
    facts = some_facts(profile={"allowed": (OTHER_NET, ipaddress.ip_network("192.0.3.0/24"))})
    inputs = {s.check: dict(s.inputs) for s in explain(facts)}[Stage.ADDRESS]
    assert inputs["nearest allowed"] == "192.0.3.0/24, missed by 1 bit"


def test_an_explanation_shows_the_beginning_of_a_long_list() -> None:
    nets = tuple(ipaddress.ip_network(f"10.0.{i}.0/24") for i in range(30))
    inputs = {s.check: dict(s.inputs) for s in explain(some_facts(profile={"allowed": nets}))}
    assert inputs[Stage.ADDRESS]["allowed"].endswith("10.0.19.0/24 and 10 more")


def test_an_explanation_speaks_of_more_only_where_it_leaves_some_out() -> None:
    nets = tuple(ipaddress.ip_network(f"10.0.{i}.0/24") for i in range(MOST_SHOWN))
    inputs = {s.check: dict(s.inputs) for s in explain(some_facts(profile={"allowed": nets}))}
    assert inputs[Stage.ADDRESS]["allowed"].endswith(", 10.0.19.0/24")


@pytest.mark.parametrize("case", REFUSED)
def test_who_calls_is_refused_whatever_is_called(case: str) -> None:
    facts, reason = REFUSED[case]
    of_paths = describe(reason).stage in {Stage.COLLECTION, Stage.ENDPOINT}
    assert refused_caller(facts) is (None if of_paths else reason)


def test_a_caller_is_not_refused_by_a_list_that_is_only_watched() -> None:
    assert refused_caller(some_facts(profile={"denied": (NET,), "addresses_watched": True})) is None


#: As earlier releases stored it, for a refused address.
STORED: list[dict[str, Any]] = [
    {"check": name, "outcome": "passed", "inputs": {}, "reason": None}
    for name in ("presented", "known", "method", "proof", "credential", "client", "profile")
] + [
    {
        "check": "address",
        "outcome": "failed",
        "inputs": {"address": "203.0.113.7", "allowed": "198.51.100.0/24"},
        "reason": "address_not_allowed",
    },
    {"check": "collection", "outcome": "not reached", "inputs": {}, "reason": None},
    {"check": "endpoint", "outcome": "not reached", "inputs": {}, "reason": None},
]


def test_traces_of_earlier_releases_are_still_read() -> None:
    steps = traces.read(STORED)
    assert [step.check for step in steps] == [check.stage for check in CHECKS]
    assert traces.written(steps) == STORED


@pytest.mark.parametrize("case", REFUSED)
def test_a_trace_that_is_written_reads_as_it_was(case: str) -> None:
    steps = explain(REFUSED[case][0])
    assert traces.read(json.loads(json.dumps(traces.written(steps)))) == steps


times = st.none() | st.integers(NOW - 100, NOW + 100)


@given(
    credential=st.fixed_dictionaries(
        {"revoked_at": times, "expires_at": times, "overlap_until": times}
    ),
    profile=st.fixed_dictionaries({"active": st.booleans(), "expires_at": times}),
    client=st.fixed_dictionaries({"active": st.booleans()}),
    route=st.fixed_dictionaries({"granted": st.booleans()}),
)
def test_nothing_is_allowed_unless_everything_is_right(
    credential: dict[str, Any],
    profile: dict[str, Any],
    client: dict[str, Any],
    route: dict[str, Any],
) -> None:
    def over(moment: int | None) -> bool:
        return moment is not None and moment <= NOW

    right = (
        credential["revoked_at"] is None
        and not over(credential["expires_at"])
        and not over(credential["overlap_until"])
        and profile["active"]
        and not over(profile["expires_at"])
        and client["active"]
        and route["granted"]
    )
    verdict = decide(some_facts(credential=credential, profile=profile, client=client, route=route))
    assert isinstance(verdict, Allow) == right
    if isinstance(verdict, Allow):
        assert NOW < verdict.until <= NOW + LEASE_SECONDS


def test_every_reason_has_a_face_and_a_number_of_its_own() -> None:
    codes = {describe(reason).code for reason in Reason}
    assert len(codes) == len(Reason)
    assert min(codes) >= 10
    assert all(by_code(describe(reason).code) is reason for reason in Reason)
    assert all(400 <= describe(reason).status <= 599 for reason in Reason)


def test_a_stranger_cannot_tell_why_a_credential_does_not_work() -> None:
    told = {
        (face.status, face.public.name, face.public.message)
        for _, reason in REFUSED.values()
        if (face := describe(reason)).status in {401}
    }
    assert len(told) == 1


def test_what_is_not_granted_looks_like_what_does_not_exist() -> None:
    faces = [
        describe(reason)
        for reason in (
            Reason.COLLECTION_NOT_FOUND,
            Reason.COLLECTION_NOT_GRANTED,
            Reason.ENDPOINT_NOT_FOUND,
            Reason.ENDPOINT_INACTIVE,
        )
    ]
    assert len({(f.status, f.public.name, f.public.message) for f in faces}) == 1
