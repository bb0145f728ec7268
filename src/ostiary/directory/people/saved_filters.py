"""Filters of lists that members save under a name: each member has its own."""

from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from ostiary.directory.changes.errors import Invalid
from ostiary.directory.models import Member, SavedFilter

LONGEST_NAME: Final = 64
LONGEST_QUERY: Final = 1000
#: Of one member and one list.
MOST: Final = 50


def of(member: Member, table: str) -> QuerySet[SavedFilter]:
    """A member's saved filters of a list, by name."""
    return SavedFilter.objects.filter(member=member, table=table).order_by("name")


def save(member: Member, table: str, name: str, query: str) -> None:
    """Save a filter, in place of one of the same name; raises Invalid."""
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise Invalid({"name": ["can't be blank"]})
    if len(name) > LONGEST_NAME:
        raise Invalid({"name": [f"can't be longer than {LONGEST_NAME} characters"]})
    if not query or len(query) > LONGEST_QUERY:
        raise Invalid({"query": ["is empty or too long: choose a filter first"]})
    with transaction.atomic():
        Member.objects.select_for_update().get(pk=member.pk)
        held = of(member, table)
        if not held.filter(name=name).exists() and held.count() >= MOST:
            raise Invalid({"name": [f"is one too many: delete one of the {MOST} first"]})
        SavedFilter.objects.update_or_create(
            member=member, table=table, name=name, defaults={"query": query}
        )


def delete(member: Member, table: str, filter_id: int) -> None:
    """Delete one of a member's own; repeating is safe."""
    of(member, table).filter(pk=filter_id).delete()
