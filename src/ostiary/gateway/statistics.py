"""The gateway's own numbers: `GET /state` of its control socket, for `/metrics` and readiness."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from ostiary.gateway import control

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


class GatewaySilent(Exception):
    """The gateway did not answer in time, or sent an unexpected answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """A part of nginx's shared memory; bytes, and `free` counts whole free pages alone."""

    capacity: int
    free: int

    @property
    def share_free(self) -> float:
        return self.free / self.capacity if self.capacity else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState:
    """The gateway as it says it is; times in Unix seconds."""

    #: Names nginx's shared memory: another one begins with empty counters.
    birth: str
    version: str
    started: float
    #: The sequence up to which epochs are applied, and the one below which leases are void.
    applied: int
    floor: int
    master: int
    #: Worker's process id → when it last showed that it is alive.
    workers: Mapping[int, float]
    connections: Mapping[str, int]
    answers: Mapping[str, int]
    bytes: Mapping[str, int]
    dictionaries: Mapping[str, Dictionary]
    evicted_leases: int
    upcalls: Mapping[str, int]
    upstream_errors: Mapping[str, int]
    #: Calls that a ceiling on open calls refused, and half-sent heads that one ended.
    ceilings: Mapping[str, int]
    #: 1: this nginx's connections could not be read, so that half-sent heads have no ceiling.
    heads_unbounded: int
    streams: int
    #: Counters that the collector has not acknowledged yet.
    unpushed: int


def state(path: Path, *, seconds: float) -> GatewayState:
    """The gateway's state now; raises GatewaySilent."""
    try:
        return _parse(control.state(path, seconds=seconds))
    except control.ControlError as error:
        raise GatewaySilent(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GatewaySilent("the gateway's numbers cannot be read") from error


def _parse(body: Mapping[str, Any]) -> GatewayState:
    return GatewayState(
        birth=str(body["birth"]),
        version=str(body["version"]),
        started=float(body["started"]),
        applied=int(body["applied"]),
        floor=int(body["floor"]),
        master=int(body["master"]),
        workers={int(pid): float(at) for pid, at in _items(body["workers"])},
        connections=_numbers(body["connections"]),
        answers=_numbers(body["answers"]),
        bytes=_numbers(body["bytes"]),
        dictionaries={
            str(name): Dictionary(capacity=int(d["capacity"]), free=int(d["free"]))
            for name, d in _items(body["dictionaries"])
        },
        evicted_leases=int(body["evicted_leases"]),
        upcalls=_numbers(body["upcalls"]),
        upstream_errors=_numbers(body["upstream_errors"]),
        ceilings=_numbers(body["ceilings"]),
        heads_unbounded=int(body["heads_unbounded"]),
        streams=int(body["streams"]),
        unpushed=int(body["unpushed"]),
    )


def _items(value: Any) -> Any:
    """Lua writes an empty table as a list."""
    return value.items() if value else ()


def _numbers(value: Any) -> dict[str, int]:
    return {str(name): int(number) for name, number in _items(value)}


def read(path: Path, *, seconds: float) -> list[Metric]:
    """The gateway's metrics now; raises GatewaySilent."""
    return families(state(path, seconds=seconds))


def families(now: GatewayState) -> list[Metric]:
    """The metrics of a state."""
    return [*_process(now), *_traffic(now), *_deciding(now), *_memory(now)]


def _process(now: GatewayState) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "ostiary_gateway_uptime_seconds",
        "Since nginx started.",
        max(0.0, time.time() - now.started),
    )
    yield GaugeMetricFamily(
        "ostiary_gateway_workers", "Workers of nginx that show they are alive.", len(now.workers)
    )
    if now.workers:
        yield GaugeMetricFamily(
            "ostiary_gateway_oldest_tick_timestamp_seconds",
            "When the worker that did so longest ago showed that it is alive.",
            min(now.workers.values()),
        )
    yield GaugeMetricFamily(
        "ostiary_gateway_connections", "Open connections.", now.connections.get("active", 0)
    )
    yield GaugeMetricFamily(
        "ostiary_gateway_connections_limit", "Most open connections.",
        now.connections.get("limit", 0),
    )  # fmt: skip
    by_state = GaugeMetricFamily(
        "ostiary_gateway_connections_by_state", "Open connections, by what they do.",
        labels=["state"],
    )  # fmt: skip
    for name in ("reading", "writing", "waiting"):
        by_state.add_metric([name], now.connections.get(name, 0))
    yield by_state
    yield GaugeMetricFamily("ostiary_gateway_streams", "Open streams and tunnels.", now.streams)


def _traffic(now: GatewayState) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "ostiary_gateway_sessions", "Connections that callers made.",
        now.connections.get("accepted", 0),
    )  # fmt: skip
    yield CounterMetricFamily(
        "ostiary_gateway_requests", "Calls that came.", now.connections.get("requests", 0)
    )
    yield _counts("responses", "Answers by class of status.", "class", CLASSES, now.answers)
    yield _counts("bytes", "Bytes from and to callers.", "direction", ("in", "out"), now.bytes)
    yield _counts(
        "upstream_errors", "Calls that an upstream failed.", "kind",
        ("connect", "response", "timeout"), now.upstream_errors,
    )  # fmt: skip


def _counts(
    name: str, text: str, label: str, values: tuple[str, ...], numbers: Mapping[str, int]
) -> Metric:
    metric = CounterMetricFamily(f"ostiary_gateway_{name}", text, labels=[label])
    for value in values:
        metric.add_metric([value], numbers.get(value, 0))
    return metric


def _deciding(now: GatewayState) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "ostiary_gateway_applied_sequence",
        "The last change of the feed whose revocations are in force.",
        now.applied,
    )
    yield _counts(
        "upcalls", "Questions to the authority, and those that failed or had no room.", "outcome",
        ("asked", "failed", "refused"), now.upcalls,
    )  # fmt: skip
    yield _counts(
        "ceilings", "Calls that a ceiling on open calls refused, and half-sent heads that one ended.",
        "ceiling", ("heads", "address", "profile", "project"), now.ceilings,
    )  # fmt: skip
    yield GaugeMetricFamily(
        "ostiary_gateway_heads_unbounded",
        "1: this nginx is another one than expected, and half-sent heads have no ceiling.",
        now.heads_unbounded,
    )
    yield CounterMetricFamily(
        "ostiary_gateway_evicted_leases", "Leases that made room for others before their end.",
        now.evicted_leases,
    )  # fmt: skip
    yield GaugeMetricFamily(
        "ostiary_gateway_unpushed_counters", "Counters that the collector has not taken yet.",
        now.unpushed,
    )  # fmt: skip


def _memory(now: GatewayState) -> Iterator[Metric]:
    size = GaugeMetricFamily(
        "ostiary_gateway_dictionary_bytes", "Size of a part of the gateway's shared memory.",
        labels=["dictionary"],
    )  # fmt: skip
    free = GaugeMetricFamily(
        "ostiary_gateway_dictionary_free_bytes", "Bytes of it in whole free pages.",
        labels=["dictionary"],
    )  # fmt: skip
    for name, dictionary in now.dictionaries.items():
        size.add_metric([name], dictionary.capacity)
        free.add_metric([name], dictionary.free)
    yield size
    yield free
    processes = [now.master, *now.workers]
    yield GaugeMetricFamily(
        "process_resident_memory_bytes", "Resident memory size in bytes.",
        sum(map(_resident, processes)),
    )  # fmt: skip


def _resident(pid: int) -> int:
    """A process's share of the memory that it has in use, in bytes; 0: it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
