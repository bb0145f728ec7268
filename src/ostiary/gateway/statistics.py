"""HAProxy's own numbers for `/metrics`: `show info`, `show stat` and `show table` (management guide,
section 9.3), read on a connection of their own, so that a scrape never holds up a command.
"""

import csv
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

FRONTEND = "gateway"
#: The pool's backends, whose sums are told: there are hundreds, and their owners' names unknown.
_UPSTREAM = re.compile(r"up_\d+")
_TABLE = re.compile(r"# table: (\w+), type: \w+.*, size:(\d+), used:(\d+)")


class GatewaySilent(Exception):
    """HAProxy does not answer in time, or not as expected."""


def is_open(path: Path, *, seconds: float) -> bool:
    """Whether HAProxy answers and takes calls; raises GatewaySilent."""
    return any(
        row["pxname"] == FRONTEND and row["svname"] == "FRONTEND" and row["status"] == "OPEN"
        for row in _rows(_ask(path, f"show stat {FRONTEND} 1 -1", seconds))
    )


def read(path: Path, *, seconds: float) -> list[Metric]:
    """The gateway's metrics now; raises GatewaySilent."""
    try:
        return [
            *_process(_ask(path, "show info", seconds)),
            *_traffic(_rows(_ask(path, "show stat", seconds))),
            *_tables(_ask(path, "show table", seconds)),
        ]
    except (KeyError, ValueError) as error:
        raise GatewaySilent("the gateway's numbers cannot be read") from error


def _ask(path: Path, command: str, seconds: float) -> str:
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(seconds)
            sock.connect(str(path))
            sock.sendall(command.encode() + b"\n")
            while chunk := sock.recv(65536):
                answer += chunk
    except OSError as error:
        raise GatewaySilent("the gateway does not answer") from error
    return answer.decode(errors="replace")


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.removeprefix("# ").splitlines()))


def _process(text: str) -> Iterator[Metric]:
    found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    yield GaugeMetricFamily(
        "ostiary_gateway_uptime_seconds",
        "Since HAProxy's worker started.",
        int(found["Uptime_sec"]),
    )
    yield GaugeMetricFamily(
        "ostiary_gateway_connections", "Open connections.", int(found["CurrConns"])
    )
    yield GaugeMetricFamily(
        "ostiary_gateway_connections_limit", "Most open connections.", int(found["Maxconn"])
    )
    yield CounterMetricFamily(
        "ostiary_gateway_dropped_logs",
        "Log lines that nobody took in time.",
        int(found["DroppedLogs"]),
    )
    yield GaugeMetricFamily(
        "ostiary_gateway_idle_ratio", "Time that HAProxy had nothing to do.",
        int(found["Idle_pct"]) / 100,
    )  # fmt: skip
    yield GaugeMetricFamily(
        "ostiary_gateway_pool_bytes", "Memory of HAProxy's pools.",
        int(found["PoolAlloc_MB"]) * 1024 * 1024,
    )  # fmt: skip


def _traffic(rows: Iterable[dict[str, str]]) -> Iterator[Metric]:
    rows = list(rows)
    front = next(r for r in rows if r["pxname"] == FRONTEND and r["svname"] == "FRONTEND")
    yield CounterMetricFamily(
        "ostiary_gateway_sessions", "Connections that callers made.", _int(front["stot"])
    )
    yield CounterMetricFamily(
        "ostiary_gateway_requests", "Calls that came.", _int(front["req_tot"])
    )
    answers = CounterMetricFamily(
        "ostiary_gateway_responses", "Answers by class of status.", labels=["class"]
    )
    for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"):
        answers.add_metric([kind], _int(front[f"hrsp_{kind}"]))
    yield answers
    through = CounterMetricFamily(
        "ostiary_gateway_bytes", "Bytes from and to callers.", labels=["direction"]
    )
    through.add_metric(["in"], _int(front["bin"]))
    through.add_metric(["out"], _int(front["bout"]))
    yield through
    yield from _upstreams([row for row in rows if _UPSTREAM.fullmatch(row["pxname"])])


def _upstreams(rows: list[dict[str, str]]) -> Iterator[Metric]:
    backends = [row for row in rows if row["svname"] == "BACKEND"]
    servers = [row for row in rows if row["svname"] != "BACKEND"]
    errors = CounterMetricFamily(
        "ostiary_gateway_upstream_errors", "Calls that an upstream failed.", labels=["kind"]
    )
    errors.add_metric(["connect"], sum(_int(row["econ"]) for row in backends))
    errors.add_metric(["response"], sum(_int(row["eresp"]) for row in backends))
    yield errors
    states = GaugeMetricFamily(
        "ostiary_gateway_upstream_servers", "Servers of upstreams, by state.", labels=["state"]
    )
    up = sum(row["status"].startswith("UP") or row["status"] == "no check" for row in servers)
    states.add_metric(["up"], up)
    states.add_metric(["down"], sum(row["status"].startswith("DOWN") for row in servers))
    yield states
    yield GaugeMetricFamily(
        "ostiary_gateway_upstream_queue", "Calls that wait for an upstream.",
        sum(_int(row["qcur"]) for row in backends),
    )  # fmt: skip


def _tables(text: str) -> Iterator[Metric]:
    used = GaugeMetricFamily("ostiary_gateway_table_rows", "Rows in use.", labels=["table"])
    size = GaugeMetricFamily("ostiary_gateway_table_size", "Rows that fit.", labels=["table"])
    for name, most, rows in _TABLE.findall(text):
        used.add_metric([name], int(rows))
        size.add_metric([name], int(most))
    yield used
    yield size


def _int(text: str) -> int:
    return int(text or "0")
