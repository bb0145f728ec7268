"""`/api/v2/deleted_objects`: what was deleted in the last days, and can be put back."""

from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema

from ostiary.api import lists
from ostiary.api.answers import ERRORS, Time, actor, added
from ostiary.directory import restoring
from ostiary.directory.changes import deletions
from ostiary.directory.changes.inputs import OneOf
from ostiary.directory.models import DeletedObject

router = Router(tags=["Deleted objects"])

Kind = Literal[
    "client", "access_profile", "collection", "endpoint", "connection", "policy", "address_list",
    "webhook",
]  # fmt: skip


class DeletedObjectOut(Schema):
    id: int
    object_kind: Kind
    object_id: int
    name: str
    project_id: int | None
    takes: dict[str, int]
    deleted_by: str
    deleted_at: Time
    restorable_until: Time


class DeletedQuery(lists.ListParameters):
    sort: Annotated[str, lists.sorts("id")] = "-id"
    project_id: lists.IdFilter = None
    kind: Annotated[str | None, OneOf(sorted(restoring.KINDS), named=True)] = None


class DeletedPage(lists.CursorPage[DeletedObjectOut]):
    """One page of what can be put back."""


class RestoredOut(Schema):
    object_kind: Kind
    object_id: int
    name: str


class RestoredData(Schema):
    """`warnings` say what did not come back."""

    data: RestoredOut
    warnings: list[str]


def _shown(found: DeletedObject) -> dict[str, Any]:
    return {
        "id": found.pk,
        "object_kind": found.kind,
        "object_id": found.object_id,
        "name": found.name,
        "project_id": found.project_id,
        "takes": found.takes,
        "deleted_by": found.deleted_by,
        "deleted_at": found.deleted_at,
        "restorable_until": found.deleted_at + deletions.KEPT,
    }


@router.get("/v2/deleted_objects", response={200: DeletedPage, **ERRORS})
def list_deleted(request: HttpRequest, query: Query[DeletedQuery], response: HttpResponse) -> Any:
    """What was deleted in the last seven days and can be put back, the newest first."""
    found = restoring.deleted_objects(actor(request))
    return lists.paged(request, response, found, query, _shown)


@router.post("/v2/deleted_objects/{int:deleted_id}/restore", response={200: RestoredData, **ERRORS})
def restore_object(request: HttpRequest, deleted_id: int) -> Any:
    """Put an object back, with its id and what went with it, but without credentials and secrets.

    Refused (409) where its name, key or path was taken since, or where it relies on what is gone.
    """
    restored, warnings = added(restoring.restore(by=actor(request), deleted_id=deleted_id))
    shown = {
        "object_kind": restored.kind,
        "object_id": restored.object_id,
        "name": restored.name,
    }
    return {"data": shown, "warnings": warnings}
