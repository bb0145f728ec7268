"""Around every request of console and API: its id, and what is counted of it."""

import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter, Histogram

GetResponse = Callable[[HttpRequest], HttpResponse]

_REQUESTS = Counter(
    "ostiary_http_requests",
    "Requests of console and management API, by the pattern of their path.",
    ("room", "route", "method", "status"),
)
_SECONDS = Histogram(
    "ostiary_http_request_seconds",
    "How long console and management API took.",
    ("room",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observed:
    """Gives each request an id, which its answer repeats, and counts it. Stands first."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Ours alone: what a stranger sends as an id would be in our log as it was sent.
        number = uuid.uuid4().hex
        request.META["ostiary.request_id"] = number
        began = time.perf_counter()
        response = self._get_response(request)
        _count(request, response.status_code, time.perf_counter() - began)
        response.headers["X-Request-Id"] = number
        return response


def _count(request: HttpRequest, status: int, seconds: float) -> None:
    match = request.resolver_match
    # Static files are answered before anything is resolved, as unknown paths are.
    route = match.route if match is not None else ""
    room = "api" if request.path.startswith("/api/") else "console"
    method = request.method if request.method in _METHODS else "other"
    _REQUESTS.labels(room, route, method, f"{status // 100}xx").inc()
    _SECONDS.labels(room).observe(seconds)
