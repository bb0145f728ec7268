"""`/api/projects` and `/api/folders`: a project is a top-level folder."""

from typing import Any, ClassVar, Literal, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field, StrictInt

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    QueryFlag,
    Revocation,
    Strict,
    Success,
    Time,
    actor,
    body,
    change,
    if_match,
    in_force,
    versioned,
)
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.models import Folder
from ostiary.directory.projects import projects
from ostiary.directory.projects.project_deletion import Deleted
from ostiary.directory.workspace import project_quotas

router = Router(tags=["Projects and folders"])
M = TypeVar("M", bound=Model)


class ProjectOut(Schema):
    id: int
    folder_id: int
    key: str | None
    labels: dict[str, str]
    name: str
    description: str
    #: Whether this is *Home*, the project of assets for which none is named.
    home: bool


class FolderOut(Schema):
    id: int
    key: str | None
    labels: dict[str, str]
    name: str
    parent_id: int | None
    is_project: bool
    project_id: int
    created_at: Time
    updated_at: Time


class Gone(Success):
    """What was deleted: counts by kind, and revoked management tokens that had no other project.

    Whatever credentials were among it are revoked, and `revocation` is the receipt.
    """

    deleted: dict[str, int]
    revoked_token_ids: list[int]
    revocation: Revocation


@body("name")
class FolderIn(projects.FolderInput):
    """A folder; without `parent_id`, a project."""


QuotaName = Literal[
    "clients", "access_profiles", "api_collections", "api_endpoints", "connections",
    "address_lists", "policies", "webhooks", "upcalls_per_second", "leases",
]  # fmt: skip


class QuotaIn(Strict):
    """A quota as a GET shows it."""

    most: StrictInt | None
    used: StrictInt | None = Field(None, description="Counted; what is sent is not read.")


#: The number, or the object that a GET shows.
NewQuota = StrictInt | QuotaIn | None


class QuotasIn(Strict):
    """Objects that the project may hold; first calls in a second and leases in ten minutes of its
    profiles. What exists already stays, also where a quota is lower.
    """

    clients: NewQuota = None
    access_profiles: NewQuota = None
    api_collections: NewQuota = None
    api_endpoints: NewQuota = None
    connections: NewQuota = None
    address_lists: NewQuota = None
    policies: NewQuota = None
    webhooks: NewQuota = None
    upcalls_per_second: NewQuota = None
    leases: NewQuota = None


class ProjectQuery(lists.LabelledQuery):
    home: lists.FlagFilter = None
    name: lists.TextFilter = None


class FolderQuery(lists.LabelledQuery):
    apart: ClassVar[frozenset[str]] = lists.LabelledQuery.apart | {
        "parent_id", "with_nested_folders",
    }  # fmt: skip

    parent_id: lists.IdFilter = None
    with_nested_folders: QueryFlag = False
    project_id: lists.IdFilter = None
    name: lists.TextFilter = None

    def filtered(self, found: QuerySet[M], name: str, value: object) -> QuerySet[M]:
        if name != "project_id":
            return super().filtered(found, name, value)
        return found.filter(Q(project_id=value) | Q(pk=value))


class AssetsQuery(Strict):
    folder_id: int = Field(ge=1, le=2**31 - 1)
    #: They choose among assets, of which there are none.
    include_test_cases: QueryFlag = False
    include_data: QueryFlag = False


class Asset(Schema):
    id: int
    name: str
    type: str
    root_folder: bool
    zip_name: str
    checked: bool


class AssetList(Schema):
    assets: list[Asset]


class AssetsResult(Schema):
    result: AssetList


def _project(folder: Folder) -> dict[str, Any]:
    return {
        "id": folder.pk,
        "folder_id": folder.pk,
        "key": folder.key,
        "labels": folder.labels,
        "name": folder.name,
        "description": folder.description,
        "home": folder.home,
    }


@change(ProjectOut, _project)
class ProjectChange(ChangeBody, projects.FolderInput):
    """Omitted fields keep their values. A project cannot be moved into a folder."""


def _folder(folder: Folder) -> dict[str, Any]:
    return {
        "id": folder.pk,
        "key": folder.key,
        "labels": folder.labels,
        "name": folder.name,
        "parent_id": folder.parent_id,
        "is_project": folder.parent_id is None,
        "project_id": folder.root_id,
        "created_at": folder.created_at,
        "updated_at": folder.updated_at,
    }


@change(FolderOut, _folder)
class FolderChange(ChangeBody, projects.FolderInput):
    """Omitted fields keep their values; a project has no `parent_id`."""


class Quota(Schema):
    """The most that the project may have (null: no bound of its own), and how many there are."""

    most: int | None
    used: int | None


class QuotasData(Schema):
    data: dict[QuotaName, Quota]


def _quotas(request: HttpRequest, project_id: int) -> dict[str, Any]:
    stored = project_quotas.of(actor(request), project_id)
    used = project_quotas.used(project_id)
    return {
        name: {"most": stored.get(name), "used": used.get(name)} for name in project_quotas.NAMES
    }


