"""`/api/api_collections`: versioned groups of endpoints, made by hand or from OpenAPI."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import PrivateAttr

from ostiary.access.methods import AuthMethod
from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Revocation,
    RevokedAnswer,
    Strict,
    Success,
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
    tagged,
    versioned,
)
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, openapi, reimports
from ostiary.directory.changes import etags, unpublished_objects
from ostiary.directory.changes.inputs import Flag, OneOf
from ostiary.directory.models import Collection
from ostiary.directory.workspace import public_urls
from ostiary.identity import places
from ostiary.review import reimport_effects

router = Router(tags=["API collections"])


class DocumentIn(Strict):
    """OpenAPI 3.0 or 3.1, or Swagger 2.0; at most 50 MB. `active`: its endpoints are active."""

    content: str
    format: Literal["json", "yaml"]
    active: Flag = False

    @property
    def content_and_format(self) -> tuple[str, str]:
        return self.content, self.format


@body("name")
class CollectionIn(collections.CollectionInput):
    """A proxy collection with `proxy_connection_id` or `openapi_spec`, else a recipe collection."""

    apart: ClassVar[tuple[str, ...]] = (*collections.CollectionInput.apart, "openapi_spec")

    openapi_spec: DocumentIn | None = None
    _read: openapi.Document | None = PrivateAttr(None)

    def prepare(self, by: Actor) -> None:
        """Read the document, which may take seconds."""
        if self.openapi_spec is not None:
            collections.check_may_create(by, self)
            self._read = collections.read_document(*self.openapi_spec.content_and_format)

    @property
    def document(self) -> tuple[str, str] | openapi.Document | None:
        if self._read is not None or self.openapi_spec is None:
            return self._read
        return self.openapi_spec.content_and_format


class ImportResults(Schema):
    success: bool
    total_endpoints: int
    failed_endpoints: int
    failed_actions: list[str]
    #: What was imported without a part of what the document says about it.
    notes: list[str] = []


class ImportReportOut(Schema):
    """The result of importing a collection's document."""

    total_endpoints: int
    failed_endpoints: int
    #: The first 2,000.
    failed_actions: list[str]
    notes: list[str]
    warnings: list[str]
    created_at: Time


class NextDocumentIn(Strict):
    """`openapi_spec` as for a new collection; its `active` is for what is added."""

    openapi_spec: DocumentIn


class NextDocumentChoice(NextDocumentIn):
    """Operations by the names of the preview, such as `GET /orders/{id}`.

    Without `added` or `changed`, all of them are taken. Of `gone`, only those that are named are
    deleted.
    """

    added: list[str] | None = None
    changed: list[str] | None = None
    gone: list[str] = []


class CallerOut(Schema):
    access_profile_id: int
    name: str
    client: str
    calls: int


class DifferenceOut(Schema):
    """`calls`: admitted in the last seven days; `access_profiles` made them, `callers` most of them."""

    name: str
    api_endpoint_id: int | None
    active: bool | None
    changes: list[str]
    added_by_hand: bool
    calls: int
    access_profiles: int
    callers: list[CallerOut]


class ImportPreviewOut(Schema):
    """`version` is for If-Match of the import: it names this document and the collection as it is."""

    version: str
    #: Access profiles that include the collection.
    access_profiles: int
    added: list[DifferenceOut]
    changed: list[DifferenceOut]
    gone: list[DifferenceOut]
    unchanged: int
    failed_actions: list[str]
    notes: list[str]


class ImportPreviewData(Schema):
    data: ImportPreviewOut


class ImportOut(Schema):
    added: int
    changed: int
    deleted: int
    import_results: ImportResults
    revocation: Revocation


class ImportData(Schema):
    data: ImportOut


@showing(collections.CollectionInput)
class CollectionOut(Schema):
    id: int
    project_id: str
    url: str
    api_spec_url: str
    #: The same as the handle.
    key: str
    handle: str
    kind: str
    proxy_connection_id: int | None
    epoch: int
    created_at: Time
    updated_at: Time
    #: Why the gateway rejects it and does not serve it; null: the gateway has it.
    gateway_problem: str | None
    warnings: list[str] = []
    message: str | None = None
    import_results: ImportResults | None = None
    revocation: Revocation | None = None


@change(CollectionOut, lambda collection: _shown(collection, public_urls.gateway_url()))
class CollectionChange(ChangeBody, collections.CollectionInput):
    """Omitted fields keep their values; `kind` and `project_id` cannot be changed."""


