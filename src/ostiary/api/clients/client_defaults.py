"""`/api/v2/api_clients`: clients with their defaults, in the newer dialect."""

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    MOST_PER_PAGE,
    ChangeBody,
    Revocation,
    actor,
    added,
    body,
    change,
    if_match,
    in_force,
    versioned,
)
from ostiary.api.clients import api_keys
from ostiary.api.clients.clients import ClientOut, ClientQuery, SwitchedClient, described
from ostiary.api.clients.not_offered import CERTIFICATES, NotOfferedOfClients
from ostiary.directory.actor import SYSTEM, Actor
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles, client_defaults, clients
from ostiary.directory.models import Client
from ostiary.directory.workspace import public_urls

router = Router(tags=["Clients"])


@body("name", "collection_ids", "auth_type")
class ClientWithDefaultsIn(NotOfferedOfClients, client_defaults.WithDefaultsInput):
    """A client with the defaults that its API keys follow: method, collections, policy.

    For `jwt`: `jwt_method` and `jwt_secret`. For `oidc`: an issuer or a JWKS URI.
    """

    apart: ClassVar[tuple[str, ...]] = (
        *NotOfferedOfClients.model_fields, *client_defaults.WithDefaultsInput.apart,
    )  # fmt: skip


class IdAndName(Schema):
    id: int
    name: str


class ClientWithDefaults(ClientOut):
    """A client and its defaults; without any, what its access profiles have together."""

    #: Whether it has access profiles with settings of their own, as the older dialect and the console make them.
    is_legacy: bool
    auth_type: str
    api_collections: list[IdAndName]
    api_collection_ids: list[int]
    api_policies: list[IdAndName]
    api_policy_id: int | None
    active_api_keys_count: int
    total_api_keys_count: int
    jwt_method: str | None = None
    #: The public key; an HMAC secret is never shown.
    jwt_secret: str | None = None
    oidc_issuer: str | None = None
    oidc_jwks_uri: str | None = None
    access_profile_claim: str | None = None
    required_claims: list[str] = []
    allowed_issuers: list[str] = []
    audience: str | None = None
    leeway_seconds: int | None = None
    allow_without_exp: bool | None = None
    #: Null, false or empty: Ostiary does not have these.
    email: str | None = None
    api_token: str | None = None
    mtls_enabled: bool = False
    validation_formula: str | None = None
    cert_bundle_ids: list[int] = []


class ClientWithKeys(ClientWithDefaults):
    api_keys: list[api_keys.ApiKey]


class ClientWithDefaultsChanged(ClientWithKeys):
    warnings: list[str] = []
    revocation: Revocation | None = None


class ClientWithDefaultsData(Schema):
    data: ClientWithDefaultsChanged


class ClientWithDefaultsPage(lists.CursorPage[ClientWithDefaults]):
    """One page of the clients."""


class ClientWithDefaultsQuery(ClientQuery):
    apart: ClassVar[frozenset[str]] = ClientQuery.apart | {"cert_bundle_ids"}

    cert_bundle_ids: list[int] = []


def _shown(by: Actor, found: list[Client]) -> list[dict[str, Any]]:
    console = public_urls.console_url()
    views = client_defaults.views(by, found)
    return [described(client, console) | _defaults(views[client.pk]) for client in found]


def _defaults(view: client_defaults.View) -> dict[str, Any]:
    return {
        "is_legacy": view.own_profiles > 0,
        "auth_type": view.auth_type,
        "api_collections": [{"id": pk, "name": name} for pk, name in view.collections],
        "api_collection_ids": [pk for pk, _ in view.collections],
        "api_policies": [{"id": pk, "name": name} for pk, name in view.policies],
        "api_policy_id": view.policy_id,
        "active_api_keys_count": view.active_profiles,
        "total_api_keys_count": view.profiles,
        **view.rules,
    }


def _whole(by: Actor, client: Client) -> dict[str, Any]:
    """One client with its keys; of more than 100, the first."""
    keys = access_profiles.profiles(by, client.pk)[:MOST_PER_PAGE]
    return _shown(by, [client])[0] | {"api_keys": [api_keys.described(k) for k in keys]}


@change(ClientWithDefaultsChanged, lambda client: _whole(SYSTEM, client))
class ClientWithDefaultsChange(ChangeBody, NotOfferedOfClients, client_defaults.WithDefaultsInput):
    """Omitted fields keep their values. `auth_type` cannot be changed once there are defaults."""

    apart: ClassVar[tuple[str, ...]] = (
        *NotOfferedOfClients.model_fields, *client_defaults.WithDefaultsInput.apart,
    )  # fmt: skip


@router.get(
    "/v2/api_clients",
    response={200: ClientWithDefaultsPage, **ERRORS},
)
def list_clients_with_defaults(
    request: HttpRequest, query: Query[ClientWithDefaultsQuery], response: HttpResponse
) -> Any:
    if query.cert_bundle_ids:
        raise Invalid({"cert_bundle_ids": [CERTIFICATES]})
    by = actor(request)
    found = clients.clients(by)
    return lists.paged_together(request, response, found, query, lambda rows: _shown(by, rows))


@router.post("/v2/api_clients", response={200: ClientWithDefaultsData, **ERRORS})
def create_client_with_defaults(
    request: HttpRequest, payload: ClientWithDefaultsIn, response: HttpResponse
) -> Any:
    """Make a client. It has no key yet: that is `POST …/api_keys`."""
    by = actor(request)
    client, warnings = added(client_defaults.create_client(by=by, given=payload))
    client = clients.find(by, client.pk)
    versioned(response, client)
    return {"data": _whole(by, client) | {"warnings": warnings}}


@router.get("/v2/api_clients/{int:client_id}", response={200: ClientWithDefaultsData, **ERRORS})
def show_client_with_defaults(request: HttpRequest, client_id: int, response: HttpResponse) -> Any:
    """The client with its API keys; of more than 100, the first."""
    by = actor(request)
    client = clients.find(by, client_id)
    versioned(response, client)
    return {"data": _whole(by, client)}


@router.put("/v2/api_clients/{int:client_id}", response={200: ClientWithDefaultsData, **ERRORS})
def change_client_with_defaults(
    request: HttpRequest,
    client_id: int,
    payload: ClientWithDefaultsChange,
    response: HttpResponse,
) -> Any:
    """Change the client and its defaults. All keys that follow it change with them, under one receipt."""
    by = actor(request)
    saved = client_defaults.change_client(
        by=by, client_id=client_id, given=payload, if_match=if_match(request)
    )
    _, receipt = in_force(saved)
    client = clients.find(by, client_id)
    versioned(response, client)
    outcome = {"warnings": list(saved.warnings), "revocation": receipt}
    return {"data": _whole(by, client) | outcome}


@router.delete("/v2/api_clients/{int:client_id}", response={200: SwitchedClient, **ERRORS})
def delete_client_with_keys(request: HttpRequest, client_id: int) -> Any:
    """Delete the client with its keys: when this answers, none of them can call."""
    _, receipt = in_force(
        clients.delete(by=actor(request), client_id=client_id, if_match=if_match(request))
    )
    return {"success": True, "revocation": receipt}
