"""**API platform > Clients**: the list, a new one, and the client's page."""

import time

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.console.clients import profile_table
from ostiary.console.frame import live, tables
from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.forms import filled, initial, project_named, sent
from ostiary.console.frame.questions import (
    ConsequenceQuestion,
    counted,
    made_at,
    say_done,
    unanswered,
)
from ostiary.console.frame.saving import in_force
from ostiary.console.frame.table_values import daily_requests
from ostiary.console.sign_in.viewer import page
from ostiary.directory import states
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import etags
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import access_profiles, client_defaults, clients, logo
from ostiary.directory.projects import projects
from ostiary.directory.workspace import setup
from ostiary.review import offboarding_reports
from ostiary.usage import queries


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    def save() -> HttpResponse:
        client = clients.create(by=by, given=_given(request), logo_file=_logo(request))
        messages.success(request, f"The client {client.name} was added.")
        return redirect("client", client.pk)

    answer, errors = sent(request, save)
    context = {
        "errors": errors,
        "projects": projects.projects(by).order_by("name"),
        "home": setup.home().pk,
        "given": request.POST,
    }
    return answer or render(
        request, "console/new_client.html", context, status=400 if errors else 200
    )


@page
@require_safe
def show(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    client = clients.find(by, client_id)
    context: dict[str, object] = {
        **tables.part(request, by, profile_table.OF_CLIENT, {"client": str(client_id)}),
        "client": client,
        "defaults": client_defaults.views(by, [client])[client_id],
        "may_change": by.may(Role.EDITOR, client.project_id),
        "usage_query": f"client={client_id}",
    }
    also = [states.of(client).text, live.minute()]
    return live.render(request, "console/client.html", context, *also)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    def save() -> HttpResponse:
        changed = clients.change(
            by=by,
            client_id=client_id,
            given=_given(request),
            logo_file=_logo(request),
            without_logo=bool(request.POST.get("no_logo")),
            if_match=request.POST.get("read"),
        )
        messages.success(request, f"The client {changed.name} was changed.")
        return redirect("client", client_id)

    clients.find(by, client_id)
    answer, errors = sent(request, save)
    client = clients.find(by, client_id)
    given = request.POST or {
        **initial(clients.ClientInput, client),
        "project": str(client.project_id),
    }
    context = {
        "client": client,
        "read": etags.etag(client),
        "errors": errors,
        "projects": projects.projects(by).order_by("name"),
        "given": given,
    }
    return answer or render(
        request, "console/new_client.html", context, status=400 if errors else 200
    )


def _given(request: HttpRequest) -> clients.ClientInput:
    return filled(clients.ClientInput, request.POST, **project_named(request.POST))


def _logo(request: HttpRequest) -> bytes | None:
    """The file that was chosen as logo, if one was."""
    upload = request.FILES.get("logo")
    return bytes(upload.read(logo.LARGEST + 1)) if upload else None


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    client = clients.find(by, client_id)
    return by_name(
        request,
        lambda: clients.delete(by=by, client_id=client_id),
        what="client",
        name=client.name,
        consequence="Its access profiles and their credentials are deleted with it, and stop working at once.",
        back=reverse("client", args=[client_id]),
        after=reverse("clients"),
        takes=_taken(by, client_id),
        instead=reverse("client", args=[client_id]) if client.active else "",
        restorable=True,
    )


def _taken(by: Actor, client_id: int) -> list[str]:
    """What a deletion takes along, in words."""
    report = offboarding_reports.of_client(by, client_id)
    return [
        f"{counted(len(report.profiles), 'access profile')}, {report.active:,} of them active",
        counted(report.working, "working credential"),
        f"They made {counted(report.calls, 'request')} in the last {offboarding_reports.DAYS} days",
    ]


@page
@require_POST
def switch(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    active = request.POST.get("active") == "1"
    back = reverse("client", args=[client_id])
    if not active and (answer := unanswered(request, lambda: _off(by, client_id), back=back)):
        return answer
    saved = clients.switch(by=by, client_id=client_id, active=active)
    if in_force(request, saved):
        state = "active again" if active else "inactive: none of its profiles can call now"
        undo = (request.path, "active", "0" if active else "1")
        say_done(request, f"{saved.value.name} is {state}.", undo=undo)
    return redirect(made_at(request, back))


def _off(by: Actor, client_id: int) -> ConsequenceQuestion:
    client = clients.find(by, client_id)
    require(by, Role.EDITOR, client.project_id)
    active = access_profiles.profiles(by, client_id).filter(active=True).count()
    days = daily_requests(by, queries.By.CLIENT, [client_id], int(time.time()))
    calls = sum(days[client_id])
    return ConsequenceQuestion(
        title=f"Deactivate {client.name}?",
        sentences=(
            (
                f"{counted(active, 'active access profile')} can call no API then. Requests are refused"
                " at once, and until you activate it again."
            ),
            f"It made {counted(calls, 'request')} in the last 7 days.",
        ),
        verb="Deactivate",
    )


@page
@require_safe
def logo_file(
    request: HttpRequest, by: Actor, client_id: int, version: int, size: int
) -> HttpResponse:
    """The logo, for who may see the client; its address changes with it, so it may be kept."""
    client = clients.find(by, client_id)
    content = {logo.SMALL: client.logo_small, logo.MEDIUM: client.logo_medium}.get(size)
    if not content or version != client.logo_version:
        raise Http404
    response = HttpResponse(bytes(content), content_type="image/png")
    response["Cache-Control"] = "private, max-age=31536000, immutable"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