def _shown(collection: Collection, gateway: str) -> dict[str, Any]:
    console = public_urls.console_url()
    return shown(collections.CollectionInput, collection) | {
        "project_id": str(collection.project_id),
        "url": f"{gateway}/{collection.handle}",
        "api_spec_url": f"{console}/api/api_collections/{collection.pk}/openapi.json",
        "key": collection.handle,
        "handle": collection.handle,
        "kind": collection.kind,
        "proxy_connection_id": collection.connection_id,
        "cors_origins": collection.shown_origins,
        "cors_exposed_headers": collection.shown_exposed_headers,
        "credential_places": collection.shown_places,
        "epoch": collection.epoch,
        "gateway_problem": unpublished_objects.reason(unpublished_objects.COLLECTION, collection.pk)
        or None,
        "warnings": [places.URL_WARNING] if places.in_urls(collection.shown_places or ()) else [],
    }


class CollectionQuery(lists.LabelledQuery):
    searched: ClassVar[tuple[str, ...]] = ("name", "handle", "description")
    columns: ClassVar[Mapping[str, str]] = {"proxy_connection_id": "connection_id"}
    key_column: ClassVar[str] = "handle"

    sort: Annotated[str, lists.sorts("id", "name", "handle", "created_at", "updated_at")] = "id"
    project_id: lists.IdFilter = None
    proxy_connection_id: lists.IdFilter = None
    kind: Annotated[str | None, OneOf(Collection.Kind.values, named=True)] = None
    handle: lists.TextFilter = None
    version: lists.TextFilter = None


@router.get("/api_collections", response={200: list[CollectionOut], **ERRORS})
def list_collections(
    request: HttpRequest, query: Query[CollectionQuery], response: HttpResponse
) -> Any:
    gateway = public_urls.gateway_url()
    found = lists.bare(request, response, collections.collections(actor(request)), query)
    return [_shown(collection, gateway) for collection in found]


@router.post("/api_collections", response={200: CollectionOut, **ERRORS})
def create_collection(request: HttpRequest, payload: CollectionIn, response: HttpResponse) -> Any:
    document = payload.openapi_spec
    saved = collections.create(
        by=actor(request),
        given=payload,
        document=payload.document,
        active=document is not None and document.active,
    )
    imported, warnings = added(saved)
    versioned(response, imported.collection)
    answer = _shown(imported.collection, public_urls.gateway_url())
    answer["warnings"] += warnings
    if imported.read is None:
        return answer
    return answer | {"message": imported.message, "import_results": _results(imported.read)}


@router.get(
    "/api_collections/{int:collection_id}/import_report",
    response={200: ImportReportOut, **ERRORS},
)
def show_import_report(request: HttpRequest, collection_id: int, response: HttpResponse) -> Any:
    """The import report of the collection's document, until it is dismissed."""
    report = collections.import_report(actor(request), collection_id)
    tagged(response, etags.of_value((report.pk, report.created_at)))
    return {
        "total_endpoints": report.taken + report.left_out,
        "failed_endpoints": report.left_out,
        "failed_actions": [f"{where}: {reason}" for where, reason in report.skipped],
        "notes": [f"{where}: {note}" for where, note in report.notes],
        "warnings": report.warnings,
        "created_at": report.created_at,
    }


@router.delete(
    "/api_collections/{int:collection_id}/import_report", response={200: Success, **ERRORS}
)
def dismiss_import_report(request: HttpRequest, collection_id: int) -> Any:
    collections.dismiss_import_report(
        by=actor(request), collection_id=collection_id, if_match=if_match(request)
    )
    return {"success": True}


@router.get("/api_collections/{int:collection_id}", response={200: CollectionOut, **ERRORS})
def show_collection(request: HttpRequest, collection_id: int, response: HttpResponse) -> Any:
    collection = collections.find(actor(request), collection_id)
    versioned(response, collection)
    return _shown(collection, public_urls.gateway_url())


@router.put("/api_collections/{int:collection_id}", response={200: CollectionOut, **ERRORS})
def change_collection(
    request: HttpRequest, collection_id: int, payload: CollectionChange, response: HttpResponse
) -> Any:
    saved = collections.change(
        by=actor(request),
        collection_id=collection_id,
        given=payload,
        if_match=if_match(request),
    )
    collection, receipt = in_force(saved)
    versioned(response, collection)
    answer = _shown(collection, public_urls.gateway_url())
    answer["warnings"] += saved.warnings
    return answer | {"revocation": receipt}


