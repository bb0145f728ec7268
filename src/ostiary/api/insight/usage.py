"""`/api/v2/usage` and `/api/v2/request_logs`: who used what, counted and call by call."""

import enum
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, BeforeValidator, Field

from ostiary.access.reasons import Reason
from ostiary.api.answers import ERRORS, Id, Paging, Strict, Time, actor
from ostiary.api.rendering import moment
from ostiary.directory.changes.errors import Invalid
from ostiary.usage import csv_export, outcomes, request_log
from ostiary.usage.buckets import Span
from ostiary.usage.models import LoggedCall
from ostiary.usage.queries import Asker, By, Question, Row, rows, some_rows, with_latencies

router = Router(tags=["Usage"])
T = TypeVar("T")

#: Lines of a CSV: what a spreadsheet takes.
MOST_LINES = 1_000_000
#: How far back it is looked unless `from` says otherwise.
DEFAULT = timedelta(days=30)


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


class Format(enum.StrEnum):
    JSON = "json"
    CSV = "csv"


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
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]")
_BUCKETS = {Bucket.MINUTE: Span.MINUTE, Bucket.HOUR: Span.HOUR, Bucket.DAY: Span.DAY}
_REASONS = "|".join([outcomes.NO_ANSWER, *(reason.value for reason in Reason)])
_CLASSES = {outcomes.class_name(number): number for number in (0, 2, 3, 4, 5)}


def _asked_time(value: object) -> object:
    """A `+` in an address that was not encoded comes as a blank: `…T00:00:00 02:00`."""
    told = "must be a time such as 2026-01-31T12:00:00Z"
    if not isinstance(value, str) or not _ISO.match(value):
        raise ValueError(told)
    return f"{value[:-6]}+{value[-5:]}" if value[-6:-5] == " " else value


When = Annotated[AwareDatetime, BeforeValidator(_asked_time)]


