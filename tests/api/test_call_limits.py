"""Limits on calls of the management API: by token, by address, and for what has no valid token."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from tests.api.conftest import Api

from ostiary.api import call_limits
from ostiary.api.call_limits import CallLimit, CallLimits, TooManyCalls


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr(call_limits.counters, "now", lambda: now[0])
    yield now
    call_limits.counters.forget()


def _limit(api: Api, **settings: int) -> None:
    api.done("PUT", "v2/settings", settings)
    call_limits.counters.forget()


def _me(api: Api, **headers: str) -> Any:
    return api.answer("GET", "users/me", **headers)


def test_without_a_limit_no_header_says_anything(api: Api) -> None:
    answer = _me(api)
    assert answer.status_code == 200
    assert "RateLimit" not in answer


def test_a_token_gets_its_calls_of_a_minute_and_is_told_what_is_left(
    api: Api, clock: list[float]
) -> None:
    other = api.as_(admin=True)
    _limit(api, token_calls_per_minute=3)
    answers = [_me(other) for _ in range(2)]
    clock[0] += 20
    answers += [_me(other) for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert [each["RateLimit"] for each in answers] == [
        '"token";r=2;t=60', '"token";r=1;t=60', '"token";r=0;t=40', '"token";r=0;t=40',
    ]  # fmt: skip
    assert {each["RateLimit-Policy"] for each in answers} == {'"token";q=3;w=60'}
    assert answers[3]["Retry-After"] == "40"
    assert answers[3].json()["message"] == (
        "This token makes more calls than it may, 3 a minute; try again in 40 seconds."
    )
    assert _me(api).status_code == 200
    clock[0] += 40
    assert _me(other).status_code == 200


def test_an_address_gets_its_calls_whatever_tokens_they_have(api: Api, clock: list[float]) -> None:
    others = [api.as_(admin=True) for _ in range(3)]
    _limit(api, address_calls_per_minute=3, token_calls_per_minute=2)
    answers = [_me(each) for each in (*others, api)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert answers[0]["RateLimit"] == '"address";r=2;t=60, "token";r=1;t=60'
    assert answers[0]["RateLimit-Policy"] == '"address";q=3;w=60, "token";q=2;w=60'
    assert answers[3]["RateLimit"] == '"address";r=0;t=60'


def test_by_default_an_address_may_fail_120_times_a_minute(api: Api, clock: list[float]) -> None:
    assert _me(api).status_code == 200
    late = api.as_(admin=True)
    wrong = {"Authorization": "Bearer ostm_wrong"}
    none = {"Authorization": ""}
    statuses = [_me(api, **(wrong if n % 2 else none)).status_code for n in range(121)]
    assert statuses == [401] * 120 + [429]
    # Who has shown a valid token before goes on; a new one has to wait, or it could be guessed on.
    assert _me(api).status_code == 200
    assert _me(late).status_code == 429
    with CaptureQueriesContext(connection) as queries:
        refused = _me(api, **wrong)
    assert (refused.status_code, len(queries)) == (429, 0)
    assert refused["RateLimit-Policy"] == '"failures";q=120;w=60'
    clock[0] += 60
    assert _me(late).status_code == 200
    failed = _me(api, **wrong)
    assert (failed.status_code, failed["RateLimit"]) == (401, '"failures";r=119;t=60')


def test_a_revoked_token_does_not_go_on(api: Api, clock: list[float]) -> None:
    other = api.as_(admin=True)
    _limit(api, address_failures_per_minute=1)
    assert (_me(api).status_code, _me(other).status_code) == (200, 200)
    for token in api.done("GET", "v2/tokens")["data"]:
        if token["name"] == "other":
            api.done("DELETE", f"v2/tokens/{token['id']}")
    assert [_me(other).status_code for _ in range(2)] == [401, 429]


def test_an_ipv6_address_counts_by_its_network(api: Api, clock: list[float]) -> None:
    _limit(api, address_calls_per_minute=1)
    found = []
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        answer = api._client.get(
            "/api/users/me", headers={"Authorization": f"Bearer {api.token}"}, REMOTE_ADDR=address
        )
        found.append(answer.status_code)
    assert found == [200, 429, 200]


@pytest.mark.parametrize("value", [-1, 1_000_001, True, "5", 1.5])
def test_a_limit_is_a_whole_number(api: Api, value: object) -> None:
    assert api("PUT", "v2/settings", {"token_calls_per_minute": value})[0] == 400


def test_counters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_limits, "MOST", 3)
    limits, policy = CallLimits(now=lambda: 0.0), CallLimit(name="address", limit=1)
    for number in range(10):
        limits.count(policy, number)
        limits.prove(str(number))
    assert len(limits._counters) == len(limits._proven) == 3
    with pytest.raises(TooManyCalls):
        limits.count(policy, 9)
