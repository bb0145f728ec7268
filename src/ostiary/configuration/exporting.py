"""Exporting: what a project has, as a configuration that plans to no change."""

from collections.abc import Mapping

from django.db import models

from ostiary.configuration.entries import FORMAT
from ostiary.configuration.nouns import NOUNS, PROFILES, Fields, FileNoun, as_json, parts_of
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
    inside: dict[tuple[str, str], list[Fields]] = {}
    # Parts come after what they are parts of, and are put into it.
    for noun in reversed(NOUNS):
        entries = []
        taken: set[str] = set()
        for row in sorted(noun.rows(project.pk), key=lambda row: (noun.key(row), row.pk)):
            managed = owners.get((noun.kind, row.pk))
            if managed is not None and managed.set.name != set_name:
                continue
            key = noun.key(row)
            if key in taken or not key:
                key = f"{key or noun.kind}-{row.pk}"
            taken.add(key)
            entry = _entry(noun, row, key, managed)
            part = parts_of(noun)
            if part is not None and (parts := inside.get((part.kind, noun.key(row)))):
                entry[part.section] = parts
            if noun.parent is None:
                entries.append(entry)
            else:
                inside.setdefault((noun.kind, _parent(noun, row)), []).append(entry)
        if entries:
            content[noun.section] = entries
    return content


def _parent(noun: FileNoun, row: models.Model) -> str:
    owner = next(each for each in NOUNS if each.kind == noun.parent)
    return owner.key(getattr(row, owner.kind))


def _entry(noun: FileNoun, row: models.Model, key: str, managed: ManagedObject | None) -> Fields:
    entry: Fields = noun.own(key) if noun.kind == "endpoint" else {"key": key}
    defaults = _defaults(noun)
    for name, value in noun.shown(row).items():
        if name not in defaults or value != defaults[name]:
            entry[name] = as_json(value)
    for name in noun.secrets:
        if noun.has_secret(row, name):
            entry[name] = {"env": _variable(noun, key, name)}
    if managed is not None and managed.protected:
        entry["protect"] = True
    if noun is PROFILES and managed is not None and managed.rotated:
        entry["rotate"] = managed.rotated
    return entry


def _defaults(noun: FileNoun) -> Fields:
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


def _variable(noun: FileNoun, key: str, name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in f"{noun.kind}_{key}_{name}").upper()
