"""**API platform > Logs**: calls one by one, with a filter for each column, live, and as CSV."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ostiary.access.reasons import Reason
from ostiary.console.frame.choosers import COLLECTIONS, ENDPOINTS, Chooser
from ostiary.console.frame.listing import number_of
from ostiary.console.insight.explanations import explained_or_missing
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import Credential
from ostiary.directory.workspace import workspace_settings
from ostiary.identity.tokens import masked
from ostiary.usage import csv_export, names, outcomes, request_log
from ostiary.usage.models import LoggedCall
from ostiary.usage.request_log import LogFilter, LogOrder, LogOutcome

T = TypeVar("T")
PER_PAGE = 50
#: Lines that one look at what arrived shows: the youngest.
MOST_ARRIVED = 100
MOST_LINES = 1_000_000
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
STATUSES = {
    "2xx": "2xx: success",
    "3xx": "3xx: redirection",
    "4xx": "4xx: refused, or the caller's error",
    "5xx": "5xx: the API's error",
    "none": "No answer was sent",
}
#: Chips: value in the address → label.
OUTCOMES = {"": "All", "refused": "Refused", "errors": "Errors", "slow": "Slow"}
RANGES = {"15m": "15 min", "1h": "1 h", "24h": "24 h", "7d": "7 days", "": "All time"}
_SECONDS = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 604_800}
#: Filters whose text is the value that is looked for, with what the page calls them.
_FIELDS = {
    "range": "", "outcome": "", "order": "",
    "from": "From", "to": "To", "status": "Status", "reason": "Reason", "method": "Method",
    "client": "", "client_name": "Client", "profile": "", "profile_name": "Access profile",
    "credential": "Credential", "collection": "API collection", "endpoint": "Endpoint",
    "ip": "Address", "request_id": "Request id", "caller_request_id": "Request id of a proxy",
    "latency": "Latency, at least",
}  # fmt: skip
#: Chosen by chips and links, and not by a field of the form.
_CHIPS = ("range", "outcome", "order")
#: Filters that the page of a profile fixes.
_OF_PROFILE = ("client", "client_name", "profile", "profile_name")


@dataclass(slots=True, kw_only=True)
class LogPageQuery:
    """What the address of the page asks for, and what of it could not be read."""

    wanted: LogFilter
    given: dict[str, str]
    errors: dict[str, list[str]] = field(default_factory=dict)

    def address(self, **others: str) -> str:
        chosen = {k: v for k, v in {**self.given, **others}.items() if v}
        return "?" + urlencode(chosen)


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    return _answered(request, by, _asked(by, request.GET), "logs")


@page
@require_safe
def of_profile(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """The tab **Requests** of an access profile: its calls alone, with the same chips and links."""
    profile = access_profiles.find(by, profile_id)
    # What the page says anyway does not stand in its addresses.
    chosen = {name: text for name, text in request.GET.dict().items() if name not in _OF_PROFILE}
    asked = _asked(by, {**chosen, "profile": str(profile_id)})
    asked.given.pop("profile")
    more = {"profile": profile, "may_change": by.may(Role.EDITOR, profile.client.project_id)}
    return _answered(request, by, asked, "profile_requests", more)


def _answered(
    request: HttpRequest,
    by: Actor,
    asked: LogPageQuery,
    template: str,
    more: Mapping[str, object] | None = None,
) -> HttpResponse:
    """A page of lines, those that arrived since, or all of them as CSV."""
    if request.GET.get("format") == "csv" and not asked.errors:
        request_log.check(by, asked.wanted)  # refused before the first line is sent, if at all
        found_all = request_log.every(by, asked.wanted, most=MOST_LINES)
        response = StreamingHttpResponse(
            _lines(by, found_all), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = 'attachment; filename="request-log.csv"'
        return response  # type: ignore[return-value]  # streamed; the stubs have one kind
    if "arrived" in request.GET:
        return _arrived(request, by, asked)
    # Before the lines are read: one that is stored in between is shown when it is asked for.
    latest = request_log.latest()
    cursor = request.GET.get("cursor", "")[:40]
    found: list[LoggedCall] = []
    if not asked.errors:
        try:
            found = request_log.calls(by, asked.wanted, before=cursor, most=PER_PAGE + 1)
        except Invalid:
            cursor = ""
            found = request_log.calls(by, asked.wanted, most=PER_PAGE + 1)
    shown = found[:PER_PAGE]
    filtered = any(name not in _CHIPS for name in asked.given)
    tails = asked.wanted.order is LogOrder.NEWEST and not cursor and not asked.wanted.end_ms
    context = {
        **_choices(by, asked),
        "calls": _with_short_ids(_named(by, shown)),
        "asked": asked,
        "given": asked.given,
        "errors": asked.errors,
        "filtered": filtered or asked.wanted.outcome is not None or "range" in asked.given,
        "open": filtered,
        "older": asked.address(cursor=request_log.cursor(shown[-1], asked.wanted.order))
        if len(found) > PER_PAGE
        else "",
        "first": asked.address() if cursor else "",
        "csv": asked.address(format="csv"),
        "tail": asked.address() if tails and not asked.errors else "",
        "latest": latest,
        "days": workspace_settings.read().request_log_days,
        **(more or {}),
    }
    return render(request, f"console/{template}.html", context, status=400 if asked.errors else 200)


def _choices(by: Actor, asked: LogPageQuery) -> dict[str, Any]:
    """What can be chosen, and what is."""
    given, wanted = asked.given, asked.wanted
    client_id, profile_id = wanted.client_id, wanted.profile_id
    known = names.names(by, clients=[client_id or 0], profiles=[profile_id or 0])
    # Of two of one name, and of a deleted one, the number.
    profile_name = known.profiles.get(profile_id or 0, given.get("profile", ""))
    client_name = given.get("client_name") or known.clients.get(client_id or 0, "")
    profile_name = given.get("profile_name") or profile_name
    endpoints = ENDPOINTS.rows(by)
    if wanted.collection_id:
        endpoints = endpoints.filter(collection_id=wanted.collection_id)
    words = {
        "client": client_name or given.get("client", ""),
        "profile": profile_name,
        "reason": _reason_words(given.get("reason", "")),
        "collection": COLLECTIONS.words(by, wanted.collection_id) or given.get("collection", ""),
        "endpoint": ENDPOINTS.words(by, wanted.endpoint_id) or given.get("endpoint", ""),
        "credential": _credential_words(by, wanted.credential_id),
        "latency": f"{given.get('latency', '')} ms",
    }
    return {
        "client_name": client_name,
        "profile_name": profile_name,
        "outcomes": [
            (label, asked.address(outcome=value), value == given.get("outcome", ""))
            for value, label in OUTCOMES.items()
        ],
        "ranges": [
            (
                label,
                asked.address(**{"range": value, "from": "", "to": ""}),
                value == given.get("range", "") and not {"from", "to"} & given.keys(),
            )
            for value, label in RANGES.items()
        ],
        "active": [
            (_label(name), words.get(name, value), _without(asked, name))
            for name, value in given.items()
            if _label(name) and not _is_twin(name, given)
        ],
        "orders": {
            "time": asked.address(order="oldest" if wanted.order is LogOrder.NEWEST else ""),
            "latency": asked.address(order="" if wanted.order is LogOrder.SLOWEST else "slowest"),
        },
        "statuses": STATUSES,
        "reasons": sorted(((reason.value, reason.label) for reason in Reason), key=lambda r: r[1]),
        "methods": METHODS,
        "collection": COLLECTIONS.field(
            by, "collection", "API collection", given.get("collection", "")
        ),
        "endpoint": ENDPOINTS.field(
            by, "endpoint", "Endpoint", given.get("endpoint", ""), endpoints
        ),
        "credential": words["credential"],
        "newest": request_log.NEWEST,
    }


def _label(name: str) -> str:
    return {"client": "Client", "profile": "Access profile"}.get(name, _FIELDS[name])


def _is_twin(name: str, given: Mapping[str, str]) -> bool:
    """A name that a form filled in beside the number that it was linked by."""
    return name in {"client", "profile"} and f"{name}_name" in given


def _without(asked: LogPageQuery, name: str) -> str:
    plain = name.removesuffix("_name")
    return asked.address(**{name: "", **({plain: ""} if plain in {"client", "profile"} else {})})


def _reason_words(name: str) -> str:
    if name == outcomes.NO_ANSWER:
        return "Not refused"
    try:
        return Reason(name).label
    except ValueError:
        return name


def _credential_words(by: Actor, credential_id: int | None) -> str:
    """A credential as its profile's page shows it; the number of one that is gone."""
    if credential_id is None:
        return ""
    found = Credential.objects.visible_to(by).filter(pk=credential_id).first()
    if found is None:
        return str(credential_id)
    return found.public_id or (
        masked(found.prefix, found.last_four) if found.prefix else "imported"
    )


