"""What a plan would have done to the calls of the last days, had it been in force."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from ostiary.configuration.entries import FileEntry
from ostiary.configuration.nouns.file_noun import Fields
from ostiary.configuration.plans import PlannedChange, PlannedConfiguration
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import Refused
from ostiary.directory.clients import access_profiles, policies
from ostiary.directory.models import Collection, Endpoint
from ostiary.review import preview
from ostiary.usage import queries

DAYS = 7
#: Changes whose recorded calls are replayed; further ones are said not to be.
MOST_REPLAYED = 50
#: Kinds whose deletion or switching off refuses the calls that they had.
_CALLED: Mapping[str, queries.By] = {
    "profile": queries.By.PROFILE,
    "client": queries.By.CLIENT,
    "collection": queries.By.COLLECTION,
    "endpoint": queries.By.ENDPOINT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEffect:
    """What one change would have done to recorded calls."""

    #: Place of the change in the plan.
    index: int
    calls: int = 0
    newly_refused: int = 0
    newly_allowed: int = 0
    #: Active endpoints that consumers can no longer, or newly, call.
    endpoints_lost: int = 0
    endpoints_gained: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a plan would have done. `left_out`: changes that were not replayed."""

    days: int
    changes: tuple[ChangeEffect, ...]
    left_out: int = 0


def of_plan(by: Actor, plan: PlannedConfiguration) -> Effects:
    """Replay the calls of the last days for the changes that may refuse some."""
    concerned = [
        (index, change, change.row_id)
        for index, change in enumerate(plan.changes)
        if change.row_id is not None and change.revokes
    ]
    found = tuple(
        effect
        for index, change, row_id in islice(concerned, MOST_REPLAYED)
        if (effect := _effect(by, plan, index, change, row_id)) is not None
    )
    return Effects(days=DAYS, changes=found, left_out=max(0, len(concerned) - MOST_REPLAYED))


def _effect(
    by: Actor, plan: PlannedConfiguration, index: int, change: PlannedChange, row_id: int
) -> ChangeEffect | None:
    switched_off = any(each.name == "active" and each.new is False for each in change.fields)
    if change.action == "delete" or (switched_off and change.kind != "profile"):
        calls = _admitted(by, change.kind, row_id)
        return ChangeEffect(index=index, calls=calls, newly_refused=calls)
    if change.kind not in {"profile", "policy"}:
        return None
    lost, gained = _endpoints(change)
    try:
        seen = _replayed(by, plan, change, row_id)
    except Refused:
        # It refers to what is made with it: that had no calls yet.
        seen = None
    if seen is None and not lost and not gained:
        return None
    return ChangeEffect(
        index=index,
        calls=seen.calls if seen else 0,
        newly_refused=seen.newly_refused if seen else 0,
        newly_allowed=seen.newly_allowed if seen else 0,
        endpoints_lost=lost,
        endpoints_gained=gained,
    )


def _admitted(by: Actor, kind: str, row_id: int) -> int:
    column = _CALLED.get(kind)
    if column is None:
        return 0
    now = datetime.now(UTC)
    question = queries.UsageQuestion(
        start=int((now - timedelta(days=DAYS)).timestamp()),
        end=int(now.timestamp()),
        filters={column: frozenset({row_id})},
    )
    asker = queries.Asker(by, int(now.timestamp()))
    return sum(each.calls - each.refused for each in queries.rows(asker, question))


def _replayed(
    by: Actor, plan: PlannedConfiguration, change: PlannedChange, row_id: int
) -> preview.Preview | None:
    entry = change.entry
    if entry is None:
        return None
    names = {each.name for each in change.fields}
    fields: Fields = {name: value for name, value in entry.fields.items() if name in names}
    if change.kind == "policy":
        given = policies.PolicyInput.of(**fields)
        return preview.of_policy(by=by, policy_id=row_id, given=given)
    fields |= dict(_known_references(plan, entry, names))
    changed = access_profiles.ProfileInput.of(**fields)
    return preview.of_profile(by=by, profile_id=row_id, given=changed)


def _known_references(
    plan: PlannedConfiguration, entry: FileEntry, names: set[str]
) -> Iterator[tuple[str, list[int] | int | None]]:
    """The fields that name other objects, with the ids of those that there are already."""
    for name, keys in entry.references.items():
        if name not in names:
            continue
        reference = entry.noun.references[name]
        ids = [pk for key in keys if (pk := _id(plan, reference.kind, key)) is not None]
        yield reference.field, ids if reference.several else (ids[0] if ids else None)


def _id(plan: PlannedConfiguration, kind: str, key: str) -> int | None:
    known = plan.live_ids.get((kind, key))
    if known is None and kind == "collection":
        return Collection.objects.filter(handle=key).values_list("pk", flat=True).first()
    return known


def _endpoints(change: PlannedChange) -> tuple[int, int]:
    """How many active endpoints a profile loses and gains with its collections."""
    for each in change.fields:
        if each.name == "collections" and change.kind == "profile":
            old, new = _texts(each.old), _texts(each.new)
            return _active(old - new), _active(new - old)
    return 0, 0


def _texts(value: object) -> set[str]:
    return {str(each) for each in value} if isinstance(value, Sequence) else set()


def _active(handles: set[str]) -> int:
    return Endpoint.objects.filter(collection__handle__in=handles, active=True).count()
