"""A known load is counted call by call, whatever is killed or held up meanwhile."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.stage import Answer, Stage, Upstream, running, wait_for

from ostiary.access.reasons import Reason
from ostiary.gateway.contract import ONE_OF, code

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

#: (profile, endpoint, class of the status, code of the reason) → calls.
Counts = Counter[tuple[int, int, int, int]]


def rows(stage: Stage, statement: str) -> list[tuple[Any, ...]]:
    path = stage.data / "ostiary.sqlite3"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        return base.execute(statement).fetchall()


def counted(stage: Stage) -> Counts:
    found = rows(
        stage,
        "SELECT profile_id, endpoint_id, status, reason, SUM(calls) FROM usage_minutecount"
        " GROUP BY 1, 2, 3, 4",
    )
    return +Counter({tuple(row[:4]): row[4] for row in found})


def comes_to(stage: Stage, expected: Counts, *, since: Counts) -> None:
    """The counts become what they were and `expected`, and stay so."""
    wait_for(lambda: counted(stage) - since == +expected, what="the counts")
    time.sleep(1.3)
    assert counted(stage) - since == +expected


def comes_to_rows(stage: Stage, statement: str, wanted: list[tuple[Any, ...]]) -> None:
    wait_for(lambda: rows(stage, statement) == wanted, what=statement)


def ends(pid: int) -> None:
    """Wait until a process that was killed is gone."""
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="its end")


class Door:
    """A profile in front of an API, calling it in ways whose counts are known."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage = stage
        self.collection = stage.a_collection(
            upstream, "GET /status/{code}", "GET /plain", "POST /plain"
        )
        found = stage.done("GET", f"api_endpoints?api_collection_id={self.collection['id']}")
        self.endpoints = {f"{e['method']} /{e['path']}": e["id"] for e in found}
        self.profile = stage.a_profile(self.collection)
        self.expected: Counts = Counter()

    def call(self, status: int = 200, *, token: str | None = None, **more: Any) -> Answer:
        path = f"/{self.collection['handle']}/status/{status}"
        return self.stage.call(path, token or self.profile["secret"], **more)

    def expect(self, endpoint: str, status: int, reason: int = 0, *, profile: int = -1) -> None:
        who = self.profile["id"] if profile < 0 else profile
        self.expected[who, self.endpoints.get(endpoint, 0), status // 100, reason] += 1


@pytest.fixture(scope="module")
def stage(own_stage: Stage) -> Stage:
    return own_stage


@pytest.fixture
def door(stage: Stage, upstream: Upstream) -> Door:
    return Door(stage, upstream)


@pytest.fixture
def since(stage: Stage) -> Counts:
    """What had been counted before, by a collector that has come to rest."""
    seen = [Counter({(0, 0, 0, 0): 1})]

    def quiet() -> bool:
        seen.append(counted(stage))
        time.sleep(1.1)
        return seen[-1] == counted(stage)

    wait_for(quiet, what="quiet")
    return counted(stage)


def test_every_class_of_answers_is_counted(door: Door, since: Counts) -> None:
    for status in [200] * 7 + [201, 204, 302, 304, 400, 404, 404, 500, 503, 503, 504]:
        assert door.call(status).status == status
        door.expect("GET /status/{code}", status)
    assert (
        door.stage.call(f"/{door.collection['handle']}/plain", door.profile["secret"]).status == 200
    )
    door.expect("GET /plain", 200)
    comes_to(door.stage, door.expected, since=since)


def test_every_refusal_is_counted_by_its_reason(door: Door, since: Counts) -> None:
    stage, handle = door.stage, door.collection["handle"]

    def refused(status: int, reason: Reason, endpoint: str = "", *, profile: int = 0) -> None:
        door.expect(endpoint, status, code(reason), profile=profile)

    known = door.profile["id"]
    assert stage.call(f"/{handle}/plain").status == 401
    refused(401, Reason.CREDENTIAL_MISSING, "GET /plain")
    for _ in range(3):
        assert stage.call(f"/{handle}/plain", "strange").status == 401
        refused(401, Reason.UNKNOWN_CREDENTIAL, "GET /plain")
    assert door.call(token="ost_" + "a" * 61).status == 401
    refused(401, Reason.MALFORMED_CREDENTIAL, "GET /status/{code}")
    twice = {"Authorization": "Bearer x"}
    assert door.call(headers=twice).status == 400
    refused(400, Reason.CONFLICTING_CREDENTIALS, "GET /status/{code}")
    assert stage.call("/a%2fb", door.profile["secret"]).status == 400
    refused(400, Reason.MALFORMED_PATH)
    for _ in range(2):
        assert stage.call(f"/{handle}/nothing/here/at/all", door.profile["secret"]).status == 404
        refused(404, Reason.ENDPOINT_NOT_FOUND, profile=known)
    assert stage.call("/nowhere/x", door.profile["secret"]).status == 404
    refused(404, Reason.COLLECTION_NOT_FOUND, profile=known)
    assert stage.call(f"/{handle}/plain", door.profile["secret"], method="PUT").status == 405
    refused(405, Reason.METHOD_NOT_ALLOWED, profile=known)
    bound = stage.a_profile(door.collection, ip_allow_list=["127.0.0.9"])
    assert door.call(token=bound["secret"]).status == 403
    refused(403, Reason.ADDRESS_NOT_ALLOWED, "GET /status/{code}", profile=bound["id"])
    # One whose lease is there, and is over.
    assert door.call().status == 200
    door.expect("GET /status/{code}", 200)
    stage.done("PUT", f"api_access_profiles/{known}/disable")
    for _ in range(4):
        assert door.call().status == 401
        refused(401, Reason.PROFILE_INACTIVE, "GET /status/{code}", profile=known)
    comes_to(stage, door.expected, since=since)


def test_limits_are_counted_apart_and_what_is_watched_is_told(door: Door, since: Counts) -> None:
    stage = door.stage
    policy = stage.a_policy(rate=(3, "day"))
    watched = stage.done(
        "POST",
        "v2/api_policies",
        {"name": f"W{time.monotonic_ns()}", "watch_only": True,
         "rate_limit": {"limit": 2, "interval": "day"}},
    )["data"]  # fmt: skip
    limited = stage.a_profile(door.collection, api_policy_id=policy["id"])
    only = stage.a_profile(door.collection, api_policy_id=watched["id"])
    statuses = [door.call(token=limited["secret"]).status for _ in range(8)]
    assert statuses == [200] * 3 + [429] * 5
    answers = [door.call(token=only["secret"]) for _ in range(5)]
    assert {a.status for a in answers} == {200}
    assert not any("ratelimit" in name for a in answers for name in a.headers)
    for status in statuses:
        reason = code(Reason.RATE_LIMITED) if status == 429 else 0
        door.expect("GET /status/{code}", status, reason, profile=limited["id"])
    for _ in answers:
        door.expect("GET /status/{code}", 200, profile=only["id"])
    comes_to(stage, door.expected, since=since)
    would = "SELECT SUM(calls) FROM usage_minutecount WHERE would = {} AND profile_id = {}"
    rate = code(Reason.RATE_LIMITED)
    assert rows(stage, would.format(rate, only["id"])) == [(3,)]
    logged = "SELECT COUNT(*) FROM usage_loggedcall WHERE would = {} AND profile_id = {}"
    wait_for(lambda: rows(stage, logged.format(rate, only["id"])) == [(3,)], what="lines")


def test_a_call_that_a_watched_limit_would_have_refused_is_counted_once_by_its_answer(
    door: Door, since: Counts
) -> None:
    """Not before it has one: then it would be in no class, or in two."""
    stage = door.stage
    watched = stage.done(
        "POST",
        "v2/api_policies",
        {"name": f"W{time.monotonic_ns()}", "watch_only": True,
         "rate_limit": {"limit": 1, "interval": "day"}},
    )["data"]  # fmt: skip
    only = stage.a_profile(door.collection, api_policy_id=watched["id"])
    for status in (200, 200, 404, 503, 302):
        assert door.call(status, token=only["secret"]).status == status
        door.expect("GET /status/{code}", status, profile=only["id"])
    comes_to(stage, door.expected, since=since)
    told = (
        "SELECT status, SUM(calls) FROM usage_minutecount"
        f" WHERE would = {code(Reason.RATE_LIMITED)} AND profile_id = {only['id']}"
        " GROUP BY 1 ORDER BY 1"
    )
    assert rows(stage, told) == [(2, 1), (3, 1), (4, 1), (5, 1)]


def test_calls_that_a_watched_list_would_have_refused_are_counted_and_logged_as_that(
    door: Door, since: Counts
) -> None:
    stage = door.stage
    only = stage.a_profile(door.collection, ip_allow_list=["127.0.0.9"], ip_watch_only=True)
    for source in ("127.0.0.1", "127.0.0.1", "127.0.0.9"):
        assert door.call(token=only["secret"], source=source).status == 200
        door.expect("GET /status/{code}", 200, profile=only["id"])
    comes_to(stage, door.expected, since=since)
    would = code(Reason.ADDRESS_NOT_ALLOWED)
    for table, amount in (("minutecount", "SUM(calls)"), ("loggedcall", "COUNT(*)")):
        asked = (
            f"SELECT would, {amount} FROM usage_{table} WHERE profile_id = {only['id']}"
            " GROUP BY would ORDER BY would"
        )
        # Lines are written after the counts of the same round.
        comes_to_rows(stage, asked, [(0, 1), (would, 2)])


def _under_load(door: Door, meanwhile: Callable[[], None], *, seconds: float) -> None:
    """Call without a pause in four threads while something happens; all must be answered."""
    stop, lock = threading.Event(), threading.Lock()

    def load() -> None:
        status = 200
        while not stop.is_set():
            assert door.call(status).status == status
            with lock:
                door.expect("GET /status/{code}", status)
            status = {200: 404, 404: 500, 500: 200}[status]

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    meanwhile()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()


def test_a_collector_that_is_killed_again_and_again_loses_nothing(
    door: Door, since: Counts
) -> None:
    def kills() -> None:
        for pause in (0.4, 1.1, 0.7, 1.6):
            time.sleep(pause)
            wait_for(lambda: bool(door.stage.pids("collector")))
            door.stage.kill("collector")

    _under_load(door, kills, seconds=1)
    comes_to(door.stage, door.expected, since=since)
    assert sum(door.expected.values()) > 100


def test_lines_of_calls_without_a_collector_wait_for_the_next_one(
    door: Door, since: Counts
) -> None:
    stage = door.stage
    endpoint = door.endpoints["GET /status/{code}"]
    for _ in range(3):
        (killed,) = stage.pids("collector")
        stage.kill("collector")
        # Not by what it runs: it has forgotten that before its connections are closed.
        ends(killed)
        for _ in range(60):
            assert door.call().status == 200
            door.expect("GET /status/{code}", 200)
        logged = f"SELECT COUNT(*) FROM usage_loggedcall WHERE endpoint_id = {endpoint}"
        wanted = [(sum(door.expected.values()),)]
        comes_to_rows(stage, logged, wanted)
    comes_to(stage, door.expected, since=since)


def test_a_collector_that_is_late_counts_all_of_it(door: Door, since: Counts) -> None:
    (pid,) = door.stage.pids("collector")

    def stopped() -> None:
        os.kill(pid, signal.SIGSTOP)
        # One that hangs for longer is replaced.
        time.sleep(1.5)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    _under_load(door, stopped, seconds=0.5)
    comes_to(door.stage, door.expected, since=since)


def test_a_database_that_takes_nothing_for_a_while_is_given_it_later(
    door: Door, since: Counts
) -> None:
    door.call()
    door.expect("GET /status/{code}", 200)
    base = sqlite3.connect(door.stage.data / "ostiary.sqlite3", isolation_level=None)

    def locked() -> None:
        base.execute("BEGIN IMMEDIATE")
        time.sleep(24)
        base.execute("ROLLBACK")

    _under_load(door, locked, seconds=0.5)
    base.close()
    comes_to(door.stage, door.expected, since=since)


def test_above_a_rate_few_calls_have_a_line_that_stands_for_the_rest_and_all_failures_have(
    tmp_path: Path, upstream: Upstream
) -> None:
    with running(tmp_path / "data", env={"OSTIARY_LOG_RATE": "1"}) as stage:
        door = Door(stage, upstream)
        for number in range(800):
            status = 404 if number % 40 == 39 else 200
            assert door.call(status).status == status
            door.expect("GET /status/{code}", status)
        assert stage.call(f"/{door.collection['handle']}/plain").status == 401
        door.expect("GET /plain", 401, code(Reason.CREDENTIAL_MISSING), profile=0)
        comes_to(stage, door.expected, since=Counter())
        logged = "SELECT status, COUNT(*), SUM(stands_for) FROM usage_loggedcall GROUP BY status"

        def found() -> dict[int, tuple[int, int]]:
            return {status: (lines, calls) for status, lines, calls in rows(stage, logged)}

        # Lines are written after the counts of the same round.
        wait_for(lambda: found().get(404) == (20, 20) and found().get(401) == (1, 1), what="lines")
        # Of the first second every call may have one.
        lines, calls = found()[200]
        assert lines < 780 / 2
        assert lines < calls
        weights = "SELECT DISTINCT stands_for FROM usage_loggedcall WHERE status = 200"
        assert {ONE_OF} <= {weight for (weight,) in rows(stage, weights)} <= {1, ONE_OF}


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"


def test_a_stop_takes_the_last_calls_with_it_and_a_crash_little(
    data: Path, upstream: Upstream
) -> None:
    with running(data) as stage:
        door = Door(stage, upstream)
        for _ in range(40):
            assert door.call().status == 200
            door.expect("GET /status/{code}", 200)
        # At once: the harvest of the last second is still to come.
        stage.stop()
        assert counted(stage) == +door.expected
        stage.start()
        for _ in range(10):
            assert door.call().status == 200
            door.expect("GET /status/{code}", 200)
        comes_to(stage, door.expected, since=Counter())
        # A crash of nginx itself loses what was not harvested: at most a second's calls.
        stage.kill("gateway")
        wait_for(lambda: _answers(door))
        door.expect("GET /status/{code}", 200)
        comes_to(stage, door.expected, since=Counter())


def _answers(door: Door) -> bool:
    try:
        return door.call().status == 200
    except OSError:
        return False


def test_a_call_that_was_never_whole_is_counted_as_unanswered(door: Door, since: Counts) -> None:
    stage = door.stage
    head = (
        f"POST /{door.collection['handle']}/plain HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        f"API-TOKEN: {door.profile['secret']}\r\n\r\nhalf"
    )
    with socket.create_connection(("127.0.0.1", stage.gateway)) as sock:
        sock.sendall(head.encode())
        time.sleep(0.5)
    door.expected[door.profile["id"], door.endpoints["POST /plain"], 0, 0] += 1
    comes_to(stage, door.expected, since=since)


def test_nothing_that_is_secret_is_in_what_is_kept(door: Door, since: Counts) -> None:
    stage = door.stage
    canary = "canary-6f1c9d"
    door.call(headers={"X-Canary": canary})
    door.call(token=f"{canary}-token")
    stage.call(f"/{door.collection['handle']}/plain?q={canary}", door.profile["secret"],
               method="POST", body=canary.encode())  # fmt: skip
    stage.call(f"/nowhere?secret={canary}", door.profile["secret"])
    door.expect("GET /status/{code}", 200)
    wait_for(lambda: len(rows(stage, "SELECT 1 FROM usage_loggedcall WHERE reason = 23")) > 0)
    time.sleep(1.5)
    secrets = (canary.encode(), door.profile["secret"].encode())
    for file in stage.data.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(secret in content for secret in secrets), file
    told = json.dumps(stage.lines).encode()
    assert not any(secret in told for secret in secrets)
