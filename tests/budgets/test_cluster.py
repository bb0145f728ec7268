"""Limits over three gateways on one store: never one call too many, and hardly one too few."""

import threading
import time
from collections.abc import Iterator

import pytest
from tests.budgets.nodes import (
    Cluster,
    GatewayNode,
    Limits,
    cluster,
    quick_upstream,
    together,
)
from tests.budgets.redis_server import StoreServer, store_server
from tests.stage import wait_for

from ostiary.budgets import store
from ostiary.gateway import control

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

HOUR, DAY = 3600, 86_400


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with quick_upstream() as port:
        yield port


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with store_server() as started:
        yield started


@pytest.fixture(scope="module")
def nodes(server: StoreServer, upstream: int) -> Iterator[Cluster]:
    with cluster(server.url, upstream) as made:
        yield made


_profiles = iter(range(1, 1_000_000))


def a_profile(
    cluster: Cluster, rates: str = "", quota: int = 0, weight: int = 1
) -> tuple[str, int]:
    """A token and its profile's id; the quota is for a period that began an hour ago."""
    number = next(_profiles)
    start = int(time.time()) // HOUR * HOUR - HOUR
    period = (quota, start, start + 30 * DAY) if quota else (0, 0, 0)
    limits = Limits(profile=number, rates=rates, quota=period, weight=weight)
    return cluster.a_token(limits), number


def early_in(window: int, *, left: int) -> None:
    """A load must not cross into the next window of so many seconds."""
    wait_for(lambda: window - time.time() % window > left)


def load_all(cluster: Cluster, token: str, calls: list[int]) -> list[int]:
    """Send so many calls to each node at the same time; how many each admitted."""
    admitted = [0] * len(calls)

    def load(number: int, node: GatewayNode) -> None:
        if calls[number]:
            admitted[number] = node.load(token, calls[number])

    together([lambda n=n, node=node: load(n, node) for n, node in enumerate(cluster.nodes)])  # type: ignore[misc]
    return admitted


