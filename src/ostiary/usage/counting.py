"""Counts that limits and the console rest on, written a bounded number at a time."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from django.db import transaction

from ostiary.access.limits import Interval, kept_as
from ostiary.directory.models import AccessProfile, Credential
from ostiary.usage import quota_notices
from ostiary.usage.models import QuotaCount

T = TypeVar("T")

#: Rows in one transaction: longer ones would hold up every other writer.
BATCH = 500


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def store_quota(counts: Mapping[tuple[int, int], int]) -> None:
    """Write (profile, start of the period) → calls; a count never goes down."""
    for batch in _batches(counts.items()):
        profiles = AccessProfile.objects.filter(pk__in={key[0] for key, _ in batch})
        intervals = dict(profiles.values_list("pk", "policy__quota_interval"))
        with transaction.atomic():
            quota_notices.tell(batch)
            for (profile, start), calls in batch:
                interval = intervals.get(profile)
                if not interval:
                    continue
                row, _ = QuotaCount.objects.select_for_update().get_or_create(
                    profile_id=profile, interval=interval, period_start=start
                )
                if row.calls < calls:
                    row.calls = calls
                    row.save(update_fields=["calls"])


def store_rates(counts: Mapping[tuple[int, int], int]) -> None:
    """Write (profile, number of the window) → calls; of each interval, the newest window is kept."""
    windows = sorted(counts.items(), key=lambda each: each[0][1])
    for batch in _batches(windows):
        with transaction.atomic():
            for (profile, number), calls in batch:
                interval = _interval_of(number)
                start = number * interval.seconds
                row, _ = QuotaCount.objects.select_for_update().get_or_create(
                    profile_id=profile,
                    interval=kept_as(interval),
                    defaults={"period_start": start},
                )
                if (row.period_start, row.calls) < (start, calls):
                    row.period_start, row.calls = start, calls
                    row.save(update_fields=["period_start", "calls"])


def _interval_of(number: int) -> Interval:
    """By a window's number since 1970: 100,000 hours were over in 1981, as many days are in 2243."""
    return Interval.DAY if number < 100_000 else Interval.HOUR


def store_uses(uses: Mapping[int, int]) -> None:
    """Write credential → Unix seconds of its last use."""
    for batch in _batches(uses.items()):
        with transaction.atomic():
            for credential, at in batch:
                moment = datetime.fromtimestamp(at, UTC)
                Credential.objects.filter(pk=credential).update(last_used_at=moment)
