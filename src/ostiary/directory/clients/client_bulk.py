"""Many clients switched at once, all or none: one transaction, confirmed once."""

from typing import Annotated, ClassVar

from django.db import transaction
from pydantic import Field

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.inputs import Flag, IdType, Input, ListOf, Problems
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import clients
from ostiary.directory.models import Client

#: Clients of one call.
MOST = 1000


class SwitchInput(Input):
    """Which clients to switch on or off."""

    required: ClassVar[tuple[str, ...]] = ("client_ids", "active")
    apart: ClassVar[tuple[str, ...]] = ("client_ids", "active")

    client_ids: Annotated[list[int], ListOf(each=IdType(), most=MOST, required=True)] = Field(
        [], alias="api_client_ids"
    )
    active: Flag = True


def switch(*, by: Actor, given: SwitchInput) -> Saved[list[int]]:
    """Switch clients, all or none; returns the ids of those that were not like this before."""
    given.check_complete()
    problems = Problems(SwitchInput)
    with transaction.atomic():
        seen = Client.objects.visible_to(by).filter(pk__in=given.client_ids)
        seen = seen.defer("logo_small", "logo_medium")
        rows = {each.pk: each for each in seen.select_for_update().order_by("pk")}
        for missing in sorted(set(given.client_ids) - set(rows)):
            problems.add("client_ids", f"there is no client {missing}", code="unknown")
        problems.raise_if_any()
        for project in sorted({each.project_id for each in rows.values()}):
            require(by, Role.EDITOR, project)
        changed = [each for each in rows.values() if is_changed(each, active=given.active)]
        sequence = 0
        for each in changed:
            sequence = clients.set_active(by, each, active=given.active)
    return Saved(value=[each.pk for each in changed], sequence=sequence)


def is_changed(client: Client, *, active: bool) -> bool:
    """Whether a switch changes a client: one that is off until a moment is then off for good."""
    return client.active != active or client.inactive_until is not None
