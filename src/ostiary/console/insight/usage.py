"""**API platform > Usage**: who called what, how often, how fast and with what outcome.

The same stands as a part on the pages of clients, profiles, collections and endpoints, fetched when
such a page is there: counting does not make it wait.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from ostiary.console.frame import charts
from ostiary.console.frame.listing import number_of
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import clients
from ostiary.directory.models import Endpoint
from ostiary.directory.workspace import workspace_settings
from ostiary.usage import names
from ostiary.usage.buckets import BucketSize, start_of
from ostiary.usage.overview import Overview, UsageFilter, overview
from ostiary.usage.queries import UsageCounts

DAY = 86_400
DEFAULT_DAYS = 30
RANGES = {1: "24 hours", 7: "7 days", 30: "30 days", 90: "90 days", 365: "12 months"}
#: Choices of a select; where there are more, the page of a collection leads to its usage.
MOST_CHOICES = 300
SERIES = {"success": "Success", "errors": "Errors", "refused": "Policy violations"}
LATENCIES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_FORMATS = {BucketSize.HOUR: "%H:%M", BucketSize.DAY: "%-d %b", BucketSize.MONTH: "%b %Y"}
_LONG = {
    BucketSize.HOUR: "%-d %B %Y, %H:%M",
    BucketSize.DAY: "%-d %B %Y",
    BucketSize.MONTH: "%B %Y",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the address of a page chooses; dates are whole days in UTC, the last one included."""

    days: int = DEFAULT_DAYS
    first: date | None = None
    last: date | None = None
    client: int | None = None
    profile: int | None = None
    collection: int | None = None
    endpoint: int | None = None
    problem: str = ""

    def choice(self, now: int) -> UsageFilter:
        if self.first and self.last:
            start = int(datetime(*self.first.timetuple()[:3], tzinfo=UTC).timestamp())
            end = int(datetime(*self.last.timetuple()[:3], tzinfo=UTC).timestamp()) + DAY
        elif self.days == 1:
            start, end = start_of(BucketSize.HOUR, now) - 23 * 3600, now + 60
        else:
            start, end = start_of(BucketSize.DAY, now) - (self.days - 1) * DAY, now + 60
        return UsageFilter(
            start=start, end=min(end, now + 60), client=self.client, profile=self.profile,
            collection=self.collection, endpoint=self.endpoint,
        )  # fmt: skip

    def address(self, **others: int | None) -> str:
        """The query of the same page with something else chosen."""
        values: dict[str, object] = {
            "client": self.client,
            "profile": self.profile,
            "collection": self.collection,
            "endpoint": self.endpoint,
        }
        if self.first and self.last and "days" not in others:
            values |= {"from": self.first.isoformat(), "to": self.last.isoformat()}
        elif self.days != DEFAULT_DAYS:
            values["days"] = self.days
        values |= others
        return "?" + urlencode({name: value for name, value in values.items() if value})


def filters(query: Mapping[str, str], now: int) -> Filters:
    """What an address chooses; what cannot be read is said, and left out."""
    problems = []
    dates: dict[str, date | None] = {"from": None, "to": None}
    for name in dates:
        text = query.get(name, "").strip()
        try:
            dates[name] = date.fromisoformat(text) if text else None
        except ValueError:
            problems.append(f"“{text[:20]}” isn't a date such as 2026-01-31.")
    today = datetime.fromtimestamp(now, UTC).date()
    first, last = dates["from"], dates["to"]
    if first or last:
        last = min(last or today, today)
        first = max(first or last - timedelta(days=DEFAULT_DAYS - 1), date(2000, 1, 1))
        if first > last:
            problems.append("The first day is after the last one.")
            first = last = None
    days = number_of(query.get("days"))
    return Filters(
        days=days if days in RANGES else DEFAULT_DAYS, first=first, last=last,
        client=number_of(query.get("client")), profile=number_of(query.get("profile")),
        collection=number_of(query.get("collection")), endpoint=number_of(query.get("endpoint")),
        problem=" ".join(problems),
    )  # fmt: skip


@page
@require_safe
def dashboard(request: HttpRequest, by: Actor) -> HttpResponse:
    now = int(time.time())
    chosen = filters(request.GET, now)
    named = request.GET.get("client_name", "").strip()[:100]
    problem = chosen.problem
    if named:
        found = list(clients.clients(by, search=named)[:2])
        exact = [client for client in found if client.name == named]
        if len(exact or found) == 1:
            return redirect(reverse("usage") + chosen.address(client=(exact or found)[0].pk))
        problem = f"{'No' if not found else 'More than one'} client fits “{named}”."
    elif "client_name" in request.GET and chosen.client:
        return redirect(reverse("usage") + chosen.address(client=None))
    chosen = _fitting(by, chosen)
    choice = chosen.choice(now)
    context = {
        **_figures(by, chosen, now),
        "problem": problem,
        "first": datetime.fromtimestamp(choice.start, UTC).date().isoformat(),
        "last": datetime.fromtimestamp(choice.end - 1, UTC).date().isoformat(),
        "ranges": [
            (label, chosen.address(days=days), not chosen.first and days == chosen.days)
            for days, label in RANGES.items()
        ],
        "client_name": named or _client_name(by, chosen.client),
        "profile": names.names(by, profiles=[chosen.profile or 0]).profiles.get(
            chosen.profile or 0
        ),
        "without_profile": chosen.address(profile=None),
        "collections": collections.collections(by).order_by("name")[:MOST_CHOICES],
        "endpoints": _endpoints(by, chosen),
        "some_clients": clients.clients(by).order_by("name").values_list("name", flat=True)[:50],
        "kept_days": workspace_settings.read().usage_day_days,
    }
    return render(request, "console/usage.html", context)


