"""The whole product with a store: limits, what is told of them, and the store away."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.budgets.redis_server import StoreServer, store_server
from tests.stage import Stage, Upstream, ask, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with store_server() as started:
        yield started


@pytest.fixture(scope="module")
def stage(server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    env = {"OSTIARY_REDIS_URL": server.secret_url}
    with running(tmp_path_factory.mktemp("shared"), env=env) as started:
        yield started


@pytest.fixture(scope="module")
def things(stage: Stage, upstream: Upstream) -> Any:
    return stage.a_collection(upstream, name="Things", handle="things-v1")


def statuses(stage: Stage, token: str, calls: int) -> Counter[int]:
    return Counter(stage.call("/things-v1/things", token).status for _ in range(calls))


def used(stage: Stage, profile: Any) -> dict[str, int]:
    answer = stage.done("GET", f"v2/access_profiles/{profile['id']}/limits")["data"]
    return {each["window"]: each["used"] for each in answer["windows"]}


def check_of_limits(stage: Stage) -> Any:
    headers = {"Authorization": f"Bearer {stage.token}"}
    return ask(stage.control, "GET", "/readyz", headers=headers).json["checks"]["limits"]


def test_a_limit_is_counted_shown_reset_and_raised(stage: Stage, things: Any) -> None:
    policy = stage.a_policy(rate=(1000, "day"), quota=(5, "month"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    token, path = profile["secret"], f"v2/access_profiles/{profile['id']}/limits"
    assert statuses(stage, token, 8) == {200: 5, 429: 3}
    assert used(stage, profile) == {"day": 5, "quota": 5}
    stage.done("POST", f"{path}/reset", {"windows": ["quota"]})
    assert statuses(stage, token, 8) == {200: 5, 429: 3}
    assert used(stage, profile) == {"day": 10, "quota": 5}
    stage.done("PUT", f"{path}/raise", {"limits": {"quota": 7}, "until": "2100-01-01T00:00:00Z"})
    assert statuses(stage, token, 8) == {200: 2, 429: 6}


def test_the_store_away_is_told_and_its_password_is_not(
    stage: Stage, server: StoreServer, things: Any
) -> None:
    policy = stage.a_policy(quota=(5, "month"))
    profile = stage.a_profile(things, api_policy_id=policy["id"])
    assert check_of_limits(stage) == {"ok": True, "state": "The store of shared limits answers."}
    assert statuses(stage, profile["secret"], 2) == {200: 2}
    server.kill()
    wait_for(lambda: "does not answer" in check_of_limits(stage)["state"], what="the store away")
    # Alone, this gateway's share is the whole limit; the rest of it passes.
    assert statuses(stage, profile["secret"], 5) == {200: 3, 429: 2}
    headers = {"Authorization": f"Bearer {stage.token}"}
    metrics = ask(stage.control, "GET", "/metrics", headers=headers).body.decode()
    assert "\nostiary_limit_store_up 0.0\n" in metrics
    server.start()
    wait_for(
        lambda: check_of_limits(stage)["state"] == "The store of shared limits answers.",
        what="the store back",
    )
    assert statuses(stage, profile["secret"], 2) == {429: 2}
    wait_for(lambda: used(stage, profile) == {"quota": 5}, what="the same count")
    seen = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    seen += "\n".join(stage.printed)
    seen += "".join(
        path.read_text(errors="replace")
        for path in _files(stage.data)
        if path.stat().st_size < 10**7
    )
    assert server.password not in seen


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
