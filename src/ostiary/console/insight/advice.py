"""Advice: access that could be narrower, with the evidence and a change to preview."""

from itertools import groupby
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.clients import policies
from ostiary.review import advice
from ostiary.review.advice import Advice, AdviceKind


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    found = advice.advised(by=by)
    groups = [
        {
            "title": advice.TITLES[kind],
            "kind": kind,
            "rows": [_row(by, each) for each in pieces],
            "more": kind in found.more,
            "all": _all(kind),
        }
        for kind, pieces in groupby(found.advice, key=lambda each: each.kind)
    ]
    return render(request, "console/advice.html", {"groups": groups, "days": advice.DAYS})


def _row(by: Actor, each: Advice) -> dict[str, object]:
    if _may_change(by, each):
        return {"advice": each, "link": link(each), "verb": verb(each)}
    to = (
        reverse("profile", args=[each.profile.pk])
        if each.profile is not None
        else reverse("policies")
    )
    return {"advice": each, "link": to, "verb": "Look at it"}


def _may_change(by: Actor, each: Advice) -> bool:
    if each.policy is not None:
        return policies.may_change(by, each.policy)
    return each.profile is not None and by.may(Role.EDITOR, each.profile.client.project_id)


def _all(kind: AdviceKind) -> str:
    """The list that has all of a kind, where one filter tells them."""
    match kind:
        case AdviceKind.UNUSED:
            return f"{reverse('credentials')}?{urlencode({'state': 'working', 'used': 'never'})}"
        case AdviceKind.OLD:
            return f"{reverse('credentials')}?{urlencode({'state': 'active', 'age': '365'})}"
        case AdviceKind.OVERLAP_BUSY:
            return f"{reverse('credentials')}?{urlencode({'state': 'overlap', 'used': 'day'})}"
        case AdviceKind.UNLIMITED:
            return f"{reverse('access-profiles')}?{urlencode({'policy': 'none'})}"
        case AdviceKind.ENFORCEABLE:
            return f"{reverse('access-profiles')}?{urlencode({'state': 'report-only'})}"
        case _:
            return ""


def link(each: Advice) -> str:
    """Where the change is made: a form with what is proposed filled in, where fields can mend it."""
    if each.policy is not None:
        return reverse("edit-policy", args=[each.policy.pk]) + "?watched="
    assert each.profile is not None  # noqa: S101 - advice is on a profile or a policy
    if each.kind is AdviceKind.OLD:
        return reverse("refresh-profile", args=[each.profile.pk])
    if each.kind in {AdviceKind.UNUSED, AdviceKind.OVERLAP_BUSY}:
        return reverse("client", args=[each.profile.client_id])
    return f"{reverse('edit-profile', args=[each.profile.pk])}{_proposed(each)}"


def _proposed(each: Advice) -> str:
    match each.change:
        case {"ip_allow_list": list(entries)}:
            return "?" + urlencode({"allowed_ips": "\n".join(entries)})
        case {"api_collection_ids": list(numbers)}:
            return "?" + urlencode([("collections", number) for number in numbers])
        case {"ip_watch_only": False}:
            return "?addresses_watched="
        case _:
            return ""


def verb(each: Advice) -> str:
    match each.kind:
        case AdviceKind.OLD:
            return "Refresh it"
        case AdviceKind.UNUSED | AdviceKind.OVERLAP_BUSY:
            return "Look at it"
        case AdviceKind.UNLIMITED:
            return "Choose a policy"
        case AdviceKind.ENFORCEABLE:
            return "Enforce it"
        case _:
            return "See the change"
