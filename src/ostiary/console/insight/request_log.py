"""**API platform > Logs**: calls one by one, with a filter for each column, and as CSV."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ostiary.access.reasons import Reason
from ostiary.console.frame.listing import number_of
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import Endpoint
from ostiary.directory.workspace import workspace_settings
from ostiary.usage import csv_export, names, outcomes, request_log
from ostiary.usage.models import LoggedCall

T = TypeVar("T")
PER_PAGE = 50
MOST_LINES = 1_000_000
MOST_CHOICES = 300
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
STATUSES = {
    "2xx": "2xx: success",
    "3xx": "3xx: redirection",
    "4xx": "4xx: refused, or the caller's error",
    "5xx": "5xx: the API's error",
    "none": "No answer was sent",
}
#: Filters whose text is the value that is looked for.
_FIELDS = (
    "from", "to", "status", "reason", "method", "client", "client_name", "profile", "profile_name", "collection",
    "endpoint", "ip", "request_id", "caller_request_id", "latency",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class LogPageQuery:
    """What the address of the page asks for, and what of it could not be read."""

    wanted: request_log.LogFilter
    given: dict[str, str]
    errors: dict[str, list[str]] = field(default_factory=dict)

    def address(self, **others: str) -> str:
        return "?" + urlencode({k: v for k, v in {**self.given, **others}.items() if v})


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    asked = _asked(by, request.GET)
    if request.GET.get("format") == "csv" and not asked.errors:
        request_log.check(by, asked.wanted)  # refused before the first line is sent, if at all
        found_all = request_log.every(by, asked.wanted, most=MOST_LINES)
        response = StreamingHttpResponse(
            _lines(by, found_all), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = 'attachment; filename="request-log.csv"'
        return response  # type: ignore[return-value]  # streamed; the stubs have one kind
    cursor = request.GET.get("cursor", "")[:40]
    found: list[LoggedCall] = []
    if not asked.errors:
        try:
            found = request_log.calls(by, asked.wanted, before=cursor, most=PER_PAGE + 1)
        except Invalid:
            cursor = ""
            found = request_log.calls(by, asked.wanted, most=PER_PAGE + 1)
    shown = found[:PER_PAGE]
    client_id, profile_id = asked.wanted.client_id, asked.wanted.profile_id
    known = names.names(by, clients=[client_id or 0], profiles=[profile_id or 0])
    context = {
        "calls": list(_named(by, shown)),
        "given": asked.given,
        "client_name": asked.given.get("client_name") or known.clients.get(client_id or 0, ""),
        "profile_name": asked.given.get("profile_name")
        # Of two of one name, and of a deleted one, the number.
        or known.profiles.get(profile_id or 0, asked.given.get("profile", "")),
        "errors": asked.errors,
        "filtered": bool(asked.given),
        "older": asked.address(cursor=request_log.cursor(shown[-1]))
        if len(found) > PER_PAGE
        else "",
        "newest": asked.address() if cursor else "",
        "csv": asked.address(format="csv"),
        "statuses": STATUSES,
        "reasons": [(reason.value, reason.value.replace("_", " ")) for reason in sorted(Reason)],
        "methods": METHODS,
        "collections": collections.collections(by).order_by("name")[:MOST_CHOICES],
        "endpoints": _endpoints(by, asked.wanted.collection_id),
        "days": workspace_settings.read().request_log_days,
    }
    return render(request, "console/logs.html", context, status=400 if asked.errors else 200)


@page
@require_safe
def show(request: HttpRequest, by: Actor, request_id: str) -> HttpResponse:
    """The page of one call."""
    call = request_log.find(by, request_id)
    [named] = _named(by, [call])
    return render(request, "console/log.html", {"call": named})


def _endpoints(by: Actor, collection_id: int | None) -> list[tuple[int, str]]:
    found = Endpoint.objects.visible_to(by).order_by("collection__handle", "path", "method")
    if collection_id:
        found = found.filter(collection_id=collection_id)
    told = found.values_list("pk", "method", "collection__handle", "path")[:MOST_CHOICES]
    return [(pk, f"{method} /{handle}{path}") for pk, method, handle, path in told]


def _asked(by: Actor, query: Mapping[str, str]) -> LogPageQuery:
    given = {n: query[n].strip()[:128] for n in _FIELDS if query.get(n, "").strip()}
    errors: dict[str, list[str]] = {}

    def read(name: str, how: Callable[[str], T]) -> T | None:
        try:
            return how(given[name]) if name in given else None
        except ValueError as error:
            errors[name] = [str(error)]
            return None

    client_id = number_of(given.get("client"))
    if "client_name" in given:
        client_id = read("client_name", lambda text: _client(by, text))
    profile_id = number_of(given.get("profile"))
    if "profile_name" in query:
        # A form that was filled in by a link holds the number as well.
        linked, profile_id = profile_id, None
        profile_id = read("profile_name", lambda text: _profile(by, text, client_id, linked))
    reason = read("reason", outcomes.reason_code)
    start, end = read("from", _moment), read("to", _moment)
    wanted = request_log.LogFilter(
        start_ms=(start or 0) * 1000,
        # The last minute that is named is in it.
        end_ms=None if end is None else (end + 60) * 1000,
        client_id=client_id, profile_id=profile_id,
        collection_id=number_of(given.get("collection")),
        endpoint_id=number_of(given.get("endpoint")), statuses=read("status", request_log.statuses),
        reasons=frozenset() if reason is None else frozenset({reason}),
        method=given.get("method", "").upper()[:16], request_id=given.get("request_id", "")[:40].replace("\0", ""),
        caller_request_id=given.get("caller_request_id", "").replace("\0", ""),
        address=read("ip", request_log.address) or "", least_latency_ms=read("latency", _whole),
    )  # fmt: skip
    return LogPageQuery(wanted=wanted, given=given, errors=errors)


def _moment(text: str) -> int:
    """Unix seconds of `2026-01-31T12:00` or a date alone, in UTC."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("must be a time such as 2026-01-31T12:00") from None


