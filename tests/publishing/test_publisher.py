"""What an owner saved is at the gateway: by differences, in step, whatever else is bad or away."""

import json

import pytest
from tests.publishing.conftest import Start
from tests.publishing.makers import a_collection, a_connection, an_endpoint, announce
from tests.publishing.stand_in import Running, StandIn
from tests.stage import wait_for

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes import feed
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import Collection, Credential, Endpoint, Recipe
from ostiary.directory.workspace import workspace_settings
from ostiary.gateway.node import Node


def confirmed(running: Running) -> bool:
    return running.client.confirm(feed.latest(), 20)


def test_everything_that_there_is_is_published_at_a_start(gateway: StandIn, start: Start) -> None:
    connection = a_connection("http://10.0.0.1:8080/v1", auth_type="header", auth_name="X-Key",
                              auth_secret="s3cret")  # fmt: skip
    collection = a_collection(connection, cors_origins=["https://app.example"])
    endpoint = an_endpoint(collection, "/orders/{id}", target_path="/o/{id}", timeout_seconds=7)
    workspace_settings.change(by=SYSTEM, values={"trusted_proxies": ["10.0.0.0/8"]})
    gateway.objects["e999"] = "{}"
    gateway.objects["x"] = "{}"
    running = start()
    assert confirmed(running)
    running.wait_compared()
    assert gateway.object(f"u{connection.pk}") == {
        "id": connection.pk, "servers": [{"address": "10.0.0.1", "port": 8080, "down": False, "weight": 1}],
        "tls": None, "host": "10.0.0.1:8080", "base": "/v1", "query": "", "timeout": 30,
        "header": {"name": "X-Key", "value": "s3cret"},
        "told": "x_forwarded", "translate": True, "authorities": [], "stream_timeout": 3600,
        "balancing": "round_robin", "retries": 0, "retry_writes": False, "grpc": False, "http2": False,
    }  # fmt: skip
    assert gateway.object(f"k{collection.pk}") == {
        "id": collection.pk, "handle": collection.handle, "connection": connection.pk,
        "recipes": False, "forward_credential": False, "forward_claims": False, "encoded_slashes": False,
        "origins": ["https://app.example"],
        "browsers": {"credentials": False, "exposed": [], "max_age": 600}, "leave_authorization": False,
        "places": None, "cache": 0, "cache_shared": False, "cache_generation": 0,
    }  # fmt: skip
    assert gateway.object(f"e{endpoint.pk}") == {
        "id": endpoint.pk, "collection": collection.pk, "method": "GET", "path": "/orders/{id}",
        "target": "/o/{id}", "timeout": 7, "recipe": None,
        "cache": None,
    }  # fmt: skip
    assert gateway.object("s")["trusted"] == ["10.0.0.0/8"]
    assert "e999" not in gateway.objects
    assert "x" not in gateway.objects
    state = running.client.state()
    assert (state.published, state.set_aside) == (feed.latest(), ())
    assert state.objects == len(gateway.objects)


def test_changes_are_followed_and_cost_their_own_objects(gateway: StandIn, start: Start) -> None:
    running = start()
    running.wait_compared()
    collection = a_collection()
    first, second = an_endpoint(collection, "/a"), an_endpoint(collection, "/b")
    assert confirmed(running)
    assert {f"k{collection.pk}", f"e{first.pk}", f"e{second.pk}"} <= gateway.objects.keys()
    wait_for(lambda: running.publisher.agenda.published == feed.latest())
    gateway.requests.clear()
    endpoints.change(by=SYSTEM, endpoint_id=first.pk, given=endpoints.EndpointInput(active=False))
    assert confirmed(running)
    assert f"e{first.pk}" not in gateway.objects
    assert f"e{second.pk}" in gateway.objects
    assert sum(lines for _, lines in gateway.requests) == 1
    endpoints.delete(by=SYSTEM, endpoint_id=second.pk)
    assert confirmed(running)
    assert f"e{second.pk}" not in gateway.objects


