"""Explain says what the decision says, for every reason, and only to who may see the call."""

from typing import Any

import pytest
from tests.review.conftest import NOON, Log, World

from ostiary.access import traces
from ostiary.access.addresses import parse_address, parse_list
from ostiary.access.decision import explain
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
from ostiary.access.reasons import Reason, describe
from ostiary.access.stages import Stage
from ostiary.directory.models import Change
from ostiary.usage.models import DecisionTrace, QuotaCount


def explained(world: World, **asked: Any) -> Any:
    return world.api.done("POST", "v2/explain", asked)["data"]


def asked(world: World, profile: Any, **more: Any) -> Any:
    call = {"method": "GET", "path": "/orders-v1/orders", "ip": "203.0.113.7", **more}
    return explained(world, access_profile_id=profile["id"], **call)


def outcomes(data: Any) -> dict[str, str]:
    return {step["check"]: step["outcome"] for step in data["steps"]}


def inputs(data: Any, check: str) -> dict[str, str]:
    return next(step["inputs"] for step in data["steps"] if step["check"] == check)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained_by_the_stage_that_refused(
    world: World, log: Log, reason: Reason
) -> None:
    profile = world.a_profile()
    log("A-1", reason=reason, profile_id=profile["id"], client_id=world.client["id"])
    data = explained(world, request_id="A-1")
    assert (data["verdict"], data["reason"]) == ("refused", reason)
    assert data["public_body"]["reason"] == describe(reason).public.name
    assert data["what"]
    assert data["remedy"]
    assert data["resolved_by"] == describe(reason).resolved_by
    failed = [step for step in data["steps"] if step["outcome"] == "failed"]
    assert [step["reason"] for step in failed] == [reason]
    assert failed[0]["check"] == describe(reason).stage
    at = data["steps"].index(failed[0])
    assert all(step["outcome"] == "passed" for step in data["steps"][:at])
    assert all(step["outcome"] == "not reached" for step in data["steps"][at + 1 :])
    assert [step["check"] for step in data["steps"]] == [stage.value for stage in Stage]


def _trace(world: World, profile: Any, log: Log, *, allowed: str, address: str) -> None:
    """A call that the authority refused for its address, as it saw it then."""
    facts = Facts(
        now=NOON,
        address=parse_address(address),
        presented=True,
        method=AuthMethod.TOKEN,
        known=Known(
            credential=Credential(id=CredentialId(world.credential(profile))),
            profile=Profile(id=ProfileId(profile["id"]), allowed=parse_list(allowed).networks),
            client=Client(id=ClientId(world.client["id"])),
        ),
        route=Route(collection=CollectionId(1), granted=True, endpoint=EndpointId(1)),
    )
    latest = Change.objects.latest("pk").pk
    DecisionTrace.objects.create(
        number=77, at_ms=NOON * 1000, sequence=latest, profile_id=profile["id"],
        steps=traces.written(explain(facts)),
    )  # fmt: skip
    log(
        "A-7", reason=Reason.ADDRESS_NOT_ALLOWED, profile_id=profile["id"], address=address,
        client_id=world.client["id"], collection_id=world.collection["id"],
        details={"trace": "77", "peer": "10.0.0.1", "forwarded": address, "path": "/orders-v1/orders"},
    )  # fmt: skip


def test_a_refused_call_shows_what_the_authority_saw_then_and_what_has_changed_since(
    world: World, log: Log
) -> None:
    profile = world.a_profile(ip_allow_list=["198.51.100.0/24", "203.0.112.0/24"])
    _trace(world, profile, log, allowed="198.51.100.0/24, 203.0.112.0/24", address="203.0.113.7")
    before = explained(world, request_id="A-7")
    assert inputs(before, "address") == {
        "address": "203.0.113.7",
        "denied": "none",
        "allowed": "198.51.100.0/24, 203.0.112.0/24",
        "nearest allowed": "203.0.112.0/24, missed by 1 bit",
        "only watched": "no",
    }
    caller = inputs(before, "caller")
    assert caller["peer"] == "10.0.0.1"
    assert caller["X-Forwarded-For"] == "203.0.113.7"
    assert before["sequence"] == Change.objects.latest("pk").pk
    assert before["changes_since"] == []
    assert before["now"]["reason"] == Reason.ADDRESS_NOT_ALLOWED
    world.change(profile, ip_allow_list=["203.0.113.0/24"])
    after = explained(world, request_id="A-7")
    assert inputs(after, "address") == inputs(before, "address")
    assert [event["action"] for event in after["changes_since"]] == ["profile.change"]
    assert after["now"]["verdict"] == "admitted"