def _whole(text: str) -> int:
    number = number_of(text)
    if number is None:
        raise ValueError("must be a number of milliseconds")
    return number


def _client(by: Actor, text: str) -> int:
    found = list(clients.clients(by, search=text)[:2])
    exact = [client for client in found if client.name == text]
    if len(exact or found) != 1:
        raise ValueError("fits no client" if not found else "fits more than one client")
    return (exact or found)[0].pk


def _profile(by: Actor, text: str, client_id: int | None, linked: int | None) -> int:
    """The one with this name: the linked one, one of the chosen client, or else the only one.

    Of one that was deleted the number is the name.
    """
    seen = access_profiles.named(by)
    if linked is not None and seen.filter(pk=linked, name=text).exists():
        return linked
    if client_id is not None:
        seen = seen.filter(client_id=client_id)
    found = list(seen.filter(name__icontains=text)[:2])
    exact = list(seen.filter(name=text)[:2])
    if len(exact or found) == 1:
        return (exact or found)[0].pk
    number = number_of(text)
    if number is not None and not exact:
        return number
    if not found:
        raise ValueError("fits no access profile")
    raise ValueError("fits more than one access profile: choose its client too")


def _named(by: Actor, found: Iterable[LoggedCall]) -> Iterator[dict[str, Any]]:
    """Calls with the names of their objects."""
    calls = list(found)
    known = names.names(
        by,
        clients=[call.client_id for call in calls],
        profiles=[call.profile_id for call in calls],
        collections=[call.collection_id for call in calls],
        endpoints=[call.endpoint_id for call in calls],
    )
    for call in calls:
        yield {
            "call": call,
            "at": datetime.fromtimestamp(call.at_ms / 1000, UTC),
            "status": call.status if call.status >= 0 else None,
            "reason": outcomes.reason_name(call.reason),
            "would": outcomes.reason_name(call.would),
            "client": known.clients.get(call.client_id),
            "profile": known.profiles.get(call.profile_id),
            "collection": known.collections.get(call.collection_id),
            "endpoint": known.endpoints.get(call.endpoint_id),
            "path": call.details.get("path"),
            "peer": call.details.get("peer"),
            "dropped": call.details.get("dropped"),
            "caller_request_id": call.details.get("caller_request_id"),
            "forwarded": call.details.get("forwarded"),
        }


def _lines(by: Actor, found: Iterator[LoggedCall]) -> Iterator[str]:
    head = (
        "time", "status", "reason", "method", "collection", "endpoint", "client",
        "access_profile", "ip", "latency_ms", "bytes_in", "bytes_out", "request_id", "stands_for",
        "path",
    )  # fmt: skip
    return csv_export.lines(head, _cells(by, found))


def _cells(by: Actor, found: Iterator[LoggedCall]) -> Iterator[list[object]]:
    batch: list[LoggedCall] = []
    for call in found:
        batch.append(call)
        if len(batch) == request_log.CHUNK:
            yield from map(_row, _named(by, batch))
            batch = []
    yield from map(_row, _named(by, batch))


def _row(named: dict[str, Any]) -> list[object]:
    call: LoggedCall = named["call"]
    return [
        named["at"].isoformat(timespec="milliseconds"), named["status"], named["reason"],
        call.method, named["collection"], named["endpoint"], named["client"], named["profile"],
        call.address, call.latency_ms, call.bytes_in, call.bytes_out, call.request_id,
        call.stands_for, named["path"],
    ]  # fmt: skip
