"""`/api/api_endpoints`: methods and paths of collections."""

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api.answers import (
    ERRORS,
    Id,
    IdOrNone,
    Paging,
    Strict,
    Success,
    Time,
    actor,
    added,
    if_match,
    in_force,
    page,
    versioned,
)
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.models import Endpoint
from ostiary.directory.workspace import public_urls

router = Router(tags=["API endpoints"])

#: Endpoints that one call switches, if it names them.
MOST_CHOSEN = 5000


class EndpointIn(Strict):
    """`flow_id` is the recipe's id, in recipe collections; `target_path` is for proxy ones.

    `weight`: what a call counts in rate limits and quotas, 1 unless said otherwise. Calls of an
    endpoint with 0 are not limited.
    """

    name: str
    method: str
    path: str
    description: str | None = None
    active: bool = False
    flow_id: IdOrNone | None = None
    target_path: str | None = None
    timeout_seconds: int | None = None
    weight: int | None = None
    #: Seconds that answers are kept; 0: not; `inherited`: as the collection says.
    cache_seconds: int | Literal["inherited"] | None = None
    validate_request: bool | None = None


class EndpointChange(Strict):
    name: str | None = None
    method: str | None = None
    path: str | None = None
    description: str | None = None
    active: bool | None = None
    flow_id: IdOrNone | None = None
    target_path: str | None = None
    timeout_seconds: int | None = None
    weight: int | None = None
    #: Seconds that answers are kept; 0: not; `inherited`: as the collection says.
    cache_seconds: int | Literal["inherited"] | None = None
    validate_request: bool | None = None


class EndpointOut(Schema):
    id: int
    api_collection_id: int
    flow_id: int
    name: str
    method: str
    url: str
    legacy_url: str | None
    base_path: str
    path: str
    active: bool
    legacy: bool
    description: str
    target_path: str | None
    timeout_seconds: int | None
    weight: int
    #: Null: as the collection says.
    cache_seconds: int | None
    validate_request: bool
    created_at: Time
    updated_at: Time
    #: Why the gateway does not take it, and does not serve it; null: it takes it.
    gateway_problem: str | None
    warnings: list[str] = []


class EndpointQuery(Paging):
    api_collection_id: int | None = Field(None, ge=1, le=2**31 - 1)


def _shown(endpoint: Endpoint, gateway: str) -> dict[str, Any]:
    base_path = f"/{endpoint.collection.handle}{endpoint.path}"
    return {
        "id": endpoint.pk,
        "api_collection_id": endpoint.collection_id,
        "flow_id": endpoint.recipe_id or 0,
        "name": endpoint.name,
        "method": endpoint.method,
        "url": gateway + base_path,
        "legacy_url": None,
        "base_path": base_path,
        "path": endpoint.path.removeprefix("/"),
        "active": endpoint.active,
        "legacy": False,
        "description": endpoint.description,
        "target_path": endpoint.target_path or None,
        "timeout_seconds": endpoint.timeout_seconds,
        "weight": endpoint.weight,
        "cache_seconds": endpoint.cache_seconds,
        "validate_request": endpoint.validate_request,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "gateway_problem": unpublished_objects.reason(unpublished_objects.ENDPOINT, endpoint.pk)
        or None,
    }


def _given(payload: EndpointIn | EndpointChange) -> endpoints.Given:
    return endpoints.Given(
        name=payload.name,
        method=payload.method,
        path=payload.path,
        description=payload.description,
        active=payload.active,
        recipe_id=payload.flow_id or None,
        target_path=payload.target_path,
        timeout_seconds=payload.timeout_seconds,
        weight=payload.weight,
        cache_seconds=payload.cache_seconds,
        validate_request=payload.validate_request,
    )


@router.get("/api_endpoints", response={200: list[EndpointOut], **ERRORS})
def list_endpoints(request: HttpRequest, query: Query[EndpointQuery]) -> Any:
    gateway = public_urls.gateway_url()
    found = endpoints.endpoints(actor(request), query.api_collection_id)
    return [_shown(endpoint, gateway) for endpoint in page(found, query)]


