"""Connections: where proxy collections send their calls, and what Ostiary adds to them."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.forms import Errors, done, filled, initial, project_named, sent
from ostiary.console.frame.listing import listed
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import connections, upstream_url
from ostiary.directory.changes import etags
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
#: Ways to send an upstream the address that consumers call.
PUBLIC_ADDRESS = {
    Connection.PublicAddress.X_FORWARDED: "X-Forwarded-Proto, -Host, -Port and -Prefix",
    Connection.PublicAddress.FORWARDED: "Forwarded (RFC 7239) and X-Forwarded-Prefix",
    Connection.PublicAddress.HOST: "The public host as Host, and X-Forwarded headers",
    Connection.PublicAddress.NONE: "Nothing",
}


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    found, context = listed(
        request,
        by,
        lambda wanted: wanted.among(connections.connections(by).select_related("project")),
        nouns="connection,connections",
    )
    context["connections"] = found.prefetch_related("collections")
    return render(request, "console/connections.html", context)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    def save() -> HttpResponse:
        saved = connections.create(by=by, given=_given(request))
        return done(request, saved, noun="connection", verb="made", to="connections")

    answer, errors = sent(request, save)
    given = request.POST or initial(connections.ConnectionInput)
    return answer or _form(request, by, None, given, errors)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, connection_id: int) -> HttpResponse:
    def save() -> HttpResponse:
        saved = connections.change(
            by=by,
            connection_id=connection_id,
            given=_given(request),
            if_match=request.POST.get("read"),
        )
        return done(request, saved, noun="connection", verb="changed", to="connections")

    connection = connections.find(by, connection_id)
    answer, errors = sent(request, save)
    given: Mapping[str, Any] = request.POST or {
        **initial(connections.ConnectionInput, connection),
        "base_url": "\n".join(connection.shown_urls),
    }
    return answer or _form(request, by, connections.find(by, connection_id), given, errors)


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, connection_id: int) -> HttpResponse:
    connection = connections.find(by, connection_id)
    return by_name(
        request,
        lambda: connections.delete(by=by, connection_id=connection_id),
        what="connection",
        name=connection.name,
        consequence="It can be deleted when no API collection uses it.",
        used_by=[
            (name, reverse("collection", args=[pk]))
            for pk, name in connection.collections.order_by("name").values_list("pk", "name")
        ],
        back=reverse("connections"),
        after=reverse("connections"),
        restorable=True,
    )


@page
@require_POST
def help_url(request: HttpRequest, by: Actor) -> HttpResponse:
    """Live help: how Ostiary reads the base URLs."""
    texts = request.POST.get("base_url", "").split()[: connections.MOST_URLS]
    return render(request, "console/help_url.html", {"read": [_read(text) for text in texts]})


def _read(text: str) -> dict[str, object]:
    try:
        url = upstream_url.parse(text, connections.own_listeners())
    except upstream_url.BadUrl as error:
        return {"text": text[:200], "problem": str(error)}
    return {"text": text[:200], "url": url}


def _unused(data: QueryDict) -> tuple[str, ...]:
    """Fields that the form hides with the chosen authentication; a secret that is not typed stays."""
    secret = () if data.get("auth_secret") else ("auth_secret",)
    match data.get("auth_type"):
        case "none":
            return "auth_name", "auth_secret", "token_url", "scope"
        case "oauth2_client_credentials":
            return secret
    return *secret, "token_url", "scope"


def _given(request: HttpRequest) -> connections.ConnectionInput:
    return filled(
        connections.ConnectionInput,
        request.POST,
        without=_unused(request.POST),
        base_urls=request.POST.get("base_url", "").split(),
        **project_named(request.POST),
    )


def _form(
    request: HttpRequest,
    by: Actor,
    connection: Connection | None,
    given: Mapping[str, Any],
    errors: Errors,
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
