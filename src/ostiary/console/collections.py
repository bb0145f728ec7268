"""API collections and their endpoints: made by hand or from an OpenAPI document."""

from collections.abc import Mapping

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.access.paths import METHODS
from ostiary.console.listing import number_of
from ostiary.console.saving import in_force
from ostiary.console.viewer import page
from ostiary.directory import (
    access_profiles,
    collections,
    connections,
    endpoints,
    openapi,
    projects,
    public_urls,
    recipes,
    setup,
)
from ostiary.directory.actor import Actor
from ostiary.directory.errors import InUse, Invalid
from ostiary.directory.models import Collection

KINDS = {
    Collection.Kind.PROXY: "API proxy collection",
    Collection.Kind.RECIPE: "API recipe collection",
}


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    found = collections.collections(by).order_by("name").select_related("project", "connection")
    rows = [
        {
            "collection": collection,
            "active": collection.endpoints.filter(active=True).count(),
            "total": collection.endpoints.count(),
        }
        for collection in found
    ]
    return render(request, "console/collections.html", {"rows": rows})


@page
@require_safe
def show(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    context = {
        "collection": collection,
        "endpoints": endpoints.endpoints(by, collection_id).order_by("path", "method"),
        "profiles": access_profiles.profiles(by).filter(collections=collection),
        "url": f"{public_urls.gateway_url()}/{collection.handle}",
    }
    return render(request, "console/collection.html", context)


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
    saved = collections.create(by=by, given=given, project_id=project_id, document=document)
    made_of = saved.value
    if in_force(request, saved):
        told = f"The API collection {made_of.collection.name} was made."
        if document is not None:
            told += f" {made_of.taken} endpoints were taken from the document; they are inactive."
        messages.success(request, told)
    for skipped in made_of.skipped:
        messages.warning(request, f"Not taken: {skipped.where}: {skipped.reason}")
    return redirect("collection", made_of.collection.pk)


def _document(request: HttpRequest) -> tuple[str, str] | None:
    """An OpenAPI document, as a file or pasted; JSON if it begins like it."""
    upload = request.FILES.get("openapi_file")
    if upload is not None:
        try:
            content = upload.read(openapi.LARGEST + 1).decode("utf-8")
        except UnicodeDecodeError:
            raise openapi.BadDocument("The document is not UTF-8 text.") from None
    else:
        content = request.POST.get("openapi_spec", "").strip()
    if not content:
        return None
    return content, "json" if content.lstrip().startswith("{") else "yaml"


@page
@require_http_methods(["GET", "POST"])
def new_endpoint(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            saved = endpoints.create(
                by=by,
                collection_id=collection_id,
                given=endpoints.Given(
                    name=request.POST.get("name", ""),
                    method=request.POST.get("method", ""),
                    path=request.POST.get("path", ""),
                    description=request.POST.get("description", ""),
                    active=request.POST.get("active") == "1",
                    recipe_id=number_of(request.POST.get("recipe")),
                    target_path=request.POST.get("target_path") or None,
                ),
            )
        except Invalid as error:
            errors = error.errors
        else:
            if in_force(request, saved):
                messages.success(request, f"The endpoint {saved.value.name} was made.")
            return redirect("collection", collection_id)
    context = {
        "collection": collection,
        "errors": errors,
        "given": request.POST,
        "methods": METHODS,
        "recipes": recipes.recipes() if collection.kind == Collection.Kind.RECIPE else (),
    }
    return render(request, "console/endpoint_form.html", context, status=400 if errors else 200)


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
def delete_endpoint(request: HttpRequest, by: Actor, endpoint_id: int) -> HttpResponse:
    endpoint = endpoints.find(by, endpoint_id)
    if in_force(request, endpoints.delete(by=by, endpoint_id=endpoint_id)):
        messages.success(request, f"{endpoint.method} {endpoint.path} was deleted.")
    return redirect("collection", endpoint.collection_id)


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, collection_id: int) -> HttpResponse:
    collection = collections.find(by, collection_id)
    problem = ""
    if request.method == "POST":
        if request.POST.get("name", "").strip() != collection.name:
            problem = "That is not its name."
        else:
            try:
                saved = collections.delete(by=by, collection_id=collection_id)
            except InUse as error:
                problem = f"{error}."
            else:
                if in_force(request, saved):
                    messages.success(request, f"The API collection {collection.name} was deleted.")
                return redirect("collections")
    context = {
        "what": "API collection",
        "name": collection.name,
        "back": reverse("collection", args=[collection_id]),
        "consequence": "Its endpoints are deleted with it, and answer 404 at once.",
        "problem": problem,
    }
    return render(request, "console/delete.html", context, status=400 if problem else 200)
