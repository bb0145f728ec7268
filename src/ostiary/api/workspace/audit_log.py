"""`/api/v2/audit_events`: who did what, when, and from where."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api import lists
from ostiary.api.answers import ERRORS, Time, actor
from ostiary.directory.changes import audit_log
from ostiary.directory.models import AuditEvent

router = Router(tags=["Audit"])
M = TypeVar("M", bound=Model)

#: Filters that name an actor, and the kind of actor that they name.
_ACTORS = {"member_id": "member", "token_id": "token"}


class EventQuery(lists.ListParameters):
    searched: ClassVar[tuple[str, ...]] = ("actor_name", "action", "target_name")
    columns: ClassVar[Mapping[str, str]] = {"from_": "at__gte", "to": "at__lt"}

    sort: Annotated[str, lists.sorts("id")] = "-id"
    from_: lists.TimeFilter = Field(None, alias="from", description="From this time on.")
    to: lists.TimeFilter = Field(None, description="Before this time.")
    actor_kind: Literal["member", "token", "system"] | None = None
    member_id: lists.IdFilter = Field(None, description="What this member did.")
    token_id: lists.IdFilter = Field(None, description="What this management token did.")
    project_id: lists.IdFilter = None
    action: Annotated[lists.TextFilter, Field(max_length=64)] = Field(
        None,
        description="Such as `client.change`; `client.` for all of clients.",
    )
    target_kind: Annotated[lists.TextFilter, Field(max_length=32)] = None
    target_id: lists.IdFilter = None

    def filtered(self, found: QuerySet[M], name: str, value: object) -> QuerySet[M]:
        if name in _ACTORS:
            return found.filter(actor_kind=_ACTORS[name], actor_id=value)
        if name == "action" and str(value).endswith("."):
            return found.filter(action__startswith=value)
        if name == "target_kind" and not value:
            return found
        return super().filtered(found, name, value)


class EventOut(Schema):
    id: int
    at: Time
    actor_kind: str
    actor_id: int | None
    actor_name: str
    action: str
    target_kind: str
    target_id: int | None
    target_name: str
    project_id: int | None
    before: dict[str, Any]
    after: dict[str, Any]
    address: str


class EventPage(lists.CursorPage[EventOut]):
    """One page of the events."""


def _shown(event: AuditEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in EventOut.model_fields}


@router.get("/v2/audit_events", response={200: EventPage, **ERRORS})
def list_events(request: HttpRequest, query: Query[EventQuery], response: HttpResponse) -> Any:
    """Events of the projects that the token sees, the newest first; never a secret."""
    return lists.paged(request, response, audit_log.events(actor(request)), query, _shown)
