"""`/api/v2/credentials`: the credentials of all access profiles, and the end of one."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.access.methods import AuthMethod
from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Revocation,
    Time,
    actor,
    change,
    if_match,
    in_force,
    versioned,
)
from ostiary.api.clients.access_profiles import CredentialOut, described_credential
from ostiary.directory import search, states
from ostiary.directory.changes.inputs import OneOf
from ostiary.directory.clients import credential_bulk, credentials
from ostiary.directory.models import Credential

router = Router(tags=["Access profiles"])


class OwnedCredential(CredentialOut):
    """A credential with what it belongs to."""

    access_profile_id: int
    access_profile: str
    api_client_id: int
    api_client: str
    project_id: int
    revoked_at: Time | None


class CredentialChanged(OwnedCredential):
    revocation: Revocation | None = None


class OwnedCredentialData(Schema):
    data: CredentialChanged


class OwnedCredentialPage(lists.CursorPage[OwnedCredential]):
    """One page of the credentials of all access profiles."""


class OwnedCredentialQuery(lists.DatedQuery):
    conditions: ClassVar = staticmethod(states.credential_conditions)
    #: `search` finds them by their mask, and by an index.
    searched: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[Mapping[str, str]] = {
        "project_id": "profile__client__project_id",
        "api_client_id": "profile__client_id",
        "access_profile_id": "profile_id",
        "api_collection_id": "profile__collections",
        "auth_type": "profile__auth_type",
        "never_used": "last_used_at__isnull",
        "expires_before": "expires_at__lt",
        # Whatever changes a credential changes the version of its profile.
        "updated_after": "profile__updated_at__gt",
        # In this order they are made, and the column has no index.
        "created_at": "pk",
    }

    sort: Annotated[str, lists.sorts("id", "created_at")] = "-id"
    search: lists.SearchText = Field(
        "",
        description="Credentials that begin like this, or as they are masked (`ost_AbCd…WxYz`); else those"
        " with each word in the name of the access profile or of the client.",
    )
    updated_after: lists.TimeFilter = Field(
        None,
        description="Credentials of access profiles that were changed after this time, or made.",
    )
    project_id: lists.IdFilter = None
    api_client_id: lists.IdFilter = None
    access_profile_id: lists.IdFilter = None
    api_collection_id: lists.IdFilter = Field(
        None, description="A collection that their access profiles may call."
    )
    auth_type: Annotated[str | None, OneOf(AuthMethod, named=True)] = None
    effective_state: Annotated[str | None, lists.among(states.credential_conditions)] = None
    imported: lists.FlagFilter = Field(None, description="Whether consumers had it already.")
    never_used: lists.FlagFilter = Field(None, description="Whether no request ever presented it.")
    expires_before: lists.TimeFilter = None


def _owned(credential: Credential) -> dict[str, Any]:
    profile = credential.profile
    return described_credential(credential) | {
        "access_profile_id": profile.pk,
        "access_profile": profile.name,
        "api_client_id": profile.client_id,
        "api_client": profile.client.name,
        "project_id": profile.client.project_id,
        "revoked_at": credential.revoked_at,
    }


@change(CredentialChanged, _owned)
class CredentialChange(ChangeBody, credential_bulk.CredentialInput):
    """`expires_at` may be null: never."""


@router.get("/v2/credentials", response={200: OwnedCredentialPage, **ERRORS})
def list_all_credentials(
    request: HttpRequest, query: Query[OwnedCredentialQuery], response: HttpResponse
) -> Any:
    """List the credentials of all access profiles, also those that have ended, the newest first."""
    by = actor(request)
    found = credentials.credentials(by)
    if query.search:
        found = search.credentials_with(by, found, query.search)
    found = found.select_related("profile__client").defer(
        "profile__client__logo_small", "profile__client__logo_medium"
    )
    return lists.paged(request, response, found, query, _owned)


@router.get("/v2/credentials/{int:credential_id}", response={200: OwnedCredentialData, **ERRORS})
def show_owned_credential(request: HttpRequest, credential_id: int, response: HttpResponse) -> Any:
    """Show a credential, also one that has ended. Its version is its access profile's."""
    found = credentials.find(actor(request), credential_id)
    versioned(response, found.profile)
    return {"data": _owned(found)}


@router.put("/v2/credentials/{int:credential_id}", response={200: OwnedCredentialData, **ERRORS})
def change_credential(
    request: HttpRequest, credential_id: int, payload: CredentialChange, response: HttpResponse
) -> Any:
    """Give a credential an end, or lift it with null.

    One that ended by its expiry works again; a revoked one is refused.
    """
    by = actor(request)
    saved = credential_bulk.change(
        by=by, credential_id=credential_id, given=payload, if_match=if_match(request)
    )
    _, receipt = in_force(saved)
    found = credentials.find(by, credential_id)
    versioned(response, found.profile)
    return {"data": _owned(found) | {"revocation": receipt}}
