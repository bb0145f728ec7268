"""The audit log as a page, in sentences, and as CSV."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from ostiary.console.frame.listing import number_of
from ostiary.console.sign_in.viewer import page
from ostiary.console.workspace.audit_sentences import NOUNS, sentence
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes import audit_log
from ostiary.directory.clients import access_profiles, address_lists, clients, policies
from ostiary.directory.models import AuditEvent
from ostiary.directory.people import management_tokens, members
from ostiary.directory.projects import projects
from ostiary.directory.webhooks import webhooks
from ostiary.usage import csv_export

PER_PAGE = 50
MOST_LINES = 100_000
#: Names that are offered are those of the newest events.
OFFERED_FROM = 1_000
_FIELDS = ("search", "who", "kind", "project", "from", "to", "actor", "id", "action")
#: Where an object is seen: its list as the reader sees it, its page, and the role that opens it.
_PAGES: Mapping[str, tuple[Callable[[Actor], QuerySet[Any]], str, Role]] = {
    "client": (clients.clients, "client", Role.VIEWER),
    "profile": (access_profiles.profiles, "profile", Role.VIEWER),
    "collection": (collections.collections, "collection", Role.VIEWER),
    "endpoint": (endpoints.endpoints, "edit-endpoint", Role.EDITOR),
    "connection": (connections.connections, "edit-connection", Role.EDITOR),
    "policy": (policies.policies, "edit-policy", Role.EDITOR),
    "address_list": (address_lists.address_lists, "edit-address-list", Role.EDITOR),
    "project": (projects.projects, "edit-project", Role.OWNER),
    "webhook": (webhooks.webhooks, "webhook", Role.EDITOR),
}
_ADMINS: Mapping[str, tuple[Callable[[Actor], QuerySet[Any]], str]] = {
    "member": (members.members, "edit-member"),
    "token": (management_tokens.management_tokens, "edit-token"),
}


@dataclass(slots=True)
class AuditQuery:
    """What the address of the page asks for, and what of it could not be read."""

    wanted: audit_log.AuditFilter
    given: dict[str, str]
    errors: dict[str, list[str]] = field(default_factory=dict)

    def address(self, **others: str) -> str:
        return "?" + urlencode({k: v for k, v in {**self.given, **others}.items() if v})


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    """Who did what; `format=csv` sends all that the filter finds."""
    asked = _asked(request.GET)
    more = {
        "kinds": sorted(NOUNS.items(), key=lambda kind: kind[1]),
        "projects": projects.projects(by).order_by("name"),
        "people": _people(by),
    }
    return _answered(request, by, asked, "audit_log", more)


@page
@require_safe
def of_profile(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """The tab **History** of an access profile: its own events."""
    profile = access_profiles.find(by, profile_id)
    asked = _asked({**request.GET.dict(), "kind": "profile", "id": str(profile_id)})
    for name in ("kind", "id"):
        # What the page says anyway does not stand in its addresses.
        asked.given.pop(name)
    more = {"profile": profile, "may_change": by.may(Role.EDITOR, profile.client.project_id)}
    return _answered(request, by, asked, "profile_history", more)


def _answered(
    request: HttpRequest,
    by: Actor,
    asked: AuditQuery,
    template: str,
    more: Mapping[str, object],
) -> HttpResponse:
    """A page of events, or all of them as CSV."""
    found = audit_log.matching(by, asked.wanted)
    if request.GET.get("format") == "csv" and not asked.errors:
        lines = _lines(found.iterator(chunk_size=500))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="audit-log.csv"'
        return response  # type: ignore[return-value]  # streamed; the stubs have one kind
    before = number_of(request.GET.get("before"))
    if before:
        found = found.filter(pk__lt=before)
    events = [] if asked.errors else list(found[: PER_PAGE + 1])
    shown = events[:PER_PAGE]
    older = asked.address(before=str(shown[-1].pk)) if len(events) > PER_PAGE else ""
    context = {
        "rows": _rows(by, shown, asked),
        "asked": asked,
        "given": asked.given,
        "errors": asked.errors,
        "active": [
            (label, value, asked.address(**dict.fromkeys(names, "")))
            for label, value, names in _active(shown, asked)
        ],
        "older": older,
        "newest": asked.address() if before else "",
        "csv": asked.address(format="csv"),
        **more,
    }
    return render(request, f"console/{template}.html", context, status=400 if asked.errors else 200)


def _asked(query: Mapping[str, str]) -> AuditQuery:
    given = {
        name: query[name].replace("\0", "").strip()[:100]
        for name in _FIELDS
        if query.get(name, "").strip()
    }
    errors: dict[str, list[str]] = {}

    def day(name: str) -> datetime | None:
        try:
            return (
                datetime.fromisoformat(given[name]).replace(tzinfo=UTC) if name in given else None
            )
        except ValueError:
            errors[name] = ["must be a date such as 2026-01-31"]
            return None

    actor_kind, _, actor_id = given.get("actor", "").partition("-")
    start, end = day("from"), day("to")
    wanted = audit_log.AuditFilter(
        search=given.get("search", ""), who=given.get("who", ""),
        kind=given.get("kind", "")[:32], target_id=number_of(given.get("id")),
        actor=(actor_kind[:8], number_of(actor_id)) if actor_kind else None,
        project_id=number_of(given.get("project")), action=given.get("action", "")[:64],
        start=start,
        # The day that is named is in it.
        end=end and end + timedelta(days=1),
    )  # fmt: skip
    return AuditQuery(wanted, given, errors)


def _active(shown: list[AuditEvent], asked: AuditQuery) -> Iterator[tuple[str, str, list[str]]]:
    """Filters that links chose, which no field of the form shows."""
    first = shown[0] if shown else None
    if "actor" in asked.given:
        yield "Person", first.actor_name if first else asked.given["actor"], ["actor"]
    if "id" in asked.given:
        name = first.target_name if first else asked.given["id"]
        yield NOUNS.get(asked.wanted.kind, "Object").capitalize(), name, ["id"]
    if "action" in asked.given:
        yield "Action", asked.given["action"], ["action"]


def _people(by: Actor) -> list[str]:
    newest = audit_log.events(by).values_list("actor_name", flat=True)[:OFFERED_FROM]
    return sorted(set(newest), key=str.casefold)


def _rows(by: Actor, events: list[AuditEvent], asked: AuditQuery) -> list[dict[str, Any]]:
    pages = _there(by, events)
    return [
        {
            "event": event,
            "sentence": sentence(event),
            "actor": asked.address(actor=f"{event.actor_kind}-{event.actor_id or ''}", who=""),
            "page": pages.get((event.target_kind, event.target_id or 0), ""),
            "history": asked.address(kind=event.target_kind, id=str(event.target_id))
            if event.target_id
            else "",
            "changes": _changes(event),
        }
        for event in events
    ]


def _there(by: Actor, events: Iterable[AuditEvent]) -> dict[tuple[str, int], str]:
    """Pages of objects that are still there, and that the reader may open."""
    ids: dict[str, set[int]] = {}
    for event in events:
        ids.setdefault(event.target_kind, set()).add(event.target_id or 0)
    pages: dict[tuple[str, int], str] = {}
    for kind, numbers in ids.items():
        if kind in _PAGES:
            of_kind, name, role = _PAGES[kind]
            if by.may_somewhere(role):
                seen = of_kind(by).order_by().filter(pk__in=numbers)
                pages |= {
                    (kind, pk): reverse(name, args=[pk]) for pk in _opened(by, kind, seen, role)
                }
        elif kind in _ADMINS and by.admin:
            of_kind, name = _ADMINS[kind]
            seen = of_kind(by).order_by().filter(pk__in=numbers)
            pages |= {
                (kind, pk): reverse(name, args=[pk]) for pk in seen.values_list("pk", flat=True)
            }
    return pages


def _opened(by: Actor, kind: str, seen: QuerySet[Any], role: Role) -> list[int]:
    """Those whose project gives the reader the role."""
    column = {
        "project": "pk",
        "profile": "client__project_id",
        "endpoint": "collection__project_id",
    }
    rows = seen.values_list("pk", column.get(kind, "project_id"))
    return [pk for pk, project in rows if role is Role.VIEWER or by.may(role, project or 0)]


def _changes(event: AuditEvent) -> list[tuple[str, str, str]]:
    """What an event changed: name, before and after, as an owner reads it."""
    names = dict.fromkeys([*event.before, *event.after])
    return [
        (name.replace("_", " "), _said(event.before.get(name)), _said(event.after.get(name)))
        for name in names
    ]


def _said(value: object) -> str:
    match value:
        case None | "" | [] | {}:
            return "–"
        case True | False:
            return "yes" if value else "no"
        case list():
            return ", ".join(_said(each) for each in value)
        case dict():
            return ", ".join(f"{name}: {_said(each)}" for name, each in value.items())
    return str(value)


def _lines(events: Iterator[AuditEvent]) -> Iterator[str]:
    names = (
        "at", "actor", "action", "kind", "id", "name", "project", "address", "before", "after",
        "sentence",
    )  # fmt: skip
    rows = (
        (
            event.at.isoformat(), event.actor_name, event.action, event.target_kind,
            event.target_id, event.target_name, event.project_id, event.address,
            str(event.before), str(event.after), str(sentence(event)),
        )
        for event in islice(events, MOST_LINES)
    )  # fmt: skip
    return csv_export.lines(names, rows)
