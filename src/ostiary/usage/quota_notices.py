"""Telling webhooks that a profile has used 80 % of its quota, or all of it: once in each period."""

import time
from collections.abc import Iterable

from ostiary.access import limits
from ostiary.directory.clients import profile_limits
from ostiary.directory.models import AccessProfile, WebhookEvent
from ostiary.directory.webhooks import events
from ostiary.directory.webhooks.events import EventType

THRESHOLDS = ((80, EventType.QUOTA_WARNING), (100, EventType.QUOTA_REACHED))


def tell(counts: Iterable[tuple[tuple[int, int], int]]) -> None:
    """Look at counts, as `counting.store_quota` has them, in the caller's transaction."""
    if not any(events.listening(kind) for _, kind in THRESHOLDS):
        return
    counts = list(counts)
    found = AccessProfile.objects.filter(
        pk__in={profile for (profile, _), _ in counts}, policy__quota_limit__isnull=False
    )
    profiles = {profile.pk: profile for profile in found.select_related("client", "policy")}
    reached = [
        (profiles[pk], start, calls, percent, kind)
        for (pk, start), calls in counts
        for percent, kind in THRESHOLDS
        if pk in profiles and calls * 100 >= _limit(profiles[pk]) * percent
    ]
    keys = {events.quota_key(p.pk, start, percent) for p, start, _, percent, _ in reached}
    told = WebhookEvent.objects.filter(once__in=keys).values_list("once", flat=True)
    fresh = keys - set(told)
    for profile, start, calls, percent, kind in reached:
        now = int(time.time())
        span = profile_limits.period(profile, now)
        # A gateway has the counts of the period before, or from before a reset, for a while.
        is_current = profile_limits.counted_since(profile, limits.QUOTA, now) == start
        if span and is_current and events.quota_key(profile.pk, start, percent) in fresh:
            events.of_quota(kind, profile, calls=calls, percent=percent, start=start, end=span.end)


def _limit(profile: AccessProfile) -> int:
    return profile_limits.effective(profile).get(limits.QUOTA, 0)
