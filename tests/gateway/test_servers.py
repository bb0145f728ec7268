"""Several servers of a connection: whose turn it is, what is tried again, and how long they may be silent."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import pytest
from tests.stage import Answer, Stage, free_port, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
PATHS = ("GET /x", "POST /x", "PUT /x", "DELETE /x", "GET /wait", "GET /events")


@dataclass(slots=True)
class Server:
    """A server that notes the methods of what it gets; `hangs_up`: it never answers."""

    hangs_up: bool = False
    methods: list[str] = field(default_factory=list)
    waiting: list[Event] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __post_init__(self) -> None:
        Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            head = peer.recv(65536)
            if not head:
                return  # A health check.
            method, path = head.split(b" ", 2)[:2]
            self.methods.append(method.decode())
            if self.hangs_up:
                return
            if path == b"/wait":
                event = Event()
                self.waiting.append(event)
                event.wait(30)
            if path == b"/events":
                peer.sendall(EVENTS + b"data: 1\n\n")
                time.sleep(2.5)
                peer.sendall(b"data: 2\n\n")
                return
            peer.sendall(OK)

    def close(self) -> None:
        for event in self.waiting:
            event.set()
        self.listener.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # A worker of nginx knows its own calls alone, and the kernel chooses the worker.
    with running(tmp_path_factory.mktemp("data"), env={"OSTIARY_GATEWAY_WORKERS": "1"}) as stage:
        yield stage


@dataclass(frozen=True, slots=True)
class Door:
    stage: Stage
    handle: str
    secret: str

    def call(self, method: str = "GET", path: str = "/x", **more: Any) -> Answer:
        return self.stage.call(f"/{self.handle}{path}", self.secret, method=method, **more)


def a_door(stage: Stage, *urls: str, **given: Any) -> Door:
    name = f"Servers {time.monotonic_ns()}"
    connection = stage.done(
        "POST", "connections", {"name": name, "input": {"base_url": list(urls), **given}}
    )
    collection = stage.done(
        "POST", "api_collections", {"name": name, "proxy_connection_id": connection["id"]}
    )
    for path in PATHS:
        stage.an_endpoint(collection, path)
    profile = stage.a_profile(collection, client=stage.a_client(name))
    return Door(stage, collection["handle"], profile["secret"])


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    pair = Server(), Server()
    yield pair
    for server in pair:
        server.close()


def test_calls_are_spread_by_weight(stage: Stage, servers: tuple[Server, Server]) -> None:
    one, other = servers
    door = a_door(stage, one.url, other.url, weights=[3, 1])
    for _ in range(40):
        assert door.call().status == 200
    # Each worker counts for itself.
    assert 26 <= len(one.methods) <= 34
    assert len(one.methods) + len(other.methods) == 40


def test_the_server_with_fewest_open_calls_is_taken(
    stage: Stage, servers: tuple[Server, Server]
) -> None:
    one, other = servers
    door = a_door(stage, one.url, other.url, balancing="least_connections")
    with ThreadPoolExecutor(24) as pool:
        calls = [pool.submit(door.call, path="/wait") for _ in range(12)]
        wait_for(lambda: len(one.waiting) + len(other.waiting) == 12, what="all wait")
        freed = list(one.waiting)
        for event in freed:
            event.set()
        wait_for(lambda: sum(each.done() for each in calls) == len(freed), what="one is free")
        time.sleep(0.1)
        calls += [pool.submit(door.call, path="/wait") for _ in range(12)]
        wait_for(lambda: len(one.waiting) + len(other.waiting) == 24, what="all wait")
        # In turn, the one that was free would have six of them, and the other twelve.
        open_at_one = len(one.waiting) - len(freed)
        assert abs(open_at_one - len(other.waiting)) <= 2
        for event in one.waiting + other.waiting:
            event.set()
        assert {each.result().status for each in calls} == {200}


@pytest.mark.parametrize(
    ("method", "given", "tries", "status"),
    [
        ("GET", {}, 2, 200),
        ("GET", {"retries": 0}, 1, 502),
        ("PUT", {}, 1, 502),
        ("DELETE", {}, 1, 502),
        ("PUT", {"retry_writes": True}, 2, 200),
        ("DELETE", {"retry_writes": True}, 2, 200),
        ("POST", {"retry_writes": True}, 1, 502),
    ],
)
def test_what_an_upstream_may_have_got_is_sent_again_only_if_that_is_safe(
    stage: Stage,
    servers: tuple[Server, Server],
    method: str,
    given: dict[str, Any],
    tries: int,
    status: int,
) -> None:
    one, other = servers
    one.hangs_up = True
    door = a_door(stage, one.url, other.url, **given)
    answers = []
    while not one.methods:
        one.methods.clear()
        other.methods.clear()
        answers.append(door.call(method).status)
    assert answers[-1] == status
    assert len(one.methods) + len(other.methods) == tries


def test_the_body_of_a_post_is_not_sent_again(stage: Stage, servers: tuple[Server, Server]) -> None:
    one, other = servers
    one.hangs_up = other.hangs_up = True
    door = a_door(stage, one.url, other.url, retry_writes=True, retries=5)
    assert door.call("POST", body=b"a body").status == 502
    assert len(one.methods) + len(other.methods) == 1


def test_a_call_that_no_server_got_goes_to_another(
    stage: Stage, servers: tuple[Server, Server]
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for method in ("POST", "PUT", "GET"):
        door = a_door(stage, nobody, servers[0].url)
        for _ in range(4):
            assert door.call(method, body=b"a body" if method != "GET" else None).status == 200


def test_a_single_server_is_tried_again_if_the_connection_says_so(
    stage: Stage, servers: tuple[Server, Server]
) -> None:
    one, other = servers
    one.hangs_up = other.hangs_up = True
    assert a_door(stage, one.url).call().status == 502
    assert a_door(stage, other.url, retries=2).call().status == 502
    assert (len(one.methods), len(other.methods)) == (1, 3)


def test_an_event_stream_may_be_silent_as_long_as_its_connection_says(
    stage: Stage, servers: tuple[Server, Server]
) -> None:
    accept = {"Accept": "text/event-stream"}
    patient = a_door(stage, servers[0].url, timeout_seconds=1)
    assert patient.call(path="/events", headers=accept).body == b"data: 1\n\ndata: 2\n\n"
    hasty = a_door(stage, servers[0].url, stream_timeout_seconds=1)
    began = time.monotonic()
    with pytest.raises(Exception, match="Incomplete|reset"):
        raise_if_short(hasty.call(path="/events", headers=accept).body)
    assert time.monotonic() - began < 2.4


def raise_if_short(body: bytes) -> None:
    if body != b"data: 1\n\ndata: 2\n\n":
        raise AssertionError("Incomplete")


def test_an_endpoint_has_a_timeout_of_its_own(stage: Stage, servers: tuple[Server, Server]) -> None:
    door = a_door(stage, servers[0].url)
    collections = stage.done("GET", "api_collections")
    (mine,) = (c for c in collections if c["handle"] == door.handle)
    endpoints = stage.done("GET", f"api_endpoints?api_collection_id={mine['id']}")
    (wait,) = (e for e in endpoints if e["path"] == "wait")
    stage.done("PUT", f"api_endpoints/{wait['id']}", {"timeout_seconds": 1})
    began = time.monotonic()
    assert door.call(path="/wait").status == 504
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"weights": [1]}, "weights"),
        ({"weights": [0, 1]}, "weights"),
        ({"retries": 6}, "retries"),
        ({"balancing": "best"}, "balancing"),
        ({"stream_timeout_seconds": 0}, "stream_timeout_seconds"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    stage: Stage, given: dict[str, Any], field: str
) -> None:
    urls = ["http://127.0.0.1:9", "http://127.0.0.1:19"]
    answer = stage.api("POST", "connections", {"name": "W", "input": {"base_url": urls, **given}})
    assert answer.status == 400
    assert field in answer.body.decode()
