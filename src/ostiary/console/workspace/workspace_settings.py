"""The workspace: members, management tokens, audit log, settings. Most of it is for admins."""

import csv
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary import settings as environment
from ostiary.console.frame.listing import PER_PAGE, Paging, asked, lines_of, number_of
from ostiary.console.frame.saving import STALE, first_time, in_force
from ostiary.console.sign_in import steps
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log as audit
from ostiary.directory.changes import etags
from ostiary.directory.changes.errors import Invalid, Refused, Stale
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import AuditEvent
from ostiary.directory.people import management_tokens, members, second_factors, single_sign_on
from ostiary.directory.projects import projects
from ostiary.directory.workspace import public_urls, workspace_settings
from ostiary.identity import places

MOST_LINES = 100_000
#: Orders of the members and of the management tokens.
MEMBER_ORDERS = {
    "email": ("E-mail, A to Z", ("email",)),
    "-created": ("Newest first", ("-pk",)),
    "-last": ("Last sign-in, newest first", ("-last_login", "email")),
}
TOKEN_ORDERS = {
    "-created": ("Newest first", ("-pk",)),
    "name": ("Name, A to Z", ("name", "pk")),
}
#: Settings that say what is kept for how long, in the words of the form.
KEPT = {
    "usage_day_days": "Days of usage by day",
    "usage_hour_days": "Days of usage by hour",
    "usage_minute_days": "Days of usage by minute",
    "request_log_days": "Days of request log",
    "request_log_rows": "Lines of request log, at most",
    "audit_log_days": "Days of audit log",
}


@page
@require_http_methods(["GET", "POST"])
def member_list(request: HttpRequest, by: Actor) -> HttpResponse:
    """The members; a new one gets a sign-in link, shown this once."""
    require_admin(by)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST" and first_time(request):
        try:
            member = members.create(
                by=by,
                email=request.POST.get("email", ""),
                name=request.POST.get("name", ""),
                admin=request.POST.get("admin") == "1",
            )
        except Invalid as error:
            errors = error.errors
        else:
            return _link(request, by, member.pk)
    wanted = asked(request, MEMBER_ORDERS)
    found = members.members(by, search=wanted.search)
    paging = wanted.paging(found.count())
    context = {
        "members": wanted.sliced(
            found.prefetch_related("memberships__project", "provider_links"), paging
        ),
        "asked": wanted,
        "paging": paging,
        "nouns": "member,members",
        "projects": projects.projects(by).order_by("name"),
        "roles": [role.value for role in Role],
        "errors": errors,
        "given": request.POST if errors else {},
        "once": secrets.token_urlsafe(16),
    }
    return render(request, "console/members.html", context, status=400 if errors else 200)


