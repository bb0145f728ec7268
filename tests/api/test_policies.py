"""Policies through the API: several windows at once, and the older headers by choice."""

from typing import Any

import pytest
from tests.api.conftest import Api

from ostiary.directory.models import Policy

PER_MINUTE = {"limit": 10, "interval": "minute"}
PER_HOUR = {"limit": 100, "interval": "hour"}
PER_DAY = {"limit": 1000, "interval": "day"}


def made(api: Api, **more: Any) -> Any:
    return api.done("POST", "v2/api_policies", {"name": "P", **more})["data"]


def changed(api: Api, policy: Any, **more: Any) -> Any:
    return api.done("PUT", f"v2/api_policies/{policy['id']}", {"name": "P", **more})["data"]


@pytest.mark.parametrize(
    ("given", "first", "every"),
    [
        pytest.param({}, None, [], id="none"),
        pytest.param({"rate_limit": PER_DAY}, PER_DAY, [PER_DAY], id="one-by-its-old-name"),
        pytest.param({"rate_limits": [PER_DAY]}, PER_DAY, [PER_DAY], id="one-of-a-list"),
        pytest.param(
            {"rate_limits": [PER_DAY, PER_MINUTE, PER_HOUR]},
            PER_MINUTE, [PER_MINUTE, PER_HOUR, PER_DAY], id="several",
        ),
        pytest.param(
            {"rate_limit": PER_MINUTE, "rate_limits": [PER_DAY, PER_MINUTE]},
            PER_MINUTE, [PER_MINUTE, PER_DAY], id="both-that-agree",
        ),
        pytest.param({"rate_limit": None, "rate_limits": []}, None, [], id="both-of-nothing"),
    ],
)  # fmt: skip
def test_a_policy_has_the_rate_limits_that_it_was_given(
    api: Api, given: dict[str, Any], first: Any, every: list[Any]
) -> None:
    policy = made(api, **given)
    assert (policy["rate_limit"], policy["rate_limits"]) == (first, every)
    assert api.done("GET", f"v2/api_policies/{policy['id']}")["data"]["rate_limits"] == every
    listed = api.done("GET", "v2/api_policies")["data"]
    assert [each["rate_limits"] for each in listed] == [every]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        pytest.param({"rate_limits": [PER_DAY, PER_DAY]}, "rate_limits", id="an-interval-twice"),
        pytest.param(
            {"rate_limits": [PER_DAY] * 5}, "rate_limits", id="more-than-there-are-intervals"
        ),
        pytest.param(
            {"rate_limits": [PER_DAY, {"limit": 0, "interval": "hour"}]},
            "rate_limits.1.limit", id="zero",
        ),
        pytest.param(
            {"rate_limits": [{"limit": 1_000_000_001, "interval": "hour"}]},
            "rate_limits.0.limit", id="too-many",
        ),
        pytest.param(
            {"rate_limits": [{"limit": 1, "interval": "week"}]}, "rate_limits.0.interval",
            id="no-such-interval",
        ),
        pytest.param(
            {"rate_limit": PER_DAY, "rate_limits": [PER_DAY, PER_MINUTE]}, "rate_limit",
            id="not-the-shortest",
        ),
        pytest.param({"rate_limit": PER_DAY, "rate_limits": []}, "rate_limit", id="contradiction"),
    ],
)  # fmt: skip
def test_rate_limits_that_do_not_fit_are_refused_by_name(
    api: Api, given: dict[str, Any], field: str
) -> None:
    status, answer = api("POST", "v2/api_policies", {"name": "P", **given})
    assert status == 400, answer
    assert field in answer["errors"]
    assert not Policy.objects.exists()


def test_who_knows_of_one_rate_limit_alone_takes_no_other_away(api: Api) -> None:
    policy = made(api, rate_limits=[PER_MINUTE, PER_DAY], legacy_headers=True)
    fewer = {"limit": 5, "interval": "minute"}
    after = changed(api, policy, rate_limit=fewer)
    assert (after["rate_limits"], after["legacy_headers"]) == ([fewer, PER_DAY], True)
    status, answer = api(
        "PUT", f"v2/api_policies/{policy['id']}", {"name": "P", "rate_limit": PER_DAY}
    )
    assert status == 400
    assert "two limits for one day" in str(answer["errors"])
    assert changed(api, policy)["rate_limits"] == [fewer, PER_DAY]
    assert changed(api, policy, rate_limit=None)["rate_limits"] == [PER_DAY]
    assert changed(api, policy, rate_limits=[])["rate_limits"] == []


def test_what_is_shown_of_a_policy_can_be_sent_back(api: Api) -> None:
    policy = made(api, rate_limits=[PER_HOUR, PER_MINUTE], legacy_headers=True)
    names = ("rate_limit", "rate_limits", "usage_quota", "watch_only", "legacy_headers")
    after = changed(api, policy, **{name: policy[name] for name in names})
    assert {name: after[name] for name in names} == {name: policy[name] for name in names}


def test_a_limit_that_never_refuses_anything_is_said(api: Api) -> None:
    policy = made(api, rate_limits=[PER_MINUTE, PER_HOUR, {"limit": 10, "interval": "day"}])
    assert policy["warnings"] == [
        "The limit of 10 per minute refuses nothing that 10 per day does not",
        "The limit of 100 per hour refuses nothing that 10 per day does not",
    ]
    assert changed(api, policy, rate_limits=[PER_MINUTE, PER_HOUR])["warnings"] == []


def test_the_older_headers_are_sent_by_choice(api: Api) -> None:
    policy = made(api)
    assert policy["legacy_headers"] is False
    for chosen in (True, False):
        assert changed(api, policy, legacy_headers=chosen)["legacy_headers"] is chosen


def test_a_preview_counts_every_window(api: Api) -> None:
    policy = made(api, rate_limits=[PER_MINUTE])
    question = {"api_policy_id": policy["id"]}
    same = {"name": "P", "rate_limits": [PER_MINUTE]}
    found = api.done("POST", "v2/preview", {**question, "change": same})["data"]
    assert found["changes_nothing"]
    more = {"name": "P", "rate_limits": [PER_MINUTE, PER_DAY]}
    found = api.done("POST", "v2/preview", {**question, "change": more})["data"]
    assert not found["changes_nothing"]


def test_a_preview_of_a_policy_takes_what_its_change_takes(api: Api) -> None:
    made = api.done(
        "POST", "v2/api_policies", {"name": "P", "rate_limit": {"limit": 5, "interval": "minute"}}
    )
    question = {"api_policy_id": made["data"]["id"]}
    change = {"rate_limits": [{"limit": 1, "interval": "minute"}]}
    assert api.done("POST", "v2/preview", {**question, "change": change})["data"]["calls"] == 0