def _arrived(request: HttpRequest, by: Actor, asked: LogPageQuery) -> HttpResponse:
    """Rows of the lines that were stored since the page was read, for a page that is live."""
    latest = request_log.latest()
    since = int(text) if (text := request.GET["arrived"][:18]).isdecimal() else latest
    found: list[LoggedCall] = []
    if not asked.errors and latest > since:
        found = request_log.arrived(by, asked.wanted, since=since, most=MOST_ARRIVED)
    context = {"calls": _with_short_ids(_named(by, found)), "asked": asked}
    response = render(request, "console/log_rows.html", context)
    response["X-Ostiary-Latest"] = str(latest)
    return response


@page
@require_safe
def show(request: HttpRequest, by: Actor, request_id: str) -> HttpResponse:
    """The page of one call is its explanation."""
    try:
        call = request_log.find(by, request_id)
    except NotFound:
        return explained_or_missing(request, by, request_id, None)
    [named] = _named(by, [call])
    return explained_or_missing(request, by, request_id, named)


def _chosen(by: Actor, chooser: Chooser, text: str) -> int | None:
    """The number of what was typed; raises ValueError."""
    try:
        return chooser.chosen(by, "it", text)
    except Invalid as error:
        raise ValueError(" ".join(error.errors["it"])) from None


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
    if start is None and end is None and given.get("range") in _SECONDS:
        start = int(time.time()) - _SECONDS[given["range"]]
    wanted = LogFilter(
        start_ms=(start or 0) * 1000,
        # The last minute that is named is in it, or the last day.
        end_ms=None if end is None else (end + (60 if ":" in given["to"] else 86_400)) * 1000,
        client_id=client_id, profile_id=profile_id,
        credential_id=number_of(given.get("credential")),
        collection_id=read("collection", lambda text: _chosen(by, COLLECTIONS, text)),
        endpoint_id=read("endpoint", lambda text: _chosen(by, ENDPOINTS, text)),
        outcome=LogOutcome(given["outcome"]) if given.get("outcome") in set(LogOutcome) else None,
        statuses=read("status", request_log.statuses),
        reasons=frozenset() if reason is None else frozenset({reason}),
        method=given.get("method", "").upper()[:16],
        part_of_id=given.get("request_id", "")[:40].replace("\0", "").lstrip("…"),
        caller_request_id=given.get("caller_request_id", "").replace("\0", ""),
        address=read("ip", request_log.address) or "", least_latency_ms=read("latency", _whole),
        order=LogOrder(given["order"]) if given.get("order") in set(LogOrder) else LogOrder.NEWEST,
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
            "reason_label": outcomes.reason_label(call.reason),
            "would_label": outcomes.reason_label(call.would),
            "refused": outcomes.refused(call.reason),
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


#: Mark of a start of the gateway, number of the connection, number of the request on it.
_ID = re.compile(r"(.+)-(\d+-\d+)")


def _with_short_ids(named: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The part of each request id that tells it from the others of the page."""
    rows = list(named)
    found = [_ID.fullmatch(row["call"].request_id) for row in rows]
    marks = {match[1] for match in found if match}
    for row, match in zip(rows, found, strict=True):
        whole = row["call"].request_id
        if match is None:
            row["short"] = f"…{whole[-8:]}" if len(whole) > 10 else whole
        else:
            row["short"] = f"…{match[2]}" if len(marks) == 1 else f"…{match[1][-4:]}-{match[2]}"
    return rows


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
