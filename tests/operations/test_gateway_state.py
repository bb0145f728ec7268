"""What the gateway says of itself becomes metrics and readiness, and nonsense becomes silence."""

import http.server
import json
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ostiary.gateway import statistics
from ostiary.gateway.node import control_socket
from ostiary.gateway.statistics import GatewaySilent
from ostiary.operations.readiness import WATCHED_DICTIONARIES, NotReady, check_gateway

NOW = 1_795_523_640.0
MEGABYTE = 2**20


def a_state(**changes: Any) -> dict[str, Any]:
    names = ("leases", "refused", *WATCHED_DICTIONARIES)
    return {
        "birth": "b1", "version": "1.22.1", "started": NOW - 60, "applied": 7, "floor": 3,
        "master": os.getpid(), "workers": {"11": NOW - 0.5, "12": NOW - 1},
        "connections": {"active": 3, "reading": 0, "writing": 1, "waiting": 2, "accepted": 9,
                        "requests": 40, "limit": 1024},
        "answers": {"1xx": 0, "2xx": 30, "3xx": 1, "4xx": 8, "5xx": 1},
        "bytes": {"in": 100, "out": 2000},
        "dictionaries": {n: {"capacity": 64 * MEGABYTE, "free": 32 * MEGABYTE} for n in names},
        "evicted_leases": 5, "upcalls": {"asked": 20, "failed": 1, "refused": 2},
        "upstream_errors": {"connect": 1, "response": 0, "timeout": 3}, "streams": 4,
        "ceilings": {"heads": 12, "address": 3, "profile": 2, "project": 1},
        "heads_unbounded": 0,
        "unpushed": 6, **changes,
    }  # fmt: skip


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    content: bytes = b""
    status = 200


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        assert self.path == "/state"
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.content)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    server = _Server(str(control_socket(tmp_path)), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def samples(path: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for metric in statistics.read(path, seconds=5)
        for sample in metric.samples
    }


def test_numbers_become_metrics(server: _Server, tmp_path: Path) -> None:
    server.content = json.dumps(a_state()).encode()
    found = samples(control_socket(tmp_path))
    assert found["ostiary_gateway_requests_total", ()] == 40
    assert found["ostiary_gateway_sessions_total", ()] == 9
    assert found["ostiary_gateway_connections_limit", ()] == 1024
    assert found["ostiary_gateway_responses_total", ("4xx",)] == 8
    assert found["ostiary_gateway_bytes_total", ("out",)] == 2000
    assert found["ostiary_gateway_upstream_errors_total", ("timeout",)] == 3
    assert found["ostiary_gateway_dictionary_bytes", ("epochs",)] == 64 * MEGABYTE
    assert found["ostiary_gateway_dictionary_free_bytes", ("leases",)] == 32 * MEGABYTE
    assert found["ostiary_gateway_applied_sequence", ()] == 7
    assert found["ostiary_gateway_workers", ()] == 2
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_empty_tables_of_lua_are_empty(server: _Server, tmp_path: Path) -> None:
    server.content = json.dumps(a_state(workers=[], answers=[], dictionaries=[])).encode()
    now = statistics.state(control_socket(tmp_path), seconds=5)
    assert (now.workers, now.answers, now.dictionaries) == ({}, {}, {})
    assert samples(control_socket(tmp_path))["ostiary_gateway_workers", ()] == 0


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b""), (200, b"[]"), (200, b"{}"), (200, b'"x"'), (500, b"{}"),
        (200, json.dumps(a_state(applied="soon")).encode()),
        (200, json.dumps(a_state(dictionaries={"leases": 5})).encode()),
        (200, json.dumps(a_state(workers={"x": "y"})).encode()),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_silence(
    server: _Server, tmp_path: Path, status: int, content: bytes
) -> None:
    server.status, server.content = status, content
    with pytest.raises(GatewaySilent):
        statistics.read(control_socket(tmp_path), seconds=5)


def test_a_gateway_that_is_not_there_is_silent(tmp_path: Path) -> None:
    with pytest.raises(GatewaySilent):
        statistics.state(tmp_path / "nothing.sock", seconds=1)


def _with_free(name: str, free: int) -> dict[str, Any]:
    state = a_state()
    state["dictionaries"][name]["free"] = free
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (a_state(workers={}), "no worker"),
        (a_state(workers={"11": NOW - 0.2, "12": NOW - 6}), "6 s"),
        (a_state(dictionaries={}), "epochs"),
        *((_with_free(name, 6 * MEGABYTE), name) for name in WATCHED_DICTIONARIES),
    ],
)
def test_a_gateway_in_trouble_is_not_ready(
    server: _Server, tmp_path: Path, state: dict[str, Any], said: str
) -> None:
    server.content = json.dumps(state).encode()
    now = statistics.state(control_socket(tmp_path), seconds=5)
    with pytest.raises(NotReady, match=said):
        check_gateway(now, at=NOW)


@pytest.mark.parametrize("state", [a_state(), _with_free("leases", 0), _with_free("refused", 0)])
def test_a_gateway_whose_leases_are_full_is_ready(
    server: _Server, tmp_path: Path, state: dict[str, Any]
) -> None:
    server.content = json.dumps(state).encode()
    check_gateway(statistics.state(control_socket(tmp_path), seconds=5), at=NOW)
