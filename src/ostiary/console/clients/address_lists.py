"""Address lists, which profiles of a project share: listed with their users, made, changed, deleted."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.forms import Errors, done, filled, initial, project_named, sent
from ostiary.console.frame.listing import listed, users
from ostiary.console.frame.questions import counted
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import etags
from ostiary.directory.clients import address_lists
from ostiary.directory.models import AddressList
from ostiary.directory.projects import projects

#: Profiles that a list's form names.
MOST_TOUCHED = 100


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    found, context = listed(
        request,
        by,
        lambda wanted: wanted.among(address_lists.address_lists(by).select_related("project")),
        nouns="address list,address lists",
    )
    context["rows"] = [{"list": each, **users(address_lists.users(by, each.pk))} for each in found]
    return render(request, "console/address_lists.html", context)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    def save() -> HttpResponse:
        saved = address_lists.create(by=by, given=_given(request))
        return done(request, saved, noun="address list", verb="made", to="address-lists")

    answer, errors = sent(request, save)
    return answer or _form(request, by, None, request.POST, errors)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, list_id: int) -> HttpResponse:
    def save() -> HttpResponse:
        saved = address_lists.change(
            by=by, list_id=list_id, given=_given(request), if_match=request.POST.get("read")
        )
        return done(request, saved, noun="address list", verb="changed", to="address-lists")

    found = address_lists.find(by, list_id)
    answer, errors = sent(request, save)
    given = request.POST or {
        **initial(address_lists.AddressListInput, found),
        "entries": found.text,
    }
    return answer or _form(request, by, address_lists.find(by, list_id), given, errors)


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, list_id: int) -> HttpResponse:
    found = address_lists.find(by, list_id)
    return by_name(
        request,
        lambda: address_lists.delete(by=by, list_id=list_id),
        what="address list",
        name=found.name,
        consequence="It can be deleted when no access profile uses it.",
        takes=[counted(found.entries, "address or range", "addresses and ranges")],
        used_by=_used_by(found),
        back=reverse("address-lists"),
        after=reverse("address-lists"),
        restorable=True,
    )


def _used_by(found: AddressList) -> list[tuple[str, str]]:
    """Who uses the list: how many profiles, with the list of them."""
    using = found.allowing.values("pk").union(found.denying.values("pk")).count()
    page = f"{reverse('access-profiles')}?list={found.pk}"
    return [(counted(using, "access profile"), page)] if using else []


def _given(request: HttpRequest) -> address_lists.AddressListInput:
    return filled(
        address_lists.AddressListInput,
        request.POST,
        **project_named(request.POST),
        text=request.POST.get("entries", ""),
    )


def _form(
    request: HttpRequest,
    by: Actor,
    found: AddressList | None,
    given: Mapping[str, object],
    errors: Errors,
) -> HttpResponse:
    context = {
        "list": found,
        "read": etags.etag(found) if found else "",
        "given": given,
        "errors": errors,
        "may_change": found is None or by.may(Role.EDITOR, found.project_id),
        "projects": [p for p in projects.projects(by) if by.may(Role.EDITOR, p.pk)],
        **_users(by, found),
    }
    return render(request, "console/address_list_form.html", context, status=400 if errors else 200)


def _users(by: Actor, found: AddressList | None) -> dict[str, object]:
    """The first profiles that a change touches, and whether there are more."""
    first = list(address_lists.users(by, found.pk)[: MOST_TOUCHED + 1]) if found else []
    return {"used": first[:MOST_TOUCHED], "more": len(first) > MOST_TOUCHED}
