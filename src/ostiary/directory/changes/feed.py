"""The change feed: one row per change that a gateway must follow, in commit order."""

import enum
from collections.abc import Iterable
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from ostiary.directory.database import FEED_LOCK
from ostiary.directory.models import Change

#: PostgreSQL's channel on which gateways hear that something changed.
CHANNEL = "ostiary_feed"


class Kind(enum.StrEnum):
    """What changed; `object_id` is its id."""

    PROFILE = "profile"
    CLIENT = "client"
    #: A collection as a whole: also when many of its endpoints are made at once.
    COLLECTION = "collection"
    #: One endpoint, also one that was deleted: what its change costs does not depend on how many
    #: others its collection has.
    ENDPOINT = "endpoint"
    CONNECTION = "connection"
    POLICY = "policy"
    RECIPE = "recipe"
    SETTINGS = "settings"
    ADDRESS_LIST = "address_list"


def announce(kind: Kind, object_id: int) -> int:
    """Add a row in the caller's transaction; returns its sequence, the new epoch.

    The last statement that takes locks should be this one: on PostgreSQL, writers queue here
    until the transaction ends.
    """
    _queue()
    row = Change.objects.create(kind=kind.value, object_id=object_id)
    return row.pk


def announce_all(kind: Kind, object_ids: Iterable[int]) -> int:
    """`announce` for many of a kind; returns the last sequence, 0 for none."""
    _queue()
    rows = (Change(kind=kind.value, object_id=each) for each in object_ids)
    made = Change.objects.bulk_create(rows, batch_size=500)
    return max((row.pk for row in made), default=0)


def _queue() -> None:
    """Wait for the other writers, and let gateways hear of it."""
    assert connection.in_atomic_block  # noqa: S101 - a programming error, not input
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Whoever listens is told when this transaction commits.
            cursor.execute(
                "SELECT pg_advisory_xact_lock(%s), pg_notify(%s, '')", [FEED_LOCK, CHANNEL]
            )


def latest() -> int:
    """The sequence of the last change, 0 before the first."""
    return Change.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def kind_of(sequence: int) -> str:
    """What kind of object the change with this sequence is of; empty: it is trimmed."""
    found = Change.objects.filter(pk=sequence).values_list("kind", flat=True).first()
    return found or ""


def trim(*, keep_seconds: int) -> int:
    """Delete rows older than `keep_seconds`, never the last; returns how many."""
    limit = timezone.now() - timedelta(seconds=keep_seconds)
    deleted, _ = Change.objects.filter(at__lt=limit, pk__lt=latest()).delete()
    return deleted


def after(sequence: int, *, most: int) -> list[tuple[int, str, int]]:
    """Changes after `sequence`, in order: (sequence, kind, object id).

    Asked four times a second: to build the statement anew would take most of that time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, kind, object_id FROM directory_change WHERE id > %s ORDER BY id LIMIT %s",
            [sequence, most],
        )
        return [(sequence, kind, object_id) for sequence, kind, object_id in cursor.fetchall()]