def test_an_admitted_call_names_its_credential_and_the_lease(world: World, log: Log) -> None:
    profile = world.a_profile()
    log(
        "A-2", profile_id=profile["id"], credential_id=world.credential(profile),
        collection_id=world.collection["id"], endpoint_id=world.orders["id"],
    )  # fmt: skip
    data = explained(world, request_id="A-2")
    assert (data["verdict"], data["status"], data["public_body"]) == ("admitted", 200, None)
    assert set(outcomes(data).values()) == {"passed"}
    shown = inputs(data, "credential")
    assert shown["credential"].endswith(profile["secret"][-4:])
    assert "600 seconds" in shown["decided"]
    assert profile["secret"] not in str(data)
    assert inputs(data, "endpoint") == {"endpoint": "GET /orders"}
    assert data["now"]["verdict"] == "admitted"


def test_a_watched_rule_is_told_beside_the_admitted_call(world: World, log: Log) -> None:
    profile = world.a_profile(ip_allow_list=["198.51.100.0/24"], ip_watch_only=True)
    log("A-3", profile_id=profile["id"], would=Reason.ADDRESS_NOT_ALLOWED)
    data = explained(world, request_id="A-3")
    assert (data["verdict"], data["would"]) == ("admitted", Reason.ADDRESS_NOT_ALLOWED)
    assert outcomes(data)["address"] == "only watched"


def test_a_limit_shows_its_counter_as_it_was(world: World, log: Log) -> None:
    policy = world.a_policy(rate_limit={"limit": 5, "interval": "minute"})
    profile = world.a_profile(api_policy_id=policy["id"])
    log(
        "A-4", reason=Reason.RATE_LIMITED, profile_id=profile["id"],
        details={"rate_limit": "5", "rate_interval": "60", "quota_end": "0"},
    )  # fmt: skip
    assert inputs(explained(world, request_id="A-4"), "rate") == {
        "limit": "5 in 60 seconds",
        "used": "5, all of it",
        "window": "2026-11-24 12:00:00 UTC to 2026-11-24 12:01:00 UTC",
        "full again at": "2026-11-24 12:01:00 UTC",
    }


def test_a_quota_shows_what_was_used_before_and_since_the_gateway_began(
    world: World, log: Log
) -> None:
    profile = world.a_profile()
    details = {"quota_limit": "100", "quota_counted": "100", "quota_end": str(NOON + 60)}
    log("A-8", reason=Reason.QUOTA_EXCEEDED, profile_id=profile["id"], details=details)
    assert inputs(explained(world, request_id="A-8"), "quota") == {
        "limit": "100",
        "used": "100",
        "full again at": "2026-11-24 12:01:00 UTC",
    }


def test_a_call_is_explained_to_those_alone_who_see_its_profile(world: World, log: Log) -> None:
    profile = world.a_profile()
    other = world.api.done("POST", "folders", {"name": "Other"})
    log("A-5", reason=Reason.PROFILE_INACTIVE, profile_id=profile["id"])
    log("A-6", reason=Reason.UNKNOWN_CREDENTIAL, collection_id=world.collection["id"])
    log("A-9", reason=Reason.PROFILE_INACTIVE, profile_id=999_999)
    insider = world.api.as_(admin=False, role="viewer", project_ids=[world.api.home])
    outsider = world.api.as_(admin=False, role="viewer", project_ids=[other["id"]])
    statuses = [
        [api("POST", "v2/explain", {"request_id": number})[0] for number in ("A-5", "A-6", "A-9")]
        for api in (world.api, insider, outsider)
    ]
    assert statuses == [[200, 200, 200], [200, 404, 404], [404, 404, 404]]
    made_up = {"access_profile_id": profile["id"], "path": "/orders-v1/orders"}
    assert insider("POST", "v2/explain", made_up)[0] == 200
    assert outsider("POST", "v2/explain", made_up)[0] == 404


