"""Stores the counts that limits and the console use, a bounded number at a time."""

from collections.abc import Mapping
from datetime import UTC, datetime

from django.db import connection, transaction

from ostiary.access.limits import Interval, kept_as
from ostiary.directory.models import AccessProfile, Credential
from ostiary.usage import bulk, quota_notices
from ostiary.usage.models import QuotaCount
from ostiary.usage.recording import parts

#: Interval of a rate limit by the length of its window, where its count outlives a restart.
_KEPT_INTERVALS = {each.seconds: each for each in Interval if kept_as(each)}


def store_quota(counts: Mapping[tuple[int, int], int]) -> None:
    """Write (profile, start of the period) → calls; a count never goes down."""
    for batch in parts(sorted(counts.items())):
        profiles = AccessProfile.objects.filter(pk__in={key[0] for key, _ in batch})
        intervals = dict(profiles.values_list("pk", "policy__quota_interval"))
        with transaction.atomic():
            quota_notices.tell(batch)
            bulk.QUOTA_COUNTS.write(
                [
                    (profile, interval, start, calls)
                    for (profile, start), calls in batch
                    if (interval := intervals.get(profile))
                ]
            )


def store_rates(counts: Mapping[tuple[int, int, int], int]) -> None:
    """Write (profile, seconds of the window, its start) → calls.

    Of each interval, the newest window is retained. Windows of other lengths are left out.
    """
    newest: dict[tuple[int, str], tuple[int, int]] = {}
    for (profile, seconds, start), calls in counts.items():
        interval = _KEPT_INTERVALS.get(seconds)
        if interval is not None:
            key = profile, kept_as(interval)
            newest[key] = max(newest.get(key, (start, calls)), (start, calls))
    for batch in parts(sorted(newest.items())):
        with transaction.atomic():
            _store_windows(batch)


def _store_windows(batch: list[tuple[tuple[int, str], tuple[int, int]]]) -> None:
    rows = QuotaCount.objects.select_for_update().filter(
        profile_id__in={profile for (profile, _), _ in batch},
        interval__in={interval for (_, interval), _ in batch},
    )
    stored = {(row.profile_id, row.interval): row for row in rows.order_by("pk")}
    changed: list[QuotaCount] = []
    for key, (start, calls) in batch:
        row = stored.get(key)
        if row is not None and (row.period_start, row.calls) < (start, calls):
            row.period_start, row.calls = start, calls
            changed.append(row)
    QuotaCount.objects.bulk_update(changed, ["period_start", "calls"])
    bulk.QUOTA_COUNTS.write(
        [
            (profile, interval, start, calls)
            for (profile, interval), (start, calls) in batch
            if (profile, interval) not in stored
        ]
    )


def store_uses(uses: Mapping[int, int]) -> None:
    """Write credential → Unix seconds of its last use."""
    credentials, profiles = Credential._meta.db_table, AccessProfile._meta.db_table
    statement = f'UPDATE "{credentials}" SET "last_used_at" = %s WHERE "id" = %s'  # noqa: S608 - names of ours
    # A profile holds the latest of them: lists of very many profiles are read in its order.
    latest = (
        f'UPDATE "{profiles}" SET "last_used_at" = %s WHERE "id" IN'  # noqa: S608 - names of ours
        f' (SELECT "profile_id" FROM "{credentials}" WHERE "id" = %s AND NOT "trial")'
        ' AND ("last_used_at" IS NULL OR "last_used_at" < %s)'
    )
    adapt = connection.ops.adapt_datetimefield_value
    for batch in parts(sorted(uses.items())):
        rows = [(adapt(datetime.fromtimestamp(at, UTC)), pk) for pk, at in batch]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(statement, rows)
            cursor.executemany(latest, [(at, pk, at) for at, pk in rows])
