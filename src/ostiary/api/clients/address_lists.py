"""`/api/v2/address_lists`: named lists of addresses, which profiles of a project share."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Revocation,
    RevokedAnswer,
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
from ostiary.directory.actor import SYSTEM, Actor
from ostiary.directory.clients import address_lists
from ostiary.directory.models import AddressList

router = Router(tags=["Address lists"])


@body("name", "text")
class AddressListIn(address_lists.AddressListInput):
    """`entries`: addresses and CIDR ranges, each with a comment after `#` if you want; one text with an
    entry a line, or a list of them, 20,000 at most.
    """


@showing(address_lists.AddressListInput)
class AddressListOut(Schema):
    id: int
    project_id: int
    entry_count: int
    epoch: int
    created_at: Time
    updated_at: Time


class AddressListWhole(AddressListOut):
    """With its entries as they were typed, and the profiles that use it."""

    entries: str
    api_access_profile_ids: list[int]
    warnings: list[str] = []
    revocation: Revocation | None = None


@change(AddressListWhole, lambda found: _whole(SYSTEM, found))
class AddressListChange(ChangeBody, address_lists.AddressListInput):
    """Omitted fields keep their values; `project_id` cannot be changed."""


class AddressListData(Schema):
    data: AddressListWhole


class AddressListPage(lists.CursorPage[AddressListOut]):
    """One page of the lists, without their entries."""


class AddressListQuery(lists.LabelledQuery):
    sort: Annotated[str, lists.BY_NAME] = "name"
    project_id: lists.IdFilter = None


def _shown(found: AddressList) -> dict[str, Any]:
    return shown(address_lists.AddressListInput, found) | {
        "project_id": found.project_id,
        "entry_count": found.entries,
        "epoch": found.epoch,
    }


def _whole(by: Actor, found: AddressList) -> dict[str, Any]:
    used = address_lists.users(by, found.pk).values_list("pk", flat=True)
    return _shown(found) | {"entries": found.text, "api_access_profile_ids": list(used)}


@router.get("/v2/address_lists", response={200: AddressListPage, **ERRORS})
def list_address_lists(
    request: HttpRequest, query: Query[AddressListQuery], response: HttpResponse
) -> Any:
    found = address_lists.address_lists(actor(request))
    return lists.paged(request, response, found, query, _shown)


@router.post("/v2/address_lists", response={200: AddressListData, **ERRORS})
def create_address_list(
    request: HttpRequest, payload: AddressListIn, response: HttpResponse
) -> Any:
    by = actor(request)
    made, warnings = added(address_lists.create(by=by, given=payload))
    versioned(response, made)
    return {"data": _whole(by, made) | {"warnings": warnings}}


@router.get("/v2/address_lists/{int:list_id}", response={200: AddressListData, **ERRORS})
def show_address_list(request: HttpRequest, list_id: int, response: HttpResponse) -> Any:
    found = address_lists.find(actor(request), list_id)
    versioned(response, found)
    return {"data": _whole(actor(request), found)}


@router.put("/v2/address_lists/{int:list_id}", response={200: AddressListData, **ERRORS})
def change_address_list(
    request: HttpRequest, list_id: int, payload: AddressListChange, response: HttpResponse
) -> Any:
    """Change the given fields: when this answers, they are in force for every profile that uses the list."""
    saved = address_lists.change(
        by=actor(request), list_id=list_id, given=payload, if_match=if_match(request)
    )
    found, receipt = in_force(saved)
    versioned(response, found)
    told = {"warnings": list(saved.warnings), "revocation": receipt}
    return {"data": _whole(actor(request), found) | told}


@router.delete("/v2/address_lists/{int:list_id}", response={200: RevokedAnswer, **ERRORS})
def delete_address_list(request: HttpRequest, list_id: int) -> Any:
    """Delete a list that no profile uses."""
    return revoked(
        address_lists.delete(by=actor(request), list_id=list_id, if_match=if_match(request))
    )
