"""Explain and preview, asked about calls that really went through the gateway."""

from typing import Any

import pytest
from tests.stage import Stage, Upstream, wait_for

from ostiary.access.reasons import Reason

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

HERE, THERE = "127.0.0.1", "127.0.0.2"


def explained(stage: Stage, request_id: str) -> Any:
    """The explanation of a call, once it is in the log."""
    asked = {"request_id": request_id}
    wait_for(lambda: stage.api("POST", "v2/explain", asked).status == 200, what=request_id)
    return stage.done("POST", "v2/explain", asked)["data"]


def step(data: Any, check: str) -> Any:
    return next(each for each in data["steps"] if each["check"] == check)


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], Reason]] = {
    "nothing presented": ({}, {"token": None}, Reason.CREDENTIAL_MISSING),
    "unknown": ({}, {"token": "made up, and long enough to be one"}, Reason.UNKNOWN_CREDENTIAL),
    "mistyped": ({}, {"token": "ost_" + "A" * 61}, Reason.MALFORMED_CREDENTIAL),
    "malformed path": ({}, {"target": "//things"}, Reason.MALFORMED_PATH),
    "profile off": ({"active": False}, {}, Reason.PROFILE_INACTIVE),
    "address": ({"ip_allow_list": ["127.0.1.0/24"]}, {}, Reason.ADDRESS_NOT_ALLOWED),
    "denied": ({"ip_deny_list": [HERE]}, {}, Reason.ADDRESS_DENIED),
    "no endpoint": ({}, {"target": "/nothing"}, Reason.ENDPOINT_NOT_FOUND),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_at_the_gateway_is_explained_by_its_request_id(
    stage: Stage, upstream: Upstream, case: str
) -> None:
    given, call, reason = REFUSALS[case]
    collection = stage.a_collection(upstream)
    profile = stage.a_profile(collection, **given)
    target = f"/{collection['handle']}{call.get('target', '/things')}"
    answer = stage.call(target, call.get("token", profile["secret"]))
    data = explained(stage, answer.json["request_id"])
    assert (data["verdict"], data["reason"]) == ("refused", reason)
    assert data["status"] == answer.status
    assert data["public_body"]["reason"] == answer.json["reason"]
    failed = [each for each in data["steps"] if each["outcome"] == "failed"]
    assert [each["reason"] for each in failed] == [reason]
    assert profile["secret"] not in str(data)
    if case == "address":
        seen = step(data, "address")["inputs"]
        assert seen["address"] == HERE
        assert seen["nearest allowed"] == "127.0.1.0/24, missed by 1 bit"
        assert data["sequence"] > 0


def test_a_limit_at_the_gateway_is_explained_with_its_counter(
    stage: Stage, upstream: Upstream
) -> None:
    collection = stage.a_collection(upstream)
    policy = stage.a_policy(quota=(2, "month"))
    profile = stage.a_profile(collection, api_policy_id=policy["id"])
    calls = [stage.call(f"/{collection['handle']}/things", profile["secret"]) for _ in range(3)]
    assert [call.status for call in calls] == [200, 200, 429]
    data = explained(stage, calls[2].json["request_id"])
    assert data["reason"] == Reason.QUOTA_EXCEEDED
    inputs = step(data, "quota")["inputs"]
    assert (inputs["limit"], inputs["used"]) == ("2", "2")
    assert step(data, "address")["outcome"] == "passed"


def test_a_preview_says_what_then_really_happens(stage: Stage, upstream: Upstream) -> None:
    collection = stage.a_collection(upstream)
    profile = stage.a_profile(collection)
    sources = [HERE, THERE, THERE, HERE, THERE]

    def called() -> list[int]:
        target = f"/{collection['handle']}/things"
        return [stage.call(target, profile["secret"], source=s).status for s in sources]

    assert called() == [200] * 5
    change = {"ip_allow_list": [HERE]}
    asked = {"access_profile_id": profile["id"], "change": change}

    def found() -> Any:
        return stage.done("POST", "v2/preview", asked)["data"]

    wait_for(lambda: found()["calls"] == 5, what="five calls in the log")
    assert (found()["newly_refused"], found()["newly_allowed"]) == (3, 0)
    stage.done("PUT", f"api_access_profiles/{profile['id']}", change)
    assert called() == [200, 403, 403, 200, 403]
    back = {"access_profile_id": profile["id"], "change": {"ip_allow_list": []}}
    wait_for(
        lambda: stage.done("POST", "v2/preview", back)["data"]["calls"] == 10,
        what="ten calls in the log",
    )
    assert stage.done("POST", "v2/preview", back)["data"]["newly_allowed"] == 6


@pytest.mark.parametrize("rule", ["addresses", "limits"])
def test_a_call_that_only_a_watched_rule_would_have_refused_says_so(
    stage: Stage, upstream: Upstream, rule: str
) -> None:
    collection = stage.a_collection(upstream)
    content = {"name": f"Watched {rule}", "rate_limit": {"limit": 1, "interval": "day"}}
    policy = stage.done("POST", "v2/api_policies", content | {"watch_only": True})["data"]
    given: dict[str, Any] = {"api_policy_id": policy["id"]}
    if rule == "addresses":
        given = {"ip_allow_list": ["198.51.100.0/24"], "ip_watch_only": True}
    profile = stage.a_profile(collection, **given)
    for _ in range(2):
        assert stage.call(f"/{collection['handle']}/things", profile["secret"]).status == 200
    (request_id,) = upstream.seen[-1].header("X-Ostiary-Request-Id")
    data = explained(stage, request_id)
    check, reason = (
        ("address", Reason.ADDRESS_NOT_ALLOWED)
        if rule == "addresses"
        else ("rate", Reason.RATE_LIMITED)
    )
    assert (data["verdict"], data["reason"], data["would"]) == ("admitted", None, reason)
    assert step(data, check)["outcome"] == "only watched"
    assert step(data, "credential")["inputs"]["credential"].endswith(profile["secret"][-4:])


def test_what_fails_after_it_was_admitted_is_explained_by_its_reason(
    stage: Stage, upstream: Upstream
) -> None:
    document = '{"openapi": "3.0.0", "paths": {"/x": {"get": {}}}}'
    spec = {"content": document, "format": "json"}
    later = stage.done("POST", "api_collections", {"name": "Later", "openapi_spec": spec})
    (endpoint,) = stage.done("GET", f"api_endpoints?api_collection_id={later['id']}")
    stage.done("PUT", f"api_endpoints/{endpoint['id']}/enable")
    things = stage.a_collection(upstream)
    token = stage.a_profile(later, things)["secret"]
    missing = stage.call(f"/{later['handle']}/x", token)
    crowded = {f"X-Header-{number}": "1" for number in range(101)}
    malformed = stage.call(f"/{things['handle']}/things", token, headers=crowded)
    for answer, reason in (
        (missing, Reason.UPSTREAM_MISSING),
        (malformed, Reason.MALFORMED_REQUEST),
    ):
        data = explained(stage, answer.json["request_id"])
        assert (data["reason"], data["status"]) == (reason, answer.status)


def test_headers_of_a_refused_call_are_named_and_their_values_are_not(
    stage: Stage, upstream: Upstream
) -> None:
    collection = stage.a_collection(upstream, credential_places=["X-API-Key", "?key"])
    secret = stage.a_profile(collection)["secret"]
    target = f"/{collection['handle']}/things"
    sent = {"api_token": "value-one", "ot-baggage_trace": "value-two", secret: "x"}
    refused = stage.call(target, headers=sent)
    data = explained(stage, refused.json["request_id"])
    dropped = step(data, "presented")["inputs"]["headers dropped for their spelling"]
    assert dropped == f"api_token, ot-baggage_trace, {secret[:8]}..."
    refused = stage.call(f"{target}?key=value-three", secret, headers={"x-api-key": "value-four"})
    data = explained(stage, refused.json["request_id"])
    assert step(data, "presented")["inputs"] == {
        "credentials presented": "3",
        "they came in": "a query parameter, x-api-key, API-TOKEN",
    }
    lines = stage.done("GET", "v2/request_logs?reason=credential_missing")["data"]
    assert lines[0]["dropped_headers"] == dropped
    assert "value-" not in str([data, lines]) and secret not in str([data, lines])


def test_a_trusted_proxys_request_id_is_kept_beside_ours(stage: Stage, upstream: Upstream) -> None:
    collection = stage.a_collection(upstream)
    secret = stage.a_profile(collection)["secret"]
    target = f"/{collection['handle']}/things"

    def told(**headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = stage.call(target, secret, headers={"X-Request-Id": "edge-17", **sent})
        assert (answer.status, upstream.seen[-1].header("X-Request-Id")) == (200, ["edge-17"])
        asked = f"v2/request_logs?request_id={answer.headers['x-request-id']}"
        wait_for(lambda: stage.done("GET", asked)["data"] != [])
        return stage.done("GET", asked)["data"][0]["caller_request_id"]

    assert told() is None
    stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
    try:
        for _ in range(3):
            assert told(X_Forwarded_For="203.0.113.9") == "edge-17"
    finally:
        stage.done("PUT", "v2/settings", {"trusted_proxies": []})
