"""`/readyz` is red while something that is wanted is missing: a server, recipes, a plan in force."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.operations.scraping import answer
from tests.operations.test_readiness import stopped
from tests.stage import Stage, free_port, running, wait_for

pytestmark = [pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("data"), "--demo") as stage:
        wait_for(lambda: _status(stage) == 200, what="ready")
        yield stage


def _status(stage: Stage) -> int:
    return answer(stage, None, "/readyz").status


def _said(stage: Stage, check: str) -> str:
    """What a check finds wrong; empty: nothing."""
    told = answer(stage, stage.token, "/readyz")
    state = told.json["checks"][check]
    assert state["ok"] or told.status == 503
    return "" if state["ok"] else str(state["state"])


def _is_red(stage: Stage, check: str, words: str) -> None:
    wait_for(lambda: words in _said(stage, check), what=f"{check}: {words}")
    assert _status(stage) == 503


def _is_green(stage: Stage) -> None:
    wait_for(lambda: _status(stage) == 200, what="green again")


class _Good(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def _server(port: int) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), _Good) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def test_a_wanted_server_that_is_down_is_red_until_it_is_back(stage: Stage) -> None:
    port = free_port()
    given = {"base_url": f"http://127.0.0.1:{port}", "health_path": "/health"}
    with _server(port):
        connection = stage.done("POST", "connections", {"name": "Wanted", "input": given})
        content = {"name": "Wanted", "proxy_connection_id": connection["id"]}
        collection = stage.done("POST", "api_collections", content)
        _is_green(stage)
    _is_red(stage, "upstreams", f"127.0.0.1:{port} of connection {connection['id']} is down")
    with _server(port):
        _is_green(stage)
        # Its server goes away for good now.
        stage.done("DELETE", f"api_collections/{collection['id']}")
        stage.done("DELETE", f"connections/{connection['id']}")


def test_a_plan_that_is_not_in_force_is_red(stage: Stage) -> None:
    time.sleep(1.1)
    with stopped(stage, "publisher"):
        collection = stage.api("POST", "api_collections", {"name": "Waits", "kind": "recipe"})
        assert collection.status in {200, 503}
        time.sleep(1.1)
        assert _said(stage, "publisher")
        assert _status(stage) == 503
    _is_green(stage)


def test_recipes_that_are_gone_are_red(stage: Stage) -> None:
    recipes = stage.data / "recipes"
    away = stage.data / "away"
    files = sorted(recipes.glob("*.py"))
    assert files
    shutil.copytree(recipes, away)
    for path in files:
        path.unlink()
    _is_red(stage, "recipe_files", "recipes that the folder does not have")
    for path in files:
        shutil.copy(away / path.name, path)
    _is_green(stage)
    # A volume that is not mounted, say: what was read of it goes on.
    shutil.rmtree(recipes)
    _is_red(stage, "recipes", "Its folder is gone")
    assert not _said(stage, "recipe_files")
    shutil.copytree(away, recipes)
    _is_green(stage)
    # Edits of the new folder are followed.
    files[0].unlink()
    _is_red(stage, "recipe_files", "recipes that the folder does not have")
    shutil.copy(away / files[0].name, files[0])
    _is_green(stage)


def test_a_runner_that_is_gone_with_its_socket_is_red(stage: Stage) -> None:
    path = stage.data / "run" / "recipes-control.sock"
    path.rename(path.with_suffix(".away"))
    try:
        _is_red(stage, "recipe_files", "does not answer")
    finally:
        path.with_suffix(".away").rename(path)
    _is_green(stage)


def test_a_gateway_that_starts_from_older_files_is_red(stage: Stage, tmp_path: Path) -> None:
    """nginx does not take its new files, and serves with those of the last start."""
    target = stage.data / "run" / "gateway" / "nginx.conf.new"
    before = stage.pids("gateway")
    # What cannot be written is as good as what is refused.
    target.mkdir()
    (target / "x").touch()
    try:
        stage.kill("gateway")
        wait_for(
            lambda: bool(stage.pids("gateway")) and stage.pids("gateway") != before, what="anew"
        )
        _is_red(stage, "gateway", "It runs with the files of an earlier start")
    finally:
        shutil.rmtree(target)
    stage.kill("gateway")
    _is_green(stage)


def test_a_damaged_page_that_nobody_reads_is_red(tmp_path: Path) -> None:
    with running(tmp_path, env={"OSTIARY_DATABASE_CHECK_SECONDS": "1"}) as stage:
        wait_for(lambda: _status(stage) == 200, what="ready")
        file = tmp_path / "ostiary.sqlite3"
        with closing(sqlite3.connect(file, timeout=30)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (size,) = database.execute("PRAGMA page_size").fetchone()
            (page,) = database.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'usage_standingpart'"
            ).fetchone()
        with file.open("r+b") as pages:
            pages.seek((page - 1) * size)
            pages.write(b"\xa5" * size)
        _is_red(stage, "database", "restore a backup")
        # What reads other pages goes on.
        assert stage.api("GET", "api_clients").status == 200
