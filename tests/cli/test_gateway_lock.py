"""One gateway on one PostgreSQL database: a second refuses, and a lost connection ends none."""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.postgres import cluster
from tests.stage import OSTIARY, free_port, wait_for

from ostiary.cli.failure import Failure
from ostiary.cli.startup import gateway_lock
from ostiary.cli.startup.gateway_lock import Locks
from ostiary.settings import Database, parse_database

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SAID = r"^Another gateway is running on this database; stop it"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture
def database(url: str, monkeypatch: pytest.MonkeyPatch) -> Locks:
    monkeypatch.setattr(gateway_lock, "PATIENCE", 0.2)
    monkeypatch.setattr(gateway_lock, "INTERVAL", 0.05)
    return Locks(parse_database(url))


def sessions(url: str, *, granted: bool) -> list[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted = %s",
            [gateway_lock.LOCK, granted],
        )
        return [row[0] for row in rows]


def holders(url: str) -> list[int]:
    return sessions(url, granted=True)


def waiters(url: str) -> int:
    return len(sessions(url, granted=False))


def test_a_second_gateway_refuses_and_finds_it_free_afterwards(database: Locks) -> None:
    with gateway_lock.held(database):
        with pytest.raises(Failure, match=SAID):
            gateway_lock.check(database)
        with pytest.raises(Failure, match=SAID), gateway_lock.held(database):
            raise AssertionError("held twice")
    gateway_lock.check(database)


def test_a_lost_connection_is_made_again(url: str, database: Locks) -> None:
    with gateway_lock.held(database):
        (first,) = holders(url)
        with psycopg.connect(url) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [first])
        wait_for(lambda: holders(url) not in ([], [first]), what="the lock taken again")
    wait_for(lambda: holders(url) == [], what="the lock let go")


def test_who_lost_the_lock_to_another_goes_on_and_says_so(
    url: str, database: Locks, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        gateway_lock.held(database),
        psycopg.connect(url, autocommit=True) as other,
        ThreadPoolExecutor() as pool,
    ):
        (first,) = holders(url)
        waiting = pool.submit(other.execute, "SELECT pg_advisory_lock(%s)", [gateway_lock.LOCK])
        wait_for(lambda: waiters(url) == 1, what="the other waiting for the lock")
        with psycopg.connect(url) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [first])
        waiting.result(timeout=60)
        wait_for(lambda: "the lock of this gateway is held by another" in caplog.text)
        # Said once, not at every look.
        assert holders(url) == [other.info.backend_pid]
    assert caplog.text.count("the lock of this gateway is held by another") == 1


def test_a_database_that_does_not_answer_is_no_second_gateway(
    database: Locks, tmp_path: Path
) -> None:
    name = database.database.name
    nowhere = Locks(Database(engine="postgresql", name=name, host=str(tmp_path)))
    gateway_lock.check(nowhere)
    began = time.monotonic()
    with gateway_lock.held(nowhere):
        pass
    assert time.monotonic() - began < 5


def test_the_command_refuses_in_one_sentence(url: str, tmp_path: Path) -> None:
    with gateway_lock.held(Locks(parse_database(url))):
        env = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
        done = subprocess.run(
            [*OSTIARY, "gateway", "--data", str(tmp_path), "--gateway-bind",
             f"127.0.0.1:{free_port()}"],
            env={**env, "OSTIARY_DATABASE_URL": url},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ostiary: Another gateway is running on this database; stop it")
    assert len(done.stderr.splitlines()) == 1


def test_gateways_that_count_together_run_side_by_side_under_different_names(
    database: Locks,
) -> None:
    one, other = Locks(database.database, "one"), Locks(database.database, "other")
    with gateway_lock.held(one), gateway_lock.held(other):
        with pytest.raises(Failure, match="A gateway with the name one is running"):
            gateway_lock.check(one)
        with pytest.raises(Failure, match=SAID):
            gateway_lock.check(database)
    with (
        gateway_lock.held(database),
        pytest.raises(Failure, match="^A gateway without OSTIARY_REDIS_URL is running"),
    ):
        gateway_lock.check(one)
    gateway_lock.check(one)
