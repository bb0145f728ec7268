"""Policies: how often a profile may call; where each one is used."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from ostiary.access.limits import Interval, Period
from ostiary.console.clients import previews
from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.listing import asked, number_of
from ostiary.console.frame.saving import STALE, in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import etags
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, Stale
from ostiary.directory.clients import access_profiles, policies
from ostiary.directory.models import Policy
from ostiary.directory.projects import projects
from ostiary.review import preview

#: Profiles that are named beside a policy; that there are more is said.
MOST_NAMED = 5


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    """Every policy with the profiles that the viewer may see; the others are nobody's business."""
    wanted = asked(request)
    found = policies.policies(by)
    if wanted.search:
        found = found.filter(name__icontains=wanted.search)
    paging = wanted.paging(found.count())
    rows = []
    for policy in wanted.sliced(found, paging):
        used = access_profiles.named(by).filter(policy=policy)
        some = list(used[: MOST_NAMED + 1])
        rows.append(
            {
                "policy": policy,
                "used": some[:MOST_NAMED],
                "more": len(some) > MOST_NAMED,
                "may_change": policies.may_change(by, policy),
            }
        )
    context = {
        "rows": rows,
        "may_make": by.may_somewhere(Role.EDITOR),
        "may_change": any(row["may_change"] for row in rows),
        "asked": wanted,
        "paging": paging,
        "nouns": "policy,policies",
    }
    return render(request, "console/policies.html", context)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            saved = policies.create(
                by=by, project_id=number_of(request.POST.get("project")), **_given(request)
            )
        except Invalid as error:
            errors = _problems(request, error)
        else:
            if in_force(request, saved):
                messages.success(request, f"The policy {saved.value.name} was made.")
            _warn(request, saved)
            return redirect("policies")
    return _form(request, by, None, request.POST, errors)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, policy_id: int) -> HttpResponse:
    """The form, what it would have changed, and the save; a change that calls do not feel is saved."""
    policy = policies.find(by, policy_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST" and not previews.going_back(request):
        try:
            return _changed(request, by, policy)
        except Invalid as error:
            errors = _problems(request, error)
        except Stale:
            errors = STALE
            policy = policies.find(by, policy_id)
    watched = request.GET.get("watched", "1" if policy.watched else "")
    given = request.POST or {
        "name": policy.name,
        "description": policy.description,
        **{f"rate_{rate.interval}": str(rate.limit) for rate in policies.rate_limits(policy)},
        "quota": str(policy.quota_limit or ""),
        "quota_interval": policy.quota_interval,
        "watched": "1" if watched == "1" else "",
        "legacy_headers": "1" if policy.legacy_headers else "",
    }
    return _form(request, by, policy, given, errors)


def _changed(request: HttpRequest, by: Actor, policy: Policy) -> HttpResponse:
    given = _given(request)
    etags.check(policy, request.POST.get("read"))
    if not previews.confirmed(request):
        found = preview.of_policy(by=by, policy_id=policy.pk, given=given)
        if not found.idle:
            return previews.shown(request, found, name=policy.name, cancel=reverse("policies"))
    saved = policies.change(by=by, policy_id=policy.pk, if_match=request.POST.get("read"), **given)
    if in_force(request, saved):
        messages.success(request, f"The policy {saved.value.name} was changed.")
    _warn(request, saved)
    return redirect("policies")


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, policy_id: int) -> HttpResponse:
    policy = policies.find(by, policy_id)
    return by_name(
        request,
        lambda: policies.delete(by=by, policy_id=policy_id),
        what="policy",
        name=policy.name,
        consequence="It can be deleted when no access profile has it.",
        back=reverse("policies"),
        after=reverse("policies"),
    )


def _warn(request: HttpRequest, saved: Saved[Policy]) -> None:
    for warning in saved.warnings:
        messages.warning(request, f"{saved.value.name}: {warning}.")


def _form(
    request: HttpRequest,
    by: Actor,
    policy: Policy | None,
    given: Mapping[str, str],
    errors: Mapping[str, list[str]],
) -> HttpResponse:
    context = {
        "policy": policy,
        "admin": by.admin,
        "projects": [] if policy else projects.editable(by).order_by("name"),
        # Back from the preview the form is as old as it was when it was first read.
        "read": (not errors and given.get("read")) or (etags.etag(policy) if policy else ""),
        "given": given,
        "errors": errors,
        "rates": [
            {
                "interval": interval.value,
                "limit": given.get(f"rate_{interval}", ""),
                "problems": errors.get(f"rate_{interval}"),
            }
            for interval in Interval
        ],
        "periods": [period.value for period in Period],
    }
    return render(request, "console/policy_form.html", context, status=400 if errors else 200)


def _given(request: HttpRequest) -> dict[str, Any]:
    return {
        "name": request.POST.get("name", ""),
        "description": request.POST.get("description", ""),
        "rate_limits": [
            {"limit": limit, "interval": interval.value}
            for interval in Interval
            if (limit := _number(request, f"rate_{interval}")) is not None
        ],
        "usage_quota": _quota(request),
        "watched": request.POST.get("watched") == "1",
        "legacy_headers": request.POST.get("legacy_headers") == "1",
    }


def _quota(request: HttpRequest) -> Mapping[str, object] | None:
    limit = _number(request, "quota")
    if limit is None:
        return None
    return {"limit": limit, "interval": request.POST.get("quota_interval", "")}


def _number(request: HttpRequest, name: str) -> int | str | None:
    """An empty number is no limit; what is no number is for the directory to refuse."""
    text = request.POST.get(name, "").strip().replace(",", "")
    if not text:
        return None
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else text


def _problems(request: HttpRequest, error: Invalid) -> Mapping[str, list[str]]:
    """Sentences by the names of the form's fields; a rate limit is named by its place in the list."""
    intervals = [i for i in Interval if _number(request, f"rate_{i}") is not None]
    shown = {f"rate_limits.{place}": f"rate_{i}" for place, i in enumerate(intervals)}
    shown["usage_quota"] = "quota"
    found: dict[str, list[str]] = {}
    for name, said in error.errors.items():
        place = name.removesuffix(".limit").removesuffix(".interval")
        found.setdefault(shown.get(place, place), []).extend(said)
    return found
