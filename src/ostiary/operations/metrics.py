"""`/metrics`: collects the metrics of every part of this machine, in Prometheus' text format.

If a part does not answer, a metric shows it; the request does not fail.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ostiary import settings
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import feed
from ostiary.directory.models import ConfigurationSet
from ostiary.directory.people.management_tokens import authenticate
from ostiary.gateway import statistics
from ostiary.gateway.node import control_socket
from ostiary.identity.tokens import fingerprint
from ostiary.operations.deadlines import Patient
from ostiary.telemetry import exposition

#: Seconds within which a part must answer; all parts are asked at the same time.
SECONDS = 1.0
#: While the database is away, a token stays valid for these seconds after its last check: metrics
#: matter most just then.
REMEMBERED_SECONDS = 3600.0

#: Name and meaning of the metrics that this module adds.
PART_UP = ("ostiary_part_up", "1 if a part of this machine answered this scrape.")
FEED_SEQUENCE = ("ostiary_feed_sequence", "The last change of the feed.")

DRIFT = (
    "ostiary_config_drift",
    "Objects of a set of configuration files that were changed beside the files.",
)

_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="metrics")
#: Its own threads: each request that waits for a hanging database occupies one.
_doors = ThreadPoolExecutor(max_workers=4, thread_name_prefix="metrics-door")
_seen: dict[bytes, float] = {}


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Needs a management token that sees every project; the role viewer is enough."""
    if not may_look(request):
        answer = HttpResponse("A management token that sees every project is needed.\n", status=401)
        answer["WWW-Authenticate"] = 'Bearer realm="metrics"'
        answer["Content-Type"] = "text/plain; charset=utf-8"
        return answer
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Everything())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def may_look(request: HttpRequest) -> bool:
    """Whether a request has a management token that sees the whole workspace.

    Loopback is no reason to trust: a proxy on this machine makes everybody's calls from there.
    """
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return False
    key = fingerprint(token)
    asked = _doors.submit(_authenticated, token, str(request.META.get("REMOTE_ADDR", "")))
    try:
        by = asked.result(SECONDS)
    except (DatabaseError, InterfaceError, TimeoutError):
        asked.cancel()
        return time.monotonic() - _seen.get(key, float("-inf")) < REMEMBERED_SECONDS
    seen = by is not None and (by.admin or by.everywhere in set(Role))
    if seen:
        _seen[key] = time.monotonic()
    else:
        _seen.pop(key, None)
    return seen


def _authenticated(token: str, address: str) -> Actor | None:
    close_old_connections()
    return authenticate(token, address)


class _Everything(Collector):
    def collect(self) -> Iterator[Metric]:
        return iter(gather())


def gather() -> list[Metric]:
    """The metrics of all parts of this machine, and which parts answered."""
    run = settings.current().run
    asked = {
        part: _pool.submit(exposition.read, run, part, seconds=SECONDS)
        for part in exposition.PARTS
        if exposition.socket_path(run, part).exists()
    }
    gateway = control_socket(run)
    if gateway.exists():
        asked["gateway"] = _pool.submit(statistics.read, gateway, seconds=SECONDS)
    up = GaugeMetricFamily(*PART_UP, labels=["part"])
    up.add_metric(["control"], 1)
    found: dict[str, Metric] = {}
    _merge(found, "control", REGISTRY.collect())
    for part, future in asked.items():
        try:
            _merge(found, part, future.result())
        except (exposition.PartSilent, statistics.GatewaySilent):
            up.add_metric([part], 0)
        else:
            up.add_metric([part], 1)
    return [up, *_feed(), *_drift(), *found.values()]


def _merge(found: dict[str, Metric], part: str, metrics: Iterable[Metric]) -> None:
    """Add a part's metrics. Those that every process has get the label `part`."""
    for metric in metrics:
        if metric.name.startswith("python_"):
            continue
        of_process = metric.name.startswith("process_")
        into = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
        for sample in metric.samples:
            labels = sample.labels | ({"part": part} if of_process else {})
            into.add_sample(sample.name, labels, sample.value)


def _read_latest() -> int:
    close_old_connections()
    return feed.latest()


_latest = Patient(_read_latest, "metrics-feed")


def _feed() -> Iterator[Metric]:
    """The latest sequence. Less `ostiary_confirmed_sequence`, it gives the changes not in force."""
    try:
        latest = _latest.ask(SECONDS)
    except (DatabaseError, InterfaceError, TimeoutError):
        return
    yield GaugeMetricFamily(*FEED_SEQUENCE, latest)


def drift_of_sets() -> list[tuple[str, str, int]]:
    """Project, name and changed objects of each set of files that was applied."""
    found = ConfigurationSet.objects.exclude(applied_at=None).order_by("project__name", "name")
    return list(found.values_list("project__name", "name", "drifted"))


def _read_drift() -> list[tuple[str, str, int]]:
    close_old_connections()
    return drift_of_sets()


_drifted = Patient(_read_drift, "metrics-drift")


def _drift() -> Iterator[Metric]:
    try:
        found = _drifted.ask(SECONDS)
    except (DatabaseError, InterfaceError, TimeoutError):
        return
    if found:
        family = GaugeMetricFamily(*DRIFT, labels=["project", "set"])
        for project, name, number in found:
            family.add_metric([project, name], number)
        yield family