def test_recipes_are_published_while_they_run(gateway: StandIn, start: Start) -> None:
    recipe = Recipe.objects.create(name="total")
    collection = Collection.objects.create(
        project=a_collection().project, name="R", handle="r", kind="recipe"
    )
    endpoint = Endpoint.objects.create(
        collection=collection, name="T", method="POST", path="/total", shape="/total",
        active=True, recipe=recipe,
    )  # fmt: skip
    running = start()
    running.wait_compared()
    assert gateway.object(f"k{collection.pk}")["recipes"] is True
    assert gateway.object(f"e{endpoint.pk}")["recipe"] == {
        "name": "total", "timeout": 30, "validate": True,
    }  # fmt: skip
    Recipe.objects.update(started=False)
    announce("recipe", recipe.pk)
    assert confirmed(running)
    assert f"e{endpoint.pk}" not in gateway.objects


def test_imported_credentials_come_and_go(gateway: StandIn, start: Start) -> None:
    collection = a_collection()
    client = clients.create(by=SYSTEM, given=clients.ClientInput(name="C"))
    profile, _ = access_profiles.create(by=SYSTEM,
        given=access_profiles.NewProfileInput(client_id=client.pk, auth_type="token", name="P", collection_ids=[collection.pk]),
    )  # fmt: skip
    gateway.objects["i" + "ab" * 32] = "1"
    running = start()
    running.wait_compared()
    assert "i" + "ab" * 32 not in gateway.objects
    Credential.objects.create(profile=profile.value, fingerprint=b"\x01" * 32, imported=True)
    announce("profile", profile.value.pk)
    assert confirmed(running)
    assert gateway.objects["i" + "01" * 32] == "1"
    gateway.stop()
    gateway.start()
    wait_for(lambda: "i" + "01" * 32 in gateway.objects, what="it is brought to the new gateway")
    Credential.objects.filter(imported=True).delete()
    announce("profile", profile.value.pk)
    assert confirmed(running)
    assert "i" + "01" * 32 not in gateway.objects


def test_one_bad_object_is_set_aside_alone_and_comes_back(gateway: StandIn, start: Start) -> None:
    running = start()
    running.wait_compared()
    good, bad = a_collection(), a_collection()
    assert confirmed(running)
    Collection.objects.filter(pk=bad.pk).update(cors_origins=["http://a b"])
    sequence = announce("collection", bad.pk)
    later = a_collection()
    assert confirmed(running)
    assert f"k{bad.pk}" not in gateway.objects
    assert {f"k{good.pk}", f"k{later.pk}"} <= gateway.objects.keys()
    (problem,) = running.client.state().set_aside
    assert (problem.kind, problem.id) == ("collection", bad.pk)
    assert "http://a b" in problem.reason
    assert running.client.reason("collection", bad.pk) == problem.reason
    assert running.client.reason("collection", good.pk) == ""
    assert [each.id for each in running.publisher.concerning(sequence)] == [bad.pk]
    collections.change(
        by=SYSTEM, collection_id=bad.pk, given=collections.CollectionInput(cors_origins=[])
    )
    assert confirmed(running)
    assert f"k{bad.pk}" in gateway.objects
    assert running.client.state().set_aside == ()


def test_what_the_gateway_refuses_is_set_aside_and_taken_away(
    gateway: StandIn, start: Start
) -> None:
    running = start()
    one, other = a_collection(), a_collection()
    assert confirmed(running)
    gateway.refuse = lambda key, text: "no room for it" if key == f"k{one.pk}" else None
    for each in (one, other):
        collections.change(
            by=SYSTEM, collection_id=each.pk, given=collections.CollectionInput(forward_claims=True)
        )
    assert confirmed(running)
    assert f"k{one.pk}" not in gateway.objects
    assert gateway.object(f"k{other.pk}")["forward_claims"] is True
    (problem,) = running.client.state().set_aside
    assert (problem.id, problem.reason) == (one.pk, "no room for it")


