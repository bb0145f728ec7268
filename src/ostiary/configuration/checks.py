"""Checks of a plan's changes: what the use cases would refuse, before anything is saved.

A use case checks what it is given and saves it, one object at a time. Here, the same checks read
drafts, so that a plan says with its place what would be refused when it is applied.
"""

import copy
from collections.abc import Iterator, Mapping
from functools import cached_property

from django.db import models

from ostiary.access.methods import AuthMethod
from ostiary.access.paths import parse_template
from ostiary.configuration.entries import FileEntry
from ostiary.configuration.nouns.clients import PROFILES
from ostiary.configuration.nouns.file_noun import Fields
from ostiary.configuration.plans import PlannedChange, PlannedConfiguration, secret_name
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import Invalid, Problem
from ostiary.directory.clients import token_rules
from ostiary.directory.models import AccessProfile, Collection, Endpoint, Recipe
from ostiary.identity.secret import Secret

TAKEN = "has already been taken"


def in_files(entry: FileEntry, error: Invalid) -> Iterator[Problem]:
    """The problems of a use case, with their places and names in files."""
    for each in error.problems:
        first, dot, rest = each.field.partition(".")
        name = entry.noun.alias(first) or first
        yield Problem(
            field=f"{entry.place}.{name}{dot}{rest}", code=each.code, sentence=each.sentence
        )


def check(by: Actor, plan: PlannedConfiguration, secrets: Mapping[str, Secret]) -> None:
    """Raise Invalid with everything of a plan that would be refused, as far as it is seen."""
    problems = [*_Checks(by, plan, secrets).problems()]
    if problems:
        raise Invalid(problems)


class _Checks:
    def __init__(
        self, by: Actor, plan: PlannedConfiguration, secrets: Mapping[str, Secret]
    ) -> None:
        self._by, self._plan, self._secrets = by, plan, secrets
        self._entries = {entry.name: entry for entry in plan.configuration.entries}
        self._drafts: dict[tuple[str, str], models.Model] = {}
        self._connections = {
            k: pk for (kind, k), pk in plan.live_ids.items() if kind == "connection"
        }

    @cached_property
    def _recipes(self) -> Mapping[str, int]:
        return dict(Recipe.objects.usable_in(self._plan.project.pk).values_list("name", "pk"))

    def problems(self) -> Iterator[Problem]:
        for change in self._plan.changes:
            if change.entry is not None:
                yield from self._of(change, change.entry)
        yield from self._taken_names()
        yield from self._taken_handles()
        yield from self._taken_paths()

    def _of(self, change: PlannedChange, entry: FileEntry) -> Iterator[Problem]:
        draft = self._draft(entry)
        try:
            entry.noun.check(self._by, draft, self._fields(change, entry))
        except Invalid as error:
            yield from in_files(entry, error)
        if change.rotates and isinstance(draft, AccessProfile):
            method = AuthMethod(draft.auth_type)
            if method in token_rules.SIGNED:
                sentence = f"is for auth tokens and OAuth 2.0: {method} has no secret to refresh"
                yield Problem(field=f"{entry.place}.rotate", code="method", sentence=sentence)

    def _draft(self, entry: FileEntry) -> models.Model:
        draft = self._drafts.get(entry.name)
        if draft is None:
            row = self._plan.rows.get(entry.name)
            draft = copy.copy(row) if row is not None else self._new(entry)
            self._drafts[entry.name] = draft
        return draft

    def _new(self, entry: FileEntry) -> models.Model:
        parent = None
        if entry.noun.parent is not None and entry.parent is not None:
            above = self._entries.get((entry.noun.parent, entry.parent))
            parent = self._draft(above) if above is not None else None
        draft: models.Model = entry.noun.draft(self._plan.project.pk, parent)
        return draft

    def _fields(self, change: PlannedChange, entry: FileEntry) -> Fields:
        noun, fields = entry.noun, dict(entry.fields)
        references = [*entry.references]
        secrets = [*entry.secrets]
        if change.row_id is None:
            fields |= noun.own(entry.key)
            if noun is PROFILES:
                fields |= {
                    n: getattr(entry.given, n) for n in PROFILES.of_new if entry.given.has(n)
                }
        else:
            named = {each.name for each in change.fields}
            fields = {name: value for name, value in fields.items() if name in named}
            references = [name for name in references if name in named]
            secrets = [name for name in secrets if name in named]
        for name in references:
            reference = noun.references[name]
            known = self._recipes if reference.kind == "recipe" else self._connections
            if reference.several or reference.kind not in {"connection", "recipe"}:
                continue
            ids = [known.get(key) for key in entry.references[name]]
            # One that is made with the plan has no id yet.
            if ids != [None]:
                fields[reference.field] = ids[0] if ids else None
        for name in secrets:
            value = self._secrets.get(secret_name(entry, name))
            fields[name] = value.reveal() if value is not None else noun.unseen
        return fields

    def _taken_names(self) -> Iterator[Problem]:
        """Names that another object has when the change is made."""
        held: dict[str, dict[str, object]] = {k: {**each} for k, each in self._plan.names.items()}
        for change in self._plan.changes:
            entry = change.entry
            if entry is None or not change.noun.has_own_name or "name" not in entry.fields:
                continue
            own: object = change.row_id if change.row_id is not None else entry.name
            name, now = str(entry.fields["name"]), held.setdefault(change.kind, {})
            if now.get(name, own) != own:
                yield Problem(field=f"{entry.place}.name", code="taken", sentence=TAKEN)
                continue
            for old in [each for each, owner in now.items() if owner == own]:
                del now[old]
            now[name] = own

    def _taken_handles(self) -> Iterator[Problem]:
        made = {e.key: e for e in self._made() if e.noun.kind == "collection"}
        for handles in _parts(sorted(made)):
            found = Collection.objects.filter(handle__in=handles)
            for handle in found.values_list("handle", flat=True):
                yield Problem(field=f"{made[handle].place}.key", code="taken", sentence=TAKEN)

    def _taken_paths(self) -> Iterator[Problem]:
        """Endpoints whose paths differ in the names of their parameters alone."""
        made = [entry for entry in self._made() if entry.noun.kind == "endpoint"]
        if not made:
            return
        found = Endpoint.objects.filter(collection__project=self._plan.project)
        held = set(found.values_list("collection__handle", "method", "shape"))
        for entry in made:
            handle, method, path = entry.key.split(" ", 2)
            shape = handle, method, parse_template(path).shape
            if shape in held:
                sentence = "is the path of another endpoint with this method"
                yield Problem(field=f"{entry.place}.path", code="taken", sentence=sentence)
            held.add(shape)

    def _made(self) -> Iterator[FileEntry]:
        for change in self._plan.changes:
            if change.action == "create" and change.entry is not None:
                yield change.entry


def _parts(keys: list[str]) -> Iterator[list[str]]:
    """In parts, since a statement has bounds."""
    for start in range(0, len(keys), 500):
        yield keys[start : start + 500]