@router.get("/v2/projects/{int:project_id}/quotas", response={200: QuotasData, **ERRORS})
def show_quotas(request: HttpRequest, project_id: int, response: HttpResponse) -> Any:
    """What a project may hold and ask of the gateway, and how many of each it holds."""
    versioned(response, projects.find_project(actor(request), project_id))
    return {"data": _quotas(request, project_id)}


@router.put("/v2/projects/{int:project_id}/quotas", response={200: QuotasData, **ERRORS})
def change_quotas(
    request: HttpRequest, project_id: int, payload: QuotasIn, response: HttpResponse
) -> Any:
    """Set the quotas that are named, null for no bound; for workspace admins."""
    project = project_quotas.change(
        by=actor(request),
        project_id=project_id,
        quotas={
            name: value.most if isinstance(value := getattr(payload, name), QuotaIn) else value
            for name in payload.model_fields_set
        },
        if_match=if_match(request),
    )
    versioned(response, project)
    return {"data": _quotas(request, project_id)}


def _gone(saved: Saved[Deleted]) -> dict[str, Any]:
    deleted, revocation = in_force(saved)
    return {
        "success": True,
        "deleted": dict(deleted.counts),
        "revoked_token_ids": [token.pk for token in deleted.revoked_tokens],
        "revocation": revocation,
    }


@router.get("/projects", response={200: list[ProjectOut], **ERRORS})
def list_projects(request: HttpRequest, query: Query[ProjectQuery], response: HttpResponse) -> Any:
    found = lists.bare(request, response, projects.projects(actor(request)), query)
    return [_project(project) for project in found]


@router.get("/projects/{int:project_id}", response={200: ProjectOut, **ERRORS})
def show_project(request: HttpRequest, project_id: int, response: HttpResponse) -> Any:
    project = projects.find_project(actor(request), project_id)
    versioned(response, project)
    return _project(project)


@router.put("/projects/{int:project_id}", response={200: ProjectOut, **ERRORS})
def change_project(
    request: HttpRequest, project_id: int, payload: ProjectChange, response: HttpResponse
) -> Any:
    by = actor(request)
    project = projects.change_folder(
        by=by,
        folder_id=projects.find_project(by, project_id).pk,
        given=payload,
        if_match=if_match(request),
    )
    versioned(response, project)
    return _project(project)


@router.delete("/projects/{int:project_id}", response={200: Gone, **ERRORS})
def delete_project(request: HttpRequest, project_id: int, force: QueryFlag = False) -> Any:
    """Delete a project; one that holds something, with secrets or without, only with `force`.

    Refused for *Home*, and while profiles of other projects may call its collections.
    """
    by = actor(request)
    project = projects.find_project(by, project_id)
    return _gone(
        projects.delete_folder(by=by, folder_id=project.pk, force=force, if_match=if_match(request))
    )


@router.get("/folders", response={200: list[FolderOut], **ERRORS})
def list_folders(request: HttpRequest, query: Query[FolderQuery], response: HttpResponse) -> Any:
    found = projects.folders(
        actor(request), parent_id=query.parent_id, nested=query.with_nested_folders
    )
    return [_folder(folder) for folder in lists.bare(request, response, found, query)]


@router.post("/folders", response={200: FolderOut, **ERRORS})
def create_folder(request: HttpRequest, payload: FolderIn, response: HttpResponse) -> Any:
    folder = projects.create_folder(by=actor(request), given=payload)
    versioned(response, folder)
    return _folder(folder)


@router.get("/folders/{int:folder_id}", response={200: FolderOut, **ERRORS})
def show_folder(request: HttpRequest, folder_id: int, response: HttpResponse) -> Any:
    folder = projects.find(actor(request), folder_id)
    versioned(response, folder)
    return _folder(folder)


@router.put("/folders/{int:folder_id}", response={200: FolderOut, **ERRORS})
def change_folder(
    request: HttpRequest, folder_id: int, payload: FolderChange, response: HttpResponse
) -> Any:
    folder = projects.change_folder(
        by=actor(request), folder_id=folder_id, given=payload, if_match=if_match(request)
    )
    versioned(response, folder)
    return _folder(folder)


@router.delete("/folders/{int:folder_id}", response={200: Gone, **ERRORS})
def delete_folder(request: HttpRequest, folder_id: int, force: QueryFlag = False) -> Any:
    """Delete a folder, or a project as `DELETE /projects/{id}` does."""
    return _gone(
        projects.delete_folder(
            by=actor(request), folder_id=folder_id, force=force, if_match=if_match(request)
        )
    )


@router.get("/export_manifests/folder_assets", response={200: AssetsResult, **ERRORS})
def list_folder_assets(request: HttpRequest, query: Query[AssetsQuery]) -> Any:
    """What of a folder can be exported as a package: nothing, for Ostiary makes no packages."""
    projects.find(actor(request), query.folder_id)
    return {"result": {"assets": []}}