@page
@require_POST
def member_link(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    require_admin(by)
    if member_id == by.id and not steps.is_confirmed(request):
        # With a link one sets a new password without the present one.
        return steps.to_confirm(reverse("members"))
    if not first_time(request):
        return redirect("members")
    return _link(request, by, member_id)


@page
@require_POST
def reset_second_factor(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    member = members.find(by, member_id)
    second_factors.reset(by=by, member=member)
    messages.success(request, f"{member.email} has no second factor any more, and is signed out.")
    return redirect("members")


@page
@require_POST
def unlink_member(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    member = members.find(by, member_id)
    single_sign_on.unlink_all(by=by, member=member)
    messages.success(request, f"{member.email} is linked to no provider any more.")
    return redirect("members")


def _link(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    member = members.find(by, member_id)
    secret = members.create_link(by=by, member=member)
    context = {
        "title": f"A sign-in link for {member.email}",
        "label": "Sign-in link",
        "value": f"{public_urls.console_url()}/sign-in/link#{secret.reveal()}",
        "text": "It works once, for 24 hours. Send it to that person alone, by a way that you trust.",
        "back": "members",
    }
    return render(request, "console/shown_once.html", context)


@page
@require_POST
def change_member(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    require_admin(by)
    flags = {
        name: request.POST[name] == "1" for name in ("admin", "active") if name in request.POST
    }
    try:
        if "project" in request.POST:
            project = projects.find(by, number_of(request.POST["project"]) or 0)
            role = request.POST.get("role") or None
            members.set_role(by=by, member_id=member_id, project_id=project.pk, role=role)
        else:
            members.change(by=by, member_id=member_id, **flags)
    except Invalid as error:
        messages.error(request, "; ".join(said for all_ in error.errors.values() for said in all_))
    except Refused as error:
        messages.error(request, f"{error}.")
    else:
        messages.success(request, "The member was changed.")
    return redirect("members")


@page
@require_http_methods(["GET", "POST"])
def token_list(request: HttpRequest, by: Actor) -> HttpResponse:
    """Management tokens; a new one is shown this once."""
    require_admin(by)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST" and first_time(request):
        admin = request.POST.get("role") == "admin"
        try:
            issued = management_tokens.create(
                by=by,
                name=request.POST.get("name", ""),
                admin=admin,
                role=None if admin else request.POST.get("role"),
                everywhere=not admin and request.POST.get("everywhere") == "1",
                project_ids=[] if admin else _ids(request, "projects"),
            )
        except Invalid as error:
            errors = error.errors
        else:
            shown = {
                "title": f"The management token {issued.token.name} was made",
                "label": "Management token",
                "value": issued.secret.reveal(),
                "text": "It is for the management API, with the role that you chose.",
                "back": "tokens",
            }
            return render(request, "console/shown_once.html", shown)
    wanted = asked(request, TOKEN_ORDERS)
    found = management_tokens.management_tokens(by, search=wanted.search)
    paging = wanted.paging(found.count())
    context = {
        "tokens": wanted.sliced(found, paging),
        "asked": wanted,
        "paging": paging,
        "nouns": "token,tokens",
        "chosen": request.POST.getlist("projects") if errors else [],
        "projects": projects.projects(by).order_by("name"),
        "roles": [role.value for role in Role],
        "errors": errors,
        "given": request.POST if errors else {},
        "once": secrets.token_urlsafe(16),
    }
    return render(request, "console/tokens.html", context, status=400 if errors else 200)


def _ids(request: HttpRequest, name: str) -> list[int]:
    """The ids that are ticked; what is none is 0, which nothing has."""
    return [number_of(text) or 0 for text in request.POST.getlist(name)]


@page
@require_POST
def revoke_token(request: HttpRequest, by: Actor, token_id: int) -> HttpResponse:
    made_with = len(management_tokens.revoke(by=by, token_id=token_id)) - 1
    also = f", and {made_with} that {'was' if made_with == 1 else 'were'} made with it"
    messages.success(request, f"The management token was revoked{also if made_with > 0 else ''}.")
    return redirect("tokens")


@page
@require_safe
def audit_log(request: HttpRequest, by: Actor) -> HttpResponse:
    """Who did what; `format=csv` sends all that the filter finds."""
    search = request.GET.get("search", "").strip()[:100]
    found = audit.matching(by, search=search)
    if request.GET.get("format") == "csv":
        lines = _lines(found.iterator(chunk_size=500))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="audit-log.csv"'
        return response  # type: ignore[return-value]
    paging = Paging(
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


class _Echo:
    """A file that gives back what is written, for a writer whose lines are sent as they come."""

    def write(self, text: str) -> str:
        return text


def _lines(events: Iterator[AuditEvent]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    names = ("at", "actor", "action", "kind", "id", "name", "project", "address", "before", "after")
    yield writer.writerow(names)
    for number, event in enumerate(events):
        if number >= MOST_LINES:
            return
        row = (
            event.at.isoformat(), event.actor_name, event.action, event.target_kind,
            event.target_id, event.target_name, event.project_id, event.address, event.before,
            event.after,
        )  # fmt: skip
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


@page
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, by: Actor) -> HttpResponse:
    require_admin(by)
    errors: Mapping[str, list[str]] = {}
    now = workspace_settings.read()
    given: Mapping[str, Any] = {
        "name": now.name,
        "gateway_url": now.gateway_url,
        "console_url": now.console_url,
        "trusted_proxies": "\n".join(now.trusted_proxies),
        "fetch_hosts": "\n".join(now.fetch_hosts),
        "credential_places": "\n".join(now.credential_places),
        **{name: getattr(now, name) for name in KEPT},
        "require_second_factor": now.require_second_factor,
    }
    if request.method == "POST":
        given = request.POST
        try:
            saved = workspace_settings.change(
                by=by, values=_settings(request), if_match=request.POST.get("read")
            )
        except Invalid as error:
            errors = error.errors
        except Stale:
            errors = STALE
            now = workspace_settings.read()
        else:
            if in_force(request, saved):
                messages.success(request, "The settings were saved.")
            return redirect("settings")
    kept = [(name, label, given.get(name), errors.get(name)) for name, label in KEPT.items()]
    context = {
        "given": given,
        "errors": errors,
        "kept": kept,
        "read": etags.of_value(now),
        "url_warning": places.URL_WARNING if places.in_urls(now.credential_places) else "",
        "fixed_console_url": environment.current().console_url,
    }
    return render(request, "console/settings.html", context, status=400 if errors else 200)


def _settings(request: HttpRequest) -> dict[str, object]:
    values: dict[str, object] = {
        name: request.POST.get(name, "").strip() for name in ("name", "gateway_url", "console_url")
    }
    for name in ("trusted_proxies", "fetch_hosts"):
        values[name] = request.POST.get(name, "").replace(",", " ").split()
    if "credential_places" in request.POST:
        values["credential_places"] = lines_of(request.POST["credential_places"])
    values["require_second_factor"] = request.POST.get("require_second_factor") == "1"
    for name in KEPT:
        if name in request.POST:
            given = request.POST[name].strip()
            values[name] = number_of(given) if number_of(given) is not None else given
    return values
