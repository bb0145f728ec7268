"""`/api/api_endpoints`: methods and paths of collections."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.access.paths import ENDPOINT_METHODS
from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Id,
    Revocation,
    RevokedAnswer,
    Strict,
    Time,
    actor,
    added,
    body,
    change,
    if_match,
    in_force,
    revoked,
    showing,
    shown,
    versioned,
)
from ostiary.directory import states
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.changes.inputs import OneOf
from ostiary.directory.models import Endpoint
from ostiary.directory.states import StateCode
from ostiary.directory.workspace import public_urls

router = Router(tags=["API endpoints"])
M = TypeVar("M", bound=Model)

#: Endpoints that one call switches, if it names them.
MOST_CHOSEN = 5000


@body("name", "method", "path")
class EndpointIn(endpoints.EndpointInput):
    """`flow_id` is the recipe's id, in recipe collections; `target_path` is for proxy ones.

    `weight`: what a call counts in rate limits and quotas, 1 unless said otherwise. Calls of an
    endpoint with 0 are not limited. `cache_seconds`: how long answers are cached; 0: not; null or
    `inherited`: as the collection says.
    """


@showing(endpoints.EndpointInput)
class EndpointOut(Schema):
    id: int
    #: Method and path, which name it in its collection.
    key: str
    api_collection_id: int
    flow_id: int
    url: str
    legacy_url: str | None
    base_path: str
    path: str
    active: bool
    effective_state: StateCode
    legacy: bool
    target_path: str | None
    validate_request: bool
    created_at: Time
    updated_at: Time
    #: Why the gateway rejects it and does not serve it; null: the gateway has it.
    gateway_problem: str | None
    warnings: list[str] = []


class EndpointChanged(EndpointOut):
    revocation: Revocation | None = None


@change(EndpointChanged, lambda endpoint: _shown(endpoint, public_urls.gateway_url()))
class EndpointChange(ChangeBody, endpoints.EndpointInput):
    """Omitted fields keep their values."""


class EndpointQuery(lists.LabelledQuery):
    conditions: ClassVar = staticmethod(states.endpoint_conditions)
    searched: ClassVar[tuple[str, ...]] = ("name", "path", "description")
    columns: ClassVar[Mapping[str, str]] = {
        "project_id": "collection__project_id",
        "api_collection_id": "collection_id",
        "flow_id": "recipe_id",
    }

    sort: Annotated[str, lists.sorts("id", "name", "path", "created_at", "updated_at")] = "id"
    project_id: lists.IdFilter = None
    api_collection_id: lists.IdFilter = None
    flow_id: lists.IdFilter = Field(None, description="The recipe that they run.")
    method: Annotated[str | None, OneOf(ENDPOINT_METHODS, named=True)] = None
    path: lists.TextFilter = None
    active: lists.FlagFilter = None
    effective_state: Annotated[str | None, lists.among(states.endpoint_conditions)] = None

    def with_key(self, found: QuerySet[M], key: str) -> QuerySet[M]:
        method, _, path = key.partition(" ")
        return found.filter(method=method, path=path)

    def filtered(self, found: QuerySet[M], name: str, value: object) -> QuerySet[M]:
        if name == "path":
            # Answers show paths without the slash that all begin with.
            value = f"/{str(value).removeprefix('/')}"
        return super().filtered(found, name, value)


def _shown(endpoint: Endpoint, gateway: str) -> dict[str, Any]:
    base_path = f"/{endpoint.collection.handle}{endpoint.path}"
    return shown(endpoints.EndpointInput, endpoint) | {
        "key": f"{endpoint.method} {endpoint.path}",
        "api_collection_id": endpoint.collection_id,
        "flow_id": endpoint.recipe_id or 0,
        "url": gateway + base_path,
        "legacy_url": None,
        "base_path": base_path,
        "path": endpoint.path.removeprefix("/"),
        "active": endpoint.active,
        "effective_state": states.of_endpoint(endpoint).code,
        "legacy": False,
        "target_path": endpoint.target_path or None,
        # Only recipes have a schema to check requests against.
        "validate_request": endpoint.recipe_id is not None and endpoint.validate_request,
        "gateway_problem": unpublished_objects.reason(unpublished_objects.ENDPOINT, endpoint.pk)
        or None,
    }


@router.get("/api_endpoints", response={200: list[EndpointOut], **ERRORS})
def list_endpoints(
    request: HttpRequest, query: Query[EndpointQuery], response: HttpResponse
) -> Any:
    gateway = public_urls.gateway_url()
    found = lists.bare(request, response, endpoints.endpoints(actor(request)), query)
    return [_shown(endpoint, gateway) for endpoint in found]


@router.post(
    "/api_collections/{int:collection_id}/api_endpoints", response={200: EndpointOut, **ERRORS}
)
def create_endpoint(
    request: HttpRequest, collection_id: int, payload: EndpointIn, response: HttpResponse
) -> Any:
    by = actor(request)
    collections.find(by, collection_id)
    endpoint, warnings = added(endpoints.create(by=by, collection_id=collection_id, given=payload))
    versioned(response, endpoint)
    return _shown(endpoint, public_urls.gateway_url()) | {"warnings": warnings}


@router.get("/api_endpoints/{int:endpoint_id}", response={200: EndpointChanged, **ERRORS})
def show_endpoint(request: HttpRequest, endpoint_id: int, response: HttpResponse) -> Any:
    endpoint = endpoints.find(actor(request), endpoint_id)
    versioned(response, endpoint)
    return _shown(endpoint, public_urls.gateway_url())


@router.put("/api_endpoints/{int:endpoint_id}", response={200: EndpointChanged, **ERRORS})
def change_endpoint(
    request: HttpRequest, endpoint_id: int, payload: EndpointChange, response: HttpResponse
) -> Any:
    saved = endpoints.change(
        by=actor(request),
        endpoint_id=endpoint_id,
        given=payload,
        if_match=if_match(request),
    )
    endpoint, receipt = in_force(saved)
    versioned(response, endpoint)
    told = {"warnings": list(saved.warnings), "revocation": receipt}
    return _shown(endpoint, public_urls.gateway_url()) | told


@router.delete("/api_endpoints/{int:endpoint_id}", response={200: RevokedAnswer, **ERRORS})
def delete_endpoint(request: HttpRequest, endpoint_id: int) -> Any:
    return revoked(
        endpoints.delete(by=actor(request), endpoint_id=endpoint_id, if_match=if_match(request))
    )


def _switch(request: HttpRequest, endpoint_id: int, *, active: bool) -> Any:
    return revoked(
        endpoints.switch(
            by=actor(request), endpoint_id=endpoint_id, active=active, if_match=if_match(request)
        )
    )


@router.put("/api_endpoints/{int:endpoint_id}/enable", response={200: RevokedAnswer, **ERRORS})
def enable_endpoint(request: HttpRequest, endpoint_id: int) -> Any:
    return _switch(request, endpoint_id, active=True)


@router.put("/api_endpoints/{int:endpoint_id}/disable", response={200: RevokedAnswer, **ERRORS})
def disable_endpoint(request: HttpRequest, endpoint_id: int) -> Any:
    """Disable an endpoint: when this answers, its path is unknown."""
    return _switch(request, endpoint_id, active=False)


class Chosen(Strict):
    """Endpoints of a collection; without `endpoint_ids`, all of them."""

    endpoint_ids: list[Id] | None = Field(None, max_length=MOST_CHOSEN)


class SwitchedEndpoints(RevokedAnswer):
    """How many endpoints changed."""

    switched: int


def _switch_all(request: HttpRequest, collection_id: int, chosen: Chosen, *, active: bool) -> Any:
    count, receipt = in_force(
        endpoints.switch_all(
            by=actor(request),
            collection_id=collection_id,
            active=active,
            endpoint_ids=chosen.endpoint_ids,
            if_match=if_match(request),
        )
    )
    return {"success": True, "switched": count, "revocation": receipt}


@router.put(
    "/api_collections/{int:collection_id}/api_endpoints/enable",
    response={200: SwitchedEndpoints, **ERRORS},
)
def enable_endpoints(request: HttpRequest, collection_id: int, payload: Chosen) -> Any:
    """Enable all endpoints of a collection at once, or those that are named."""
    return _switch_all(request, collection_id, payload, active=True)


@router.put(
    "/api_collections/{int:collection_id}/api_endpoints/disable",
    response={200: SwitchedEndpoints, **ERRORS},
)
def disable_endpoints(request: HttpRequest, collection_id: int, payload: Chosen) -> Any:
    """Disable all endpoints of a collection at once, or those that are named."""
    return _switch_all(request, collection_id, payload, active=False)
