"""What the collector counts of itself, for `/metrics`. Labels are closed sets."""

from prometheus_client import Counter, Gauge, Histogram

from ostiary.collector.log_lines import Batch
from ostiary.collector.storage import Stored

_LINES = Counter(
    "ostiary_collector_lines",
    "Log lines that were read, that could not be read, or that the database refused.",
    labelnames=["outcome"],
)
_LINES_WRITTEN = Counter(
    "ostiary_collector_lines_written", "Log lines that were stored, each one for one call or more."
)
_LINES_CALLS = Counter(
    "ostiary_collector_lines_calls",
    "Calls that the log lines stand for. Fewer than `ostiary_collector_calls`: nginx lost lines.",
)
_CALLS = Counter("ostiary_collector_calls", "Calls that were counted.")
_PUSHES = Counter(
    "ostiary_collector_pushes",
    "Pushes of counts: stored, to be sent again later, or unreadable.",
    labelnames=["outcome"],
)
_COUNTERS = Counter("ostiary_collector_counters", "Counters that had grown and were stored.")
_COUNTERS_STRANGE = Counter(
    "ostiary_collector_counters_set_aside",
    "Counters and limits that could not be read, or that were older than what is remembered.",
)
_PUSH_SECONDS = Histogram(
    "ostiary_collector_push_seconds",
    "How long it took to store the pushes that waited.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
TRACES_LOST = Counter(
    "ostiary_collector_traces_lost", "Traces of decisions for which there was no room."
)
WRITE_ERRORS = Counter(
    "ostiary_collector_write_errors", "Times that the database could not be written."
)
_FAILING_SINCE = Gauge(
    "ostiary_collector_failing_since_timestamp_seconds",
    "Since when pushes cannot be stored; 0: they can.",
)
_LAST_STORED = Gauge(
    "ostiary_collector_last_harvest_timestamp_seconds",
    "When the collector last stored what the gateway counted, or had nothing to store.",
)

for _outcome in ("read", "unreadable", "refused"):
    _LINES.labels(_outcome)
for _outcome in ("stored", "later", "unreadable"):
    _PUSHES.labels(_outcome)


def stored(pushes: int, what: Stored, seconds: float) -> None:
    """Pushes were stored."""
    _PUSHES.labels("stored").inc(pushes)
    _COUNTERS.inc(what.counters)
    _COUNTERS_STRANGE.inc(what.strange)
    _CALLS.inc(what.calls)
    _PUSH_SECONDS.observe(seconds)


def unreadable(pushes: int) -> None:
    """What came could not be read as pushes."""
    _PUSHES.labels("unreadable").inc(pushes)


def put_off(pushes: int) -> None:
    """Pushes could not be stored, and are to come again."""
    _PUSHES.labels("later").inc(pushes)


def up_to_date(*, failing_since: float) -> None:
    """Everything that came is stored, or has not been since `failing_since` (Unix seconds)."""
    _FAILING_SINCE.set(failing_since)
    if not failing_since:
        _LAST_STORED.set_to_current_time()


def lines(batch: Batch, *, refused: int) -> None:
    """Lines of the log were stored."""
    _LINES.labels("read").inc(batch.read)
    _LINES.labels("refused").inc(refused)
    _LINES_WRITTEN.inc(len(batch.calls) - refused)
    _LINES_CALLS.inc(batch.stood_for)


def strange_lines(number: int) -> None:
    """Lines could not be read."""
    _LINES.labels("unreadable").inc(number)
