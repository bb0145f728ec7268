"""API collections and their endpoints: made by hand or from an OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.access.methods import AuthMethod
from ostiary.access.paths import (
    ANY,
    ENDPOINT_METHODS,
    METHODS,
    BadTemplate,
    Template,
    may_meet,
    parse_template,
    stored_template,
    taken_by,
)
from ostiary.console.clients.access_profiles import METHODS as AUTH_METHODS
from ostiary.console.frame import live
from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.listing import asked, lines_of, number_of
from ostiary.console.frame.saving import STALE, in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections, connections, endpoints, openapi, recipes
from ostiary.directory.changes import etags, unpublished_objects
from ostiary.directory.changes.errors import Invalid, Stale
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import access_profiles
from ostiary.directory.models import Collection, Endpoint, ImportReport
from ostiary.directory.projects import projects
from ostiary.directory.workspace import public_urls, setup
from ostiary.identity import places
from ostiary.review import facts

KINDS = {
    Collection.Kind.PROXY: "API proxy collection",
    Collection.Kind.RECIPE: "API recipe collection",
}

#: Profiles that are named on a collection's page; that there are more is said.
MOST_NAMED = 20


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    wanted = asked(request)
    found = collections.matching(by, project_id=wanted.project_id, search=wanted.search)
    paging = wanted.paging(found.count())
    context: dict[str, object] = {
        "collections": wanted.sliced(collections.with_counts(found), paging),
        "projects": projects.projects(by).order_by("name"),
        "asked": wanted,
        "may_add": by.may_somewhere(Role.EDITOR),
        "paging": paging,
        "nouns": "collection,collections",
    }
    template = "collections_table" if request.htmx else "collections"  # type: ignore[attr-defined]
    return live.render(request, f"console/{template}.html", context)


@page
@require_safe
def show(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    profiles = access_profiles.including(by, collection_id, most=MOST_NAMED + 1)
    context: dict[str, object] = {
        "collection": collection,
        "usage_query": f"collection={collection_id}",
        "endpoints": endpoints.endpoints(by, collection_id).order_by("path", "method"),
        "profiles": profiles[:MOST_NAMED],
        "more_profiles": profiles[MOST_NAMED : MOST_NAMED + 1],
        "url": f"{public_urls.gateway_url()}/{collection.handle}",
        "may_change": by.may(Role.EDITOR, collection.project_id),
        "methods": AUTH_METHODS,
        "call_methods": METHODS,
        "url_warning": _url_warning(collection),
        "report": ImportReport.objects.filter(collection=collection).first(),
    }
    refused = unpublished_objects.reason(unpublished_objects.COLLECTION, collection_id)
    if collection.connection_id is not None:
        refused += unpublished_objects.reason(
            unpublished_objects.CONNECTION, collection.connection_id
        )
    also = (refused,) if refused else ()
    return live.render(request, "console/collection.html", context, *also)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            return _create(request, by)
        except Invalid as error:
            errors = error.errors
        except openapi.BadDocument as error:
            errors = {"openapi_spec": [str(error)]}
    context = {
        "errors": errors,
        "given": request.POST,
        "kinds": KINDS.items(),
        "projects": projects.projects(by).order_by("name"),
        "home": setup.home().pk,
        "largest": openapi.LARGEST_MEGABYTES,
        "connections": connections.connections(by).order_by("name"),
    }
    return render(request, "console/collection_form.html", context, status=400 if errors else 200)


def _create(request: HttpRequest, by: Actor) -> HttpResponse:
    """Make a collection; an upstream URL makes its connection with it."""
    project_id = number_of(request.POST.get("project"))
    kind = request.POST.get("kind", "")
    connection_id = number_of(request.POST.get("connection"))
    url = request.POST.get("base_url", "").strip()
    document = _document(request)
    name = request.POST.get("name", "")
    if kind == Collection.Kind.PROXY and url and connection_id is None:
        made = connections.create(
            by=by, name=name, project_id=project_id, given=connections.Input(base_urls=[url])
        )
        connection_id = made.value.pk
    given = collections.Given(
        name=name,
        version=request.POST.get("version") or None,
        description=request.POST.get("description", ""),
        kind=kind,
        connection_id=connection_id,
    )
    active = request.POST.get("active") == "1"
    saved = collections.create(
        by=by, given=given, project_id=project_id, document=document, active=active
    )
    made_of = saved.value
    if in_force(request, saved):
        told = f"The API collection {made_of.collection.name} was made."
        if made_of.taken:
            state = "active" if active else "inactive"
            told += f" {made_of.taken:,} endpoints were taken from the document; they are {state}."
        messages.success(request, told)
    if made_of.skipped:
        many = f"{len(made_of.skipped):,} of the document's operations were not taken"
        messages.warning(request, f"{many}: the report below says why.")
    for warning in saved.warnings:
        messages.warning(request, warning)
    return redirect("collection", made_of.collection.pk)


def _document(request: HttpRequest) -> tuple[str, str] | None:
    """An OpenAPI document, as a file or pasted; JSON if it begins like it."""
    upload = request.FILES.get("openapi_file")
    if upload is not None:
        try:
            if (upload.size or 0) > openapi.LARGEST:
                raise openapi.BadDocument(openapi.TOO_LARGE)
            content = upload.read().decode("utf-8")
            if not content.strip():
                raise openapi.BadDocument("The file is empty.")
            if request.POST.get("openapi_spec", "").strip():
                raise openapi.BadDocument("Give a file or a text, not both.")
        except UnicodeDecodeError:
            raise openapi.BadDocument("The document is not UTF-8 text.") from None
    else:
        content = request.POST.get("openapi_spec", "").strip()
    if not content:
        return None
    return content, "json" if content[:1000].lstrip("\ufeff \t\r\n").startswith("{") else "yaml"


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    require(by, Role.EDITOR, collection.project_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            saved = collections.change(
                by=by,
                collection_id=collection_id,
                given=_changed(request, collection),
                if_match=request.POST.get("read"),
            )
        except Invalid as error:
            errors = error.errors
        except Stale:
            errors = STALE
            collection = collections.find(by, collection_id)
        else:
            if in_force(request, saved):
                messages.success(request, f"The API collection {saved.value.name} was changed.")
            for warning in saved.warnings:
                messages.warning(request, warning)
            return redirect("collection", collection_id)
    context = {
        "collection": collection,
        "read": etags.etag(collection),
        "errors": errors,
        "given": request.POST or _typed(collection),
        "url_warning": _url_warning(collection),
        "connections": connections.connections(by)
        .filter(project=collection.project_id)
        .order_by("name"),
    }
    status = 400 if errors else 200
    return render(request, "console/collection_edit.html", context, status=status)


@page
@require_POST
def purge_cache(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    saved = collections.purge_cache(by=by, collection_id=collection_id)
    if in_force(request, saved):
        messages.success(request, f"The kept answers of {saved.value.name} were purged.")
    return redirect("collection", collection_id)


def _changed(request: HttpRequest, collection: Collection) -> collections.Given:
    proxy = collection.kind == Collection.Kind.PROXY
    return collections.Given(
        name=request.POST.get("name", ""),
        version=request.POST.get("version", ""),
        description=request.POST.get("description", ""),
        connection_id=number_of(request.POST.get("connection")) if proxy else None,
        cors_origins=request.POST.get("cors_origins", "").replace(",", " ").split(),
        forward_credential=request.POST.get("forward_credential") == "1" if proxy else None,
        forward_claims=request.POST.get("forward_claims") == "1" if proxy else None,
        encoded_slashes=request.POST.get("encoded_slashes") == "1",
        cors_credentials=request.POST.get("cors_credentials") == "1",
        cors_exposed_headers=request.POST.get("cors_exposed_headers", "").replace(",", " ").split(),
        cors_max_age=_whole(request.POST.get("cors_max_age")),
        leave_authorization=request.POST.get("leave_authorization") == "1" if proxy else None,
        cache_seconds=_whole(request.POST.get("cache_seconds")) if proxy else None,
        cache_shared=request.POST.get("cache_shared") == "1" if proxy else None,
        credential_places=(
            lines_of(request.POST.get("credential_places", ""))
            if request.POST.get("own_places") == "1"
            else collections.INHERITED
        ),
    )


def _url_warning(collection: Collection) -> str:
    return places.URL_WARNING if places.in_urls(collection.shown_places or ()) else ""


def _whole(text: str | None) -> object:
    """A number that was typed, or the text, which is refused; nothing was typed: unchanged."""
    typed = (text or "").strip()
    return None if not typed else typed if number_of(typed) is None else number_of(typed)


def _typed(collection: Collection) -> Mapping[str, str]:
    return {
        "name": collection.name,
        "version": collection.version,
        "description": collection.description,
        "connection": str(collection.connection_id or ""),
        "cors_origins": "\n".join(collection.shown_origins),
        "forward_credential": "1" if collection.forward_credential else "",
        "forward_claims": "1" if collection.forward_claims else "",
        "encoded_slashes": "1" if collection.encoded_slashes else "",
        "cors_credentials": "1" if collection.cors_credentials else "",
        "cors_exposed_headers": "\n".join(collection.shown_exposed_headers),
        "cors_max_age": str(collection.cors_max_age),
        "leave_authorization": "1" if collection.leave_authorization else "",
        "cache_seconds": str(collection.cache_seconds),
        "cache_shared": "1" if collection.cache_shared else "",
        "own_places": "" if collection.shown_places is None else "1",
        "credential_places": "\n".join(collection.shown_places or ()),
    }


@page
@require_safe
def document(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    """The OpenAPI document, for a consumer with the method that `method` names."""
    method = request.GET.get("method", AuthMethod.TOKEN)
    if method not in set(AuthMethod):
        raise Http404
    collection = collections.find(by, collection_id)
    content = collections.document(by, collection_id, AuthMethod(method))
    response = JsonResponse(content, json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = f'attachment; filename="{collection.handle}.json"'
    return response


@page
@require_http_methods(["GET", "POST"])
def new_endpoint(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    require(by, Role.EDITOR, collection.project_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            given = _endpoint(request, collection, active=request.POST.get("active") == "1")
            saved = endpoints.create(by=by, collection_id=collection_id, given=given)
        except Invalid as error:
            errors = error.errors
        else:
            if in_force(request, saved):
                messages.success(request, f"The endpoint {saved.value.name} was made.")
            return redirect("collection", collection_id)
    given_before = request.POST or {"validate_request": "1"}
    return _endpoint_form(request, collection, None, given_before, errors)


@page
@require_http_methods(["GET", "POST"])
def edit_endpoint(request: HttpRequest, by: Actor, endpoint_id: int) -> HttpResponse:
    endpoint = endpoints.find(by, endpoint_id)
    require(by, Role.EDITOR, endpoint.collection.project_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            saved = endpoints.change(
                by=by,
                endpoint_id=endpoint_id,
                given=_endpoint(request, endpoint.collection),
                if_match=request.POST.get("read"),
            )
        except Invalid as error:
            errors = error.errors
        except Stale:
            errors = STALE
            endpoint = endpoints.find(by, endpoint_id)
        else:
            if in_force(request, saved):
                messages.success(request, f"The endpoint {saved.value.name} was changed.")
            for warning in saved.warnings:
                messages.warning(request, f"{warning}.")
            return redirect("collection", endpoint.collection_id)
    same = endpoint.target_path == endpoint.path
    given = request.POST or {
        "name": endpoint.name,
        "method": endpoint.method,
        "path": endpoint.path,
        "target_path": "" if same else endpoint.target_path,
        "recipe": str(endpoint.recipe_id or ""),
        "timeout_seconds": str(endpoint.timeout_seconds or ""),
        "weight": str(endpoint.weight),
        "cache_seconds": "" if endpoint.cache_seconds is None else str(endpoint.cache_seconds),
        "validate_request": "1" if endpoint.validate_request else "",
        "description": endpoint.description,
    }
    return _endpoint_form(request, endpoint.collection, endpoint, given, errors)


def _cache_seconds(request: HttpRequest) -> object:
    typed = _whole(request.POST.get("cache_seconds"))
    return endpoints.INHERITED if typed is None else typed


def _endpoint(
    request: HttpRequest, collection: Collection, active: bool | None = None
) -> endpoints.Given:
    timeout = request.POST.get("timeout_seconds", "").strip()
    weight = request.POST.get("weight", "").strip() or "1"
    proxy = collection.kind == Collection.Kind.PROXY
    return endpoints.Given(
        name=request.POST.get("name", ""),
        method=request.POST.get("method", ""),
        path=request.POST.get("path", ""),
        description=request.POST.get("description", ""),
        active=active,
        recipe_id=None if proxy else number_of(request.POST.get("recipe")),
        # Empty is "the same path", also where there was another one before.
        target_path=(request.POST.get("target_path") or request.POST.get("path", ""))
        if proxy
        else None,
        timeout_seconds=(number_of(timeout) or timeout) if timeout else endpoints.INHERITED,
        weight=int(weight) if number_of(weight) is not None else weight,
        cache_seconds=_cache_seconds(request) if proxy else None,
        validate_request=None if proxy else request.POST.get("validate_request") == "1",
    )


def _endpoint_form(
    request: HttpRequest,
    collection: Collection,
    endpoint: Endpoint | None,
    given: Mapping[str, Any],
    errors: Mapping[str, list[str]],
) -> HttpResponse:
    recipe = collection.kind == Collection.Kind.RECIPE
    context = {
        "collection": collection,
        "endpoint": endpoint,
        "usage_query": f"endpoint={endpoint.pk}" if endpoint else "",
        "read": etags.etag(endpoint) if endpoint else "",
        "errors": errors,
        "given": given,
        "methods": ENDPOINT_METHODS,
        "recipes": recipes.usable_in(collection.project_id) if recipe else (),
        "inherited": 30 if collection.connection is None else collection.connection.timeout_seconds,
    }
    return render(request, "console/endpoint_form.html", context, status=400 if errors else 200)


@page
@require_POST
def help_path(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    """What a path template matches, and which endpoints are near it, while it is typed."""
    collection = collections.find(by, collection_id)
    text, method = request.POST.get("path", ""), request.POST.get("method", "")
    context: dict[str, object] = {}
    if text.strip():
        try:
            template = parse_template(text)
        except BadTemplate as error:
            context["problem"] = str(error)
        else:
            own = number_of(request.POST.get("endpoint"))
            context |= _near(collection, template, method, own)
    return render(request, "console/help_path.html", context)


@page
@require_POST
def help_route(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    """Which endpoint of a collection takes a call, while its path is typed."""
    collection = collections.find(by, collection_id)
    text = request.POST.get("path", "").strip()
    method = request.POST.get("method", "")
    context: dict[str, object] = {"asked": bool(text) and method in METHODS}
    if context["asked"]:
        start = f"/{collection.handle}/"
        path = text if text.startswith(start) else start + text.removeprefix("/")
        normal = facts.normal(path)
        if normal is None or not normal.startswith(start):
            context["malformed"] = True
        else:
            context |= _taker(collection, method, normal[len(start) - 1 :])
    return render(request, "console/help_route.html", context)


def _taker(collection: Collection, method: str, below: str) -> dict[str, object]:
    """The endpoint that takes a call, and what its parameters take; or why there is none."""
    choice, endpoint = facts.chosen(collection, method, below)
    if endpoint is None:
        return {"allow": ", ".join(choice.allow), "inactive": choice.inactive}
    template = stored_template(endpoint.path)
    values = template.values(below[1:].split("/")) or ()
    return {"endpoint": endpoint, "values": [*zip(template.parameters, values, strict=False)]}


def _near(
    collection: Collection, template: Template, method: str, own: int | None
) -> dict[str, object]:
    """An example of what a template matches, its double if there is one, and rivals.

    A rival takes calls of the same paths: the more literal one wins them.
    """
    twin, rivals = "", []
    others = collection.endpoints.exclude(pk=own or 0)
    for path, theirs in others.values_list("path", "method")[: openapi.MOST_ENDPOINTS]:
        other = stored_template(path)
        if other.shape == template.shape and theirs == method:
            twin = path
        elif {method, theirs} & {ANY, *taken_by(method)} and may_meet(other, template):
            first = (other.rank, theirs == ANY) < (template.rank, method == ANY)
            rivals.append({"path": f"{theirs} {path}", "wins": first})
    values = {
        name: str(41 + number)
        if number < len(template.parameters) or not template.has_wildcard
        else "a/b"
        for number, name in enumerate(template.parameters, start=1)
    }
    url = f"{public_urls.gateway_url()}/{collection.handle}"
    example = f"{method} {url}{template.filled(values)}"
    return {"example": example, "twin": twin, "rivals": rivals[:5]}


@page
@require_POST
def switch_endpoint(request: HttpRequest, by: Actor, endpoint_id: int) -> HttpResponse:
    endpoint = endpoints.find(by, endpoint_id)
    active = request.POST.get("active") == "1"
    try:
        saved = endpoints.switch(by=by, endpoint_id=endpoint_id, active=active)
    except Invalid as error:
        messages.error(request, "; ".join(said for all_ in error.errors.values() for said in all_))
    else:
        if in_force(request, saved):
            state = "active" if active else "inactive: calls are answered 404"
            messages.success(request, f"{endpoint.method} {endpoint.path} is {state}.")
    return redirect("collection", endpoint.collection_id)


@page
@require_POST
def switch_endpoints(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    """Activate or deactivate all endpoints of a collection."""
    active = request.POST.get("active") == "1"
    try:
        saved = endpoints.switch_all(by=by, collection_id=collection_id, active=active)
    except Invalid as error:
        messages.error(request, "; ".join(said for all_ in error.errors.values() for said in all_))
    else:
        if in_force(request, saved):
            state = "active" if active else "inactive: calls are answered 404"
            many = "1 endpoint is" if saved.value == 1 else f"{saved.value:,} endpoints are"
            messages.success(request, f"{many} now {state}.")
    return redirect("collection", collection_id)


@page
@require_POST
def dismiss_report(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collections.dismiss_import_report(by=by, collection_id=collection_id)
    messages.success(request, "The report of the import was deleted.")
    return redirect("collection", collection_id)


@page
@require_POST
def delete_endpoint(request: HttpRequest, by: Actor, endpoint_id: int) -> HttpResponse:
    endpoint = endpoints.find(by, endpoint_id)
    if in_force(request, endpoints.delete(by=by, endpoint_id=endpoint_id)):
        messages.success(request, f"{endpoint.method} {endpoint.path} was deleted.")
    return redirect("collection", endpoint.collection_id)


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    return by_name(
        request,
        lambda: collections.delete(by=by, collection_id=collection_id),
        what="API collection",
        name=collection.name,
        consequence="Its endpoints are deleted with it, and answer 404 at once.",
        back=reverse("collection", args=[collection_id]),
        after=reverse("collections"),
    )