@router.delete("/api_collections/{int:collection_id}", response={200: RevokedAnswer, **ERRORS})
def delete_collection(request: HttpRequest, collection_id: int) -> Any:
    return revoked(
        collections.delete(
            by=actor(request), collection_id=collection_id, if_match=if_match(request)
        )
    )


@router.get(
    "/api_collections/{int:collection_id}/openapi.json", response={200: dict[str, Any], **ERRORS}
)
def show_document(
    request: HttpRequest,
    collection_id: int,
    response: HttpResponse,
    auth_type: AuthMethod = AuthMethod.TOKEN,
) -> Any:
    """The collection as an OpenAPI 3.1 document, with the gateway's URL; active endpoints only.

    `auth_type`: how the reader's access profile authenticates, which the document says.
    """
    versioned(response, collections.find(actor(request), collection_id))
    return collections.document(actor(request), collection_id, auth_type)


@router.post(
    "/api_collections/{int:collection_id}/purge_cache", response={200: RevokedAnswer, **ERRORS}
)
def purge_cache(request: HttpRequest, collection_id: int) -> Any:
    return revoked(
        collections.purge_cache(
            by=actor(request), collection_id=collection_id, if_match=if_match(request)
        )
    )


def _results(read: openapi.Document) -> dict[str, Any]:
    failed = [f"{skip.place}: {skip.reason}" for skip in read.skipped]
    return {
        "success": not failed,
        "total_endpoints": len(read.operations) + len(failed),
        "failed_endpoints": len(failed),
        "failed_actions": failed,
        "notes": [f"{each.place}: {each.note}" for each in read.notes],
    }


def _difference(
    each: reimports.OperationDifference, touched: Mapping[int, reimport_effects.Touched]
) -> dict[str, Any]:
    endpoint = each.endpoint
    effect = touched.get(endpoint.pk) if endpoint else None
    return {
        "name": each.name,
        "api_endpoint_id": endpoint.pk if endpoint else None,
        "active": endpoint.active if endpoint else None,
        "changes": list(each.parts),
        "added_by_hand": each.by_hand,
        "calls": effect.calls if effect else 0,
        "access_profiles": effect.profiles if effect else 0,
        "callers": [
            {
                "access_profile_id": caller.profile_id,
                "name": caller.name,
                "client": caller.client,
                "calls": caller.calls,
            }
            for caller in (effect.callers if effect else ())
        ],
    }


@router.post(
    "/api_collections/{int:collection_id}/import/preview",
    response={200: ImportPreviewData, **ERRORS},
)
def preview_import(request: HttpRequest, collection_id: int, payload: NextDocumentIn) -> Any:
    """What a next document adds, changes and no longer has, and who calls that; nothing is saved."""
    by = actor(request)
    content, form = payload.openapi_spec.content_and_format
    plan = reimports.plan(by=by, collection_id=collection_id, content=content, form=form)
    touched = reimport_effects.touched(by, plan)
    results = _results(plan.read)
    return {
        "data": {
            "version": plan.version,
            "access_profiles": plan.collection.profiles.count(),
            "added": [_difference(each, touched) for each in plan.added],
            "changed": [_difference(each, touched) for each in plan.changed],
            "gone": [_difference(each, touched) for each in plan.gone],
            "unchanged": plan.unchanged,
            "failed_actions": results["failed_actions"],
            "notes": results["notes"],
        }
    }


@router.put("/api_collections/{int:collection_id}/import", response={200: ImportData, **ERRORS})
def import_document(request: HttpRequest, collection_id: int, payload: NextDocumentChoice) -> Any:
    """Take over a next document, in one transaction; with If-Match, what was previewed or nothing."""
    content, form = payload.openapi_spec.content_and_format
    saved = reimports.take(
        by=actor(request),
        collection_id=collection_id,
        content=content,
        form=form,
        choice=reimports.Choice(
            added=payload.added,
            changed=payload.changed,
            gone=payload.gone,
            active=payload.openapi_spec.active,
        ),
        if_match=if_match(request),
    )
    taken, receipt = in_force(saved)
    return {
        "data": {
            "added": taken.added,
            "changed": taken.changed,
            "deleted": taken.deleted,
            "import_results": _results(taken.read),
            "revocation": receipt,
        }
    }
