"""What is used of a profile's limits can be read, by its owner and by the consumer; reset; raised."""

import base64
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.stage import Answer, Stage, Upstream, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

THINGS = "/limited-v1/things"


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Limited", handle="limited-v1")


@pytest.fixture(scope="module")
def policy(stage: Stage) -> Any:
    content = {
        "name": "Five a day and an hour",
        "rate_limits": [{"limit": 100, "interval": "hour"}],
        "usage_quota": {"limit": 5, "interval": "day"},
    }
    return stage.done("POST", "v2/api_policies", content)["data"]


def far_from_the_hour() -> None:
    """Not across the end of an hour, in which windows would begin anew."""
    wait_for(lambda: 3600 - time.time() % 3600 > 30, what="the next hour")


def statuses(stage: Stage, secret: str, n: int, path: str = THINGS) -> list[int]:
    return [stage.call(path, secret).status for _ in range(n)]


def used(answer: Answer) -> dict[str, tuple[int, int, int]]:
    assert answer.status == 200, answer.body
    return {
        each["window"]: (each["limit"], each["used"], each["remaining"])
        for each in answer.json["windows"]
    }


def limits(stage: Stage, profile: Any) -> dict[str, tuple[int, int, int]]:
    found = stage.done("GET", f"v2/access_profiles/{profile['id']}/limits")["data"]
    return {w["window"]: (w["limit"], w["used"], w["remaining"]) for w in found["windows"]}


def test_a_consumer_reads_what_is_used_and_it_costs_nothing(
    stage: Stage, things: Any, policy: Any
) -> None:
    far_from_the_hour()
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    first = stage.call("/usage", profile["secret"])
    assert used(first) == {"hour": (100, 0, 100), "quota": (5, 0, 5)}
    assert first.json["policy"] == policy["name"]
    assert first.headers["cache-control"] == "no-store"
    assert statuses(stage, profile["secret"], 2) == [200, 200]
    for _ in range(3):
        again = stage.call("/usage", profile["secret"])
        assert used(again) == {"hour": (100, 2, 98), "quota": (5, 2, 3)}
    [hour, quota] = again.json["windows"]
    assert 0 < hour["reset"] <= 3600
    assert quota["resets_at"].endswith("T00:00:00Z")
    assert limits(stage, profile) == {"hour": (100, 2, 98), "quota": (5, 2, 3)}
    # Refused calls count nothing, and what is used up can still be read.
    assert statuses(stage, profile["secret"], 5) == [200, 200, 200, 429, 429]
    assert used(stage.call("/usage", profile["secret"]))["quota"] == (5, 5, 0)


def test_usage_is_told_to_whoever_may_call_and_to_nobody_else(
    stage: Stage, things: Any, policy: Any
) -> None:
    assert stage.call("/usage").status == 401
    assert stage.call("/usage", "ost_unknown").status == 401
    profile = stage.a_profile(things, api_policy_id=policy["id"], ip_allow_list=["127.0.0.9"])
    assert stage.call("/usage", profile["secret"]).status == 403
    assert stage.call("/usage", profile["secret"], source="127.0.0.9").status == 200
    refused = stage.call("/usage", profile["secret"], method="POST", source="127.0.0.9")
    assert (refused.status, refused.headers["allow"]) == (405, "GET,HEAD")
    head = stage.call("/usage", profile["secret"], method="HEAD", source="127.0.0.9")
    assert (head.status, head.body) == (200, b"")
    # Below it there is nothing.
    assert stage.call("/usage/x", profile["secret"], source="127.0.0.9").status == 404
    stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    assert stage.call("/usage", profile["secret"], source="127.0.0.9").status == 401
    free = stage.a_profile(things)
    answer = stage.call("/usage", free["secret"])
    assert answer.json == {"policy": None, "watch_only": False, "windows": []}


