"""What the recipe runner counts of itself, for `/metrics`. Labels are closed sets."""

from prometheus_client import Counter, Gauge, Histogram

_OUTCOMES = frozenset({"ok", "invalid", "failed", "timeout", "died", "absent", "overloaded"})

_CALLS = Counter(
    "ostiary_recipe_calls",
    "Calls of recipes: ok, invalid, failed, timeout, died, absent or overloaded.",
    ("outcome",),
)
_SECONDS = Histogram(
    "ostiary_recipe_call_seconds",
    "How long recipes took, waiting for a worker included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 240.0),
)
WORKERS = Gauge("ostiary_recipe_workers", "Workers that recipes may run on.")
CALLING = Gauge("ostiary_recipe_calls_in_progress", "Calls that run or wait for a worker.")
# Initialise label combinations to 0, so that `increase()` sees the first event.
for _outcome in _OUTCOMES:
    _CALLS.labels(_outcome)


def bounded(outcome: str) -> str:
    """One of the known outcomes: what a worker says is a recipe's to forge."""
    return outcome if outcome in _OUTCOMES else "failed"


def called(outcome: str, seconds: float) -> None:
    """Count a call."""
    _CALLS.labels(bounded(outcome)).inc()
    _SECONDS.observe(seconds)
