"""Answers that are kept: whose they are, what the upstream says of them, and when they are forgotten."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.stage import Answer, Stage, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

HOUR = {"cache_seconds": 3600}
HIT, MISS = "Ostiary; hit", "Ostiary; fwd=uri-miss"


@dataclass(slots=True)
class Counter:
    """An upstream that answers with the number of the call, and the headers that it is told."""

    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    chunked: bool = False
    padding: int = 0
    calls: int = 0
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        counter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                counter.calls += 1
                body = str(counter.calls).encode().ljust(counter.padding)
                self.send_response(counter.status)
                for name, value in counter.headers.items():
                    self.send_header(name, value)
                if counter.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                else:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_HEAD = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()


@dataclass(frozen=True, slots=True)
class Door:
    stage: Stage
    collection: dict[str, Any]
    profile: dict[str, Any]
    other: dict[str, Any]

    def get(
        self, path: str = "/x", *, other: bool = False, method: str = "GET", **headers: str
    ) -> Answer:
        profile = self.other if other else self.profile
        target = f"/{self.collection['handle']}{path}"
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.stage.call(target, profile["secret"], method=method, headers=names)

    def twice(self, **more: Any) -> tuple[str | None, str | None]:
        """What caches say of two calls, one after the other."""
        first = self.get(**more)
        # nginx puts an answer in its place just after it has sent it, and another worker may be asked next.
        time.sleep(0.1)
        second = self.get(**more)
        assert {first.status, second.status} == {200}
        return first.headers.get("cache-status"), second.headers.get("cache-status")


@pytest.fixture(scope="module")
def server() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.server.shutdown()
    counter.server.server_close()


@pytest.fixture
def counter(server: Counter) -> Counter:
    server.headers, server.status, server.chunked, server.padding = {}, 200, False, 0
    return server


@pytest.fixture(scope="module")
def doors(stage: Stage, server: Counter) -> Any:
    url = f"http://127.0.0.1:{server.server.server_address[1]}"
    made = stage.done("POST", "connections", {"name": "Counter", "input": {"base_url": url}})

    def a_door(**given: Any) -> Door:
        name = f"Kept {time.monotonic_ns()}"
        collection = stage.done(
            "POST",
            "api_collections",
            {"name": name, "proxy_connection_id": made["id"], **HOUR, **given},
        )
        for path in ("GET /x", "POST /x", "GET /never", "GET /y/{id}"):
            more = {"cache_seconds": 0} if "never" in path else {}
            stage.an_endpoint(collection, path, **more)
        client = stage.a_client(name)
        policy = stage.a_policy(quota=(1000, "day"))
        profile = stage.a_profile(collection, client=client, api_policy_id=policy["id"])
        other = stage.a_profile(collection, client=client, name="Other")
        return Door(stage, collection, profile, other)

    return a_door


def test_a_kept_answer_is_given_again_and_counted(doors: Any, counter: Counter) -> None:
    door = doors()
    first, second = door.get(), door.get()
    assert (first.headers["cache-status"], second.headers["cache-status"]) == (MISS, HIT)
    assert second.body == first.body
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    left = [
        int(answer.headers["ratelimit"].split("r=")[1].split(";")[0]) for answer in (first, second)
    ]
    assert left[1] == left[0] - 1
    # Another target has another answer.
    assert door.get("/x?page=2").headers["cache-status"] == MISS
    assert door.get("/y/1").headers["cache-status"] == MISS


def test_an_answer_belongs_to_the_profile_that_asked(doors: Any, counter: Counter) -> None:
    door = doors()
    mine = door.get()
    theirs = door.get(other=True)
    assert theirs.headers["cache-status"] == MISS
    assert theirs.body != mine.body
    shared = doors(cache_shared=True)
    assert shared.get().headers["cache-status"] == MISS
    assert shared.get(other=True).headers["cache-status"] == HIT


def test_what_the_upstream_is_told_of_the_caller_parts_answers(
    doors: Any, counter: Counter
) -> None:
    door = doors(cache_shared=True, leave_authorization=True)
    assert door.get(Authorization="Bearer one").headers["cache-status"] == MISS
    assert door.get(Authorization="Bearer two").headers["cache-status"] == MISS
    assert door.get(Authorization="Bearer one").headers["cache-status"] == HIT
    passed = doors(cache_shared=True, forward_credential=True)
    assert passed.get().headers["cache-status"] == MISS
    assert passed.get(other=True).headers["cache-status"] == MISS
    assert door.twice(Cookie="session=1") == (None, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"Cache-Control": "no-store"}, {"Cache-Control": "private"}, {"Cache-Control": "no-cache"},
        {"Cache-Control": "max-age=0"}, {"Set-Cookie": "a=b"}, {"Vary": "*"},
        {"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
)  # fmt: skip
def test_what_the_upstream_does_not_want_kept_is_not(
    doors: Any, counter: Counter, headers: dict[str, str]
) -> None:
    counter.headers = headers
    assert doors().twice() == (MISS, MISS)
    # The owner of the API says how to tell its answers apart.


def test_answers_vary_as_the_upstream_says(doors: Any, counter: Counter) -> None:
    counter.headers = {"Vary": "Accept-Language"}
    door = doors()
    assert door.twice(Accept_Language="de") == (MISS, HIT)
    assert door.twice(Accept_Language="fr") == (MISS, HIT)


def test_only_plain_answers_of_a_known_length_are_kept(doors: Any, counter: Counter) -> None:
    door = doors()
    counter.chunked = True
    assert door.twice() == (MISS, MISS)
    counter.chunked, counter.padding = False, 10_000_001
    assert door.twice(path="/x?large") == (MISS, MISS)
    counter.padding, counter.status = 0, 500
    assert door.get("/x?broken").headers["cache-status"] == MISS
    assert door.get("/x?broken").headers["cache-status"] == MISS


def test_only_get_is_kept_and_an_endpoint_may_say_otherwise(doors: Any, counter: Counter) -> None:
    door = doors()
    assert door.twice(method="POST") == (None, None)
    assert door.twice(method="HEAD") == (None, None)
    assert door.twice(path="/never") == (None, None)
    off = doors(cache_seconds=0)
    assert off.twice() == (None, None)
    endpoints = off.stage.done("GET", f"api_endpoints?api_collection_id={off.collection['id']}")
    (got,) = (e for e in endpoints if e["name"] == "GET /x")
    off.stage.done("PUT", f"api_endpoints/{got['id']}", {"cache_seconds": 60})
    assert off.twice() == (MISS, HIT)
    off.stage.done("PUT", f"api_endpoints/{got['id']}", {"cache_seconds": "inherited"})
    assert off.twice() == (None, None)


def test_no_answer_is_older_than_the_owner_says(doors: Any, counter: Counter) -> None:
    counter.headers = {"Cache-Control": "max-age=3600"}
    door = doors(cache_seconds=2)
    first = door.get()
    time.sleep(2.1)
    assert door.get().body != first.body


def test_a_purge_forgets_every_answer_of_the_collection(doors: Any, counter: Counter) -> None:
    door, beside = doors(), doors()
    assert (door.twice(), beside.twice()) == ((MISS, HIT), (MISS, HIT))
    door.stage.done("POST", f"api_collections/{door.collection['id']}/purge_cache")
    assert door.get().headers["cache-status"] == MISS
    assert beside.get().headers["cache-status"] == HIT


def test_whose_right_ended_gets_no_kept_answer(doors: Any, counter: Counter) -> None:
    door = doors(cache_shared=True)
    assert door.twice() == (MISS, HIT)
    door.stage.done("PUT", f"api_access_profiles/{door.profile['id']}/disable")
    refused = door.get()
    assert refused.status in {401, 403}
    assert "cache-status" not in refused.headers
    assert door.get(other=True).headers["cache-status"] == HIT
    assert door.stage.call(f"/{door.collection['handle']}/x").status == 401


@pytest.mark.parametrize("seconds", [-1, 3601])
def test_more_than_an_hour_is_refused(stage: Stage, seconds: int) -> None:
    answer = stage.api(
        "POST", "api_collections", {"name": "C", "kind": "proxy", "cache_seconds": seconds}
    )
    assert answer.status == 400
    assert "cache_seconds" in answer.body.decode()


def test_answers_of_recipes_are_not_kept(stage: Stage) -> None:
    answer = stage.api("POST", "api_collections", {"name": "C", "kind": "recipe", **HOUR})
    assert answer.status == 400
    assert "cache_seconds" in answer.body.decode()


def test_an_answer_to_a_body_is_not_kept(doors: Any, counter: Counter) -> None:
    door = doors(cache_shared=True)
    target = f"/{door.collection['handle']}/x"
    for body in (b'{"q": 1}', b'{"q": 2}'):
        answer = door.stage.call(target, door.profile["secret"], body=body)
        assert answer.status == 200
        assert "cache-status" not in answer.headers
    assert door.get().headers["cache-status"] == MISS


def test_an_answer_is_not_kept_beyond_the_credential_it_was_got_with(
    doors: Any, counter: Counter, stage: Stage
) -> None:
    door = doors()
    assert door.twice() == (MISS, HIT)
    connection = stage.done("GET", f"connections/{door.collection['proxy_connection_id']}")
    given = {"base_url": connection["input"]["base_url"], "auth_type": "header",
             "auth_name": "X-Key", "auth_secret": "new"}  # fmt: skip
    stage.done(
        "PUT", f"connections/{connection['id']}", {"name": connection["name"], "input": given}
    )
    assert door.twice() == (MISS, HIT)


@pytest.mark.parametrize("header", ["If-Match", "If-Unmodified-Since"])
def test_a_condition_that_only_the_api_can_judge_goes_to_it(
    doors: Any, counter: Counter, header: str
) -> None:
    counter.headers = {"ETag": '"1"', "Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT"}
    door = doors()
    assert door.twice() == (MISS, HIT)
    value = '"2"' if header == "If-Match" else "Sat, 28 Nov 2020 00:00:00 GMT"
    counter.status = 412
    answer = door.get(**{header: value})
    assert (answer.status, answer.headers.get("cache-status")) == (412, None)
    assert answer.body == str(counter.calls).encode()


def test_answers_that_are_being_read_take_a_bounded_part_of_the_disk(
    tmp_path: Path, counter: Counter
) -> None:
    counter.padding = 9_000_000
    env = {"OSTIARY_CACHE_MEGABYTES": "16", "OSTIARY_GATEWAY_WORKERS": "1"}
    url = f"http://127.0.0.1:{counter.server.server_address[1]}"
    with running(tmp_path, env=env) as stage, ExitStack() as readers:
        made = stage.done("POST", "connections", {"name": "C", "input": {"base_url": url}})
        collection = stage.done(
            "POST", "api_collections", {"name": "C", "proxy_connection_id": made["id"], **HOUR}
        )
        stage.an_endpoint(collection, "GET /x")
        token = stage.a_profile(collection)["secret"]

        def said() -> str | None:
            return stage.call("/c-v1/x", token).headers.get("cache-status")

        assert (said(), said()) == (MISS, HIT)
        for _ in range(2):
            reader = readers.enter_context(socket.create_connection(("127.0.0.1", stage.gateway)))
            reader.sendall(
                f"GET /c-v1/x HTTP/1.1\r\nHost: a\r\nAPI-TOKEN: {token}\r\n\r\n".encode()
            )
            assert reader.recv(1)
        assert said() is None
        readers.close()
        wait_for(lambda: said() == HIT)