MADE_UP: dict[str, tuple[dict[str, Any], dict[str, Any], Reason | None]] = {
    "allowed": ({}, {}, None),
    "a path with parameters": ({}, {"path": "/orders-v1/orders/17?x=1"}, None),
    "a path that normalises": ({}, {"path": "/orders-v1/x/../%6Frders"}, None),
    "head follows get": ({}, {"method": "HEAD"}, None),
    "malformed": ({}, {"path": "/orders-v1//orders"}, Reason.MALFORMED_PATH),
    "no collection": ({}, {"path": "/invoices-v1/orders"}, Reason.COLLECTION_NOT_FOUND),
    "a handle alone": ({}, {"path": "/orders-v1"}, Reason.ENDPOINT_NOT_FOUND),
    "no endpoint": ({}, {"path": "/orders-v1/orders/"}, Reason.ENDPOINT_NOT_FOUND),
    "inactive beside others": ({}, {"method": "POST"}, Reason.METHOD_NOT_ALLOWED),
    "other methods": ({}, {"method": "DELETE"}, Reason.METHOD_NOT_ALLOWED),
    "inactive profile": ({"active": False}, {}, Reason.PROFILE_INACTIVE),
    "not allowed": ({"ip_allow_list": ["203.0.112.0/24"]}, {}, Reason.ADDRESS_NOT_ALLOWED),
    "allowed by range": ({"ip_allow_list": ["203.0.112.0/23"]}, {}, None),
    "denied": ({"ip_deny_list": ["203.0.113.7"]}, {}, Reason.ADDRESS_DENIED),
    "no address, no lists": ({}, {"ip": ""}, None),
}


@pytest.mark.parametrize("case", MADE_UP)
def test_a_made_up_call_is_told_what_it_would_get(world: World, case: str) -> None:
    given, call, reason = MADE_UP[case]
    data = asked(world, world.a_profile(**given), **call)
    assert data["reason"] == reason
    assert data["verdict"] == ("refused" if reason else "admitted")
    assert data["status"] == (describe(reason).status if reason else 0)


def test_a_made_up_call_meets_the_limits_as_they_are_now(world: World) -> None:
    policy = world.a_policy(usage_quota={"limit": 10, "interval": "day"})
    profile = world.a_profile(api_policy_id=policy["id"])
    start = NOON - NOON % 86_400
    data = asked(world, profile)
    assert inputs(data, "quota")["used"] == "0, as last counted"
    start = int(Change.objects.latest("pk").at.timestamp()) // 86_400 * 86_400
    QuotaCount.objects.create(
        profile_id=profile["id"], interval="day", period_start=start, calls=10
    )
    data = asked(world, profile)
    assert (data["reason"], data["status"]) == (Reason.QUOTA_EXCEEDED, 429)
    assert inputs(data, "quota")["used"] == "10, as last counted"
    assert outcomes(data)["rate"] == "not reached"
    change = {"rate_limits": [], "watch_only": True}
    world.api.done("PUT", f"v2/api_policies/{policy['id']}", change)
    data = asked(world, profile)
    assert (data["verdict"], data["would"]) == ("admitted", Reason.QUOTA_EXCEEDED)
    assert outcomes(data)["quota"] == "only watched"


def test_what_is_no_call_is_said_field_by_field(world: World) -> None:
    profile = world.a_profile()
    call = {"access_profile_id": profile["id"], "method": "FETCH", "path": "", "ip": "10.0.0.01"}
    status, answer = world.api("POST", "v2/explain", call)
    assert status == 400
    assert set(answer["errors"]) == {"method", "path", "ip"}
    listed = world.a_profile(ip_deny_list=["203.0.113.7"])
    from_nowhere = {"access_profile_id": listed["id"], "path": "/orders-v1/orders"}
    assert world.api("POST", "v2/explain", from_nowhere)[1]["errors"] == {"ip": ["can't be blank"]}
    for nothing in ({}, {"request_id": "A-1", "access_profile_id": profile["id"]}):
        assert world.api("POST", "v2/explain", nothing)[0] == 400
    for unknown in ("none such", "A\x00"):
        assert world.api("POST", "v2/explain", {"request_id": unknown})[0] == 404


