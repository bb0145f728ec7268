"""The audit log as a page and as CSV."""

from collections.abc import Iterator
from itertools import islice

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ostiary.console.frame.listing import PER_PAGE, Pager, number_of
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log
from ostiary.directory.models import AuditEvent
from ostiary.usage import csv_export

MOST_LINES = 100_000


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    """Who did what; `format=csv` sends all that the filter finds."""
    search = request.GET.get("search", "").strip()[:100]
    found = audit_log.matching(by, search=search)
    if request.GET.get("format") == "csv":
        lines = _lines(found.iterator(chunk_size=500))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="audit-log.csv"'
        return response  # type: ignore[return-value]  # streamed; the stubs have one kind
    paging = Pager(
        number=max(1, number_of(request.GET.get("page")) or 1),
        total=found.count(),
        filters={"search": search} if search else {},
    )
    start = (paging.number - 1) * PER_PAGE
    rows = [{"event": event, "changes": _changes(event)} for event in found[start:][:PER_PAGE]]
    context = {"rows": rows, "search": search, "paging": paging}
    return render(request, "console/audit_log.html", context)


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
    names = ("at", "actor", "action", "kind", "id", "name", "project", "address", "before", "after")
    rows = (
        (
            event.at.isoformat(), event.actor_name, event.action, event.target_kind,
            event.target_id, event.target_name, event.project_id, event.address,
            str(event.before), str(event.after),
        )
        for event in islice(events, MOST_LINES)
    )  # fmt: skip
    return csv_export.lines(names, rows)
