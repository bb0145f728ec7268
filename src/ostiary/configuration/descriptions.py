"""Plans in words: as objects for programs, and as sentences for people."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ostiary.configuration.effects import ChangeEffect, Effects
from ostiary.configuration.nouns.file_noun import as_json
from ostiary.configuration.plans import PlannedChange, PlannedConfiguration

#: Changes that are described one by one; of more, the first.
MOST_DESCRIBED = 1000
_VERBS = {"create": "Create", "update": "Change", "adopt": "Take over", "delete": "Delete"}
KINDS = {
    "policy": "policy", "address_list": "address list", "connection": "connection",
    "collection": "API collection", "endpoint": "API endpoint", "client": "client",
    "client_defaults": "defaults of the client",
    "profile": "access profile", "webhook": "webhook", "property": "property",
}  # fmt: skip


def described(plan: PlannedConfiguration, effects: Effects) -> dict[str, Any]:
    """The whole of a plan as it is answered and stored."""
    by_index = {each.index: each for each in effects.changes}
    counts = Counter[str](each.action for each in plan.changes)
    warnings = list(plan.warnings)
    if effects.left_out:
        warnings.append(f"The recorded calls of {effects.left_out} changes were not replayed")
    return {
        "set": plan.configuration.set,
        "project_id": plan.project.pk,
        "project": plan.project.name,
        "counts": {action: counts[action] for action in _VERBS} | {"unchanged": plan.unchanged},
        "changes": [
            _change(each, by_index.get(index), effects.days)
            for index, each in enumerate(plan.changes[:MOST_DESCRIBED])
        ],
        "more_changes": max(0, len(plan.changes) - MOST_DESCRIBED),
        "blocked": [
            {"place": b.place, "kind": b.kind, "key": b.key, "sentence": b.sentence}
            for b in plan.blocked
        ],
        "left_over": [{"kind": kind, "key": key} for kind, key in plan.left_over[:MOST_DESCRIBED]],
        "warnings": warnings[:MOST_DESCRIBED],
        "newly_refused": sum(each.newly_refused for each in effects.changes),
        "newly_allowed": sum(each.newly_allowed for each in effects.changes),
    }


def _change(change: PlannedChange, effect: ChangeEffect | None, days: int) -> Mapping[str, Any]:
    drift = change.drift
    return {
        "action": change.action,
        "kind": change.kind,
        "key": change.key,
        "id": change.row_id,
        "name": change.name,
        "parent": change.entry.parent if change.entry is not None else None,
        "place": change.place,
        "moved_from": change.moved_from or None,
        "fields": [
            {
                "name": each.name,
                "old": as_json(each.old),
                "new": as_json(each.new),
                "drifted": each.drifted,
                "applied": each.applied if each.drifted else None,
            }
            for each in change.fields
        ],
        "revokes": change.revokes,
        "rotates": change.rotates,
        "drift": drift and {"actor": drift.actor, "at": as_json(drift.at), "action": drift.action},
        "effect": effect
        and {
            "calls": effect.calls,
            "newly_refused": effect.newly_refused,
            "newly_allowed": effect.newly_allowed,
            "endpoints_lost": effect.endpoints_lost,
            "endpoints_gained": effect.endpoints_gained,
        },
        "sentence": sentence(change, effect, days),
    }


def sentence(change: PlannedChange, effect: ChangeEffect | None, days: int) -> str:
    """What a change does, and what it means for access."""
    what = f"{_VERBS[change.action]} the {KINDS[change.kind]} {change.key}"
    if change.moved_from:
        what += f", which was {change.moved_from}"
    if change.rotates:
        what += ", and issue a new credential"
    said = []
    if effect is not None:
        if effect.endpoints_lost:
            said.append(f"it loses {_number(effect.endpoints_lost, 'endpoint')}")
        if effect.endpoints_gained:
            said.append(f"it gains {_number(effect.endpoints_gained, 'endpoint')}")
        last = f"of the last {days} days"
        if effect.newly_refused:
            calls = _number(effect.newly_refused, "call")
            said.append(f"{calls} {last} would have been refused")
        if effect.newly_allowed:
            calls = _number(effect.newly_allowed, "refused call")
            said.append(f"{calls} {last} would have been admitted")
    return f"{what}: {'; '.join(said)}" if said else what


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
