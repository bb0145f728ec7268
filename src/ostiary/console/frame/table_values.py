"""What tables of several nouns show and filter by: times, and requests a day."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import Q
from django.utils import timezone

from ostiary.console.frame.tables import Cell
from ostiary.directory.actor import Actor
from ostiary.directory.models import Credential
from ostiary.directory.states import NAMES, SOON, Conditions, EffectiveState, StateCode, works
from ostiary.identity.tokens import masked
from ostiary.usage import queries
from ostiary.usage.buckets import BucketSize, start_of

#: Days of the small bars, and how high the largest is.
DAYS: Final = 7
HEIGHT: Final = 20


def moment(at: datetime | None, nothing: str) -> Cell:
    return Cell(moment=at) if at else Cell(text=nothing)


def credential_name(each: Credential) -> str:
    """A credential as tables show it: masked, unless it is public."""
    if each.public_id:
        return each.public_id
    return masked(each.prefix, each.last_four) if each.prefix else f"Imported #{each.pk}"


def state_cell(state: EffectiveState) -> Cell:
    return Cell(text=state.text, state=state.badge, title=state.detail)


def state_choices(conditions: Conditions) -> Mapping[str, tuple[str, Q]]:
    """Choices of a filter by effective state: active first, then by importance."""
    found = {code.replace("_", "-"): (NAMES[code], each) for code, each in conditions.items()}
    active = StateCode.ACTIVE.value
    working = [each for code, each in conditions.items() if works(code)]
    any_that_works = {"works": ("Any that works", reduce(or_, working))}
    return {active: found[active], **(any_that_works if len(working) > 1 else {}), **found}


def last_used(column: str) -> Mapping[str, tuple[str, Q]]:
    """Choices of a filter by a last use."""
    now = timezone.now()
    since = {days: now - timedelta(days=days) for days in (1, 7, 30, 90)}
    unused = Q(**{column: None})
    return {
        "day": ("In the last 24 hours", Q(**{f"{column}__gte": since[1]})),
        "week": ("In the last 7 days", Q(**{f"{column}__gte": since[7]})),
        "not-30": ("Not for 30 days", unused | Q(**{f"{column}__lt": since[30]})),
        "not-90": ("Not for 90 days", unused | Q(**{f"{column}__lt": since[90]})),
        "never": ("Never", unused),
    }


def expiry(column: str) -> Mapping[str, tuple[str, Q]]:
    """Choices of a filter by an end."""
    now = timezone.now()
    later = Q(**{f"{column}__gt": now})
    return {
        "none": ("Never", Q(**{column: None})),
        "7": ("Within 7 days", later & Q(**{f"{column}__lte": now + SOON})),
        "30": ("Within 30 days", later & Q(**{f"{column}__lte": now + timedelta(days=30)})),
        "set": ("Has an expiry", Q(**{f"{column}__isnull": False})),
        "over": ("Expired", Q(**{f"{column}__lte": now})),
    }


def daily_requests(
    by: Actor,
    dimension: queries.By,
    ids: Collection[int],
    now: int,
    *,
    clients: Iterable[int] | None = None,
) -> Mapping[int, Sequence[int]]:
    """Requests of some objects on each of the last days, today's last.

    `clients`: those that the objects belong to, by which an index finds their counts.
    """
    if not ids:
        return {}
    start = start_of(BucketSize.DAY, now) - (DAYS - 1) * queries.DAY
    question = queries.UsageQuestion(
        start=start, end=now + 1, bucket=BucketSize.DAY, by=(dimension,)
    )
    only: dict[queries.By, Iterable[int]] = {dimension: ids}
    if clients is not None:
        only[queries.By.CLIENT] = set(clients)
    days: dict[int, list[int]] = {pk: [0] * DAYS for pk in ids}
    for row in queries.rows(queries.Asker(by, now), question, only=only):
        if row.time is not None and row.key[0] in days:
            days[row.key[0]][(row.time - start) // queries.DAY] += row.calls
    return days


def requests_cell(calls: Mapping[int, Sequence[int]], pk: int) -> Cell:
    """The sum, and a small bar for each day."""
    days = calls.get(pk, [0] * DAYS)
    top = max(days)
    bars = tuple(-(-each * HEIGHT // top) for each in days) if top else ()
    return Cell(text=f"{sum(days):,}", bars=bars)


def taken(by: Actor, dimension: queries.By, ids: Collection[int], what: str) -> str:
    """How many requests the chosen objects had in the last days, in words."""
    asked = queries.UsageQuestion(
        start=int(time.time()) - DAYS * queries.DAY, end=int(time.time()) + 1, by=(dimension,)
    )
    found = queries.rows(queries.Asker(by, int(time.time())), asked, only={dimension: list(ids)})
    calls = sum(row.calls for row in found)
    refused = sum(row.refused for row in found)
    if not calls:
        return f"{what} had no requests in the last {DAYS} days."
    return (
        f"{what} had {calls:,} requests in the last {DAYS} days, of which {refused:,} were refused."
    )
