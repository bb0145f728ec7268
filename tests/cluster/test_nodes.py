"""Gateways on several machines: receipts name them, and one that is cut off honours no old decision."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.budgets.redis_server import store_server
from tests.cluster.machines import Cluster, several
from tests.postgres import cluster as postgresql
from tests.stage import Upstream, ask, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.postgres, pytest.mark.slow]

FENCE = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with postgresql() as url, store_server() as store:
        env = {"OSTIARY_REDIS_URL": store.url, "OSTIARY_FENCE_SECONDS": str(FENCE)}
        with several(folder, url, env) as several_:
            for name in ("b", "c"):
                several_.add(name)
            yield several_


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def things(cluster: Cluster, upstream: Upstream) -> Any:
    return cluster.stage.a_collection(upstream, name="Things", handle="things-v1")


def statuses(cluster: Cluster, secret: str) -> list[int]:
    first = cluster.stage.call("/things-v1/things", secret).status
    return [first, *(each.call("/things-v1/things", secret).status for each in cluster.machines)]


def names(receipt: Any) -> dict[str, str]:
    return {each["name"]: each["state"] for each in receipt["nodes"]}


def test_a_revocation_returns_when_every_gateway_has_confirmed(
    cluster: Cluster, things: Any
) -> None:
    for _ in range(5):
        profile = cluster.stage.a_profile(things)
        wait_for(lambda: statuses(cluster, profile["secret"]) == [200, 200, 200])  # noqa: B023 - it is asked at once
        done = cluster.stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
        assert statuses(cluster, profile["secret"]) == [401, 401, 401]
        receipt = done["revocation"]
        assert (receipt["confirmed"], receipt["of"]) == (3, 3)
        assert names(receipt) == {"up": "confirmed", "b": "confirmed", "c": "confirmed"}


def test_a_console_without_a_gateway_beside_it_gives_the_same_receipts(
    cluster: Cluster, things: Any
) -> None:
    control = cluster.add("console", role="control")
    profile = cluster.stage.a_profile(things)
    wait_for(lambda: statuses(cluster, profile["secret"]) == [200, 200, 200])
    token = {"Authorization": f"Bearer {cluster.stage.token}"}
    path = f"/api/api_access_profiles/{profile['id']}/disable"
    answer = ask(control.port, "PUT", path, headers={**token, "Content-Length": "0"})
    assert statuses(cluster, profile["secret"]) == [401, 401, 401]
    assert answer.status == 200, answer.body
    assert names(answer.json["revocation"]) == {
        "up": "confirmed", "b": "confirmed", "c": "confirmed",
    }  # fmt: skip
    content = {"name": "Elsewhere", "method": "GET", "path": "/elsewhere", "active": True}
    body = json.dumps(content).encode()
    headers = {**token, "Content-Type": "application/json"}
    path = f"/api/api_collections/{things['id']}/api_endpoints"
    answer = ask(control.port, "POST", path, headers=headers, body=body)
    assert (answer.status, answer.json["warnings"]) == (200, []), answer.body
    secret = cluster.stage.a_profile(things)["secret"]
    calls = [machine.call("/things-v1/elsewhere", secret) for machine in cluster.machines]
    assert [each.status for each in calls] == [200, 200]


def test_a_limit_holds_over_all_gateways(cluster: Cluster, things: Any) -> None:
    limit = {"name": "Twenty a day", "rate_limit": {"limit": 20, "interval": "day"}}
    policy = cluster.stage.done("POST", "v2/api_policies", limit)["data"]["id"]
    profile = cluster.stage.a_profile(things, api_policy_id=policy)
    # One after another, and most of them at one gateway.
    machine = cluster.machines[0]
    seen = [machine.call("/things-v1/things", profile["secret"]).status for _ in range(12)]
    for _ in range(6):
        seen += statuses(cluster, profile["secret"])
    assert seen.count(200) == 20
    assert set(seen) == {200, 429}
    used = cluster.stage.done("GET", f"v2/access_profiles/{profile['id']}/limits")["data"]
    assert [(each["used"], each["remaining"]) for each in used["windows"]] == [(20, 0)]


def test_a_gateway_that_is_cut_off_honours_no_old_decision(cluster: Cluster, things: Any) -> None:
    kept, taken = cluster.stage.a_profile(things), cluster.stage.a_profile(things)
    for each in (kept, taken):
        wait_for(lambda: statuses(cluster, each["secret"]) == [200, 200, 200])  # noqa: B023 - it is asked at once
    machine = cluster.machines[0]
    cluster.links["b"].cut()
    # It goes on for a while by the decisions that it has.
    assert machine.call("/things-v1/things", kept["secret"]).status == 200
    began = time.monotonic()
    done = cluster.stage.done("PUT", f"api_access_profiles/{taken['id']}/disable")
    waited = time.monotonic() - began
    receipt = done["revocation"]
    assert (receipt["confirmed"], receipt["of"]) == (2, 3)
    assert names(receipt) == {"up": "confirmed", "b": "fenced", "c": "confirmed"}
    assert waited > FENCE
    assert machine.call("/things-v1/things", taken["secret"]).status in {401, 503}
    # Nobody can be sure of others either.
    assert machine.call("/things-v1/things", kept["secret"]).status == 503
    assert statuses(cluster, kept["secret"])[::2] == [200, 200]
    wait_for(lambda: cluster.nodes()["b"]["state"] == "silent", what="it is noticed")
    cluster.links["b"].mend()
    wait_for(lambda: statuses(cluster, kept["secret"]) == [200, 200, 200], what="it is back")
    assert machine.call("/things-v1/things", taken["secret"]).status == 401
    wait_for(lambda: cluster.nodes()["b"]["state"] == "running", what="it is noticed")


def test_calls_of_all_gateways_are_counted_once(cluster: Cluster, things: Any) -> None:
    profile = cluster.stage.a_profile(things)
    machine = cluster.machines[0]
    for number in range(30):
        assert statuses(cluster, profile["secret"]) == [200, 200, 200]
        if number == 15:
            machine.kill("collector")

    of_profile = f"access_profile_id={profile['id']}"

    def counted() -> int:
        rows = cluster.stage.done("GET", f"v2/usage?bucket=all&{of_profile}")["data"]
        return sum(each["calls"] for each in rows)

    wait_for(lambda: counted() >= 90, what="all are counted")
    path = f"v2/request_logs?{of_profile}&per_page=100"
    wait_for(lambda: len(cluster.stage.done("GET", path)["data"]) >= 90, what="all are logged")
    assert counted() == 90
    assert len({each["request_id"] for each in cluster.stage.done("GET", path)["data"]}) == 90


def test_a_gateway_that_was_stopped_is_not_waited_for(
    cluster: Cluster, things: Any, upstream: Upstream
) -> None:
    machine = cluster.machines[1]
    secret = cluster.stage.a_profile(things)["secret"]
    cluster.stage.an_endpoint(things, "GET /slow")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(machine.call, "/things-v1/slow", secret)
        wait_for(
            lambda: any(each.target.endswith("/slow") for each in upstream.seen), what="a call"
        )
        stopping = pool.submit(machine.stop)
        wait_for(lambda: cluster.nodes()["c"]["state"] == "draining", what="it is noticed")
        upstream.slow.set()
        assert slow.result().status == 200
        assert stopping.result() == 0
    assert cluster.nodes()["c"]["state"] == "stopped"
    profile = cluster.stage.a_profile(things)
    receipt = cluster.stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")[
        "revocation"
    ]
    assert (receipt["confirmed"], receipt["of"]) == (2, 2)
    machine.start()
    wait_for(lambda: cluster.nodes()["c"]["state"] == "running", what="it is back")
    # What was revoked meanwhile is revoked there.
    assert machine.call("/things-v1/things", profile["secret"]).status == 401


def test_two_gateways_cannot_have_one_name(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match="A gateway with the name up is running"):
        cluster.add("d", node="up")
