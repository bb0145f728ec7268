"""**API platform > Usage**: who called what, how often, how fast and with what outcome.

The same stands as a part on the pages of clients, profiles, collections and endpoints, fetched when
such a page is there: counting does not make it wait.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from ostiary.console.frame import charts
from ostiary.console.frame.choosers import COLLECTIONS, ENDPOINTS
from ostiary.console.frame.listing import number_of
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import endpoints
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import clients
from ostiary.directory.models import Endpoint
from ostiary.directory.workspace import workspace_settings
from ostiary.usage import names, outcomes
from ostiary.usage.buckets import BucketSize, following, start_of
from ostiary.usage.overview import Overview, UsageFilter, overview
from ostiary.usage.queries import Rank, UsageCounts

DAY = 86_400
DEFAULT_DAYS = 30
RANGES = {1: "24 hours", 7: "7 days", 30: "30 days", 90: "90 days", 365: "12 months"}
#: Filters that choose an object by its name or number.
_CHOSEN = {"collection": COLLECTIONS, "endpoint": ENDPOINTS}
#: Columns that the largest can be ranked by, and the heading over them.
RANKS = {Rank.CALLS: "Calls", Rank.ERRORS: "Errors", Rank.REFUSED: "Refused"}
HEADS = {Rank.CALLS: "Top", Rank.ERRORS: "Most failing", Rank.REFUSED: "Most refused"}
#: What the bars of a ranking count.
COLOURS = {Rank.CALLS: "success", Rank.ERRORS: "errors", Rank.REFUSED: "refused"}
CALLS_HEIGHT, REFUSED_HEIGHT, LATENCY_HEIGHT = 220, 110, 200
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
    rank: Rank = Rank.CALLS
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
            collection=self.collection, endpoint=self.endpoint, rank=self.rank,
        )  # fmt: skip

    def logs(self, start: int, end: int, **others: int | str | None) -> str:
        """The calls of a stretch of time in the log, as this page is filtered."""
        span = {"from": _minute(start), "to": _minute(end - 60)}
        values: dict[str, object] = {**self._chosen(), **span, **others}
        query = urlencode({name: value for name, value in values.items() if value})
        return f"{reverse('logs')}?{query}"

    def _chosen(self) -> dict[str, int | None]:
        return {
            "client": self.client,
            "profile": self.profile,
            "collection": self.collection,
            "endpoint": self.endpoint,
        }

    def address(self, **others: int | str | None) -> str:
        """The query of the same page with something else chosen."""
        values: dict[str, object] = {**self._chosen()}
        if self.rank is not Rank.CALLS:
            values["sort"] = self.rank.value
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
    rank = query.get("sort", "")
    return Filters(
        days=days if days in RANGES else DEFAULT_DAYS, first=first, last=last,
        client=number_of(query.get("client")), profile=number_of(query.get("profile")),
        collection=number_of(query.get("collection")), endpoint=number_of(query.get("endpoint")),
        rank=Rank(rank) if rank in set(Rank) else Rank.CALLS, problem=" ".join(problems),
    )  # fmt: skip


def _minute(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M")


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
    for name, chooser in _CHOSEN.items():
        typed = request.GET.get(name, "").strip()[:300]
        if typed and number_of(typed) is None:
            try:
                number = chooser.chosen(by, name, typed)
            except Invalid as error:
                problem = f"“{typed}” {' '.join(error.errors[name])}."
            else:
                return redirect(reverse("usage") + chosen.address(**{name: number}))
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
        "collection": COLLECTIONS.field(
            by, "collection", "API collection", str(chosen.collection or "")
        ),
        "endpoint": ENDPOINTS.field(
            by, "endpoint", "Endpoint", str(chosen.endpoint or ""), _endpoints(by, chosen)
        ),
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


def _endpoints(by: Actor, chosen: Filters) -> QuerySet[Endpoint]:
    found = ENDPOINTS.rows(by)
    return found.filter(collection_id=chosen.collection) if chosen.collection else found


def _figures(by: Actor, chosen: Filters, now: int) -> dict[str, Any]:
    choice = chosen.choice(now)
    try:
        found = overview(by, choice, now)
    except Invalid as error:
        return {
            "chosen": chosen,
            "refused": error.sentences,
        }
    known = names.names(
        by,
        clients=[row.key[0] for row in (*found.clients, *found.profiles)],
        profiles=[row.key[1] for row in found.profiles],
        collections=[row.key[0] for row in found.endpoints],
        endpoints=[row.key[1] for row in found.endpoints],
    )
    start, end = choice.start, choice.end
    course, told, buckets = _course(found, chosen, now)
    return {
        "chosen": chosen,
        "found": found,
        "logs": chosen.logs(start, end),
        "total": _shown(found.total, found.total.calls),
        **_charts(course, buckets),
        "begins": told[0] if len(course) < len(found.course) else "",
        "course": list(zip(told, buckets.logs, (_shown(row, 0) for row in course), strict=True)),
        "percentiles": LATENCIES,
        "ranks": [
            (rank.value, words, chosen.address(sort=None if rank is Rank.CALLS else rank.value))
            for rank, words in RANKS.items()
        ],
        "heads": HEADS[chosen.rank],
        "series": COLOURS[chosen.rank],
        "top_clients": _top(chosen, found.clients, known.clients, start, end, kind="client", at=0),
        "top_profiles": [
            {**top, "of": known.clients.get(top["row"].key[0], "")}
            for top in _top(
                chosen, found.profiles, known.profiles, start, end, kind="profile", at=1
            )
        ],
        "top_endpoints": _top(
            chosen, found.endpoints, known.endpoints, start, end, kind="endpoint", at=1
        ),
        "refusals": _shares(found.refusals, found.total.refused, chosen, start, end),
        "failures": _shares(found.failures, found.total.errors, chosen, start, end),
    }


def _course(
    found: Overview, chosen: Filters, now: int
) -> tuple[list[UsageCounts], list[str], charts.Buckets]:
    """From the first call on: what was before is empty, and makes the rest small."""
    first = next((i for i, row in enumerate(found.course) if row.calls), 0)
    course = found.course[first:]
    times = [row.time or 0 for row in course]
    moments = [datetime.fromtimestamp(time, UTC) for time in times]
    kept = now - workspace_settings.read().request_log_days * DAY
    ends = [following(found.bucket, time) for time in times]
    told = [moment.strftime(_LONG[found.bucket]) for moment in moments]
    return (
        course,
        told,
        charts.Buckets(
            labels=[moment.strftime(_FORMATS[found.bucket]) for moment in moments],
            told=[f"{words}: {_sentence(row)}" for words, row in zip(told, course, strict=True)],
            logs=[
                chosen.logs(time, end) if end > kept and row.calls else ""
                for time, end, row in zip(times, ends, course, strict=True)
            ],
        ),
    )


def _sentence(row: UsageCounts) -> str:
    said = (
        f"{row.calls:,} calls, {row.succeeded:,} success, {row.errors:,} errors,"
        f" {row.refused:,} refused"
    )
    values = [(name, row.percentile(share)) for name, share in LATENCIES.items()]
    return ", ".join([said, *(f"{name} {value} ms" for name, value in values if value is not None)])


def _charts(course: list[UsageCounts], buckets: charts.Buckets) -> dict[str, charts.Chart]:
    admitted = [
        ("success", [row.succeeded for row in course]),
        ("errors", [row.errors for row in course]),
    ]
    refused = replace(buckets, logs=[_refused_alone(address) for address in buckets.logs])
    latencies = [
        (name, [row.percentile(share) for row in course]) for name, share in LATENCIES.items()
    ]
    return {
        "calls_chart": charts.stacked(buckets, admitted, height=CALLS_HEIGHT),
        "refused_chart": charts.stacked(
            refused, [("refused", [row.refused for row in course])], height=REFUSED_HEIGHT
        ),
        "latency_chart": charts.lines(buckets, latencies, height=LATENCY_HEIGHT),
    }


def _refused_alone(address: str) -> str:
    return f"{address}&outcome={Rank.REFUSED}" if address else ""


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


def _top(
    chosen: Filters,
    found: Sequence[UsageCounts],
    known: Mapping[int, str],
    start: int,
    end: int,
    *,
    kind: str,
    at: int,
) -> list[dict[str, Any]]:
    """Rows of a ranking; bars are relative to the largest. `at`: where the id is in a row's key."""
    largest = max((getattr(row, chosen.rank) for row in found), default=0)
    return [
        {
            "name": known.get(row.key[at]),
            "id": row.key[at],
            "address": chosen.address(**{kind: row.key[at]}),
            "logs": chosen.logs(start, end, **{kind: row.key[at]}),
            "row": row,
            "wide": _wide(getattr(row, chosen.rank), largest),
        }
        for row in found
    ]


def _wide(count: int, largest: int) -> float:
    return round(count / max(1, largest) * 100, 2)


def _shares(
    reasons: list[tuple[str, int]], whole: int, chosen: Filters, start: int, end: int
) -> list[dict[str, Any]]:
    largest = max((calls for _, calls in reasons), default=0)
    return [
        {
            "words": outcomes.label(name),
            "logs": chosen.logs(start, end, reason=name),
            "calls": calls,
            "share": _percent(calls, whole),
            "wide": _wide(calls, largest),
        }
        for name, calls in reasons
    ]
