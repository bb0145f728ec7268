"""**Overview**, the start page: what needs attention now, and the way to a first call.

Each list is short and comes from an index, so that the page is quick where there is very much.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from ostiary.access.limits import QUOTA
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import (
    AccessProfile,
    Collection,
    Credential,
    Policy,
    WebhookDelivery,
)
from ostiary.directory.webhooks import webhooks
from ostiary.review import limits_used
from ostiary.samples import demo_removal
from ostiary.usage import names, outcomes
from ostiary.usage.overview import UsageFilter, overview
from ostiary.usage.queries import Rank, UsageCounts

DAY = 86_400
#: Rows of each list.
MOST = 5
#: Days before an end at which it is shown.
SOON = 7
#: From how much of a quota it is nearly used up, and of how many consumers that is looked up.
NEAR_PERCENT = 80
MOST_COUNTED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewItem:
    """A step of the checklist, or a row of a list: its words, and the page that goes on."""

    text: str
    page: str
    detail: str = ""
    done: bool = False


@page
@require_safe
def show(request: HttpRequest, by: Actor) -> HttpResponse:
    now = int(time.time())
    figures = overview(by, UsageFilter(start=now - DAY, end=now + 60, rank=Rank.REFUSED), now)
    steps = _steps(by, called=figures.total.calls > figures.total.refused)
    is_complete = all(each.done for each in steps)
    reasons = [
        OverviewItem(
            text=outcomes.label(reason),
            page=_log(outcome="refused", reason=reason),
            detail=f"{calls:,}",
        )
        for reason, calls in figures.refusals[:MOST]
    ]
    attention = {
        "reasons": reasons,
        "refused": _refused(by, figures.profiles),
        "near": _near_quota(by, now),
        "profiles": _profiles_that_expire(by),
        "credentials": _credentials_that_expire(by),
        "webhooks": _webhooks(by),
        "aside": _set_aside(by),
    }
    context = attention | {
        "total": figures.total,
        "calls": f"{figures.total.calls:,}",
        "refused_calls": f"{figures.total.refused:,}",
        "errors": f"{figures.total.errors:,}",
        "log_refused": _log(outcome="refused"),
        "log_errors": _log(outcome="errors"),
        "more_profiles": f"{reverse('access-profiles')}?expires={SOON}",
        "more_credentials": f"{reverse('credentials')}?expires={SOON}",
        "steps": [] if is_complete else steps,
        "has_demo": by.admin and demo_removal.exists(),
        "may_add": by.may_somewhere(Role.EDITOR),
        "is_quiet": is_complete and not any(attention.values()) and not figures.total.errors,
    }
    return render(request, "console/overview.html", context)


def _log(**chosen: str) -> str:
    return f"{reverse('logs')}?{urlencode({'range': '24h', **chosen})}"


def _steps(by: Actor, *, called: bool) -> Sequence[OverviewItem]:
    """The way to a first call; a step is done as soon as there is one of its kind."""
    collection = collections.collections(by).order_by("pk").first()
    client = clients.clients(by).order_by("pk").first()
    endpoint = (
        reverse("new-endpoint", args=[collection.pk]) if collection else reverse("new-collection")
    )
    profile = reverse("new-profile", args=[client.pk]) if client else reverse("new-client")
    has_profile = access_profiles.profiles(by).filter(active=True).exists()
    has_endpoint = endpoints.endpoints(by).filter(active=True).exists()
    has_recipe = collection is not None and collection.kind == Collection.Kind.RECIPE
    used = called or Credential.objects.visible_to(by).filter(last_used_at__isnull=False).exists()
    return (
        OverviewItem(
            text="Create a connection to your API",
            page=reverse("new-connection"),
            done=has_recipe or connections.connections(by).exists(),
        ),
        OverviewItem(
            text="Create an API collection",
            page=reverse("new-collection"),
            done=collection is not None,
        ),
        OverviewItem(text="Add an endpoint and activate it", page=endpoint, done=has_endpoint),
        OverviewItem(text="Create a client", page=reverse("new-client"), done=client is not None),
        OverviewItem(text="Create an active access profile", page=profile, done=has_profile),
        OverviewItem(text="Send a first request", page=reverse("logs"), done=used),
    )


def _refused(by: Actor, rows: Sequence[UsageCounts]) -> Sequence[OverviewItem]:
    """Who was refused the most. What a row stands for may be deleted by now."""
    chosen = [row for row in rows if row.refused and row.key[-1]][:MOST]
    known = names.names(by, profiles=[row.key[-1] for row in chosen]).profiles
    return tuple(
        OverviewItem(
            text=known[row.key[-1]],
            page=_log(outcome="refused", profile=str(row.key[-1])),
            detail=f"{row.refused:,}",
        )
        for row in chosen
        if row.key[-1] in known
    )


def _soon() -> Q:
    now = timezone.now()
    return Q(expires_at__gt=now, expires_at__lte=now + timedelta(days=SOON))


def _profiles_that_expire(by: Actor) -> Sequence[OverviewItem]:
    profiles = AccessProfile.objects.visible_to(by).filter(_soon()).order_by("expires_at", "pk")
    return tuple(
        OverviewItem(
            text=name,
            page=reverse("profile", args=[pk]),
            detail=f"{expires_at:%-d %B %Y, %H:%M} UTC",
        )
        for pk, name, expires_at in profiles.values_list("pk", "name", "expires_at")[:MOST]
    )


def _credentials_that_expire(by: Actor) -> Sequence[OverviewItem]:
    credentials = Credential.objects.visible_to(by).filter(_soon(), revoked_at=None, trial=False)
    rows = credentials.order_by("expires_at", "pk").values_list(
        "profile_id", "profile__name", "expires_at"
    )
    return tuple(
        OverviewItem(
            text=name,
            page=reverse("profile", args=[profile]),
            detail=f"{expires_at:%-d %B %Y, %H:%M} UTC",
        )
        for profile, name, expires_at in rows[:MOST]
    )


def _webhooks(by: Actor) -> Sequence[OverviewItem]:
    """Webhooks with deliveries that failed for good on the last day, or are being tried again."""
    since = timezone.now() - timedelta(days=1)
    failing = Q(state=WebhookDelivery.State.GIVEN_UP, finished_at__gte=since) | Q(
        state=WebhookDelivery.State.WAITING, attempts__gt=0
    )
    counted: Mapping[int, int] = dict(
        WebhookDelivery.objects.filter(failing)
        .values_list("webhook")
        .annotate(Count("pk"))
        .values_list("webhook", "pk__count")
    )
    return tuple(
        OverviewItem(
            text=each.name,
            page=reverse("webhook", args=[each.pk]),
            detail=f"{counted[each.pk]:,} deliveries failed",
        )
        for each in webhooks.webhooks(by).filter(pk__in=counted)[:MOST]
    )


def _set_aside(by: Actor) -> Sequence[OverviewItem]:
    """What the gateway refuses, of what the reader may see."""
    found: list[tuple[str, int, str, str]] = []
    if ids := unpublished_objects.ids(unpublished_objects.CONNECTION):
        seen = connections.connections(by).filter(pk__in=ids).order_by("pk")
        found += [
            (unpublished_objects.CONNECTION, pk, name, reverse("connections"))
            for pk, name in seen.values_list("pk", "name")[:MOST]
        ]
    if ids := unpublished_objects.ids(unpublished_objects.COLLECTION):
        shown = collections.collections(by).filter(pk__in=ids).order_by("pk")
        found += [
            (unpublished_objects.COLLECTION, pk, name, reverse("collection", args=[pk]))
            for pk, name in shown.values_list("pk", "name")[:MOST]
        ]
    if ids := unpublished_objects.ids(unpublished_objects.ENDPOINT):
        listed = endpoints.endpoints(by).filter(pk__in=ids).order_by("pk")
        found += [
            (unpublished_objects.ENDPOINT, pk, name, reverse("collection", args=[collection]))
            for pk, name, collection in listed.values_list("pk", "name", "collection_id")[:MOST]
        ]
    return tuple(
        OverviewItem(text=name, page=where, detail=unpublished_objects.reason(kind, pk))
        for kind, pk, name, where in found[:MOST]
    )


def _near_quota(by: Actor, now: int) -> Sequence[OverviewItem]:
    """Consumers at most of their quota, among those that called last; the gateway is asked once."""
    with_quota = Policy.objects.filter(quota_limit__isnull=False).values("pk")
    since = timezone.now() - timedelta(days=1)
    profiles = AccessProfile.objects.visible_to(by).filter(
        active=True, last_used_at__gte=since, policy__in=with_quota
    )
    chosen = list(profiles.select_related("policy").order_by("-last_used_at")[:MOST_COUNTED])
    counted = limits_used.read_many(chosen, now)
    near = [
        (used.used / max(1, used.limit), profile, used)
        for profile in chosen
        for used in counted[profile.pk]
        if used.window == QUOTA
        and used.used is not None
        and used.used * 100 >= used.limit * NEAR_PERCENT
    ]
    near.sort(key=lambda each: (-each[0], each[1].pk))
    return tuple(
        OverviewItem(
            text=profile.name,
            page=reverse("profile", args=[profile.pk]),
            detail=f"{used.used:,} of {used.limit:,} a {used.per}",
        )
        for _, profile, used in near[:MOST]
    )
