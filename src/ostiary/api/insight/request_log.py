"""`/api/v2/request_logs`: calls one by one."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api.answers import ERRORS, Time, actor
from ostiary.api.insight.ranges import CSV, MOST_LINES, Range, csv_answer, seconds_of, wants_csv
from ostiary.api.rendering import moment
from ostiary.directory.changes.errors import Invalid
from ostiary.usage import csv_export, outcomes, request_log
from ostiary.usage.models import LoggedCall

router = Router(tags=["Usage"])
T = TypeVar("T")


class LogQuery(Range):
    #: A status, a class such as `4xx`, or `none` where no answer was sent.
    status: str | None = Field(None, pattern=r"^([1-5]xx|[1-5][0-9][0-9]|none)$")
    method: str | None = Field(None, pattern=r"^[A-Z]{1,16}$")
    request_id: str | None = Field(None, pattern=r"^[!-~]{1,40}$")
    #: The `X-Request-Id` that a trusted proxy sent.
    caller_request_id: str | None = Field(None, pattern=r"^[!-~]{1,128}$")
    #: The caller's address.
    ip: str | None = Field(None, min_length=2, max_length=45)
    #: `next_cursor` of the page before.
    cursor: str = Field("", max_length=40)
    per_page: int = Field(100, ge=1, le=100)


class LoggedCallOut(Schema):
    """One call. `stands_for` above 1: this line is a sample that stands for several calls."""

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
    #: Of a refused call: names of headers that nginx dropped for their spelling, separated by commas.
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
    if wants_csv(request, query.format):
        # Refused before the first line is sent, if at all.
        request_log.check(by, wanted)
        return csv_answer("request-log", log_lines(request_log.every(by, wanted, most=MOST_LINES)))
    found = request_log.calls(by, wanted, before=query.cursor, most=query.per_page + 1)
    shown = found[: query.per_page]
    more = request_log.cursor(shown[-1]) if len(found) > query.per_page else None
    return {"data": [_call(call) for call in shown], "next_cursor": more}


def _wanted(query: LogQuery) -> request_log.LogFilter:
    start, end = seconds_of(query, int(time.time()))
    return request_log.LogFilter(
        start_ms=int(start * 1000) if query.from_ else 0,
        end_ms=int(end * 1000) if query.to else None,
        client_id=query.client_id, profile_id=query.access_profile_id,
        collection_id=query.api_collection_id, endpoint_id=query.api_endpoint_id,
        statuses=_read("status", request_log.statuses, query.status),
        reasons=frozenset({outcomes.reason_code(query.reason)} if query.reason else ()),
        method=query.method or "", request_id=query.request_id or "",
        caller_request_id=query.caller_request_id or "",
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
