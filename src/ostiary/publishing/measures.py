"""What the publisher counts of itself, for `/metrics`. Labels are closed sets."""

from prometheus_client import Counter, Gauge, Histogram

#: Seconds: a difference takes milliseconds, a comparison of everything a few seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)

PUBLISHED = Gauge(
    "ostiary_published_sequence", "The last change of the feed whose objects are at the gateway."
)
OBJECTS = Gauge("ostiary_published_objects", "Objects that the gateway holds.")
SET_ASIDE = Gauge(
    "ostiary_set_aside_objects", "Objects that the gateway does not get, or refuses.", ("kind",)
)
SERVERS = Gauge("ostiary_gateway_upstream_servers", "Servers of upstreams, by state.", ("state",))
LOOKUPS_IN_PROGRESS = Gauge("ostiary_name_lookups_in_progress", "Look-ups of names in flight.")
SECONDS = Histogram(
    "ostiary_publish_seconds",
    "How long it took to bring a change's objects to the gateway.",
    buckets=BUCKETS,
)
_LINES = Counter("ostiary_published_lines", "Objects sent to the gateway.", ("outcome",))
_LOOKUPS = Counter("ostiary_name_lookups", "Look-ups of upstreams' names.", ("outcome",))
_CHECKS = Counter("ostiary_health_checks", "Health checks of upstreams' servers.", ("outcome",))
_FAILURES = Counter("ostiary_publish_failures", "Tries that failed and are repeated.", ("kind",))

KINDS = ("collection", "endpoint", "connection", "settings", "imported")
STATES = ("up", "down", "stale", "unresolved", "resolving")

# Initialise label combinations to 0, so that `increase()` sees the first event.
for _outcome in ("set", "deleted", "refused"):
    _LINES.labels(_outcome)
for _outcome in ("ok", "failed"):
    _LOOKUPS.labels(_outcome)
    _CHECKS.labels(_outcome)
for _cause in ("gateway", "database", "other"):
    _FAILURES.labels(_cause)
for _kind in KINDS:
    SET_ASIDE.labels(_kind)
for _state in STATES:
    SERVERS.labels(_state)


def sent(outcome: str, count: int) -> None:
    """Count objects that were `set`, `deleted` or `refused`."""
    _LINES.labels(outcome).inc(count)


def looked_up(outcome: str) -> None:
    """Count a look-up: `ok` or `failed`."""
    _LOOKUPS.labels(outcome).inc()


def checked(outcome: str) -> None:
    """Count a health check: `ok` or `failed`."""
    _CHECKS.labels(outcome).inc()


def failed(cause: str) -> None:
    """Count a try that is repeated: `gateway`, `database` or `other`."""
    _FAILURES.labels(cause).inc()
