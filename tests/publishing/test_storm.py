"""Whatever comes between, in the end the gateway has exactly what the directory says."""

import random
from collections.abc import Callable

import pytest
from tests.publishing.conftest import Addresses, Start
from tests.publishing.makers import a_collection, a_connection, an_endpoint, announce
from tests.publishing.stand_in import StandIn
from tests.stage import wait_for

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes import feed
from ostiary.directory.models import Collection, Connection, Endpoint


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_in_a_storm(
    gateway: StandIn, start: Start, addresses: Addresses, seed: int
) -> None:
    dice = random.Random(seed)
    addresses["a.example"] = ("10.0.0.1",)
    made = [a_collection(a_connection("http://a.example")) for _ in range(3)]
    away = False

    def an_id(model: type[Collection | Endpoint | Connection]) -> int:
        return dice.choice(list(model._default_manager.values_list("pk", flat=True)))

    def add_endpoint() -> None:
        an_endpoint(dice.choice(made), f"/{dice.randrange(10**9)}/{{id}}")

    def switch_endpoint() -> None:
        if Endpoint.objects.exists():
            given = endpoints.EndpointInput(active=dice.random() < 0.5)
            endpoints.change(by=SYSTEM, endpoint_id=an_id(Endpoint), given=given)

    def delete_endpoint() -> None:
        if Endpoint.objects.exists():
            endpoints.delete(by=SYSTEM, endpoint_id=an_id(Endpoint))

    def change_collection() -> None:
        given = collections.CollectionInput(forward_claims=dice.random() < 0.5)
        collections.change(by=SYSTEM, collection_id=an_id(Collection), given=given)

    def spoil_collection() -> None:
        chosen = an_id(Collection)
        origins = dice.choice([["http://a b"], [], ["https://app.example"]])
        Collection.objects.filter(pk=chosen).update(cors_origins=origins)
        announce("collection", chosen)

    def move_name() -> None:
        addresses["a.example"] = (f"10.0.0.{dice.randrange(1, 255)}",)

    def add_connection() -> None:
        a_connection(dice.choice(["http://a.example", "http://10.9.9.9", "http://b.example"]))

    def toggle_gateway() -> None:
        nonlocal away
        if away:
            some = dict(list(gateway.objects.items())[::2])
            gateway.start(some if dice.random() < 0.5 else {})
        else:
            gateway.stop()
        away = not away

    def spoil_request() -> None:
        gateway.spoiled = {f"e{dice.randrange(1, 30)}": 500} if dice.random() < 0.3 else {}

    steps: list[Callable[[], None]] = [
        add_endpoint, add_endpoint, switch_endpoint, delete_endpoint, change_collection,
        spoil_collection, move_name, add_connection, toggle_gateway, spoil_request,
    ]  # fmt: skip
    running = start()
    for number in range(120):
        dice.choice(steps)()
        if number % 10 == 0 and not away:
            running.client.confirm(feed.latest(), 0.05)
    if away:
        toggle_gateway()
    gateway.spoiled = {}
    for each in list(running.publisher.aside.all()):
        announce(each.kind, each.id)
    running.wait_compared()
    wait_for(lambda: running.client.state().published == feed.latest())
    addresses["a.example"] = ("10.0.0.77",)
    users = Connection.objects.filter(base_urls=["http://a.example"]).values_list("pk", flat=True)
    wait_for(
        lambda: all(
            [s["address"] for s in gateway.object(f"u{pk}")["servers"]] == ["10.0.0.77"]
            for pk in users
        ),
        what="every connection is at the new address",
    )
    wait_for(lambda: running.client.state().published == feed.latest())
    aside = running.client.state().set_aside
    running.stop()
    result = dict(gateway.objects)
    # Another publisher, which knows nothing, brings the same to a gateway that has nothing.
    gateway.stop()
    gateway.start()
    fresh = start()
    fresh.wait_compared()
    assert fresh.client.confirm(feed.latest(), 20)
    wait_for(lambda: gateway.objects == result, seconds=10, what="both have the same")
    assert fresh.client.state().set_aside == aside