def test_an_object_that_spoils_a_request_does_not_spoil_the_others(
    gateway: StandIn, start: Start
) -> None:
    made = [an_endpoint(a_collection(), f"/{n}") for n in range(20)]
    gateway.spoiled[f"e{made[7].pk}"] = 500
    running = start()
    assert confirmed(running)
    running.wait_compared()
    present = {each.pk for each in made if f"e{each.pk}" in gateway.objects}
    assert present == {each.pk for each in made} - {made[7].pk}
    assert [each.id for each in running.client.state().set_aside] == [made[7].pk]


def test_a_gateway_that_is_away_loses_no_difference(gateway: StandIn, start: Start) -> None:
    running = start()
    running.wait_compared()
    gateway.stop()
    collection = a_collection()
    assert not running.client.confirm(feed.latest(), 0.3)
    assert running.client.state().published < feed.latest()
    gateway.start()
    assert confirmed(running)
    wait_for(lambda: running.publisher.agenda.published == feed.latest())
    assert f"k{collection.pk}" in gateway.objects


def test_a_gateway_that_was_started_anew_gets_everything(gateway: StandIn, start: Start) -> None:
    running = start()
    collection = a_collection()
    assert confirmed(running)
    gateway.stop()
    gateway.start({f"k{collection.pk}": "{}", "k77777": "{}"})
    wait_for(lambda: (gateway.object(f"k{collection.pk}") or {}).get("id") == collection.pk)
    wait_for(lambda: "k77777" not in gateway.objects)
    wait_for(lambda: running.publisher.agenda.published == feed.latest())


def test_the_last_good_state_is_written_for_us_alone(
    gateway: StandIn, start: Start, node: Node
) -> None:
    running = start()
    collection = a_collection()
    assert confirmed(running)
    running.wait_compared()
    path = node.run / "gateway" / "published.jsonl"

    def saved() -> dict[str, str]:
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("\t", 1) for line in lines)

    wait_for(lambda: saved() == gateway.objects, what="the file has what the gateway has")
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    # A full disk, or a folder that cannot be written, is not the end.
    (node.run / "gateway" / ".published.jsonl.new").mkdir()
    an_endpoint(collection)
    assert confirmed(running)
    assert path.read_text() == before
    (node.run / "gateway" / ".published.jsonl.new").rmdir()
    running.stop()
    assert saved() == gateway.objects


@pytest.mark.slow
def test_one_endpoint_among_ten_thousand_is_published_at_once(
    gateway: StandIn, start: Start
) -> None:
    collection = a_collection()
    Endpoint.objects.bulk_create(
        Endpoint(
            collection=collection, name="E", method="GET", path=f"/things/{n}/{{id}}",
            shape=f"/things/{n}/{{}}", active=True,
        )
        for n in range(10_000)
    )  # fmt: skip
    running = start()
    wait_for(running.publisher.compared.is_set)
    assert len(gateway.objects) > 10_000
    assert max(lines for _, lines in gateway.requests) <= 200
    for number in range(3):
        before = len(gateway.requests)
        one = an_endpoint(collection, f"/new/{number}")
        assert running.client.confirm(feed.latest(), 20)
        assert f"e{one.pk}" in gateway.objects
        # It costs by its own size: its line, and perhaps its collection's.
        assert sum(lines for _, lines in gateway.requests[before:]) <= 2
    # While the whole collection is compared, another's endpoint does not wait for it.
    other = a_collection()
    assert confirmed(running)
    Endpoint.objects.filter(collection=collection).update(timeout_seconds=9)
    slow = announce("collection", collection.pk)
    quick = an_endpoint(other, "/quick")
    assert running.client.confirm(feed.latest(), 20)
    assert f"e{quick.pk}" in gateway.objects
    assert running.client.confirm(slow, 30)
    assert all(
        json.loads(text)["timeout"] == 9
        for key, text in gateway.objects.items()
        if key[0] == "e" and "/things/" in text
    )
