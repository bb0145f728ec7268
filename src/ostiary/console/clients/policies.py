"""Policies: how often a profile may call; where each one is used."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from ostiary.access.limits import Interval, Period
from ostiary.console.clients import previews
from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.forms import (
    Errors,
    below,
    done,
    filled,
    initial,
    number,
    project_named,
    sent,
)
from ostiary.console.frame.listing import listed, users
from ostiary.console.frame.questions import counted
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes import etags
from ostiary.directory.clients import access_profiles, policies
from ostiary.directory.models import Policy
from ostiary.directory.projects import projects
from ostiary.review import preview


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    """Every policy with the profiles that the viewer may see; the others are nobody's business."""
    found, context = listed(
        request, by, lambda wanted: wanted.among(policies.policies(by)), nouns="policy,policies"
    )
    named = access_profiles.named(by)
    rows = [
        {
            "policy": policy,
            "may_change": policies.may_change(by, policy),
            **users(named.filter(policy=policy)),
        }
        for policy in found
    ]
    context |= {"rows": rows, "may_change": any(row["may_change"] for row in rows)}
    return render(request, "console/policies.html", context)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    def save() -> HttpResponse:
        saved = policies.create(by=by, given=_given(request))
        return done(request, saved, noun="policy", verb="made", to="policies")

    answer, errors = sent(request, save)
    return answer or _form(request, by, None, request.POST, errors)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, policy_id: int) -> HttpResponse:
    """Form, preview and save; a change without effect on calls is saved at once."""
    policy = policies.find(by, policy_id)
    saving = not previews.going_back(request)
    answer, errors = sent(request, lambda: _changed(request, by, policy), saving=saving)
    watched = request.GET.get("watched", "1" if policy.watched else "")
    given = request.POST or {
        **initial(policies.PolicyInput, policy),
        **{f"rate_{rate.interval}": str(rate.limit) for rate in policies.rate_limits(policy)},
        "quota": str(policy.quota_limit or ""),
        "quota_interval": policy.quota_interval,
        "watched": "1" if watched == "1" else "",
    }
    return answer or _form(request, by, policies.find(by, policy_id), given, errors)


def _changed(request: HttpRequest, by: Actor, policy: Policy) -> HttpResponse:
    given = _given(request)
    etags.check(policy, request.POST.get("read"))
    if not previews.confirmed(request):
        found = preview.of_policy(by=by, policy_id=policy.pk, given=given)
        if not found.idle:
            return previews.shown(request, found, name=policy.name, cancel=reverse("policies"))
    saved = policies.change(
        by=by, policy_id=policy.pk, given=given, if_match=request.POST.get("read")
    )
    return done(request, saved, noun="policy", verb="changed", to="policies")


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, policy_id: int) -> HttpResponse:
    policy = policies.find(by, policy_id)
    return by_name(
        request,
        lambda: policies.delete(by=by, policy_id=policy_id),
        what="policy",
        name=policy.name,
        consequence="It can be deleted when no access profile and no client's defaults use it.",
        used_by=_users(policy),
        back=reverse("policies"),
        after=reverse("policies"),
        restorable=True,
    )


def _users(policy: Policy) -> list[tuple[str, str]]:
    """Who uses the policy: how many profiles, with the list of them, and the defaults of how many clients."""
    profiles, defaults = policy.profiles.count(), policy.defaults.count()
    page = f"{reverse('access-profiles')}?policy={policy.pk}"
    found = [(counted(profiles, "access profile"), page)] if profiles else []
    return [*found, (f"The defaults of {counted(defaults, 'client')}", "")] if defaults else found


def _form(
    request: HttpRequest,
    by: Actor,
    policy: Policy | None,
    given: Mapping[str, object],
    errors: Errors,
) -> HttpResponse:
    limited = _limited(given)
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
                "problems": below(errors, f"rate_limits.{limited.index(interval)}")
                if interval in limited
                else [],
            }
            for interval in Interval
        ],
        "quota_problems": below(errors, "usage_quota"),
        "periods": [period.value for period in Period],
    }
    return render(request, "console/policy_form.html", context, status=400 if errors else 200)


def _given(request: HttpRequest) -> policies.PolicyInput:
    quota = number(request.POST.get("quota", ""))
    interval = request.POST.get("quota_interval", "")
    return filled(
        policies.PolicyInput,
        request.POST,
        **project_named(request.POST),
        rate_limits=[
            {"limit": number(request.POST[f"rate_{interval}"]), "interval": interval}
            for interval in _limited(request.POST)
        ],
        usage_quota=None if quota is None else {"limit": quota, "interval": interval},
    )


def _limited(given: Mapping[str, object]) -> list[Interval]:
    """The intervals for which a form has a limit, in the order of the input's list."""
    return [interval for interval in Interval if str(given.get(f"rate_{interval}", "")).strip()]
