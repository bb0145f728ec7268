"""Answers that are kept for a day, by management token and `Idempotency-Key`.

The row and what the call saved are in one transaction: a process that dies leaves both or neither.
"""

from datetime import timedelta

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ostiary.directory.models import StoredAnswer

#: How long a key keeps its answer.
LIFE = timedelta(hours=24)
#: Most rows that one run deletes; the next run continues.
MOST_DELETED = 10_000
#: Rows deleted in one transaction.
BATCH = 500


def find(token_id: int, key: str) -> StoredAnswer | None:
    """The answer that this key has, if any."""
    since = timezone.now() - LIFE
    return StoredAnswer.objects.filter(token_id=token_id, key=key, created_at__gt=since).first()


def claim(token_id: int, key: str, request: str) -> tuple[StoredAnswer, bool]:
    """The key's row in the caller's transaction, and whether it was made just now.

    Of two calls with one key the second waits here until the first has committed.
    """
    assert connection.in_atomic_block  # noqa: S101 - a programming error, not input
    now = timezone.now()
    # Not `get_or_create`: an expired row has to go first.
    StoredAnswer.objects.filter(token_id=token_id, key=key, created_at__lte=now - LIFE).delete()
    row = StoredAnswer.objects.filter(token_id=token_id, key=key).first()
    if row is not None:
        return row, False
    try:
        with transaction.atomic():
            made = StoredAnswer.objects.create(
                token_id=token_id, key=key, request=request, created_at=now
            )
    except IntegrityError:
        return StoredAnswer.objects.get(token_id=token_id, key=key), False
    return made, True


def delete_old() -> int:
    """Delete answers whose day is over; returns how many rows."""
    old = StoredAnswer.objects.filter(created_at__lte=timezone.now() - LIFE)
    deleted = 0
    while deleted < MOST_DELETED and (ids := list(old.values_list("pk", flat=True)[:BATCH])):
        deleted += StoredAnswer.objects.filter(pk__in=ids).delete()[0]
    return deleted
