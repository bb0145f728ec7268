"""Calls through the gateway are in usage and request log, each of them once."""

from http import HTTPStatus
from typing import Any

import pytest
from tests.stage import Stage, Upstream, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


def _usage(stage: Stage, client: int, by: str) -> dict[Any, tuple[int, int, int]]:
    rows = stage.done("GET", f"v2/usage?bucket=all&client_id={client}&group_by={by}")["data"]
    return {r[by]: (r["calls"], r["refused"], r["errors"]) for r in rows}


def test_each_call_is_counted_once_and_logged(stage: Stage, upstream: Upstream) -> None:
    collection = stage.a_collection(upstream, "GET /things", "GET /status/{code}")
    client = stage.a_client("Counted")
    policy = stage.a_policy(quota=(12, "month"))
    profile = stage.a_profile(collection, client=client, api_policy_id=policy["id"])
    token, handle = profile["secret"], collection["url"].rpartition("/")[2]
    statuses = [
        stage.call(f"/{handle}/{path}", token).status
        for path in [*["things"] * 7, *["status/500"] * 3, "nothing", *["things"] * 6]
    ]
    assert statuses == [200] * 7 + [500] * 3 + [404] + [200] * 2 + [429] * 4
    wanted = {None: (12, 0, 3), "endpoint_not_found": (1, 1, 0), "quota_exceeded": (4, 4, 0)}
    wait_for(lambda: _usage(stage, client["id"], "reason") == wanted, what="the counts")

    def logged() -> list[Any]:
        found: list[Any] = stage.done("GET", f"v2/request_logs?client_id={client['id']}")["data"]
        return found

    # Lines are written after the counts of the same round.
    wait_for(lambda: len(logged()) == len(statuses), what="all lines")
    calls = logged()
    # Two workers can answer calls in the same millisecond.
    assert sorted(call["status"] for call in calls) == sorted(statuses)
    assert [call["time"] for call in calls] == sorted((c["time"] for c in calls), reverse=True)
    refused = next(call for call in calls if call["status"] == HTTPStatus.TOO_MANY_REQUESTS)
    assert (refused["reason"], refused["ip"]) == ("quota_exceeded", "127.0.0.1")
    assert refused["access_profile_id"] == profile["id"]
    assert token not in str(calls)
