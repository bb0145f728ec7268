"""Whom a collection's next document would touch: who called what it changes, and how often.

The counts of usage are asked, which are exact.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ostiary.directory.actor import Actor
from ostiary.directory.catalog.reimports import ReimportPlan
from ostiary.directory.clients import access_profiles
from ostiary.usage import queries

DAYS = 7
#: Profiles that are named for an endpoint, those with the most calls first.
MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedCaller:
    profile_id: int
    name: str
    client: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """The calls of an endpoint that were admitted in the last days."""

    calls: int = 0
    profiles: int = 0
    callers: Sequence[AffectedCaller] = ()


def touched(by: Actor, plan: ReimportPlan, *, now: int | None = None) -> Mapping[int, Touched]:
    """The callers of what a plan changes or would delete, by endpoint."""
    end = int(time.time()) if now is None else now
    wanted = {each.endpoint.pk for each in (*plan.changed, *plan.gone) if each.endpoint}
    question = queries.UsageQuestion(
        start=end - DAYS * queries.DAY,
        end=end,
        by=(queries.By.ENDPOINT, queries.By.PROFILE),
        filters={queries.By.COLLECTION: frozenset({plan.collection.pk})},
    )
    calls: dict[int, dict[int, int]] = {}
    for counted in queries.rows(queries.Asker(by, end), question):
        endpoint, profile = counted.key
        if endpoint in wanted and counted.calls > counted.refused:
            of_endpoint = calls.setdefault(endpoint, {})
            of_endpoint[profile] = of_endpoint.get(profile, 0) + counted.calls - counted.refused
    busiest = {
        endpoint: sorted(several.items(), key=lambda each: (-each[1], each[0]))
        for endpoint, several in calls.items()
    }
    ids = {pk for several in busiest.values() for pk, _ in several[:MOST_NAMED]}
    named = {
        profile.pk: profile
        for profile in access_profiles.profiles(by).filter(pk__in=ids).select_related("client")
    }
    return {
        endpoint: Touched(
            calls=sum(count for _, count in several),
            profiles=len(several),
            callers=[
                AffectedCaller(
                    profile_id=pk, name=named[pk].name, client=named[pk].client.name, calls=count
                )
                for pk, count in several[:MOST_NAMED]
                if pk in named
            ],
        )
        for endpoint, several in busiest.items()
    }
