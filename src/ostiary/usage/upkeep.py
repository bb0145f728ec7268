"""Periodic maintenance: roll up closed buckets, redo late ones, and apply retention."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import models, transaction
from django.db.models import Count, F, Max, Min, Sum

from ostiary.directory.workspace import workspace_settings
from ostiary.usage import rollups, running_totals
from ostiary.usage.buckets import SECONDS, BucketSize, Level, following, slot, start_of
from ostiary.usage.models import (
    DecisionTrace,
    LoggedCall,
    MinuteCount,
    MinuteLatency,
    Outcome,
    Progress,
    RolledUp,
    Standing,
    Total,
)
from ostiary.usage.project_history import Projects, projects

#: Seconds that an hour is waited for after its end: the collector's last rows of it come then.
GRACE = 90
#: Seconds that each run scans for late rows, and the interval between scans of all minutes.
LOOK_BACK = 3 * 3600
LOOK_AT_ALL = 900
#: Seconds after which another process takes over from one that died.
LEASE = 300
#: Most rows that one run deletes; the next run continues.
MOST_DELETED = 50_000
#: Stretches that one run shares out anew among projects.
MOST_SHARED = 50
DAY = 86_400


def run(now: int) -> None:
    """Run maintenance unless another process does. `now`: Unix seconds."""
    with alone(now) as go_on:
        if go_on is None:
            return
        belongs, moved = projects()
        if moved:
            RolledUp.objects.update(moved=True)
        _roll_up(now, belongs, go_on)
        _share_again(belongs, go_on)
        _bring_up_standings(now, go_on)
        delete_old(now)


@contextmanager
def alone(now: int) -> Iterator[Callable[[], None] | None]:
    """Hold the lease on what is rolled up: gives what keeps it, or nothing if another process has it."""
    if not _claim(now):
        yield None
        return
    began = time.monotonic()

    def go_on() -> None:
        """Keep the lease while there is much to do."""
        until = now + int(time.monotonic() - began) + LEASE
        Progress.objects.filter(name="lease").update(until=until)

    try:
        yield go_on
    finally:
        Progress.objects.filter(name="lease").update(until=0)


def _claim(now: int) -> bool:
    Progress.objects.get_or_create(name="lease")
    free = Progress.objects.filter(name="lease", until__lte=now)
    return free.update(until=now + LEASE) == 1


def _roll_up(now: int, belongs: Projects, go_on: Callable[[], None]) -> None:
    _late_hours(now, belongs, go_on)
    over = start_of(BucketSize.HOUR, now - GRACE)
    first = MinuteCount.objects.aggregate(first=Min("time"))["first"]
    begin = min(over, over if first is None else start_of(BucketSize.HOUR, first))
    for span in (BucketSize.HOUR, *rollups.SOURCE):
        stored = rollups.progress(span.name)
        reached = start_of(span, begin) if stored is None else stored
        if span != BucketSize.HOUR:
            _stale(span, reached, belongs, go_on)
        end = start_of(span, over)
        for start, seen in _begun(span, reached, end):
            rollups.roll_up(span, start, belongs, seen=seen)
            _reached(span, following(span, start))
            go_on()
        _reached(span, max(reached, end))
    _ten_minutes(now, belongs, go_on)


def _ten_minutes(now: int, belongs: Projects, go_on: Callable[[], None]) -> None:
    """The stretches of ten minutes that are over, of hours that are not; late rows too."""
    start = rollups.progress(BucketSize.HOUR.name) or 0
    end = max(start, start_of(BucketSize.TEN_MINUTES, now - GRACE))
    rows = RolledUp.objects.filter(span=BucketSize.TEN_MINUTES, time__gte=start)
    before = dict(rows.values_list("time", "seen"))
    for time_, seen in sorted(_seen(start, end, SECONDS[BucketSize.TEN_MINUTES]).items()):
        if before.get(time_) != seen:
            rollups.roll_up(BucketSize.TEN_MINUTES, time_, belongs, seen=seen)
            go_on()
    _reached(BucketSize.TEN_MINUTES, end)


def _reached(span: BucketSize, until: int) -> None:
    Progress.objects.update_or_create(name=span.name, defaults={"until": until})


def _begun(span: BucketSize, start: int, end: int) -> list[tuple[int, str]]:
    """Stretches of a range that have anything to add up, and what their minutes come to."""
    if span == BucketSize.HOUR:
        return sorted(_seen(start, end, SECONDS[span]).items())
    source = RolledUp.objects.filter(span=rollups.SOURCE[span], time__gte=start, time__lt=end)
    return [
        (t, "") for t in sorted({start_of(span, t) for t in source.values_list("time", flat=True)})
    ]


def _seen(start: int, end: int, seconds: int) -> dict[int, str]:
    """What the minutes of each stretch add up to. Counts only grow, so a late one changes it."""
    stretch = F("time") - F("time") % seconds
    found: dict[int, str] = {}
    sums = (Count("pk"), Sum("calls"), Sum("bytes_in"), Sum("bytes_out"))
    counts = MinuteCount.objects.filter(time__gte=start, time__lt=end)
    for begun, *values in counts.values_list(stretch).annotate(*sums).order_by():
        found[begun] = ",".join(map(str, values))
    timed = MinuteLatency.objects.filter(time__gte=start, time__lt=end)
    for begun, *values in timed.values_list(stretch).annotate(*sums[:2]).order_by():
        counted = found.get(begun, "")
        found[begun] = f"{counted};{','.join(map(str, values))}"
    return found


def _late_hours(now: int, belongs: Projects, go_on: Callable[[], None]) -> None:
    """Hours again whose minutes have changed since they were rolled up."""
    reached = rollups.progress(BucketSize.HOUR.name)
    if reached is None:
        return
    # An hour that has lost minutes to retention must stay as it is.
    kept = rollups.progress("deleted") or 0
    looked, _ = Progress.objects.get_or_create(name="looked")
    start = kept
    if looked.until + LOOK_AT_ALL > now:
        start = max(kept, start_of(BucketSize.HOUR, now - LOOK_BACK))
    else:
        Progress.objects.filter(name="looked").update(until=now)
    rows = RolledUp.objects.filter(span=BucketSize.HOUR, time__gte=start)
    before = dict(rows.values_list("time", "seen"))
    for hour, seen in sorted(_seen(start, reached, SECONDS[BucketSize.HOUR]).items()):
        if before.get(hour) != seen:
            rollups.roll_up(BucketSize.HOUR, hour, belongs, seen=seen)
            go_on()


def _stale(span: BucketSize, reached: int, belongs: Projects, go_on: Callable[[], None]) -> None:
    stale = RolledUp.objects.filter(span=span, stale=True, time__lt=reached)
    for start in list(stale.values_list("time", flat=True)):
        rollups.roll_up(span, start, belongs)
        go_on()


def _share_again(belongs: Projects, go_on: Callable[[], None]) -> None:
    moved = RolledUp.objects.filter(moved=True).order_by("-time")
    for span, start in list(moved.values_list("span", "time")[:MOST_SHARED]):
        rollups.share_anew(BucketSize(span), start, belongs)
        go_on()


def _bring_up_standings(now: int, go_on: Callable[[], None]) -> None:
    rolled_up = RolledUp.objects.filter(span__in=(BucketSize.HOUR, BucketSize.DAY))
    first = rolled_up.aggregate(first=Min("time"))["first"]
    if first is None:
        return
    begin = max(start_of(BucketSize.DAY, first), firsts(now)[BucketSize.DAY])
    reached = rollups.until()
    running_totals.bring_up(
        begin=begin, days=reached[BucketSize.DAY], hours=reached[BucketSize.HOUR], go_on=go_on
    )  # fmt: skip


def firsts(now: int) -> dict[BucketSize, int]:
    """The first minute, hour and day that is kept: the start of an hour, a day and a month."""
    kept = workspace_settings.read()
    return {
        BucketSize.MINUTE: start_of(BucketSize.HOUR, now - kept.usage_minute_days * DAY),
        BucketSize.HOUR: start_of(BucketSize.DAY, now - kept.usage_hour_days * DAY),
        BucketSize.DAY: start_of(BucketSize.MONTH, now - kept.usage_day_days * DAY),
    }


def delete_old(now: int) -> int:
    """Delete what is kept no longer, as far as it was rolled up; returns how many rows."""
    left = MOST_DELETED
    for found in _old(now):
        while left > 0 and (ids := list(found.values_list("pk", flat=True)[: rollups.BATCH])):
            with transaction.atomic():
                left -= found.filter(pk__in=ids).delete()[0]
    return MOST_DELETED - left


def _old(now: int) -> Iterator[models.QuerySet[models.Model]]:
    kept = workspace_settings.read()
    reached = rollups.until()
    first = firsts(now)
    minutes = min(first[BucketSize.MINUTE], reached[BucketSize.HOUR])
    Progress.objects.update_or_create(name="deleted", defaults={"until": minutes})
    yield MinuteCount.objects.filter(time__lt=minutes)
    yield MinuteLatency.objects.filter(time__lt=minutes)
    hours, days = min(first[BucketSize.HOUR], reached[BucketSize.DAY]), first[BucketSize.DAY]
    ends = {
        # Keep one extra hour for readers that started before the hourly rollup existed.
        BucketSize.TEN_MINUTES: reached[BucketSize.HOUR] - 3600,
        BucketSize.HOUR: hours, BucketSize.DAY: days, BucketSize.WEEK: days, BucketSize.MONTH: days,
    }  # fmt: skip
    for span, end in ends.items():
        # A week that reaches into what is kept is cut off with the week that begins in it.
        for level in Level:
            slots = {"slot__gte": slot(level, span, 0), "slot__lt": slot(level, span, end)}
            yield Total.objects.filter(**slots)
            yield Outcome.objects.filter(**slots)
        yield RolledUp.objects.filter(span=span, time__lt=end)
    yield Standing.objects.filter(time__lt=days)
    since = (now - kept.request_log_days * DAY) * 1000
    yield LoggedCall.objects.filter(at_ms__lt=since)
    yield DecisionTrace.objects.filter(at_ms__lt=since)
    last = LoggedCall.objects.aggregate(last=Max("pk"))["last"] or 0
    yield LoggedCall.objects.filter(pk__lte=last - kept.request_log_rows)
