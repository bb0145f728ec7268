"""Limits are exact in every window, under a flood that is far over them."""

import threading
import time
from collections import Counter
from typing import Any

import pytest
from tests.stage import Answer, Stage, Upstream, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Things", handle="things-v1")


def flood(stage: Stage, token: str, calls: int, threads: int = 8) -> list[Answer]:
    answers: list[Answer] = []

    def load() -> None:
        for _ in range(calls // threads):
            answers.append(stage.call("/things-v1/things", token))

    running = [threading.Thread(target=load) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return answers


def early_in(window: int, *, left: int) -> None:
    """A flood must not cross into the next window of so many seconds."""
    wait_for(lambda: window - time.time() % window > left)


@pytest.mark.parametrize("limit", [1, 2, 5, 60])
def test_a_rate_limit_admits_exactly_its_number(
    stage: Stage, upstream: Upstream, things: Any, limit: int
) -> None:
    policy = stage.a_policy(rate=(limit, "minute"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    early_in(60, left=25)
    answers = flood(stage, profile["secret"], max(80, 2 * limit))
    assert Counter(a.status for a in answers)[200] == limit
    refused = next(a for a in answers if a.status == 429)
    assert refused.json["reason"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert f'"rate";q={limit};w=60' in refused.headers["ratelimit-policy"]
    mine = str(profile["id"])
    assert sum(seen.header("X-Ostiary-Profile") == [mine] for seen in upstream.seen) == limit


def test_windows_of_a_second_are_exact_each(stage: Stage, upstream: Upstream, things: Any) -> None:
    policy = stage.a_policy(rate=(5, "second"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    began = time.time()
    stop = time.monotonic() + 4
    answers: list[Answer] = []

    def load() -> None:
        while time.monotonic() < stop:
            answers.append(stage.call("/things-v1/things", profile["secret"]))

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = int(time.time()) - int(began) + 1
    assert {answer.status for answer in answers} == {200, 429}
    # Each window is counted down by itself: a 4 is its first call, and what follows is there once.
    left = Counter(a.headers["x-ratelimit-remaining"] for a in answers if a.status == 200)
    assert set(left) == set("43210")
    assert left["4"] >= left["3"] >= left["2"] >= left["1"] >= left["0"]
    # The gateway's clock may have been looked at just before the first call came.
    assert left["4"] <= seconds + 1


def test_a_quota_is_exact_and_refused_calls_count_towards_nothing(
    stage: Stage, things: Any
) -> None:
    policy = stage.a_policy(rate=(1000, "hour"), quota=(7, "month"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    early_in(3600, left=25)
    answers = flood(stage, profile["secret"], 40)
    assert Counter(a.status for a in answers) == {200: 7, 429: 33}
    refused = next(a for a in answers if a.status == 429)
    assert refused.json["reason"] == "quota_exceeded"
    assert '"quota";r=0;t=' in refused.headers["ratelimit"]
    passed = [a for a in answers if a.status == 200]
    left = [a.headers["x-ratelimit-remaining"] for a in passed]
    assert sorted(left, reverse=True) == [str(1000 - n) for n in range(1, 8)]


def test_a_raised_limit_is_in_force_at_once_and_counts_go_on(stage: Stage, things: Any) -> None:
    policy = stage.a_policy(quota=(3, "month"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    assert Counter(a.status for a in flood(stage, profile["secret"], 8, 1)) == {200: 3, 429: 5}
    raised = {"name": policy["name"], "usage_quota": {"limit": 5, "interval": "month"}}
    stage.done("PUT", f"v2/api_policies/{policy['id']}", raised)
    assert Counter(a.status for a in flood(stage, profile["secret"], 8, 1)) == {200: 2, 429: 6}


def test_a_refresh_keeps_the_count(stage: Stage, things: Any) -> None:
    policy = stage.a_policy(quota=(3, "month"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    flood(stage, profile["secret"], 2, 1)
    renewed = stage.done("PUT", f"api_access_profiles/{profile['id']}/refresh_secret")["result"]
    assert Counter(a.status for a in flood(stage, renewed["secret"], 5, 1)) == {200: 1, 429: 4}


@pytest.mark.parametrize("interval", ["minute", "hour", "day"])
def test_who_raises_a_rate_limit_lets_calls_pass_whatever_was_refused(
    stage: Stage, things: Any, interval: str
) -> None:
    policy = stage.a_policy(rate=(3, interval))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    early_in({"minute": 60, "hour": 3600, "day": 86_400}[interval], left=25)
    assert Counter(a.status for a in flood(stage, profile["secret"], 40, 1)) == {200: 3, 429: 37}
    raised = {"name": policy["name"], "rate_limit": {"limit": 5, "interval": interval}}
    stage.done("PUT", f"v2/api_policies/{policy['id']}", raised)
    answers = flood(stage, profile["secret"], 8, 1)
    assert Counter(a.status for a in answers) == {200: 2, 429: 6}
    assert [a.headers["x-ratelimit-remaining"] for a in answers[:3]] == ["1", "0", "0"]
    assert {a.headers["x-ratelimit-limit"] for a in answers} == {"5"}


def test_a_window_after_one_with_refused_calls_admits_exactly_the_limit_again(
    stage: Stage, things: Any
) -> None:
    policy = stage.a_policy(rate=(4, "second"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])

    window: list[str] = []

    def windows_with_refused_calls(number: int) -> None:
        """Call until there were so many: each admits four calls before it refuses any."""

        def another() -> bool:
            answer = stage.call("/things-v1/things", profile["secret"])
            if answer.status == 200:
                left = answer.headers["x-ratelimit-remaining"]
                if left == "3":
                    window.clear()
                window.append(left)
                return False
            assert (answer.status, window) == (429, ["3", "2", "1", "0"])
            return True

        for _ in range(number):
            wait_for(another, what="a refused call")
            wait_for(lambda: not another(), what="another window")

    windows_with_refused_calls(1)
    # Leases that are written in a window with refused calls are for that window alone.
    stage.done("PUT", f"api_access_profiles/{profile['id']}", {"name": "Renamed"})
    stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    stage.done("PUT", f"api_access_profiles/{profile['id']}/enable")
    windows_with_refused_calls(3)


def test_what_the_rate_limit_refuses_is_not_taken_from_the_quota_that_is_told(
    stage: Stage, things: Any
) -> None:
    policy = stage.a_policy(rate=(2, "day"), quota=(100, "month"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    answers = flood(stage, profile["secret"], 4, 1)
    told = [a.headers["ratelimit"].partition('"quota";')[2].split(";")[0] for a in answers]
    assert told == ["r=99", "r=98", "r=98", "r=98"]