@pytest.mark.parametrize("window", [HOUR, DAY, 0])
@pytest.mark.parametrize("limit", [1, 5, 100, 3000])
def test_a_limit_admits_exactly_its_number_over_all_gateways(
    nodes: Cluster, limit: int, window: int
) -> None:
    if window:
        early_in(window, left=40)
        token, _ = a_profile(nodes, f"{limit}:{window}")
    else:
        token, _ = a_profile(nodes, quota=limit)
    # Uneven: nearly all calls come to one node, and then to another.
    admitted = sum(load_all(nodes, token, [limit // 2 + 4, limit // 50 + 1, 1]))
    admitted += sum(load_all(nodes, token, [4, limit + 4, limit // 50 + 1]))
    assert limit - max(1, limit // 100) <= admitted <= limit


@pytest.mark.parametrize("limit", [1, 5, 100])
def test_windows_of_a_second_are_exact_over_all_gateways(nodes: Cluster, limit: int) -> None:
    token, _ = a_profile(nodes, f"{limit}:1")
    early_in(1, left=0)
    began = int(time.time())
    admitted = 0
    for _ in range(3):
        admitted += sum(load_all(nodes, token, [limit * 3 + 20, limit + 5, 10]))
    windows = int(time.time()) - began + 1
    # nginx's clock may be behind by the time since its last event.
    assert admitted <= (windows + 1) * limit
    assert admitted >= limit - max(1, limit // 100)


def test_every_window_of_a_policy_holds_over_all_gateways(nodes: Cluster) -> None:
    early_in(HOUR, left=40)
    token, _ = a_profile(nodes, f"40:{HOUR},60:{DAY}", quota=50)
    assert sum(load_all(nodes, token, [60, 30, 5])) == 40
    token, _ = a_profile(nodes, f"90:{HOUR},60:{DAY}", quota=50)
    assert sum(load_all(nodes, token, [60, 30, 5])) == 50


def test_a_call_counts_with_its_weight_over_all_gateways(nodes: Cluster) -> None:
    early_in(HOUR, left=40)
    token, _ = a_profile(nodes, f"100:{HOUR}", weight=7)
    assert sum(load_all(nodes, token, [20, 10, 5])) == 14


def test_headers_say_what_is_left_over_all_gateways(nodes: Cluster) -> None:
    early_in(HOUR, left=40)
    token, number = a_profile(nodes, f"5:{HOUR}")
    left = [
        node.call(token).headers["x-ratelimit-remaining"]
        for node in (*nodes.nodes, nodes.nodes[0], nodes.nodes[0])
    ]
    assert left == ["4", "3", "2", "1", "0"]
    refused = nodes.nodes[1].call(token)
    assert refused.status == 429
    assert refused.headers["ratelimit"].startswith('"rate";r=0;t=')
    assert int(refused.headers["retry-after"]) > 30
    key = f"r/{number}/{HOUR}/{int(time.time()) // HOUR * HOUR}"
    assert store.counted(nodes.url, [key], owner="tests", seconds=10) == {key: 5}


def test_what_is_counted_over_all_gateways_reaches_the_collector(nodes: Cluster) -> None:
    early_in(HOUR, left=40)
    token, number = a_profile(nodes, f"1000:{HOUR}", quota=5000)
    admitted = sum(load_all(nodes, token, [300, 100, 20]))
    assert admitted == 420
    key = f"r/{number}/{HOUR}/{int(time.time()) // HOUR * HOUR}"
    quota = f"q/{number}/0/{nodes.profiles[token].quota[1]}"

    def pushed(key: str) -> int:
        return max(node.pushes.get(key, 0) for node in nodes.nodes)

    # What other nodes hold unspent counts as well: at most a hundredth.
    wait_for(lambda: 420 <= pushed(key) <= 430, what=f"{pushed(key)} of {key}")
    wait_for(lambda: 420 <= pushed(quota) <= 470, what=f"{pushed(quota)} of {quota}")


def test_a_consumer_sees_what_is_used_over_all_gateways(nodes: Cluster) -> None:
    early_in(HOUR, left=40)
    token, _ = a_profile(nodes, f"100:{HOUR}", quota=500)
    assert sum(load_all(nodes, token, [7, 5, 0])) == 12
    windows = nodes.nodes[2].call(token, "/usage").json["windows"]
    assert [(each["window"], each["used"]) for each in windows] == [("hour", 12), ("quota", 12)]


def test_a_raised_limit_admits_the_difference_and_a_lowered_one_nothing_more(
    nodes: Cluster,
) -> None:
    early_in(HOUR, left=60)
    token, _ = a_profile(nodes, f"1000:{HOUR}")
    assert sum(load_all(nodes, token, [400, 50, 1])) == 451
    nodes.change(token, rates=f"500:{HOUR}")
    assert 490 <= 451 + sum(load_all(nodes, token, [100, 100, 100])) <= 500
    nodes.change(token, rates=f"400:{HOUR}")
    assert sum(load_all(nodes, token, [10, 10, 10])) == 0
    nodes.change(token, rates=f"600:{HOUR}")
    assert 590 <= 500 + sum(load_all(nodes, token, [100, 100, 100])) <= 600


def test_few_calls_ask_where_a_limit_is_wide(nodes: Cluster) -> None:
    early_in(HOUR, left=40)
    token, _ = a_profile(nodes, f"100000:{HOUR}")
    before = sum(node.asks for node in nodes.nodes)
    assert sum(load_all(nodes, token, [2000, 1000, 100])) == 3100
    assert sum(node.asks for node in nodes.nodes) - before < 100


def test_a_limit_that_is_only_watched_refuses_nothing_and_counts(nodes: Cluster) -> None:
    early_in(HOUR, left=40)
    token, number = a_profile(nodes, f"5:{HOUR}")
    nodes.change(token, report_only=1)
    assert sum(load_all(nodes, token, [20, 10, 5])) == 35
    key = f"r/{number}/{HOUR}/{int(time.time()) // HOUR * HOUR}"
    assert store.counted(nodes.url, [key], owner="tests", seconds=10) == {key: 35}


def test_a_call_that_waits_for_a_block_is_decided_again_after_a_revocation(
    nodes: Cluster,
) -> None:
    early_in(HOUR, left=60)
    node = nodes.nodes[0]
    token, _ = a_profile(nodes, f"2:{HOUR}")
    assert node.call(token).status == 200
    nodes.loop.call_soon_threadsafe(node.granting.clear)
    asks, questions, statuses = node.asks, node.questions, []
    calling = threading.Thread(target=lambda: statuses.append(node.call(token).status))
    calling.start()
    wait_for(lambda: node.asks > asks, what="a question for a block")
    del nodes.profiles[token]
    node.revoke()
    nodes.loop.call_soon_threadsafe(node.granting.set)
    calling.join()
    assert statuses == [503]
    assert node.questions > questions


def test_what_a_killed_node_held_is_lost_and_no_more(server: StoreServer, upstream: int) -> None:
    early_in(HOUR, left=60)
    with cluster(server.url, upstream) as made:
        token, _ = a_profile(made, f"3000:{HOUR}")
        admitted = sum(load_all(made, token, [500, 500, 500]))
        assert admitted == 1500
        made.nodes[2].kill()
        admitted += sum(load_all(made, token, [900, 900, 0]))
        assert 3000 - 30 <= admitted <= 3000


def test_a_store_that_lost_its_data_admits_no_call_too_many(
    server: StoreServer, upstream: int
) -> None:
    early_in(HOUR, left=60)
    with cluster(server.url, upstream) as made:
        token, _ = a_profile(made, f"600:{HOUR}")
        admitted = sum(load_all(made, token, [300, 20, 1]))
        server.lose_data()
        admitted += sum(load_all(made, token, [1, 150, 1]))
        server.lose_data()
        admitted += sum(load_all(made, token, [1, 100, 300]))
        assert 600 - 6 <= admitted <= 600


def test_a_quota_outlives_the_loss_of_store_and_gateways(
    server: StoreServer, upstream: int
) -> None:
    with cluster(server.url, upstream, nodes=2) as made:
        token, number = a_profile(made, quota=50)
        # As the collector has written it.
        made.counted.counts[number, "month", made.profiles[token].quota[1]] = 41
        assert sum(load_all(made, token, [30, 30])) == 9


def key_of_hour(number: int) -> str:
    return f"r/{number}/{HOUR}/{int(time.time()) // HOUR * HOUR}"


def test_without_the_store_each_gateway_admits_its_share_and_counts_are_reconciled(
    upstream: int,
) -> None:
    early_in(HOUR, left=80)
    with store_server() as own, cluster(own.url, upstream) as made:
        token, number = a_profile(made, f"90:{HOUR}")
        assert sum(load_all(made, token, [6, 4, 5])) == 15
        own.kill()
        wait_for(lambda: all(node.budgets.is_away for node in made.nodes), what="the store away")
        admitted = load_all(made, token, [60, 60, 60])
        assert admitted == [24, 26, 25]
        assert made.nodes[0].call(token).status == 429
        wait_for(
            lambda: made.nodes[0].call(token).headers["ratelimit"].endswith(";local=?1"),
            what="a gateway that says that it counts alone",
        )
        own.start()
        wait_for(lambda: not any(node.budgets.is_away for node in made.nodes), what="the store")
        wait_for(
            lambda: (
                sum(load_all(made, token, [3, 3, 3])) == 0
                and store.counted(own.url, [key_of_hour(number)], owner="tests", seconds=10).get(
                    key_of_hour(number)
                )
                == 90
            ),
            what="the same counts",
        )
        wait_for(
            lambda: not made.nodes[0].call(token).headers["ratelimit"].endswith(";local=?1"),
            what="a gateway that says that it does not count alone",
        )


def test_without_the_store_gateways_refuse_where_they_are_set_to(upstream: int) -> None:
    early_in(HOUR, left=80)
    with store_server() as own, cluster(own.url, upstream, nodes=2, down="refuse") as made:
        token, _ = a_profile(made, f"5000:{HOUR}")
        node = made.nodes[0]
        assert node.call(token).status == 200
        own.kill()
        wait_for(lambda: all(node.budgets.is_away for node in made.nodes), what="the store away")
        # The block in hand is spent.
        held = control.counted(
            node.node.control_socket, [key_of_hour(made.profiles[token].profile)], seconds=10
        )
        assert list(held.held.values()) == [19]
        assert [node.call(token).status for _ in range(19)] == [200] * 19
        refused = node.call(token)
        assert (refused.status, refused.json["reason"]) == (503, "limits_unavailable")
        own.start()
        wait_for(lambda: node.call(token).status == 200, what="a call after the store is back")
