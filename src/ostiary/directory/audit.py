"""The audit log: who did what, written in the same transaction as the deed. Never a secret."""

from collections.abc import Mapping

from django.db import connection

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
    """Write one event; of `before` and `after` only what differs is kept."""
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
