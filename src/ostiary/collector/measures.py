"""What the collector counts of itself, for `/metrics`. Labels are closed sets."""

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from ostiary.collector.journal import Journal

LINES_WRITTEN = Counter(
    "ostiary_collector_lines_written", "Log lines that were written, each one for one call or more."
)
TRACES_LOST = Counter(
    "ostiary_collector_traces_lost", "Traces of decisions for which there was no room."
)
WRITE_ERRORS = Counter(
    "ostiary_collector_write_errors", "Times that the database could not be written."
)
_ROWS = Counter("ostiary_collector_rows", "Rows of the gateway's tables that were looked at.")
_HARVEST_SECONDS = Histogram(
    "ostiary_collector_harvest_seconds",
    "How long reading and writing a harvest took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_LAST_HARVEST = Gauge(
    "ostiary_collector_last_harvest_timestamp_seconds",
    "When a harvest was last written: it stands still with the gateway, the database or the part.",
)


def harvested(rows: int, seconds: float) -> None:
    """A harvest was written."""
    _ROWS.inc(rows)
    _HARVEST_SECONDS.observe(seconds)
    _LAST_HARVEST.set_to_current_time()


def watch(journal: Journal) -> None:
    """Tell of a journal's lines what it has counted."""
    REGISTRY.register(_Lines(journal))


class _Lines(Collector):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def collect(self) -> Iterator[Metric]:
        lines = CounterMetricFamily(
            "ostiary_collector_lines",
            "Log lines that came: read, unreadable, or lost since too many waited.",
            labels=["outcome"],
        )
        lines.add_metric(["read"], self._journal.lines)
        lines.add_metric(["unreadable"], self._journal.strange)
        lines.add_metric(["lost"], self._journal.lost)
        yield lines
