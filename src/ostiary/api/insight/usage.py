"""`/api/v2/usage`: counts of calls."""

import enum
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api.answers import ERRORS, Paging, Time, actor
from ostiary.api.insight.ranges import (
    CSV,
    MOST_LINES,
    Range,
    csv_answer,
    seconds_of,
    wants_csv,
)
from ostiary.api.rendering import moment
from ostiary.directory.changes.errors import Invalid
from ostiary.usage import csv_export, outcomes
from ostiary.usage.buckets import BucketSize
from ostiary.usage.queries import (
    Asker,
    By,
    UsageCounts,
    UsageQuestion,
    rows,
    some_rows,
    with_latencies,
)

router = Router(tags=["Usage"])


class GroupBy(enum.StrEnum):
    CLIENT = "client"
    ACCESS_PROFILE = "access_profile"
    API_COLLECTION = "api_collection"
    API_ENDPOINT = "api_endpoint"
    STATUS = "status"
    REASON = "reason"


class Bucket(enum.StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    #: The whole range is one.
    ALL = "all"


_BY = {
    GroupBy.CLIENT: By.CLIENT,
    GroupBy.ACCESS_PROFILE: By.PROFILE,
    GroupBy.API_COLLECTION: By.COLLECTION,
    GroupBy.API_ENDPOINT: By.ENDPOINT,
    GroupBy.STATUS: By.STATUS,
    GroupBy.REASON: By.REASON,
}
#: Names of the groups' values in answers.
_NAMES = {
    By.CLIENT: "client_id",
    By.PROFILE: "access_profile_id",
    By.COLLECTION: "api_collection_id",
    By.ENDPOINT: "api_endpoint_id",
    By.STATUS: "status",
    By.REASON: "reason",
}
_BUCKETS = {
    Bucket.MINUTE: BucketSize.MINUTE,
    Bucket.HOUR: BucketSize.HOUR,
    Bucket.DAY: BucketSize.DAY,
}
_CLASSES = {outcomes.class_name(number): number for number in (0, 2, 3, 4, 5)}


class UsageQuery(Range, Paging):
    bucket: Bucket = Bucket.DAY
    #: A comma list.
    group_by: str = Field("", max_length=100)
    #: A class: `2xx` to `5xx`, or `none` where no answer was sent.
    status: str | None = Field(None, pattern=r"^([2-5]xx|none)$")


class Latency(Schema):
    """Milliseconds within which 50, 95 and 99 of a hundred calls ended; null: not known."""

    p50: int | None
    p95: int | None
    p99: int | None


class UsageRow(Schema):
    """Calls of one group in one time bucket. `calls` counts all; `refused` and `errors` are of
    them. Groups that were not asked for are absent.
    """

    time: Time | None = None
    client_id: int | None = None
    access_profile_id: int | None = None
    api_collection_id: int | None = None
    api_endpoint_id: int | None = None
    status: str | None = None
    reason: str | None = None
    calls: int
    refused: int
    errors: int
    bytes_in: int
    bytes_out: int
    latency_ms: Latency


class UsagePage(Schema):
    data: list[UsageRow]
    count: int
    page: int
    per_page: int


@router.get("/v2/usage", response={200: UsagePage, **ERRORS}, exclude_unset=True, openapi_extra=CSV)
def show_usage(request: HttpRequest, query: Query[UsageQuery]) -> Any:
    """Counted calls by time and by the requested groups; counts are exact, latencies estimated.

    Ids are null for calls with an unknown credential or path. Times are the
    starts of buckets, in UTC. `Accept: text/csv` or `format=csv` gives every row as CSV.
    """
    now = int(time.time())
    asker, question = Asker(actor(request), now), _question(query, now)
    if wants_csv(request, query.format):
        return csv_answer("usage", _usage_lines(asker, question, rows(asker, question)))
    first = (query.page - 1) * query.per_page
    shown, count = some_rows(asker, question, first=first, most=query.per_page)
    with_latencies(asker, question, shown)
    counts = {"count": count, "page": query.page, "per_page": query.per_page}
    return {"data": [_shown(question, row) for row in shown], **counts}


def _question(query: UsageQuery, now: int) -> UsageQuestion:
    filters: dict[By, frozenset[int]] = {}
    for column, value in (
        (By.CLIENT, query.client_id),
        (By.PROFILE, query.access_profile_id),
        (By.COLLECTION, query.api_collection_id),
        (By.ENDPOINT, query.api_endpoint_id),
        (By.REASON, None if query.reason is None else outcomes.reason_code(query.reason)),
        (By.STATUS, None if query.status is None else _CLASSES[query.status]),
    ):
        if value is not None:
            filters[column] = frozenset({value})
    start, end = seconds_of(query, now)
    return UsageQuestion(
        start=int(start), end=int(-(-end // 1)), bucket=_BUCKETS.get(query.bucket),
        by=_groups(query.group_by), filters=filters,
    )  # fmt: skip


def _groups(text: str) -> tuple[By, ...]:
    chosen: dict[By, None] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        try:
            chosen[_BY[GroupBy(name)]] = None
        except ValueError:
            problem = f"must be a comma list of {', '.join(GroupBy)}"
            raise Invalid({"group_by": [problem]}) from None
    return tuple(chosen)


def _shown(question: UsageQuestion, row: UsageCounts) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if row.time is not None:
        shown["time"] = datetime.fromtimestamp(row.time, UTC)
    for column, value in zip(question.by, row.key, strict=True):
        shown[_NAMES[column]] = _value(column, value)
    return {
        **shown,
        "calls": row.calls,
        "refused": row.refused,
        "errors": row.errors,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "latency_ms": {f"p{share}": row.percentile(share / 100) for share in (50, 95, 99)},
    }


def _value(column: By, value: int) -> int | str | None:
    if column == By.STATUS:
        return outcomes.class_name(value)
    if column == By.REASON:
        return outcomes.reason_name(value)
    return value or None


def _usage_lines(
    asker: Asker, question: UsageQuestion, found: Sequence[UsageCounts]
) -> Iterator[str]:
    names = [*(["time"] if question.bucket is not None else []), *(_NAMES[c] for c in question.by)]
    sums = ["calls", "refused", "errors", "bytes_in", "bytes_out"]
    with_latencies(asker, question, found[:MOST_LINES])

    def cells() -> Iterator[list[object]]:
        for row in found[:MOST_LINES]:
            shown = _shown(question, row)
            if "time" in shown:
                shown["time"] = moment(shown["time"])
            latencies = shown["latency_ms"].values()
            yield [*(shown[n] for n in names), *(shown[n] for n in sums), *latencies]

    return csv_export.lines([*names, *sums, "p50_ms", "p95_ms", "p99_ms"], cells())