def test_a_path_without_an_active_endpoint_is_told_what_lies_there(world: World, log: Log) -> None:
    profile = world.a_profile()
    path = f"api_collections/{world.collection['id']}/api_endpoints"
    world.api.done("POST", path, {"name": "off", "method": "GET", "path": "off"})
    known = {"profile_id": profile["id"], "collection_id": world.collection["id"]}
    for request_id, reason, method, called in (
        ("P-1", Reason.ENDPOINT_NOT_FOUND, "GET", "off"),
        ("P-2", Reason.ENDPOINT_NOT_FOUND, "GET", "nothing"),
        ("P-3", Reason.METHOD_NOT_ALLOWED, "PATCH", "orders"),
    ):
        details = {"path": f"/orders-v1/{called}"}
        log(request_id, reason=reason, method=method, details=details, endpoint_id=0, **known)
    inactive, absent, other = (explained(world, request_id=f"P-{n}") for n in (1, 2, 3))
    assert "inactive" in inactive["what"]
    assert inputs(inactive, "endpoint")["inactive endpoint there now"] == "yes"
    assert "no endpoint" in absent["what"]
    assert inputs(absent, "endpoint")["inactive endpoint there now"] == "no"
    assert "GET" in inputs(other, "endpoint")["methods of the path now"]


@pytest.mark.parametrize(
    "reason",
    [Reason.TOKEN_INVALID, Reason.CONFLICTING_CREDENTIALS, Reason.METHOD_MISMATCH],
)
def test_what_a_call_presented_cannot_be_tried_again(
    world: World, log: Log, reason: Reason
) -> None:
    """The token that had expired would not be admitted now, though the profile has nothing against it."""
    profile = world.a_profile()
    details = {"path": "/orders-v1/orders", "credentials": "2"}
    log("N-1", reason=reason, profile_id=profile["id"], details=details)
    data = explained(world, request_id="N-1")
    assert data["now"] is None
    if reason is Reason.CONFLICTING_CREDENTIALS:
        assert inputs(data, "presented") == {"credentials presented": "2"}


def test_nothing_is_told_of_collections_of_other_projects(world: World, log: Log) -> None:
    """Neither of a made-up call nor of one that was made: their answers are those for no collection."""
    other = world.api.done("POST", "folders", {"name": "Other"})["id"]
    theirs = world.api.as_(admin=False, role="editor", project_ids=[other])
    client = theirs.done("POST", "api_clients", {"name": "C", "project_id": other})["result"]["id"]
    own = theirs.done("POST", "api_collections", {"name": "Own", "project_id": other})
    profile = theirs.done(
        "POST",
        "api_access_profiles",
        {
            "name": "P", "api_client_id": client, "api_collection_ids": [own["id"]],
            "auth_type": "token",
        },
    )["result"]  # fmt: skip

    def told(api: Any, path: str) -> Any:
        given = {"access_profile_id": profile["id"], "path": path}
        data = api.done("POST", "v2/explain", given)["data"]
        for step in data["steps"]:
            step["inputs"].pop("path", None)
            step["inputs"].pop("now", None)
        return data

    assert told(theirs, "/orders-v1/orders") == told(theirs, "/none-such/orders")
    assert told(world.api, "/orders-v1/orders")["reason"] == "collection_not_granted"
    for number, reason in (
        ("B-1", Reason.COLLECTION_NOT_GRANTED),
        ("B-2", Reason.COLLECTION_NOT_FOUND),
    ):
        there = world.collection["id"] if reason is Reason.COLLECTION_NOT_GRANTED else 0
        log(number, reason=reason, profile_id=profile["id"], collection_id=there)
    answers = []
    for number in ("B-1", "B-2"):
        data = theirs.done("POST", "v2/explain", {"request_id": number})["data"]
        answers.append(str(data).replace(number, "").replace(str(data["call"]["at"]), ""))
    assert answers[0] == answers[1]


def test_a_call_of_a_profile_that_spans_projects_names_what_one_sees(
    world: World, log: Log
) -> None:
    other = world.api.done("POST", "folders", {"name": "Other"})["id"]
    theirs = world.api.as_(admin=False, role="editor", project_ids=[other])
    client = theirs.done("POST", "api_clients", {"name": "C", "project_id": other})["result"]["id"]
    profile = world.a_profile(api_client_id=client)
    log(
        "S-1", profile_id=profile["id"], client_id=client,
        collection_id=world.collection["id"], endpoint_id=world.orders["id"],
    )  # fmt: skip
    told = str(world.api.done("POST", "v2/explain", {"request_id": "S-1"}))
    assert "'collection': 'Orders'" in told
    assert "'endpoint': 'GET /orders'" in told
    told = str(theirs.done("POST", "v2/explain", {"request_id": "S-1"}))
    assert "'collection': 'one of another project'" in told
    assert "'endpoint': 'one of another project'" in told
    assert "orders" not in told.lower()
