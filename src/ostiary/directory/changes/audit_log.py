"""The audit log: who did what, written in the transaction of the change. Never a secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q, QuerySet

from ostiary.directory.actor import Actor
from ostiary.directory.models import AuditEvent


def record(
    by: Actor,
    action: str,
    *,
    target_kind: str,
    target_id: int | None,
    target_name: str,
    project_id: int | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write one event; stores only the differences of `before` and `after`."""
    assert connection.in_atomic_block  # noqa: S101 - a programming error, not input
    old, new = dict(before or {}), dict(after or {})
    if before is not None and after is not None:
        same = {name for name in old if name in new and old[name] == new[name]}
        old = {name: value for name, value in old.items() if name not in same}
        new = {name: value for name, value in new.items() if name not in same}
    AuditEvent.objects.create(
        actor_kind=by.kind,
        actor_id=by.id,
        actor_name=by.name[:255],
        action=action,
        target_kind=target_kind,
        target_id=target_id,
        target_name=target_name[:255],
        project_id=project_id,
        before=old,
        after=new,
        address=by.address,
    )


def latest() -> int:
    """The number of the last event, 0 before the first: it changes with whatever an owner does."""
    return AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def events(by: Actor) -> QuerySet[AuditEvent]:
    """What happened where `by` may look, the newest first; the workspace's own is for admins."""
    found = AuditEvent.objects.order_by("-pk")
    if by.admin:
        return found
    if by.everywhere is not None:
        return found.exclude(project_id=None)
    return found.filter(project_id__in=by.project_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Filters of events; an empty one filters nothing."""

    #: In the name of the actor or the target, or in the action.
    search: str = ""
    #: In the name of the actor.
    who: str = ""
    #: Kind and id of the actor; without an id, every one of the kind.
    actor: tuple[str, int | None] | None = None
    #: Of the target.
    kind: str = ""
    target_id: int | None = None
    project_id: int | None = None
    action: str = ""
    start: datetime | None = None
    #: Not included.
    end: datetime | None = None


def matching(by: Actor, wanted: AuditFilter) -> QuerySet[AuditEvent]:
    """Events that `by` may see and that match, the newest first."""
    found = events(by)
    exact = {
        "target_kind": wanted.kind or None,
        "target_id": wanted.target_id,
        "project_id": wanted.project_id,
        "action": wanted.action or None,
        "at__gte": wanted.start,
        "at__lt": wanted.end,
    }
    found = found.filter(**{name: value for name, value in exact.items() if value is not None})
    if wanted.actor is not None:
        kind, number = wanted.actor
        found = found.filter(actor_kind=kind)
        if number is not None:
            found = found.filter(actor_id=number)
    if wanted.who:
        found = found.filter(actor_name__icontains=wanted.who)
    if wanted.search:
        found = found.filter(
            Q(actor_name__icontains=wanted.search)
            | Q(action__icontains=wanted.search)
            | Q(target_name__icontains=wanted.search)
        )
    return found