@page
@require_safe
def part(request: HttpRequest, by: Actor) -> HttpResponse:
    """The figures alone, for the page of what they are about."""
    now = int(time.time())
    chosen = filters(request.GET, now)
    return render(request, "console/usage_part.html", _figures(by, chosen, now))


def _client_name(by: Actor, client_id: int | None) -> str:
    """The name of the chosen client; of a deleted one, which an admin may ask for, the number."""
    if client_id is None:
        return ""
    return names.names(by, clients=[client_id]).clients.get(client_id, f"deleted ({client_id})")


def _fitting(by: Actor, chosen: Filters) -> Filters:
    """An endpoint of another collection than the chosen one is chosen no more."""
    if chosen.endpoint and chosen.collection:
        endpoint = endpoints.find(by, chosen.endpoint)
        if endpoint.collection_id != chosen.collection:
            return replace(chosen, endpoint=None)
    return chosen


def _endpoints(by: Actor, chosen: Filters) -> list[tuple[int, str]]:
    found = Endpoint.objects.visible_to(by).order_by("collection__handle", "path", "method")
    if chosen.collection:
        found = found.filter(collection_id=chosen.collection)
    told = found.values_list("pk", "method", "collection__handle", "path")[:MOST_CHOICES]
    return [(pk, f"{method} /{handle}{path}") for pk, method, handle, path in told]


def _figures(by: Actor, chosen: Filters, now: int) -> dict[str, Any]:
    choice = chosen.choice(now)
    try:
        found = overview(by, choice, now)
    except Invalid as error:
        return {
            "chosen": chosen,
            "refused": error.sentences,
        }
    labels, told = _labels(found)
    known = names.names(
        by,
        clients=[row.key[0] for row in (*found.clients, *found.profiles)],
        profiles=[row.key[1] for row in found.profiles],
        collections=[row.key[0] for row in found.endpoints],
        endpoints=[row.key[1] for row in found.endpoints],
    )
    return {
        "chosen": chosen,
        "found": found,
        "total": _shown(found.total, found.total.calls),
        "calls_chart": _calls_chart(found, labels, told),
        "latency_chart": _latency_chart(found, labels, told),
        "course": [(told[i], _shown(row, 0)) for i, row in enumerate(found.course)],
        "series": SERIES,
        "percentiles": LATENCIES,
        "top_clients": [
            _top(row, known.clients.get(row.key[0]), chosen.address(client=row.key[0]), found)
            for row in found.clients
        ],
        "top_profiles": [
            {
                **_top(
                    row, known.profiles.get(row.key[1]), chosen.address(profile=row.key[1]), found
                ),
                "of": known.clients.get(row.key[0], ""),
            }
            for row in found.profiles
        ],
        "top_endpoints": [
            _top(row, known.endpoints.get(row.key[1]), chosen.address(endpoint=row.key[1]), found)
            for row in found.endpoints
        ],
        "refusals": _shares(found.refusals, found.total.refused),
        "failures": _shares(found.failures, found.total.errors),
    }


def _labels(found: Overview) -> tuple[list[str], list[str]]:
    times = [datetime.fromtimestamp(row.time or 0, UTC) for row in found.course]
    return (
        [moment.strftime(_FORMATS[found.bucket]) for moment in times],
        [moment.strftime(_LONG[found.bucket]) for moment in times],
    )


def _calls_chart(found: Overview, labels: list[str], told: list[str]) -> charts.Chart:
    series = [
        ("success", [row.succeeded for row in found.course]),
        ("errors", [row.errors for row in found.course]),
        ("refused", [row.refused for row in found.course]),
    ]
    said = [
        f"{told[i]}: {row.succeeded:,} success, {row.errors:,} errors,"
        f" {row.refused:,} policy violations"
        for i, row in enumerate(found.course)
    ]
    return charts.stacked(labels, series, said)


def _latency_chart(found: Overview, labels: list[str], told: list[str]) -> charts.Chart:
    series = [
        (name, [row.percentile(share) for row in found.course]) for name, share in LATENCIES.items()
    ]
    said = [
        f"{told[i]}: "
        + ", ".join(f"{name} {values[i]} ms" for name, values in series if values[i] is not None)
        for i in range(len(found.course))
    ]
    return charts.lines(labels, series, said)


def _shown(row: UsageCounts, of: int) -> dict[str, Any]:
    return {
        "calls": row.calls,
        "success": row.succeeded,
        "errors": row.errors,
        "refused": row.refused,
        "bytes": row.bytes_in + row.bytes_out,
        "latencies": [row.percentile(share) for share in LATENCIES.values()],
        "shares": {
            "success": _percent(row.succeeded, of),
            "errors": _percent(row.errors, of),
            "refused": _percent(row.refused, of),
        },
    }


def _percent(part_of: int, whole: int) -> str:
    """`0.4 %`; a share above zero is never shown as zero."""
    if not whole or not part_of:
        return "0 %"
    share = part_of / whole * 100
    return f"{share:.1f} %" if share >= 0.1 else "< 0.1 %"


def _top(row: UsageCounts, name: str | None, address: str, found: Overview) -> dict[str, Any]:
    return {
        "name": name,
        "id": row.key[-1],
        "address": address,
        "row": row,
        "share": _percent(row.calls, found.total.calls),
        "wide": round(row.calls / max(1, found.total.calls) * 100, 2),
    }


def _shares(reasons: list[tuple[str, int]], whole: int) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "words": name.replace("_", " ").capitalize(),
            "calls": calls,
            "share": _percent(calls, whole),
            "wide": round(calls / max(1, whole) * 100, 2),
        }
        for name, calls in reasons
    ]
