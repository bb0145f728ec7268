"""A profile's limits: usage on its page, reset, raise until a moment, and end of a raise."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.access.limits import QUOTA
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles, profile_limits
from ostiary.directory.models import AccessProfile
from ostiary.review import limits_used
from ostiary.review.limits_used import Used


def shown(profile: AccessProfile) -> Mapping[str, Any]:
    """What the profile's page shows of its limits."""
    found = limits_used.read(profile, int(time.time()))
    shown = [_words(each) for each in found]
    return {
        "limits": shown,
        # The quota, or else the longest window.
        "main_limit": next((each for each in shown if each["window"] == QUOTA), shown[-1])
        if shown
        else None,
        "raised_until": profile.raised_until if profile_limits.raised(profile) else None,
    }


def _words(each: Used) -> Mapping[str, Any]:
    return {
        "window": each.window,
        "per": each.per,
        "limit": f"{each.limit:,}",
        "policy": f"{each.policy_limit:,}" if each.limit != each.policy_limit else "",
        "used": "Not known now" if each.used is None else f"{each.used:,}",
        "left": "" if each.remaining is None else f"{each.remaining:,}",
        "ends": datetime.fromtimestamp(each.ends, UTC),
        "since": datetime.fromtimestamp(each.since, UTC) if each.is_reset else None,
        "meter": None if each.used is None else (each.used, each.limit),
    }


@page
@require_POST
def reset(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """Reset one limit, or all of them."""
    name = request.POST.get("window")
    try:
        saved = profile_limits.reset(by=by, profile_id=profile_id, chosen=[name] if name else None)
    except Invalid as error:
        messages.error(request, error.sentences)
        return redirect("profile", profile_id)
    if in_force(request, saved):
        what = f"The limit ({name})" if name else "Every limit"
        messages.success(request, f"{what} of {saved.value.name} starts again at zero.")
    return redirect("profile", profile_id)


@page
@require_http_methods(["GET", "POST"])
def raise_(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """The form with a number for each limit and a moment; and the raise."""
    profile = access_profiles.find(by, profile_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            saved = profile_limits.raise_limits(
                by=by, profile_id=profile_id, wider=_typed(request, profile), until=_until(request)
            )
        except Invalid as error:
            errors = error.errors
        else:
            if in_force(request, saved):
                messages.success(request, f"Limits of {saved.value.name} are raised.")
            return redirect("profile", profile_id)
    wider = profile_limits.raised(profile)
    context = {
        "profile": profile,
        "rows": [
            {
                "name": name,
                "label": "Quota" if name == "quota" else f"Per {name}",
                "policy": f"{limit:,}",
                "given": request.POST.get(f"limit_{name}", str(wider.get(name, ""))),
                "errors": errors.get(f"limits.{name}", []),
            }
            for name, limit in profile_limits.of_policy(profile).items()
        ],
        "until": request.POST.get(
            "until",
            profile.raised_until.strftime("%Y-%m-%dT%H:%M")
            if wider and profile.raised_until
            else "",
        ),
        "errors": errors,
    }
    return render(request, "console/raise_limits.html", context, status=400 if errors else 200)


def _typed(request: HttpRequest, profile: AccessProfile) -> dict[str, object]:
    """The numbers that were typed, by limit; the directory refuses other texts."""
    texts = {
        name: request.POST.get(f"limit_{name}", "").replace(",", "").strip()
        for name in profile_limits.names(profile)
    }
    return {name: number_of(text) or text for name, text in texts.items() if text}


def _until(request: HttpRequest) -> datetime | None:
    try:
        return datetime.fromisoformat(request.POST.get("until", "")).replace(tzinfo=UTC)
    except ValueError:
        return None


@page
@require_POST
def lower(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """Have the policy's limits hold again."""
    saved = profile_limits.end_raise(by=by, profile_id=profile_id)
    if in_force(request, saved):
        messages.success(request, f"The policy's limits hold for {saved.value.name} again.")
    return redirect("profile", profile_id)
