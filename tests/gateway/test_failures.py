"""Parts that die under load: what is in force goes on, the rest fails closed, all comes back."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.stage import Stage, Upstream, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(own_stage: Stage) -> Stage:
    return own_stage


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Things", handle="things-v1")


def status(stage: Stage, profile: Any, path: str = "things") -> int:
    return stage.call(f"/things-v1/{path}", profile["secret"]).status


def test_without_an_authority_leases_serve_and_nothing_else_does(stage: Stage, things: Any) -> None:
    profile, other = stage.a_profile(things), stage.a_profile(things)
    assert status(stage, profile) == 200
    stage.kill("authority")
    served = status(stage, profile)
    new = status(stage, other)
    assert served == 200
    assert new in {503, 200}  # 200 if it is back already
    wait_for(lambda: status(stage, other) == 200, what="authority back")
    assert any("authority" in line and "died" in line for line in stage.lines)


def test_a_change_while_the_authority_is_gone_is_saved_and_said_not_to_be_in_force(
    stage: Stage, things: Any
) -> None:
    profile = stage.a_profile(things)
    assert status(stage, profile) == 200
    stage.kill("authority")
    path = f"api_access_profiles/{profile['id']}/disable"
    answer = stage.api("PUT", path)
    assert answer.status in {200, 503}
    wait_for(lambda: stage.api("PUT", path).status == 200, what="in force")
    assert status(stage, profile) == 401


def test_a_gateway_that_died_comes_back_without_old_rights(stage: Stage, things: Any) -> None:
    profile, revoked = stage.a_profile(things), stage.a_profile(things)
    assert status(stage, profile) == status(stage, revoked) == 200
    stage.done("PUT", f"api_access_profiles/{revoked['id']}/disable")
    stage.kill("gateway")

    def back() -> bool:
        try:
            return status(stage, profile) == 200
        except OSError:
            return False

    wait_for(back, what="gateway back")
    assert status(stage, revoked) == 401
    stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
    assert status(stage, profile) == 401


@pytest.mark.parametrize("part", ["control", "recipes", "collector"])
def test_other_parts_come_back(stage: Stage, things: Any, part: str) -> None:
    profile = stage.a_profile(things)
    before = len([line for line in stage.lines if line == f"{part} ready"])
    stage.kill(part)
    assert status(stage, profile) == 200
    wait_for(
        lambda: len([line for line in stage.lines if line == f"{part} ready"]) > before, what=part
    )

    def works() -> bool:
        try:
            return stage.api("GET", "users/me").status == 200
        except OSError:
            return False

    wait_for(works)


def test_counts_and_rights_outlive_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    with running(tmp_path / "data") as stage:
        things = stage.a_collection(upstream, name="Things", handle="things-v1")
        policy = stage.a_policy(quota=(5, "month"))
        profile = stage.a_profile(things, api_policy_id=policy["id"])
        for _ in range(3):
            assert status(stage, profile) == 200
        assert stage.stop() == 0
        stage.start()
        answers = [status(stage, profile) for _ in range(4)]
        assert answers == [200, 200, 429, 429]


@pytest.mark.parametrize("interval", ["hour", "day"])
def test_a_rate_limit_of_an_hour_or_a_day_outlives_the_gateway(
    stage: Stage, things: Any, interval: str
) -> None:
    policy = stage.a_policy(rate=(3, interval))
    profile = stage.a_profile(things, api_policy_id=policy["id"])

    def kept() -> int:
        with closing(sqlite3.connect(stage.data / "ostiary.sqlite3")) as database:
            asked = "SELECT calls FROM usage_quotacount WHERE profile_id = ? AND interval = ?"
            found = database.execute(asked, (profile["id"], f"1 {interval}")).fetchone()
        return int(found[0]) if found else 0

    def gateway_dies_and_is_back() -> None:
        stage.kill("gateway")
        wait_for(lambda: _accepts(stage), what="gateway back")

    # Not across the end of the window.
    wait_for(lambda: 3600 - time.time() % 3600 > 60)
    assert [status(stage, profile) for _ in range(2)] == [200, 200]
    wait_for(lambda: kept() == 2, what="harvest")
    gateway_dies_and_is_back()
    assert [status(stage, profile) for _ in range(4)] == [200, 429, 429, 429]
    wait_for(lambda: kept() == 3, what="harvest")
    gateway_dies_and_is_back()
    assert status(stage, profile) == 429
    raised = {"name": policy["name"], "rate_limit": {"limit": 5, "interval": interval}}
    stage.done("PUT", f"v2/api_policies/{policy['id']}", raised)
    assert [status(stage, profile) for _ in range(3)] == [200, 200, 429]


def _accepts(stage: Stage) -> bool:
    try:
        return stage.call("/").status == 401
    except OSError:
        return False
