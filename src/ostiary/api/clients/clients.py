"""`/api/api_clients` (v1), and what of v2 is about the client alone."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from django.http import HttpRequest, HttpResponse
from ninja import File, Query, Router, Schema, UploadedFile

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    DisableIn,
    Revocation,
    Success,
    Time,
    actor,
    body,
    change,
    if_match,
    in_force,
    showing,
    shown,
    versioned,
)
from ostiary.directory import states
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.clients import clients, logo
from ostiary.directory.models import Client
from ostiary.directory.states import StateCode
from ostiary.directory.workspace import public_urls

router = Router(tags=["Clients"])


@body("name")
class ClientIn(clients.ClientInput):
    """A client; without `project_id`, it belongs to *Home*."""


@showing(clients.ClientInput)
class ClientOut(Schema):
    id: int
    project_id: int
    active: bool
    inactive_until: Time | None
    effective_state: StateCode
    logo: str | None
    logo_2x: str | None
    epoch: int
    created_at: Time
    updated_at: Time


@change(ClientOut, lambda client: described(client, public_urls.console_url()))
class ClientChange(ChangeBody, clients.ClientInput):
    """Omitted fields keep their values."""


class ClientResult(Schema):
    result: ClientOut


class ClientList(Schema):
    result: list[ClientOut]


class SwitchedClient(Success):
    revocation: Revocation


class LogoUrls(Schema):
    logo: str | None
    logo_2x: str | None


class LogoData(Schema):
    data: LogoUrls


class ClientQuery(lists.LabelledQuery):
    conditions: ClassVar = staticmethod(states.client_conditions)

    project_id: lists.IdFilter = None
    active: lists.FlagFilter = None
    effective_state: Annotated[str | None, lists.among(states.client_conditions)] = None


class ClientListQuery(ClientQuery):
    wrap: Literal["", "result"] = ""


def described(client: Client, console: str) -> dict[str, Any]:
    """A client as answers show it; `console` is the console's URL."""
    version = client.logo_version
    base = f"{console}/logos/{client.pk}/{version}"
    return shown(clients.ClientInput, client) | {
        "project_id": client.project_id,
        "active": client.active,
        "effective_state": states.of_client(client).code,
        "inactive_until": client.inactive_until,
        "logo": f"{base}-{logo.SMALL}.png" if version else None,
        "logo_2x": f"{base}-{logo.MEDIUM}.png" if version else None,
        "epoch": client.epoch,
    }


@router.get(
    "/api_clients",
    response={200: list[ClientOut] | ClientList, **ERRORS},
)
def list_clients(
    request: HttpRequest, query: Query[ClientListQuery], response: HttpResponse
) -> Any:
    """A bare list; `wrap=result` puts it into an object."""
    found = lists.bare(request, response, clients.clients(actor(request)), query)
    console = public_urls.console_url()
    answer = [described(client, console) for client in found]
    return {"result": answer} if query.wrap == "result" else answer


@router.post("/api_clients", response={200: ClientResult, **ERRORS})
def create_client(request: HttpRequest, payload: ClientIn, response: HttpResponse) -> Any:
    client = clients.create(by=actor(request), given=payload)
    versioned(response, client)
    return {"result": described(client, public_urls.console_url())}


@router.get("/api_clients/{int:client_id}", response={200: ClientResult, **ERRORS})
def show_client(request: HttpRequest, client_id: int, response: HttpResponse) -> Any:
    client = clients.find(actor(request), client_id)
    versioned(response, client)
    return {"result": described(client, public_urls.console_url())}


@router.put("/api_clients/{int:client_id}", response={200: ClientResult, **ERRORS})
def change_client(
    request: HttpRequest, client_id: int, payload: ClientChange, response: HttpResponse
) -> Any:
    client = clients.change(
        by=actor(request),
        client_id=client_id,
        given=payload,
        if_match=if_match(request),
    )
    versioned(response, client)
    return {"result": described(client, public_urls.console_url())}


@router.delete("/api_clients/{int:client_id}", response={200: SwitchedClient, **ERRORS})
def delete_client(request: HttpRequest, client_id: int) -> Any:
    _, receipt = in_force(
        clients.delete(by=actor(request), client_id=client_id, if_match=if_match(request))
    )
    return {"success": True, "revocation": receipt}


def _switched(
    request: HttpRequest, client_id: int, *, active: bool, until: datetime | None = None
) -> Saved[Client]:
    return clients.switch(
        by=actor(request),
        client_id=client_id,
        active=active,
        until=until,
        if_match=if_match(request),
    )


@router.put("/v2/api_clients/{int:client_id}/enable", response={200: SwitchedClient, **ERRORS})
def enable_client(request: HttpRequest, client_id: int) -> Any:
    _, receipt = in_force(_switched(request, client_id, active=True))
    return {"success": True, "revocation": receipt}


@router.put("/v2/api_clients/{int:client_id}/disable", response={200: SwitchedClient, **ERRORS})
def disable_client(request: HttpRequest, client_id: int, payload: DisableIn | None = None) -> Any:
    """Switch the client off: when this answers, none of its profiles can call.

    With `until`, it comes back by itself.
    """
    until = payload.until if payload else None
    _, receipt = in_force(_switched(request, client_id, active=False, until=until))
    return {"success": True, "revocation": receipt}


@router.put("/v2/api_clients/{int:client_id}/logo", response={200: LogoData, **ERRORS})
def set_logo(
    request: HttpRequest, client_id: int, logo: File[UploadedFile], response: HttpResponse
) -> Any:
    """A PNG or JPEG of at most 2 MB, as multipart field `logo`; it is redrawn in two sizes."""
    client = clients.set_logo(
        by=actor(request), client_id=client_id, content=logo.read(), if_match=if_match(request)
    )
    versioned(response, client)
    answer = described(client, public_urls.console_url())
    return {"data": {"logo": answer["logo"], "logo_2x": answer["logo_2x"]}}


@router.delete("/v2/api_clients/{int:client_id}/logo", response={200: Success, **ERRORS})
def remove_logo(request: HttpRequest, client_id: int) -> Any:
    clients.set_logo(
        by=actor(request), client_id=client_id, content=None, if_match=if_match(request)
    )
    return {"success": True}
