"""Middleware around every request of console and API: gives it an id, counts it and logs it."""

import logging
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter, Histogram

from ostiary.directory.actor import Actor
from ostiary.directory.models import Member
from ostiary.telemetry import logs, tracing

log = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]

_REQUESTS = Counter(
    "ostiary_http_requests",
    "Requests of console and management API, by the pattern of their path.",
    ("interface", "route", "method", "status"),
)
_SECONDS = Histogram(
    "ostiary_http_request_seconds",
    "How long console and management API took.",
    ("interface",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
#: Routes that machines request every few seconds; they are not logged.
_PROBES = frozenset({"healthz", "readyz", "metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observed:
    """Gives each request an id, which its answer repeats, and counts it. Must be the first one."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Never the id that a client sends: a stranger could write anything into our log.
        number = uuid.uuid4().hex
        mark = logs.request_id.set(number)
        began = time.perf_counter()
        try:
            with tracing.span("request", request.headers) as span:
                response = self._get_response(request)
                _trace(span, request, response.status_code, number)
            _record(request, response.status_code, time.perf_counter() - began)
        finally:
            logs.request_id.reset(mark)
        response.headers["X-Request-Id"] = number
        return response


def _record(request: HttpRequest, status: int, seconds: float) -> None:
    match = request.resolver_match
    # Static files are answered before the path is resolved, and unknown paths have no route.
    route = match.route if match is not None else ""
    interface = "api" if request.path.startswith("/api/") else "console"
    method = _method(request)
    _REQUESTS.labels(interface, route, method, f"{status // 100}xx").inc()
    _SECONDS.labels(interface).observe(seconds)
    if route and route not in _PROBES:
        fields = {"interface": interface, "method": method, "route": route, "status": status}
        fields |= {"milliseconds": round(seconds * 1000), "by": _by(request)}
        log.info("request", extra=fields)


def _trace(span: tracing.Span, request: HttpRequest, status: int, number: str) -> None:
    match = request.resolver_match
    route = match.route if match is not None else ""
    span.rename(f"{_method(request)} {route}".rstrip())
    span.tell(
        http__request__method=_method(request),
        http__route=route,
        http__response__status_code=status,
        ostiary__request_id=number,
        ostiary__by=_by(request),
    )
    if status >= 500:
        span.fail()


def _method(request: HttpRequest) -> str:
    return request.method if request.method in _METHODS else "other"


def _by(request: HttpRequest) -> str:
    """Who sent the request, by kind and number; empty: unknown."""
    actor = getattr(request, "auth", None)
    if isinstance(actor, Actor):
        return f"{actor.kind}:{actor.id}"
    # Only if the view has loaded the user: logging must not cost another query.
    user = getattr(request, "_cached_user", None)
    return f"member:{user.pk}" if isinstance(user, Member) else ""
