"""`/api/v2/audit_events`: who did what, when, and from where."""

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api.answers import ERRORS, Paging, Time, actor, page
from ostiary.directory.changes import audit_log

router = Router(tags=["Audit"])


class EventQuery(Paging):
    search: str = Field("", max_length=100)
    target_kind: str = Field("", max_length=32)


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


class EventPage(Schema):
    data: list[EventOut]
    count: int
    page: int
    per_page: int


@router.get("/v2/audit_events", response={200: EventPage, **ERRORS})
def list_events(request: HttpRequest, query: Query[EventQuery]) -> Any:
    """Events of the projects that the token sees, the newest first; never a secret."""
    found = audit_log.matching(actor(request), search=query.search, kind=query.target_kind)
    counts = {"count": found.count(), "page": query.page, "per_page": query.per_page}
    return {"data": page(found, query), **counts}
