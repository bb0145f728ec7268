"""Many access profiles, credentials or clients in one call; and `/api/v2/credential_imports`."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from ostiary.api.answers import (
    ERRORS,
    IdOrNone,
    Revocation,
    Strict,
    actor,
    added,
    body,
    in_force,
)
from ostiary.directory.changes.inputs import Flag
from ostiary.directory.clients import client_bulk, credential_bulk, credential_imports, profile_bulk

router = Router(tags=["Access profiles"])


@body("profile_ids")
class BulkIn(profile_bulk.BulkInput):
    """At most a thousand ids. `active` switches them; `api_client_id` moves them to a client of their project.

    `labels` are added to those that they have, and `without_labels` names those that they lose. So are
    `add_api_collection_ids` and `remove_api_collection_ids`. `revoke_credentials` leaves them without any.
    """


class BulkOut(Schema):
    #: The ids of those that were not like this before.
    changed_ids: list[int]
    revocation: Revocation


class BulkData(Schema):
    data: BulkOut


@body("credential_ids")
class CredentialsRevokedIn(credential_bulk.RevokeInput):
    """At most a thousand ids, of credentials of however many access profiles."""


@body("client_ids", "active")
class ClientsSwitchedIn(client_bulk.SwitchInput):
    """At most a thousand ids."""


@body("client", "collections")
class CredentialRow(credential_imports.RowInput):
    """A token that a consumer already has: itself, or better its SHA-256 in hex."""


class ImportIn(Strict):
    """Without `apply`, nothing is saved: the answer says what would be."""

    rows: list[CredentialRow] = Field(min_length=1, max_length=credential_imports.MOST)
    project_id: IdOrNone | None = None
    create_clients: Flag = False
    apply: Flag = False


class ImportedOut(Schema):
    #: 0 where nothing was saved.
    access_profile_id: int
    access_profile: str
    api_client_id: int
    api_client: str
    new_client: bool


class CredentialsImported(Schema):
    applied: bool
    #: In the order of the rows.
    rows: list[ImportedOut]


class CredentialsImportedData(Schema):
    data: CredentialsImported
    warnings: list[str] = []


@router.post("/v2/access_profiles/bulk", response={200: BulkData, **ERRORS})
def change_profiles(request: HttpRequest, payload: BulkIn) -> Any:
    """Change many access profiles together, all or none. When this answers, it is in force for all."""
    changed, receipt = in_force(profile_bulk.change(by=actor(request), given=payload))
    return {"data": {"changed_ids": changed, "revocation": receipt}}


@router.post("/v2/credentials/revoke", response={200: BulkData, **ERRORS})
def revoke_credentials(request: HttpRequest, payload: CredentialsRevokedIn) -> Any:
    """Revoke many credentials, all or none. When this answers, none of them works any more."""
    changed, receipt = in_force(credential_bulk.revoke(by=actor(request), given=payload))
    return {"data": {"changed_ids": changed, "revocation": receipt}}


@router.post("/v2/api_clients/bulk", response={200: BulkData, **ERRORS})
def switch_clients(request: HttpRequest, payload: ClientsSwitchedIn) -> Any:
    """Switch many clients on or off, all or none. When this answers, it is in force for all."""
    changed, receipt = in_force(client_bulk.switch(by=actor(request), given=payload))
    return {"data": {"changed_ids": changed, "revocation": receipt}}


@router.post("/v2/credential_imports", response={200: CredentialsImportedData, **ERRORS})
def import_credentials(request: HttpRequest, payload: ImportIn) -> Any:
    """Make an access profile of each credential that consumers already have, all or none.

    Tokens are not stored, only their SHA-256. Errors name the row: `rows.3.token` is of the fourth.
    """
    saved = credential_imports.run(
        by=actor(request),
        project_id=payload.project_id or None,
        rows=list(payload.rows),
        create_clients=payload.create_clients,
        apply=payload.apply,
    )
    made, warnings = added(saved)
    rows = [
        {
            "access_profile_id": each.profile_id if payload.apply else 0,
            "access_profile": each.profile,
            "api_client_id": each.client_id if payload.apply or not each.new_client else 0,
            "api_client": each.client,
            "new_client": each.new_client,
        }
        for each in made
    ]
    return {"data": {"applied": payload.apply, "rows": rows}, "warnings": warnings}