def test_usage_is_read_with_an_oauth_access_token(stage: Stage, things: Any, policy: Any) -> None:
    profile = stage.a_profile(things, api_policy_id=policy["id"], auth_type="oauth2")
    pair = f"{profile['oauth_client_id']}:{profile['oauth_client_secret']}"
    answer = stage.call(
        "/oauth2/token", method="POST", body=b"grant_type=client_credentials",
        headers={
            "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )  # fmt: skip
    bearer = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert stage.call(THINGS, headers=bearer).status == 200
    assert used(stage.call("/usage", headers=bearer))["quota"] == (5, 1, 4)


def test_reading_what_is_used_is_bounded(stage: Stage, things: Any, policy: Any) -> None:
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    assert stage.call("/usage", profile["secret"]).status == 200

    def flooded() -> bool:
        return 429 in statuses(stage, profile["secret"], 20, "/usage")

    wait_for(flooded, what="a bound")
    wait_for(lambda: stage.call("/usage", profile["secret"]).status == 200, what="room again")
    assert statuses(stage, profile["secret"], 1) == [200]


def test_a_limit_that_is_reset_counts_anew_and_the_others_go_on(
    stage: Stage, things: Any, policy: Any
) -> None:
    far_from_the_hour()
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    path = f"v2/access_profiles/{profile['id']}/limits"
    assert statuses(stage, profile["secret"], 6) == [200] * 5 + [429]
    for _ in range(2):
        answer = stage.done("POST", f"{path}/reset", {"windows": ["quota"]})
        assert answer["revocation"]["confirmed"] == 1
        assert statuses(stage, profile["secret"], 6) == [200] * 5 + [429]
    assert limits(stage, profile) == {"hour": (100, 15, 85), "quota": (5, 5, 0)}
    stage.done("POST", f"{path}/reset")
    assert limits(stage, profile) == {"hour": (100, 0, 100), "quota": (5, 0, 5)}
    assert statuses(stage, profile["secret"], 1) == [200]
    events = stage.done("GET", "v2/audit_events?per_page=20")["data"]
    assert any(e["action"] == "profile.reset_limits" for e in events)
    refused = stage.api("POST", f"{path}/reset", {"windows": ["minute"]})
    assert refused.status == 400
    assert refused.json["errors"]["windows"] == ["'minute' isn't one of its limits: hour, quota"]


def test_limits_are_raised_until_a_moment(stage: Stage, things: Any, policy: Any) -> None:
    far_from_the_hour()
    profile, other = (stage.a_profile(things, api_policy_id=policy["id"]) for _ in range(2))
    path = f"v2/access_profiles/{profile['id']}/limits/raise"
    assert statuses(stage, profile["secret"], 6) == [200] * 5 + [429]
    until = (datetime.now(UTC) + timedelta(seconds=6)).isoformat()
    answer = stage.done("PUT", path, {"limits": {"quota": 7}, "until": until})
    assert answer["data"]["raised"]["limits"] == {"quota": 7}
    assert statuses(stage, profile["secret"], 3) == [200, 200, 429]
    assert stage.call("/usage", profile["secret"]).json["windows"][1]["limit"] == 7
    assert statuses(stage, other["secret"], 6) == [200] * 5 + [429]
    wait_for(lambda: limits(stage, profile)["quota"] == (5, 7, 0), what="its end")
    assert used(stage.call("/usage", profile["secret"]))["quota"] == (5, 7, 0)
    assert statuses(stage, profile["secret"], 1) == [429]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    stage.done("PUT", path, {"limits": {"quota": 9}, "until": later})
    assert statuses(stage, profile["secret"], 3) == [200, 200, 429]
    stage.done("DELETE", path)
    assert limits(stage, profile)["quota"] == (5, 9, 0)
    for content, field in (
        ({"limits": {"quota": 5}, "until": later}, "limits.quota"),
        ({"limits": {"day": 50}, "until": later}, "limits"),
        ({"limits": {}, "until": later}, "limits"),
        ({"limits": {"quota": 6}, "until": "2020-01-01T00:00:00Z"}, "until"),
    ):
        refused = stage.api("PUT", path, content)
        assert (refused.status, list(refused.json["errors"])) == (400, [field])


def test_a_call_counts_what_its_endpoint_weighs(stage: Stage, things: Any, policy: Any) -> None:
    far_from_the_hour()
    stage.an_endpoint(things, "GET /heavy", weight=3)
    stage.an_endpoint(things, "GET /free", weight=0)
    changing = stage.an_endpoint(things, "GET /changing")
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    secret = profile["secret"]
    assert statuses(stage, secret, 2, "/limited-v1/heavy") == [200, 429]
    assert limits(stage, profile) == {"hour": (100, 3, 97), "quota": (5, 3, 2)}
    assert statuses(stage, secret, 3, "/limited-v1/free") == [200] * 3
    assert statuses(stage, secret, 1, "/limited-v1/changing") == [200]
    path = f"api_endpoints/{changing['id']}"
    answer = stage.done("PUT", path, {"weight": 6})
    assert answer["weight"] == 6
    assert any("can never make one" in warning for warning in answer["warnings"])
    assert statuses(stage, secret, 1, "/limited-v1/changing") == [429]
    assert statuses(stage, secret, 2) == [200, 429]
    assert limits(stage, profile)["quota"] == (5, 5, 0)
    assert stage.api("PUT", path, {"weight": 10_001}).status == 400
    told = stage.done(
        "POST", "v2/explain", {"access_profile_id": profile["id"], "path": "/limited-v1/heavy"}
    )
    assert "'used': '5, as the gateway counts'" in str(told)
    assert "'a call counts': '3'" in str(told)
    told = stage.done(
        "POST", "v2/explain", {"access_profile_id": profile["id"], "path": "/limited-v1/free"}
    )
    assert told["data"]["reason"] is None
    # Usage counts calls, whatever they weigh.

    def calls() -> int:
        found = stage.done(
            "GET", f"v2/usage?bucket=all&access_profile_id={profile['id']}&status=2xx"
        )
        return sum(int(row["calls"]) for row in found["data"])

    wait_for(lambda: calls() == 6, what="counts")


def test_what_was_reset_stays_so_over_a_restart(stage: Stage, things: Any, policy: Any) -> None:
    far_from_the_hour()
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    assert statuses(stage, profile["secret"], 4) == [200] * 4
    stage.done("POST", f"v2/access_profiles/{profile['id']}/limits/reset", {"windows": ["quota"]})
    assert statuses(stage, profile["secret"], 2) == [200] * 2
    stage.stop()
    stage.start()
    assert limits(stage, profile) == {"hour": (100, 6, 94), "quota": (5, 2, 3)}
    assert used(stage.call("/usage", profile["secret"]))["quota"] == (5, 2, 3)
    assert statuses(stage, profile["secret"], 4) == [200] * 3 + [429]