@router.post(
    "/api_collections/{int:collection_id}/api_endpoints", response={200: EndpointOut, **ERRORS}
)
def create_endpoint(request: HttpRequest, collection_id: int, payload: EndpointIn) -> Any:
    by = actor(request)
    collections.find(by, collection_id)
    endpoint, warnings = added(
        endpoints.create(by=by, collection_id=collection_id, given=_given(payload))
    )
    return _shown(endpoint, public_urls.gateway_url()) | {"warnings": warnings}


@router.get("/api_endpoints/{int:endpoint_id}", response={200: EndpointOut, **ERRORS})
def show_endpoint(request: HttpRequest, endpoint_id: int, response: HttpResponse) -> Any:
    endpoint = endpoints.find(actor(request), endpoint_id)
    versioned(response, endpoint)
    return _shown(endpoint, public_urls.gateway_url())


@router.put("/api_endpoints/{int:endpoint_id}", response={200: EndpointOut, **ERRORS})
def change_endpoint(
    request: HttpRequest, endpoint_id: int, payload: EndpointChange, response: HttpResponse
) -> Any:
    saved = endpoints.change(
        by=actor(request),
        endpoint_id=endpoint_id,
        given=_given(payload),
        if_match=if_match(request),
    )
    endpoint, _ = in_force(saved)
    versioned(response, endpoint)
    return _shown(endpoint, public_urls.gateway_url()) | {"warnings": list(saved.warnings)}


@router.delete("/api_endpoints/{int:endpoint_id}", response={200: Success, **ERRORS})
def delete_endpoint(request: HttpRequest, endpoint_id: int) -> Any:
    in_force(
        endpoints.delete(by=actor(request), endpoint_id=endpoint_id, if_match=if_match(request))
    )
    return {"success": True}


@router.put("/api_endpoints/{int:endpoint_id}/enable", response={200: Success, **ERRORS})
def enable_endpoint(request: HttpRequest, endpoint_id: int) -> Any:
    in_force(endpoints.switch(by=actor(request), endpoint_id=endpoint_id, active=True))
    return {"success": True}


@router.put("/api_endpoints/{int:endpoint_id}/disable", response={200: Success, **ERRORS})
def disable_endpoint(request: HttpRequest, endpoint_id: int) -> Any:
    in_force(endpoints.switch(by=actor(request), endpoint_id=endpoint_id, active=False))
    return {"success": True}


class Chosen(Strict):
    """Endpoints of a collection; without `endpoint_ids`, all of them."""

    endpoint_ids: list[Id] | None = Field(None, max_length=MOST_CHOSEN)


class Switched(Success):
    """How many endpoints were not so before."""

    switched: int


def _switch_all(request: HttpRequest, collection_id: int, chosen: Chosen, *, active: bool) -> Any:
    count, _ = in_force(
        endpoints.switch_all(
            by=actor(request),
            collection_id=collection_id,
            active=active,
            endpoint_ids=chosen.endpoint_ids,
        )
    )
    return {"success": True, "switched": count}


@router.put(
    "/api_collections/{int:collection_id}/api_endpoints/enable",
    response={200: Switched, **ERRORS},
)
def enable_endpoints(request: HttpRequest, collection_id: int, payload: Chosen) -> Any:
    """Enable all endpoints of a collection at once, or those that are named."""
    return _switch_all(request, collection_id, payload, active=True)


@router.put(
    "/api_collections/{int:collection_id}/api_endpoints/disable",
    response={200: Switched, **ERRORS},
)
def disable_endpoints(request: HttpRequest, collection_id: int, payload: Chosen) -> Any:
    """Disable all endpoints of a collection at once, or those that are named."""
    return _switch_all(request, collection_id, payload, active=False)
