"""Names are resolved beside everything else, and what was good once stays until something better."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.publishing.conftest import Addresses, Start
from tests.publishing.makers import a_collection, a_connection, an_endpoint
from tests.publishing.stand_in import Running, StandIn
from tests.stage import wait_for

from ostiary.directory.changes import feed
from ostiary.gateway.publisher_client import ServerStatus


def servers(gateway: StandIn, connection: int) -> list[str]:
    shown = gateway.object(f"u{connection}")
    return [server["address"] for server in shown["servers"]] if shown else []


def state(running: Running, connection: int) -> list[tuple[str, str]]:
    shown = running.client.state().servers
    return [(s.address, s.state) for s in shown if s.connection == connection]


def the_server(running: Running, connection: int) -> ServerStatus:
    (server,) = (s for s in running.client.state().servers if s.connection == connection)
    return server


def test_addresses_of_a_name_are_followed(
    gateway: StandIn, start: Start, addresses: Addresses
) -> None:
    addresses["api.example"] = ("2001:db8::1", "10.0.0.9", "10.0.0.10", "10.0.0.9")
    running = start()
    connection = a_connection("https://api.example:8443/v1").pk
    assert running.client.confirm(feed.latest(), 20)
    shown = gateway.object(f"u{connection}")
    assert [(s["address"], s["port"]) for s in shown["servers"]] == [
        ("10.0.0.9", 8443), ("10.0.0.10", 8443), ("2001:db8::1", 8443),
    ]  # fmt: skip
    assert shown["tls"] == {"name": "api.example", "verify": True, "ca": ""}
    assert (shown["host"], shown["base"]) == ("api.example:8443", "/v1")
    addresses["api.example"] = ("10.0.0.11",)
    wait_for(lambda: servers(gateway, connection) == ["10.0.0.11"])
    addresses["api.example"] = ("10.0.0.9",)
    wait_for(lambda: servers(gateway, connection) == ["10.0.0.9"], what="back again")


@pytest.mark.parametrize("answer", [None, ()], ids=["an error", "an empty answer"])
def test_last_good_addresses_stay_while_a_name_does_not_answer(
    gateway: StandIn, start: Start, addresses: Addresses, answer: tuple[str, ...] | None
) -> None:
    addresses["api.example"] = ("10.0.0.9",)
    running = start()
    connection = a_connection("http://api.example").pk
    assert running.client.confirm(feed.latest(), 20)
    if answer is None:
        del addresses["api.example"]
    else:
        addresses["api.example"] = answer
    wait_for(lambda: state(running, connection) == [("10.0.0.9", "stale")])
    assert the_server(running, connection).reason
    assert servers(gateway, connection) == ["10.0.0.9"]
    # A restart of the publisher, or of the gateway, does not lose them either.
    running.stop()
    running = start()
    running.wait_compared()
    assert running.client.confirm(feed.latest(), 20)
    assert servers(gateway, connection) == ["10.0.0.9"]
    assert state(running, connection) == [("10.0.0.9", "stale")]
    addresses["api.example"] = ("10.0.0.12",)
    wait_for(lambda: servers(gateway, connection) == ["10.0.0.12"])
    wait_for(lambda: state(running, connection) == [("10.0.0.12", "up")])


def test_a_name_that_was_never_answered_has_no_server_and_gets_one_when_it_is(
    gateway: StandIn, start: Start, addresses: Addresses
) -> None:
    running = start()
    connection = a_connection("http://late.example").pk
    assert running.client.confirm(feed.latest(), 20)
    assert gateway.object(f"u{connection}")["servers"] == []
    assert state(running, connection) == [("", "unresolved")]
    assert "no name" not in the_server(running, connection).reason
    addresses["late.example"] = ("10.0.0.9",)
    wait_for(lambda: servers(gateway, connection) == ["10.0.0.9"])


@pytest.mark.parametrize(
    "bad", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "fe80::1%eth0", "::",
            "::ffff:169.254.169.254", "100.100.100.200"],
)  # fmt: skip
def test_addresses_that_no_upstream_may_have_are_not_used(
    gateway: StandIn, start: Start, addresses: Addresses, bad: str
) -> None:
    addresses["api.example"] = (bad, "10.0.0.9")
    addresses["bad.example"] = (bad,)
    running = start()
    one, other = a_connection("http://api.example").pk, a_connection("http://bad.example").pk
    assert running.client.confirm(feed.latest(), 20)
    wait_for(lambda: servers(gateway, one) == ["10.0.0.9"])
    wait_for(lambda: [p.id for p in running.client.state().set_aside] == [other])
    wait_for(lambda: f"u{other}" not in gateway.objects)
    assert "no upstream may have" in running.client.state().set_aside[0].reason
    addresses["bad.example"] = ("10.0.0.10",)
    wait_for(lambda: servers(gateway, other) == ["10.0.0.10"])
    wait_for(lambda: running.client.state().set_aside == ())


def test_no_name_leads_to_our_own_listeners(
    gateway: StandIn, start: Start, addresses: Addresses
) -> None:
    addresses["me.example"] = ("127.0.0.1",)
    addresses["also-me.example"] = ("::1",)
    addresses["mapped.example"] = ("::ffff:127.0.0.1",)
    running = start(binds=[("0.0.0.0", 8080), ("::", 8081), ("127.0.0.1", 8000)])
    bad = [
        a_connection(url).pk
        for url in (
            "http://me.example:8080", "http://also-me.example:8081", "http://me.example:8081",
            "http://me.example:8000", "http://mapped.example:8000", "http://127.0.0.9:8080",
        )
    ]  # fmt: skip
    good = [
        a_connection(url).pk
        for url in ("http://me.example:8082", "http://127.0.0.9:8000", "http://192.0.2.7:8080")
    ]
    assert running.client.confirm(feed.latest(), 20)
    wait_for(lambda: len(running.client.state().set_aside) == len(bad))
    problems = running.client.state().set_aside
    assert [p.id for p in problems] == bad
    assert all("own ports" in p.reason for p in problems)
    assert all(f"u{each}" in gateway.objects for each in good)
    # A name that turns to us later is taken away from the gateway.
    addresses["turns.example"] = ("10.0.0.9",)
    turning = a_connection("http://turns.example:8080").pk
    wait_for(lambda: servers(gateway, turning) == ["10.0.0.9"])
    addresses["turns.example"] = ("127.0.0.1",)
    wait_for(lambda: f"u{turning}" not in gateway.objects)


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.slow
def test_a_hundred_names_that_never_answer_delay_nobody(
    gateway: StandIn, start: Start, silence: threading.Event
) -> None:
    asked: list[str] = []

    def lookup(host: str) -> tuple[str, ...]:
        if host.startswith("silent"):
            asked.append(host)
            silence.wait(120)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ("10.0.0.9",)

    silent = [a_connection(f"http://silent-{n}.example").pk for n in range(100)]
    before = threading.active_count()
    began = time.monotonic()
    running = start(lookup=lookup)
    running.wait_compared()
    # One deadline of two seconds for all of them together.
    assert time.monotonic() - began < 10
    assert all(gateway.object(f"u{each}")["servers"] == [] for each in silent)
    assert threading.active_count() - before < 100 + 30
    collection = a_collection(a_connection("http://answers.example"))
    took = []
    assert running.client.confirm(feed.latest(), 20)
    for n in range(5):
        a_connection(f"http://silent-again-{n}.example")
        endpoint = an_endpoint(collection, f"/{n}")
        began = time.monotonic()
        assert running.client.confirm(feed.latest(), 20)
        took.append(time.monotonic() - began)
        assert f"e{endpoint.pk}" in gateway.objects
    assert sorted(took)[2] < 0.3, took
    # No name is asked again while it is being asked.
    assert len(asked) == len(set(asked))
    shown = running.client.state().servers
    assert all(s.state == "unresolved" for s in shown if s.host.startswith("silent-1"))


@pytest.mark.slow
def test_hundreds_of_silent_names_use_a_bounded_number_of_threads(
    gateway: StandIn, start: Start, silence: threading.Event
) -> None:
    def lookup(host: str) -> tuple[str, ...]:
        silence.wait(120)
        return ("10.0.0.9",)

    urls = [f"http://n{n}.example" for n in range(600)]
    made = [a_connection(*urls[n : n + 20]).pk for n in range(0, 600, 20)]
    running = start(lookup=lookup)
    running.wait_compared()
    names = running.publisher.connections.names
    assert names.in_flight == 512
    silence.set()
    wait_for(lambda: all(servers(gateway, each) for each in made), what="all are answered")
