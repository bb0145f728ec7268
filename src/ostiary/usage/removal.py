"""Removes what was counted and logged of some callers, at every granularity, as if they had never called."""

import time

from django.db import models, transaction
from django.db.models import Q

from ostiary.directory.changes.errors import InUse
from ostiary.usage import rollups, running_totals, upkeep
from ostiary.usage.buckets import Level, level_of, span_of, time_of
from ostiary.usage.models import (
    DecisionTrace,
    LoggedCall,
    MinuteCount,
    MinuteLatency,
    Outcome,
    QuotaCount,
)
from ostiary.usage.project_history import projects
from ostiary.usage.rollups import Ids

#: Seconds that a roll-up in another process is waited for.
PATIENCE = 10


def remove(*, profiles: frozenset[int], collections: frozenset[int]) -> None:
    """Remove the calls of profiles, and those of nobody that are known by to collections.

    Can be repeated. Raises InUse while another process rolls usage up for long.
    """
    own = Q(profile_id__in=profiles) | Q(profile_id=0, collection_id__in=collections)
    until = time.monotonic() + PATIENCE
    while not _removed(own, profiles, collections):
        if time.monotonic() > until:
            raise InUse("Usage is being rolled up at the moment; try again in a minute")
        time.sleep(0.2)
    for rows in (
        LoggedCall.objects.filter(own),
        DecisionTrace.objects.filter(profile_id__in=profiles),
        QuotaCount.objects.filter(profile_id__in=profiles),
    ):
        _delete(rows)


def _removed(own: Q, profiles: frozenset[int], collections: frozenset[int]) -> bool:
    """Remove what is counted; false: another process rolls it up."""

    def is_unwanted(ids: Ids) -> bool:
        return ids.profile in profiles or (not ids.profile and ids.collection in collections)

    with upkeep.alone(int(time.time())) as go_on:
        if go_on is None:
            return False
        # Minutes first: a bucket that is rolled up again must not find them.
        _delete(MinuteCount.objects.filter(own))
        _delete(MinuteLatency.objects.filter(own))
        belongs, _ = projects()
        slots = sorted(set(Outcome.objects.filter(own).order_by().values_list("slot", flat=True)))
        counted = [number for number in slots if level_of(number) is Level.PROFILE]
        for number in counted:
            rollups.leave_out(span_of(number), time_of(number), belongs, is_unwanted)
            go_on()
        if counted:
            running_totals.forget(after=min(map(time_of, counted)))
    return True


def _delete(rows: models.QuerySet[models.Model]) -> None:
    """Delete rows, a bounded number in one transaction."""
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[: rollups.BATCH]):
        with transaction.atomic():
            rows.filter(pk__in=ids).delete()
