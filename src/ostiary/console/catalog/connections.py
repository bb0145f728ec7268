"""Connections: where proxy collections send their calls, and what Ostiary adds to them."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.listing import asked, number_of
from ostiary.console.frame.saving import STALE, in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import connections, upstream_url
from ostiary.directory.changes import etags
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, Stale
from ostiary.directory.models import Connection
from ostiary.directory.projects import projects
from ostiary.directory.workspace import setup

#: Ways to authenticate at an upstream that a connection can have.
AUTH = {
    Connection.Auth.NONE: "Nothing",
    Connection.Auth.HEADER: "A header",
    Connection.Auth.QUERY: "A query parameter",
    Connection.Auth.BASIC: "Basic: user name and password",
    Connection.Auth.OAUTH2: "OAuth 2.0: a token for client id and secret",
}

#: How calls are spread over several servers.
BALANCING = {
    Connection.Balancing.ROUND_ROBIN: "In turn, by weight",
    Connection.Balancing.LEAST_CONNECTIONS: "Fewest open calls for its weight",
}
HTTP_VERSIONS = {
    Connection.HttpVersion.HTTP_1_1: "HTTP/1.1",
    Connection.HttpVersion.HTTP_2: "HTTP/2",
}
#: How an upstream can be told the address that consumers call.
PUBLIC_ADDRESS = {
    Connection.PublicAddress.X_FORWARDED: "X-Forwarded-Proto, -Host, -Port and -Prefix",
    Connection.PublicAddress.FORWARDED: "Forwarded (RFC 7239) and X-Forwarded-Prefix",
    Connection.PublicAddress.HOST: "The public host as Host, and X-Forwarded headers",
    Connection.PublicAddress.NONE: "Nothing",
}


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    wanted = asked(request)
    found = connections.connections(by).select_related("project")
    if wanted.search:
        found = found.filter(name__icontains=wanted.search)
    if wanted.project_id is not None:
        found = found.filter(project_id=wanted.project_id)
    paging = wanted.paging(found.count())
    context = {
        "connections": wanted.sliced(found.prefetch_related("collections"), paging),
        "projects": projects.projects(by).order_by("name"),
        "asked": wanted,
        "may_add": by.may_somewhere(Role.EDITOR),
        "changeable": {p.pk for p in projects.projects(by) if by.may(Role.EDITOR, p.pk)},
        "paging": paging,
        "nouns": "connection,connections",
    }
    return render(request, "console/connections.html", context)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            saved = connections.create(
                by=by,
                name=request.POST.get("name", ""),
                project_id=number_of(request.POST.get("project")),
                given=_given(request),
            )
        except Invalid as error:
            errors = error.errors
        else:
            return _saved(request, saved, "made")
    given = request.POST or {
        "verify_tls": "1",
        "timeout_seconds": "30",
        "stream_timeout_seconds": "3600",
        "public_address": Connection.PublicAddress.X_FORWARDED,
        "translate_urls": "1",
    }
    return _form(request, by, None, given, errors)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, connection_id: int) -> HttpResponse:
    connection = connections.find(by, connection_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            saved = connections.change(
                by=by,
                connection_id=connection_id,
                name=request.POST.get("name", ""),
                given=_given(request),
                if_match=request.POST.get("read"),
            )
        except Invalid as error:
            errors = error.errors
        except Stale:
            errors = STALE
            connection = connections.find(by, connection_id)
        else:
            return _saved(request, saved, "changed")
    given: Mapping[str, Any] = request.POST or {
        "name": connection.name,
        "base_url": "\n".join(connection.shown_urls),
        "auth_type": connection.auth_type,
        "auth_name": connection.auth_name,
        "token_url": connection.token_url,
        "scope": connection.scope,
        "verify_tls": "1" if connection.verify_tls else "",
        "ca_pem": connection.ca_pem,
        "timeout_seconds": str(connection.timeout_seconds),
        "health_path": connection.health_path,
        "stream_timeout_seconds": str(connection.stream_timeout_seconds),
        "balancing": connection.balancing,
        "weights": " ".join(map(str, connection.weights)),
        "retries": "" if connection.retries is None else str(connection.retries),
        "retry_writes": "1" if connection.retry_writes else "",
        "http_version": connection.http_version,
        "public_address": connection.public_address,
        "translate_urls": "1" if connection.translate_urls else "",
    }
    return _form(request, by, connection, given, errors)


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, connection_id: int) -> HttpResponse:
    connection = connections.find(by, connection_id)
    return by_name(
        request,
        lambda: connections.delete(by=by, connection_id=connection_id),
        what="connection",
        name=connection.name,
        consequence="It can be deleted when no API collection has it.",
        back=reverse("connections"),
        after=reverse("connections"),
    )


@page
@require_POST
def help_url(request: HttpRequest, by: Actor) -> HttpResponse:
    """What base URLs mean, while they are typed."""
    texts = request.POST.get("base_url", "").split()[: connections.MOST_URLS]
    return render(request, "console/help_url.html", {"read": [_read(text) for text in texts]})


def _read(text: str) -> dict[str, object]:
    try:
        url = upstream_url.parse(text, connections.own_listeners())
    except upstream_url.BadUrl as error:
        return {"text": text[:200], "problem": str(error)}
    return {"text": text[:200], "url": url}


def _number(request: HttpRequest, name: str) -> object:
    """A number of a form, or the text that is none, for the use case to refuse."""
    text = request.POST.get(name, "")
    number = number_of(text)
    return text if number is None else number


def _given(request: HttpRequest) -> connections.Input:
    return connections.Input(
        base_urls=request.POST.get("base_url", "").split(),
        auth_type=request.POST.get("auth_type", ""),
        auth_name=request.POST.get("auth_name", ""),
        auth_secret=request.POST.get("auth_secret") or None,
        token_url=request.POST.get("token_url", ""),
        scope=request.POST.get("scope", ""),
        verify_tls=request.POST.get("verify_tls") == "1",
        ca_pem=request.POST.get("ca_pem", ""),
        timeout_seconds=_number(request, "timeout_seconds"),
        health_path=request.POST.get("health_path", ""),
        stream_timeout_seconds=_number(request, "stream_timeout_seconds"),
        balancing=request.POST.get("balancing", ""),
        weights=[
            text if number_of(text) is None else number_of(text)
            for text in request.POST.get("weights", "").split()
        ],
        retries=_number(request, "retries") if request.POST.get("retries") else None,
        retry_writes=request.POST.get("retry_writes") == "1",
        http_version=request.POST.get("http_version", "1.1"),
        public_address=request.POST.get("public_address", ""),
        translate_urls=request.POST.get("translate_urls") == "1",
    )


def _saved(request: HttpRequest, saved: Saved[Connection], done: str) -> HttpResponse:
    if in_force(request, saved):
        messages.success(request, f"The connection {saved.value.name} was {done}.")
    for warning in saved.warnings:
        messages.warning(request, warning)
    return redirect("connections")


def _form(
    request: HttpRequest,
    by: Actor,
    connection: Connection | None,
    given: Mapping[str, Any],
    errors: Mapping[str, list[str]],
) -> HttpResponse:
    context = {
        "connection": connection,
        "read": etags.etag(connection) if connection else "",
        "given": given,
        "errors": errors,
        "auth": AUTH,
        "balancings": BALANCING,
        "http_versions": HTTP_VERSIONS,
        "public_addresses": PUBLIC_ADDRESS,
        "projects": projects.projects(by).order_by("name"),
        "home": setup.home().pk,
    }
    return render(request, "console/connection_form.html", context, status=400 if errors else 200)
