"""Exporting: what a project has, as a configuration that plans to no change."""

from collections.abc import Mapping
from functools import partial

from django.db import models

from ostiary.configuration.entries import FORMAT
from ostiary.configuration.nouns.clients import PROFILES
from ostiary.configuration.nouns.file_noun import AnyNoun, Fields, Keys, as_json
from ostiary.configuration.nouns.registry import NOUNS, parts_of, read_project
from ostiary.directory.actor import Actor
from ostiary.directory.models import ManagedObject, Project


def export(by: Actor, project: Project, *, set_name: str) -> Mapping[str, object]:
    """A project's objects by section, sorted by key; of those with a set, only this one's.

    What has its default is left out. A secret is a reference to a variable of the environment that
    is named after its place: whoever applies this elsewhere has to set it.
    """
    content: dict[str, object] = {
        "format": FORMAT,
        "set": set_name,
        "project": project.key or project.name,
    }
    owners = {
        (each.kind, each.object_id): each
        for each in ManagedObject.objects.filter(set__project=project).select_related("set")
    }
    rows, keys = read_project(project.pk)
    inside: dict[tuple[str, int], list[Fields]] = {}
    # Parts come after what they are parts of, and are put into it.
    for noun in reversed(NOUNS):
        if not by.may(noun.least, project.pk):
            continue
        entries = []
        for row in sorted(rows[noun.kind], key=partial(keys.of, noun)):
            managed = owners.get((noun.kind, row.pk))
            if managed is not None and managed.set.name != set_name:
                continue
            entry = _entry(noun, row, keys, managed)
            for part in parts_of(noun):
                if parts := inside.get((part.kind, row.pk)):
                    entry[part.section] = parts[0] if part.single else parts
            if noun.parent is None:
                entries.append(entry)
            else:
                owner_id = getattr(row, f"{noun.parent}_id")
                inside.setdefault((noun.kind, owner_id), []).append(entry)
        if entries:
            content[noun.section] = entries
    return content


def _entry(noun: AnyNoun, row: models.Model, keys: Keys, managed: ManagedObject | None) -> Fields:
    key = keys.of(noun, row)
    entry: Fields = noun.own(key) if noun.kind == "endpoint" or noun.single else {"key": key}
    defaults = _defaults(noun)
    for name, value in noun.shown(row, keys).items():
        if name not in defaults or value != defaults[name]:
            entry[name] = as_json(value)
    for name in noun.secrets:
        referred = managed is not None and name in managed.fingerprints
        if referred or noun.has_secret(row, name):
            entry[name] = {"env": _variable(noun, key, name)}
    if managed is not None and managed.protected:
        entry["protect"] = True
    if noun is PROFILES and managed is not None and managed.rotated:
        entry["rotate"] = managed.rotated
    return entry


def _defaults(noun: AnyNoun) -> Fields:
    """What fields are that are not said, as `shown` shows them."""
    given = noun.input.model_construct()
    required = set(noun.input.required)
    plain = {
        alias: getattr(given, name)
        for alias, name in noun.names.items()
        if name not in required and alias != "active"
    }
    none: Fields = {n: [] if ref.several else None for n, ref in noun.references.items()}
    return {**none, **plain, **noun.defaults}


def _variable(noun: AnyNoun, key: str, name: str) -> str:
    return "".join(
        c if c.isascii() and c.isalnum() else "_" for c in f"{noun.kind}_{key}_{name}"
    ).upper()
