"""`/readyz` tells the truth of each part, and strangers no more than yes or no."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.operations.scraping import answer
from tests.postgres import cluster
from tests.stage import Stage, running, wait_for

from ostiary import __version__

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


#: Each check gives up after three; the rest is for a slow machine. What hangs, hangs for good.
SECONDS = 30


def ready(stage: Stage) -> tuple[int, dict[str, Any]]:
    told = answer(stage, stage.token, "/readyz")
    return told.status, {name: c["ok"] for name, c in told.json["checks"].items()}


@contextmanager
def stopped(stage: Stage, part: str) -> Iterator[None]:
    """A part that hangs: it keeps its sockets, and does nothing. Nobody replaces it meanwhile."""
    assert stage.pids(part)
    pids = [stage.pid, *stage.pids(part)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def test_all_is_well(stage: Stage) -> None:
    status, checks = ready(stage)
    assert (status, set(checks.values())) == (200, {True})
    assert set(checks) == {
        "database", "disk", "authority", "gateway", "recipes", "recipe_files", "collector", "publisher",
        "upstreams",
    }  # fmt: skip


def test_strangers_learn_yes_or_no(stage: Stage) -> None:
    for token in (None, "nonsense"):
        told = answer(stage, token, "/readyz")
        assert (told.status, told.json) == (200, {"ok": True})
    assert answer(stage, None, "/healthz").json == {"ok": True, "version": __version__}


@pytest.mark.parametrize("part", ["authority", "gateway", "recipes", "collector", "publisher"])
def test_a_part_that_hangs_is_seen_in_seconds_and_seen_to_be_well_again(
    stage: Stage, part: str
) -> None:
    time.sleep(1.1)
    with stopped(stage, part):
        began = time.monotonic()
        status, checks = ready(stage)
        assert time.monotonic() - began < SECONDS
        assert status == 503
        assert checks[part] is False
        assert checks["database"] is True
        assert answer(stage, None, "/readyz").json == {"ok": False}
        assert answer(stage, None, "/healthz").status == 200
    wait_for(lambda: ready(stage)[0] == 200, what=f"{part} is well again")


# The authority's socket waits for its successor, which is there before the check gives up.
@pytest.mark.parametrize("part", ["gateway", "recipes", "collector", "publisher"])
def test_a_part_that_died_is_seen_until_it_is_back(stage: Stage, part: str) -> None:
    time.sleep(1.1)
    # Nobody starts it again before it was looked at.
    os.kill(stage.pid, signal.SIGSTOP)
    try:
        stage.kill(part)
        assert ready(stage)[1][part] is False
    finally:
        os.kill(stage.pid, signal.SIGCONT)
    wait_for(lambda: ready(stage)[0] == 200, what=f"{part} is back")


def test_changes_that_are_not_in_force_are_seen(stage: Stage) -> None:
    """The authority answers, and the gateway does not follow."""
    time.sleep(1.1)
    with stopped(stage, "gateway"):
        client = stage.a_client()
        assert stage.api("PUT", f"v2/api_clients/{client['id']}/disable").status == 503
        time.sleep(1.1)
        told = answer(stage, stage.token, "/readyz").json
        assert told["checks"]["authority"]["ok"] is False
        assert "follow" in told["checks"]["authority"]["state"]
    wait_for(lambda: ready(stage)[0] == 200)


def test_asking_often_costs_one_look_a_second(stage: Stage) -> None:
    time.sleep(1.1)
    with stopped(stage, "recipes"):
        # A look takes as long as that part is waited for: fifty of them took more than a minute.
        began = time.monotonic()
        for _ in range(50):
            assert answer(stage, None, "/readyz").status == 503
        assert time.monotonic() - began < SECONDS
    wait_for(lambda: ready(stage)[0] == 200)


def test_no_secret_and_no_address_is_in_it(stage: Stage) -> None:
    told = json.dumps(answer(stage, stage.token, "/readyz").json)
    assert stage.token not in told
    assert str(stage.data) not in told


@pytest.mark.postgres
def test_a_database_that_is_away_is_seen_and_metrics_are_still_told(tmp_path: Path) -> None:
    with cluster() as url, running(tmp_path / "data", env={"OSTIARY_DATABASE_URL": url}) as stage:
        assert ready(stage)[0] == 200
        folder = url.rpartition("host=")[2].replace("%2F", "/")
        pid = int((Path(folder) / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            os.kill(each, signal.SIGSTOP)
        try:
            time.sleep(1.1)
            began = time.monotonic()
            told = answer(stage, None, "/readyz")
            assert time.monotonic() - began < SECONDS
            assert (told.status, told.json) == (503, {"ok": False})
            for _ in range(6):  # more than there are threads that may wait
                assert answer(stage, stage.token, "/metrics").status == 200
            assert answer(stage, "of a stranger", "/metrics").status == 401
            status, checks = ready(stage)
            assert (status, checks["database"], checks["recipes"]) == (503, False, True)
            assert answer(stage, None, "/healthz").status == 200
        finally:
            for each in (pid, *map(int, children)):
                os.kill(each, signal.SIGCONT)
        wait_for(lambda: ready(stage)[0] == 200)
