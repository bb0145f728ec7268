"""API collections and their endpoints: made by hand or from an OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render, resolve_url
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
from ostiary.console.catalog.openapi_documents import (
    carried,
    carried_back,
    sent_document,
    tags_of,
)
from ostiary.console.clients.access_profiles import METHODS as AUTH_METHODS
from ostiary.console.frame import live
from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.forms import Errors, done, filled, initial, sent
from ostiary.console.frame.listing import lines_of, listed, number_of
from ostiary.console.frame.questions import (
    ConsequenceQuestion,
    counted,
    made_at,
    say_done,
    unanswered,
)
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory import states
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections, connections, endpoints, openapi, recipes
from ostiary.directory.catalog.import_reports import Imported
from ostiary.directory.changes import etags, unpublished_objects
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid
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

#: Most profiles named on a collection's page; the page says if there are more.
MOST_NAMED = 20


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    found, context = listed(
        request,
        by,
        lambda wanted: collections.matching(by, project_id=wanted.project_id, search=wanted.search),
        nouns="collection,collections",
        detailed=collections.with_counts,
    )
    context["collections"] = found
    template = "collections_table" if request.htmx else "collections"  # type: ignore[attr-defined]  # set by a middleware
    return live.render(request, f"console/{template}.html", context)


@page
@require_safe
def show(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    profiles = access_profiles.including(by, collection_id, most=MOST_NAMED + 1)
    found = endpoints.endpoints(by, collection_id).order_by("path", "method")
    context: dict[str, object] = {
        "collection": collection,
        "usage_query": f"collection={collection_id}",
        "endpoints": found,
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
    also = [refused, *(states.of(each).text for each in found)]
    return live.render(request, "console/collection.html", context, *also)


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, by: Actor) -> HttpResponse:
    answer, errors = sent(request, lambda: _create(request, by))
    context = {
        "errors": errors,
        "given": request.POST,
        "kinds": KINDS.items(),
        "projects": projects.projects(by).order_by("name"),
        "home": setup.home().pk,
        "largest": openapi.LARGEST_MEGABYTES,
        "connections": connections.connections(by).order_by("name"),
    }
    status = 400 if errors else 200
    return answer or render(request, "console/collection_form.html", context, status=status)


def _create(request: HttpRequest, by: Actor) -> HttpResponse:
    """Make a collection. With a document, its operations are chosen from on a page of their own."""
    if request.POST.get("step") == "import":
        return _import(request, by)
    document = sent_document(request)
    if document is None:
        return _created(request, _made(request, by))
    # What does not fit is said before anything is chosen.
    with transaction.atomic():
        read = collections.read_document(*document)
        _made(request, by, document=read)
        transaction.set_rollback(True)
    active = request.POST.get("active") == "1"
    rows = [
        ImportRow(operation=each, ticked=True, active=active, tags=tags)
        for each, tags in _tagged(read)
    ]
    return _choosing(request, rows, read, carried(request, document[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """One operation of a document, with its boxes."""

    operation: openapi.Operation
    ticked: bool
    active: bool
    tags: tuple[str, ...]


def _tagged(read: openapi.Document) -> list[tuple[openapi.Operation, tuple[str, ...]]]:
    tags = tags_of(read)
    return [(each, tags.get(each.title, ())) for each in read.operations]


def _choosing(
    request: HttpRequest,
    rows: list[ImportRow],
    read: openapi.Document,
    document: str,
    problem: str = "",
) -> HttpResponse:
    ours = {"csrfmiddlewaretoken", "step", "once", "openapi_spec", "document", "take", "activate"}
    context = {
        "rows": rows,
        "tags": sorted({tag for row in rows for tag in row.tags}),
        "read": read,
        "document": document,
        "problem": problem,
        "fields": [
            (name, value)
            for name, values in request.POST.lists()
            if name not in ours
            for value in values
        ],
    }
    status = 400 if problem else 200
    return render(request, "console/import_choose.html", context, status=status)


def _import(request: HttpRequest, by: Actor) -> HttpResponse:
    read = collections.read_document(*carried_back(request))
    take, activate = request.POST.getlist("take"), request.POST.getlist("activate")
    try:
        with transaction.atomic():
            made = _made(request, by, document=read, chosen=take, active=activate)
    except Invalid as error:
        rows = [
            ImportRow(
                operation=each,
                ticked=each.title in take,
                active=each.title in activate,
                tags=tags,
            )
            for each, tags in _tagged(read)
        ]
        return _choosing(request, rows, read, request.POST.get("document", ""), error.sentences)
    return _created(request, made)


def _made(
    request: HttpRequest,
    by: Actor,
    *,
    document: openapi.Document | None = None,
    chosen: list[str] | None = None,
    active: list[str] | bool = False,
) -> Saved[Imported]:
    """Make a collection; an upstream URL makes its connection with it."""
    project_id = number_of(request.POST.get("project"))
    kind = request.POST.get("kind", "")
    connection_id = number_of(request.POST.get("connection"))
    url = request.POST.get("base_url", "").strip()
    name = request.POST.get("name", "")
    if kind == Collection.Kind.PROXY and url and connection_id is None:
        wanted = connections.ConnectionInput.of(name=name, project_id=project_id, base_urls=[url])
        connection_id = connections.create(by=by, given=wanted).value.pk
    given = collections.CollectionInput.of(
        name=name,
        project_id=project_id,
        description=request.POST.get("description", ""),
        kind=kind,
        connection_id=connection_id,
        **({"version": request.POST["version"]} if request.POST.get("version") else {}),
    )
    return collections.create(by=by, given=given, document=document, active=active, chosen=chosen)


def _created(request: HttpRequest, saved: Saved[Imported]) -> HttpResponse:
    made_of = saved.value
    if in_force(request, saved):
        told = f"The API collection {made_of.collection.name} was created."
        if made_of.taken:
            on = made_of.collection.endpoints.filter(active=True).count()
            states = {0: "they are inactive", made_of.taken: "they are active"}
            state = states.get(on, f"{on:,} of them are active")
            told += f" {made_of.taken:,} endpoints were taken from the document; {state}."
        messages.success(request, told)
    if made_of.skipped:
        many = f"{len(made_of.skipped):,} of the document's operations were not taken"
        messages.warning(request, f"{many}: the report below says why.")
    for warning in saved.warnings:
        messages.warning(request, warning)
    return redirect("collection", made_of.collection.pk)


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    require(by, Role.EDITOR, collection.project_id)

    def save() -> HttpResponse:
        saved = collections.change(
            by=by,
            collection_id=collection_id,
            given=_changed(request, collection),
            if_match=request.POST.get("read"),
        )
        to = resolve_url("collection", collection_id)
        return done(request, saved, noun="API collection", verb="changed", to=to)

    answer, errors = sent(request, save)
    collection = collections.find(by, collection_id)
    context = {
        "collection": collection,
        "read": etags.etag(collection),
        "errors": errors,
        "given": request.POST or _initial(collection),
        "url_warning": _url_warning(collection),
        "connections": connections.connections(by)
        .filter(project=collection.project_id)
        .order_by("name"),
    }
    status = 400 if errors else 200
    return answer or render(request, "console/collection_edit.html", context, status=status)


@page
@require_POST
def purge_cache(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    saved = collections.purge_cache(by=by, collection_id=collection_id)
    if in_force(request, saved):
        messages.success(request, f"The cached answers of {saved.value.name} were purged.")
    return redirect("collection", collection_id)


#: Fields that the form has for proxy collections alone.
_OF_PROXIES = ("forward_credential", "forward_claims", "leave_authorization", "cache_shared")


def _changed(request: HttpRequest, collection: Collection) -> collections.CollectionInput:
    own = request.POST.get("own_places") == "1"
    places_typed = lines_of(request.POST.get("credential_places", "")) if own else None
    if collection.kind != Collection.Kind.PROXY:
        return filled(
            collections.CollectionInput,
            request.POST,
            without=(*_OF_PROXIES, "cache_seconds"),
            credential_places=places_typed,
        )
    connection_id = number_of(request.POST.get("connection"))
    return filled(
        collections.CollectionInput,
        request.POST,
        credential_places=places_typed,
        connection_id=connection_id,
    )


def _url_warning(collection: Collection) -> str:
    return places.URL_WARNING if places.in_urls(collection.shown_places or ()) else ""


def _initial(collection: Collection) -> Mapping[str, object]:
    return {
        **initial(collections.CollectionInput, collection),
        "connection": str(collection.connection_id or ""),
        "cors_origins": "\n".join(collection.shown_origins),
        "cors_exposed_headers": "\n".join(collection.shown_exposed_headers),
        "own_places": "" if collection.shown_places is None else "1",
        "credential_places": "\n".join(collection.shown_places or ()),
    }


@page
@require_safe
def document(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    """The OpenAPI document for a consumer with the authentication method `method`."""
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

    def save() -> HttpResponse:
        given = _endpoint(request, collection)
        saved = endpoints.create(by=by, collection_id=collection_id, given=given)
        to = resolve_url("collection", collection_id)
        return done(request, saved, noun="endpoint", verb="made", to=to)

    answer, errors = sent(request, save)
    given_before = request.POST or {"validate_request": "1"}
    return answer or _endpoint_form(request, collection, None, given_before, errors)


@page
@require_http_methods(["GET", "POST"])
def edit_endpoint(request: HttpRequest, by: Actor, endpoint_id: int) -> HttpResponse:
    endpoint = endpoints.find(by, endpoint_id)
    require(by, Role.EDITOR, endpoint.collection.project_id)

    def save() -> HttpResponse:
        saved = endpoints.change(
            by=by,
            endpoint_id=endpoint_id,
            given=_endpoint(request, endpoint.collection, without=("active",)),
            if_match=request.POST.get("read"),
        )
        to = resolve_url("collection", endpoint.collection_id)
        return done(request, saved, noun="endpoint", verb="changed", to=to)

    answer, errors = sent(request, save)
    endpoint = endpoints.find(by, endpoint_id)
    same = endpoint.target_path == endpoint.path
    given = request.POST or {
        **initial(endpoints.EndpointInput, endpoint),
        "path": endpoint.path,
        "target_path": "" if same else endpoint.target_path,
        "recipe": str(endpoint.recipe_id or ""),
        "validate_request": "1" if endpoint.validate_request else "",
    }
    return answer or _endpoint_form(request, endpoint.collection, endpoint, given, errors)


def _endpoint(
    request: HttpRequest, collection: Collection, without: tuple[str, ...] = ()
) -> endpoints.EndpointInput:
    if collection.kind == Collection.Kind.RECIPE:
        recipe_id = number_of(request.POST.get("recipe"))
        unused = (*without, "target_path", "cache_seconds")
        return filled(endpoints.EndpointInput, request.POST, without=unused, recipe_id=recipe_id)
    return filled(
        endpoints.EndpointInput,
        request.POST,
        without=(*without, "validate_request"),
        # Empty is "the same path", also where there was another one before.
        target_path=request.POST.get("target_path") or None,
    )


def _endpoint_form(
    request: HttpRequest,
    collection: Collection,
    endpoint: Endpoint | None,
    given: Mapping[str, Any],
    errors: Errors,
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
    """Live help for a path template: what it matches, and similar endpoints."""
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
    """Live help: the endpoint that would take a call with this path."""
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
        messages.error(request, error.sentences)
    else:
        if in_force(request, saved):
            state = "active" if active else "inactive: calls are answered 404"
            undo = (request.path, "active", "0" if active else "1")
            say_done(request, f"{endpoint.method} {endpoint.path} is {state}.", undo=undo)
    back = reverse("collection", args=[endpoint.collection_id])
    return redirect(made_at(request, back, f"#endpoint-{endpoint_id}"))


@page
@require_POST
def switch_endpoints(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    """Activate or deactivate all endpoints of a collection."""
    active = request.POST.get("active") == "1"
    back = reverse("collection", args=[collection_id])
    if not active and (
        answer := unanswered(request, lambda: _all_off(by, collection_id), back=back)
    ):
        return answer
    try:
        saved = endpoints.switch_all(by=by, collection_id=collection_id, active=active)
    except Invalid as error:
        messages.error(request, error.sentences)
    else:
        if in_force(request, saved):
            state = "active" if active else "inactive: calls are answered 404"
            many = "1 endpoint is" if saved.value == 1 else f"{saved.value:,} endpoints are"
            messages.success(request, f"{many} now {state}.")
    return redirect(made_at(request, back))


def _all_off(by: Actor, collection_id: int) -> ConsequenceQuestion:
    collection = collections.find(by, collection_id)
    require(by, Role.EDITOR, collection.project_id)
    active = endpoints.endpoints(by, collection_id).filter(active=True).count()
    profiles = collection.profiles.count()
    return ConsequenceQuestion(
        title=f"Deactivate all endpoints of {collection.name}?",
        sentences=(
            (
                f"{counted(active, 'active endpoint')} answer 404 then, at once."
                f" {counted(profiles, 'access profile')} may call them now."
            ),
        ),
        verb="Deactivate all",
    )


@page
@require_POST
def dismiss_report(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collections.dismiss_import_report(by=by, collection_id=collection_id)
    messages.success(request, "The import report was deleted.")
    return redirect("collection", collection_id)


@page
@require_POST
def delete_endpoint(request: HttpRequest, by: Actor, endpoint_id: int) -> HttpResponse:
    endpoint = endpoints.find(by, endpoint_id)
    back = reverse("collection", args=[endpoint.collection_id])
    if answer := unanswered(request, lambda: _deleted(by, endpoint), back=back):
        return answer
    if in_force(request, endpoints.delete(by=by, endpoint_id=endpoint_id)):
        messages.success(request, f"{endpoint.method} {endpoint.path} was deleted.")
    return redirect(made_at(request, back))


def _deleted(by: Actor, endpoint: Endpoint) -> ConsequenceQuestion:
    require(by, Role.EDITOR, endpoint.collection.project_id)
    profiles = endpoint.collection.profiles.count()
    return ConsequenceQuestion(
        title=f"Delete {endpoint.method} {endpoint.path}?",
        sentences=(
            f"Calls are answered 404 then, at once. {counted(profiles, 'access profile')} may call"
            f" {'it' if endpoint.active else 'it once it is active'}."
            + (
                " You can deactivate it instead, and activate it again later."
                if endpoint.active
                else ""
            ),
        ),
        verb="Delete",
    )


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    return by_name(
        request,
        lambda: collections.delete(by=by, collection_id=collection_id),
        what="API collection",
        name=collection.name,
        consequence="Requests to it are answered 404 at once.",
        takes=_taken(by, collection),
        instead=reverse("collection", args=[collection_id]),
        instead_label="deactivate its endpoints instead",
        back=reverse("collection", args=[collection_id]),
        after=reverse("collections"),
        restorable=True,
    )


def _taken(by: Actor, collection: Collection) -> list[str]:
    """What goes with a collection, in numbers."""
    every = endpoints.endpoints(by, collection.pk)
    active = every.filter(active=True).count()
    profiles = collection.profiles.count()
    return [
        f"{counted(every.count(), 'endpoint')}, {active} of them active",
        f"The access of {counted(profiles, 'access profile')} to it",
    ]