class Range(Strict):
    """From when to before when, ISO 8601 with an offset, and what of it."""

    from_: When | None = Field(None, alias="from")
    to: When | None = None
    client_id: Id | None = None
    access_profile_id: Id | None = None
    api_collection_id: Id | None = None
    api_endpoint_id: Id | None = None
    #: The name of a reason; `none`: admitted.
    reason: str | None = Field(None, pattern=f"^({_REASONS})$")
    format: Format = Format.JSON


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
    """What was called in a bucket by one group. `calls` counts all; `refused` and `errors` are of
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


CSV: dict[str, Any] = {
    "responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
}


@router.get("/v2/usage", response={200: UsagePage, **ERRORS}, exclude_unset=True, openapi_extra=CSV)
def show_usage(request: HttpRequest, query: Query[UsageQuery]) -> Any:
    """Counted calls by time and by what is asked for; counts are exact, latencies estimated.

    Ids are null for calls that no credential or no path of ours could be told of. Times are the
    starts of buckets, in UTC. `Accept: text/csv` or `format=csv` gives every row as CSV.
    """
    now = int(time.time())
    asker, question = Asker(actor(request), now), _question(query, now)
    if _wants_csv(request, query.format):
        return _csv("usage", _usage_lines(asker, question, rows(asker, question)))
    first = (query.page - 1) * query.per_page
    shown, count = some_rows(asker, question, first=first, most=query.per_page)
    with_latencies(asker, question, shown)
    counts = {"count": count, "page": query.page, "per_page": query.per_page}
    return {"data": [_shown(question, row) for row in shown], **counts}


def _question(query: UsageQuery, now: int) -> Question:
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
    start, end = _range(query, now)
    return Question(
        start=int(start), end=int(-(-end // 1)), bucket=_BUCKETS.get(query.bucket),
        by=_groups(query.group_by), filters=filters,
    )  # fmt: skip


def _groups(text: str) -> tuple[By, ...]:
    chosen: dict[By, None] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        try:
            chosen[_BY[GroupBy(name)]] = None
        except ValueError:
            told = f"must be a comma list of {', '.join(GroupBy)}"
            raise Invalid({"group_by": [told]}) from None
    return tuple(chosen)


def _range(query: Range, now: int) -> tuple[float, float]:
    """Unix seconds; raises Invalid."""
    latest = datetime.fromtimestamp(now + 60, UTC)
    try:
        end = min(query.to, latest) if query.to else latest
        start = query.from_ or end - DEFAULT
        seconds = start.timestamp(), end.timestamp()
    except (OverflowError, ValueError):
        raise Invalid({"from": ["must be a time of this century"]}) from None
    if seconds[0] < 0:
        raise Invalid({"from": ["must be a time of this century"]})
    return seconds


def _shown(question: Question, row: Row) -> dict[str, Any]:
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


def _usage_lines(asker: Asker, question: Question, found: Sequence[Row]) -> Iterator[str]:
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


class LogQuery(Range):
    #: A status, a class such as `4xx`, or `none` where no answer was sent.
    status: str | None = Field(None, pattern=r"^([1-5]xx|[1-5][0-9][0-9]|none)$")
    method: str | None = Field(None, pattern=r"^[A-Z]{1,16}$")
    request_id: str | None = Field(None, pattern=r"^[!-~]{1,40}$")
    #: The caller's address.
    ip: str | None = Field(None, min_length=2, max_length=45)
    #: `next_cursor` of the page before.
    cursor: str = Field("", max_length=40)
    per_page: int = Field(100, ge=1, le=100)


class LoggedCallOut(Schema):
    """One call. `stands_for` above 1: under pressure, one of so many was logged."""

    time: Time
    request_id: str
    #: Null: no answer was sent.
    status: int | None
    reason: str | None
    method: str
    client_id: int | None
    access_profile_id: int | None
    api_collection_id: int | None
    api_endpoint_id: int | None
    credential_id: int | None
    ip: str
    latency_ms: int
    bytes_in: int
    bytes_out: int
    node: str
    stands_for: int
    #: Of a refused call only: never the query.
    path: str | None
    #: Of a refused call: names of headers that nginx dropped for their spelling, parted by commas.
    dropped_headers: str | None
    #: The `X-Request-Id` that a trusted proxy sent.
    caller_request_id: str | None


class LogPage(Schema):
    data: list[LoggedCallOut]
    #: Give it as `cursor` for the calls before these; null: there are none.
    next_cursor: str | None


@router.get("/v2/request_logs", response={200: LogPage, **ERRORS}, openapi_extra=CSV)
def list_calls(request: HttpRequest, query: Query[LogQuery]) -> Any:
    """Calls of the projects that the token sees, the newest first; never a credential, a query or
    a body. `Accept: text/csv` or `format=csv` gives all that fit as CSV.
    """
    by, wanted = actor(request), _wanted(query)
    if _wants_csv(request, query.format):
        # Refused before the first line is sent, if at all.
        request_log.check(by, wanted)
        return _csv("request-log", log_lines(request_log.every(by, wanted, most=MOST_LINES)))
    found = request_log.calls(by, wanted, before=query.cursor, most=query.per_page + 1)
    shown = found[: query.per_page]
    more = request_log.cursor(shown[-1]) if len(found) > query.per_page else None
    return {"data": [_call(call) for call in shown], "next_cursor": more}


def _wanted(query: LogQuery) -> request_log.Wanted:
    start, end = _range(query, int(time.time()))
    return request_log.Wanted(
        start_ms=int(start * 1000) if query.from_ else 0,
        end_ms=int(end * 1000) if query.to else None,
        client_id=query.client_id, profile_id=query.access_profile_id,
        collection_id=query.api_collection_id, endpoint_id=query.api_endpoint_id,
        statuses=_read("status", request_log.statuses, query.status),
        reasons=frozenset({outcomes.reason_code(query.reason)} if query.reason else ()),
        method=query.method or "", request_id=query.request_id or "",
        address=_read("ip", request_log.address, query.ip) or "",
    )  # fmt: skip


def _read(name: str, read: Callable[[str], T], text: str | None) -> T | None:
    try:
        return None if text is None else read(text)
    except ValueError as error:
        raise Invalid({name: [str(error)]}) from None


def _call(call: LoggedCall) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(call.at_ms / 1000, UTC),
        "request_id": call.request_id,
        "status": call.status if call.status >= 0 else None,
        "reason": outcomes.reason_name(call.reason),
        "method": call.method,
        "client_id": call.client_id or None,
        "access_profile_id": call.profile_id or None,
        "api_collection_id": call.collection_id or None,
        "api_endpoint_id": call.endpoint_id or None,
        "credential_id": call.credential_id or None,
        "ip": call.address,
        "latency_ms": call.latency_ms,
        "bytes_in": call.bytes_in,
        "bytes_out": call.bytes_out,
        "node": call.node,
        "stands_for": call.stands_for,
        "path": call.details.get("path"),
        "dropped_headers": call.details.get("dropped"),
        "caller_request_id": call.details.get("caller_request_id"),
    }


def log_lines(found: Iterable[LoggedCall]) -> Iterator[str]:
    """Lines of the request log as CSV, under the names that the API gives its fields."""
    names = list(LoggedCallOut.model_fields)

    def cells() -> Iterator[list[object]]:
        for call in found:
            shown = _call(call)
            yield [moment(shown["time"]), *(shown[name] for name in names[1:])]

    return csv_export.lines(names, cells())


def _wants_csv(request: HttpRequest, given: Format) -> bool:
    return given == Format.CSV or request.headers.get("Accept", "").startswith("text/csv")


def _csv(name: str, lines: Iterable[str]) -> HttpResponse:
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response  # type: ignore[return-value]
