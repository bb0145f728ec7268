"""Planning: what must change so that the directory is as the files of one set say.

The whole is planned on the server, from one reading of the directory. Nothing is changed here.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from django.db import models
from django.db.models import Q

from ostiary import settings
from ostiary.configuration.entries import Configuration, FileEntry, Moved
from ostiary.configuration.nouns.clients import PROFILES
from ostiary.configuration.nouns.file_noun import AnyNoun, Fields, Keys, as_json
from ostiary.configuration.nouns.registry import BY_KIND, NOUNS, read_project
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.errors import Invalid, Problem
from ostiary.directory.changes.permission import require, visible_projects
from ostiary.directory.models import (
    AuditEvent,
    Collection,
    ConfigurationSet,
    ManagedObject,
    Project,
    Recipe,
)
from ostiary.directory.workspace import project_quotas
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret

Action = Literal["create", "update", "adopt", "delete"]
#: Deletions of one plan, unless more are allowed by name.
MOST_DELETED = 5
#: What a secret that is not shown is called on both sides of a change.
_HIDDEN = "(secret)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a plan may do beyond making and changing what is the set's own."""

    #: Delete what the set has and its files do not.
    delete: bool = False
    most_deleted: int = MOST_DELETED
    #: Take over objects that belong to no set.
    adopt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field of an object: what it is, and what it will be."""

    name: str
    old: object
    new: object
    #: What the files said when they were last applied; only if that is another value than `old`.
    applied: object = None
    drifted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Who changed an object since the set was applied."""

    actor: str
    at: datetime
    action: str


@dataclass(slots=True, kw_only=True)
class PlannedChange:
    action: Action
    noun: AnyNoun
    key: str
    name: str
    #: Its place in the configuration; empty: it is not there.
    place: str = ""
    row_id: int | None = None
    entry: FileEntry | None = None
    #: The key that it has now, if that is another one.
    moved_from: str = ""
    fields: list[FieldChange] = field(default_factory=list)
    #: Whether a call that is answered now may be refused afterwards.
    revokes: bool = False
    rotates: bool = False
    drift: Drift | None = None

    @property
    def kind(self) -> str:
        return self.noun.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Why a plan can't be applied."""

    place: str
    kind: str
    key: str
    sentence: str


@dataclass(slots=True, kw_only=True)
class PlannedConfiguration:
    """What a configuration changes, in the order in which it is done."""

    configuration: Configuration
    project: Project
    changes: list[PlannedChange] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: Objects of the set that its files no longer name, and that stay.
    left_over: list[tuple[str, str]] = field(default_factory=list)
    unchanged: int = 0
    #: The objects that there are, by kind and key.
    live_ids: dict[tuple[str, str], int] = field(default_factory=dict)
    #: The ids of policies that entries may refer to, those of the workspace too.
    policies: Mapping[str, int] = field(default_factory=dict)
    #: Their rows, and who has which name where no two may have one: by kind.
    rows: dict[tuple[str, str], models.Model] = field(default_factory=dict)
    names: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What the plan does, as one value: two plans that do the same have the same."""
        parts = [
            [
                each.action, each.kind, each.key, each.row_id, each.moved_from, each.rotates,
                [[f.name, as_json(f.old), as_json(f.new)] for f in each.fields],
            ]
            for each in self.changes
        ]  # fmt: skip
        blocked = [[each.kind, each.key, each.sentence] for each in self.blocked]
        return hashlib.sha256(json.dumps([parts, blocked], default=str).encode()).hexdigest()


@dataclass(slots=True)
class _LiveObject:
    """An object of the directory."""

    row: models.Model
    managed: ManagedObject | None


def make(
    by: Actor,
    configuration: Configuration,
    options: Options,
    secrets: Mapping[str, Secret],
) -> PlannedConfiguration:
    """Plan a configuration; raises Invalid, NotFound, Forbidden.

    `secrets`: the values of those that the command has found, by `secret_name`.
    """
    project = project_named(by, configuration.project)
    require(by, Role.EDITOR, project.pk)
    planner = _Planner(by, configuration, options, secrets, project)
    return planner.planned()


def project_named(by: Actor, name: str) -> Project:
    """A project by its key or its name; raises Invalid if one has it as key, and another as name.

    Whoever owns a project chooses both: neither may lead files of another project there.
    """
    found = list(visible_projects(by).filter(Q(key=name) | Q(name=name))[:2])
    if not found:
        raise Invalid({"project": [f"there is no project {name[:80]!r}"]})
    if len(found) > 1:
        sentence = f"{name[:80]!r} is the key of one project and the name of another one"
        raise Invalid({"project": [sentence]})
    return found[0]


def secret_name(entry: FileEntry, name: str) -> str:
    """The name of a secret between command and server."""
    return f"{entry.noun.section}.{entry.key}.{name}"


def fingerprint(project_id: int, name: str, secret: Secret) -> str:
    """What is kept of a secret, to see whether it is still the same: useless without the key ring."""
    ring = KeyRing.load(settings.current().data / "keyring.json")
    message = f"configuration:{project_id}:{name}:{secret.reveal()}"
    digest = hmac.new(ring.secret_key.encode(), message.encode("utf-8", "replace"), hashlib.sha256)
    return digest.hexdigest()


class _Planner:
    def __init__(
        self,
        by: Actor,
        configuration: Configuration,
        options: Options,
        secrets: Mapping[str, Secret],
        project: Project,
    ) -> None:
        self._by, self._configuration, self._options = by, configuration, options
        self._secrets, self._project = secrets, project
        self._plan = PlannedConfiguration(configuration=configuration, project=project)
        self._set = ConfigurationSet.objects.filter(project=project, name=configuration.set).first()
        self._managed = {
            (each.kind, each.object_id): each
            for each in ManagedObject.objects.filter(set__project=project).select_related("set")
        }
        self._live: dict[tuple[str, str], _LiveObject] = {}
        self._keys = Keys()
        self._entries = {entry.name: entry for entry in configuration.entries}
        self._problems: list[Problem] = []

    def planned(self) -> PlannedConfiguration:
        self._read()
        self._follow_moves()
        self._plan.rows = {name: found.row for name, found in self._live.items()}
        self._plan.live_ids = {name: row.pk for name, row in self._plan.rows.items()}
        known = self._known()
        for entry in self._configuration.entries:
            self._check_references(entry, known)
        if self._problems:
            raise Invalid(self._problems)
        for entry in self._configuration.entries:
            self._entry(entry)
        self._gone()
        self._check_quotas()
        self._attribute_drift()
        if self._problems:
            raise Invalid(self._problems)
        return self._plan

    def _read(self) -> None:
        rows, self._keys = read_project(self._project.pk)
        for noun in NOUNS:
            for row in rows[noun.kind]:
                found = _LiveObject(row, self._managed.get((noun.kind, row.pk)))
                if noun.has_own_name:
                    name = str(getattr(row, "name"))  # noqa: B009 - of a model that is known by its noun
                    self._plan.names.setdefault(noun.kind, {})[name] = row.pk
                self._live[noun.kind, self._keys.of(noun, row)] = found
        self._plan.policies = self._keys.ids["policy"]

    def _follow_moves(self) -> None:
        for number, moved in enumerate(self._configuration.moved):
            before = self._live.get((moved.kind, moved.before))
            if before is not None and (moved.kind, moved.after) not in self._live:
                if (moved.kind, moved.before) in self._entries:
                    self._say(f"moved.{number}", f"{moved.before} is still in the files", "double")
                del self._live[moved.kind, moved.before]
                self._live[moved.kind, moved.after] = before
                self._move_parts(moved)

    def _move_parts(self, moved: Moved) -> None:
        """What has no key of its own is named by what it is a part of."""
        if moved.kind == "client":
            names = {("client_defaults", moved.before): ("client_defaults", moved.after)}
        elif moved.kind == "collection":
            start = f"{moved.before} "
            names = {
                (kind, key): (kind, f"{moved.after} {key.removeprefix(start)}")
                for kind, key in self._live
                if kind == "endpoint" and key.startswith(start)
            }
        else:
            return
        for before, after in names.items():
            if before in self._live:
                self._live[after] = self._live.pop(before)

    def _known(self) -> Mapping[str, frozenset[str]]:
        """The keys that entries may refer to, by kind."""
        known: dict[str, set[str]] = {noun.kind: set() for noun in NOUNS}
        for kind, key in (*self._live, *self._entries):
            known[kind].add(key)
        wanted = {
            key
            for entry in self._configuration.entries
            for key in entry.references.get("collections", ())
        }
        seen = Collection.objects.visible_to(self._by)
        for handle, project_id in _in_parts(seen, wanted):
            if self._by.may(Role.EDITOR, project_id):
                known["collection"].add(handle)
        known["policy"] |= self._plan.policies.keys()
        usable = Recipe.objects.usable_in(self._project.pk)
        known["recipe"] = set(usable.values_list("name", flat=True))
        return {kind: frozenset(keys) for kind, keys in known.items()}

    def _check_references(self, entry: FileEntry, known: Mapping[str, frozenset[str]]) -> None:
        for name, keys in entry.references.items():
            kind = entry.noun.references[name].kind
            for key in keys:
                # What an object has already may stay, also where its editor could not add it.
                if key not in known[kind] and key not in self._held(entry, name):
                    what = kind.replace("_", " ")
                    self._say(f"{entry.place}.{name}", f"there is no {what} {key!r}", "unknown")

    def _held(self, entry: FileEntry, name: str) -> list[object]:
        found = self._live.get(entry.name)
        held = entry.noun.shown(found.row, self._keys).get(name) if found is not None else None
        return held if isinstance(held, list) else []

    def _entry(self, entry: FileEntry) -> None:
        found = self._live.get(entry.name)
        if found is None:
            self._create(entry)
            return
        managed = found.managed
        if managed is None and entry.noun.single:
            # What is one with another object belongs to its set.
            above = self._live.get((str(entry.noun.parent), entry.parent or ""))
            managed = above.managed if above is not None else None
        owner = managed.set if managed is not None else None
        if owner is not None and owner.name != self._configuration.set:
            self._block(entry, f"belongs to the set {owner.name}")
            return
        change = self._compared(entry, found)
        if owner is None and not self._options.adopt:
            if change.fields or change.rotates:
                self._block(
                    entry, "is there and belongs to no set: adopt it, or give this one another key"
                )
            else:
                self._plan.unchanged += 1
            return
        if owner is None:
            change.action = "adopt"
        if change.action == "adopt" or change.fields or change.rotates or change.moved_from:
            self._plan.changes.append(change)
        else:
            self._plan.unchanged += 1

    def _create(self, entry: FileEntry) -> None:
        missing = [
            name
            for name in entry.noun.needed(entry.fields)
            if not (alias := entry.noun.alias(name)) or not self._says(entry, alias)
        ]
        for name in missing:
            if entry.noun.alias(name):
                self._say(f"{entry.place}.{entry.noun.alias(name)}", "can't be blank", "missing")
        for name in entry.secrets:
            if secret_name(entry, name) not in self._secrets:
                self._plan.warnings.append(
                    f"{secret_name(entry, name)}: needed when this is applied, from"
                    f" {entry.secrets[name]}"
                )
        shown = {**entry.fields, **entry.references}
        self._plan.changes.append(
            PlannedChange(
                action="create",
                noun=entry.noun,
                key=entry.key,
                name=str(entry.fields.get("name") or entry.key),
                place=entry.place,
                entry=entry,
                fields=[
                    *(
                        FieldChange(name=name, old=None, new=_one(entry, name, value))
                        for name, value in shown.items()
                    ),
                    *(FieldChange(name=n, old=None, new=_HIDDEN) for n in entry.secrets),
                ],
            )
        )

    def _says(self, entry: FileEntry, name: str) -> bool:
        return name in entry.fields or name in entry.references or name in entry.secrets

    def _compared(self, entry: FileEntry, found: _LiveObject) -> PlannedChange:
        noun, managed = entry.noun, found.managed
        shown = noun.shown(found.row, self._keys)
        applied = dict(managed.applied) if managed is not None else {}
        change = PlannedChange(
            action="update",
            noun=noun,
            key=entry.key,
            name=str(shown.get("name") or entry.key),
            place=entry.place,
            row_id=found.row.pk,
            entry=entry,
        )
        if noun.is_keyed(found.row) and noun.key(found.row) != entry.key:
            change.moved_from = noun.key(found.row)
        wanted: Fields = {**entry.fields, **by_keys(entry)}
        for name, new in wanted.items():
            old = shown.get(name)
            if old == new:
                continue
            last = applied.get(name)
            drifted = name in applied and last != as_json(old)
            change.fields.append(
                FieldChange(name=name, old=old, new=new, applied=last, drifted=drifted)
            )
        self._compare_secrets(entry, found, change)
        self._check_changed(entry, found, change)
        if entry.rotate > (managed.rotated if managed is not None else entry.rotate):
            change.rotates = True
        change.revokes = change.rotates or (
            noun.alters_calls and any(each.name not in noun.harmless for each in change.fields)
        )
        return change

    def _compare_secrets(self, entry: FileEntry, found: _LiveObject, change: PlannedChange) -> None:
        managed = found.managed
        for name in entry.secrets:
            full = secret_name(entry, name)
            value = self._secrets.get(full)
            if value is None:
                self._plan.warnings.append(
                    f"{full}: not compared, {entry.secrets[name]} is not set"
                )
                continue
            if entry.noun.holds(found.row, name, value):
                continue
            # If it is the one that was applied last, somebody has changed it beside the files.
            stored = managed.fingerprints.get(name) if managed is not None else None
            drifted = stored == fingerprint(self._project.pk, full, value)
            change.fields.append(
                FieldChange(
                    name=name, old=_HIDDEN, new=_HIDDEN, drifted=drifted,
                    applied=_HIDDEN if drifted else None,
                )
            )  # fmt: skip

    def _check_changed(self, entry: FileEntry, found: _LiveObject, change: PlannedChange) -> None:
        """Refuse what cannot be changed."""
        noun = entry.noun
        fixed = {noun.alias(name) for name in noun.input.fixed}
        for each in change.fields:
            if each.name in fixed:
                self._block(
                    entry,
                    f"{each.name} can't be changed from {as_json(each.old)} to {as_json(each.new)}:"
                    " make one with another key, and delete this one",
                )
        parent = getattr(found.row, "client", None)
        if noun is PROFILES and parent is not None:
            said = self._live.get(("client", entry.parent or ""))
            if said is None or said.row.pk != parent.pk:
                owner = self._keys.of(BY_KIND["client"], parent)
                self._block(entry, f"belongs to the client {owner}, and can't move to another one")

    def _gone(self) -> None:
        """What the set has, and its files do not name any more."""
        named = {id(self._live[name]) for name in self._entries if name in self._live}
        gone = [
            (name, found)
            for name, found in self._live.items()
            if id(found) not in named
            and found.managed is not None
            and found.managed.set.name == self._configuration.set
            # Defaults go with their client, and are not taken from it.
            and not BY_KIND[name[0]].single
        ]
        if not self._options.delete:
            self._plan.left_over = [name for name, _ in gone]
            return
        if gone and not self._entries:
            self._say("", "says nothing at all: it would delete the whole set", "empty")
        order = {noun.kind: number for number, noun in enumerate(NOUNS)}
        deletions = []
        for (kind, key), found in sorted(gone, key=lambda each: (-order[each[0][0]], each[0][1])):
            noun = BY_KIND[kind]
            if found.managed is not None and found.managed.protected:
                self._plan.blocked.append(
                    Blocked(place="", kind=kind, key=key, sentence="is protected from deletion")
                )
                continue
            deletions.append(
                PlannedChange(
                    action="delete",
                    noun=noun,
                    key=key,
                    name=str(noun.shown(found.row, self._keys).get("name") or key),
                    row_id=found.row.pk,
                    revokes=noun.revokes,
                )
            )
        if len(deletions) > self._options.most_deleted:
            self._plan.blocked.append(
                Blocked(
                    place="", kind="", key="",
                    sentence=f"{len(deletions)} objects would be deleted, and at most"
                    f" {self._options.most_deleted} may be",
                )
            )  # fmt: skip
        self._plan.changes += deletions

    def _check_quotas(self) -> None:
        quotas = project_quotas.of(self._by, self._project.pk)
        names = {
            "client": "clients", "profile": "access_profiles", "collection": "api_collections",
            "endpoint": "api_endpoints", "connection": "connections", "policy": "policies",
            "address_list": "address_lists", "webhook": "webhooks",
        }  # fmt: skip
        for kind, name in names.items():
            if name not in quotas:
                continue
            made = sum(c.action == "create" and c.kind == kind for c in self._plan.changes)
            less = sum(c.action == "delete" and c.kind == kind for c in self._plan.changes)
            held = project_quotas.HELD[name](self._project.pk).count()
            if made and held + made - less > quotas[name]:
                self._plan.blocked.append(
                    Blocked(
                        place="", kind=kind, key="",
                        sentence=f"the project may have {quotas[name]} {name}, and would have"
                        f" {held + made - less}",
                    )
                )  # fmt: skip

    def _attribute_drift(self) -> None:
        drifted = [each for each in self._plan.changes if any(f.drifted for f in each.fields)]
        for each in drifted:
            last = (
                AuditEvent.objects.filter(target_kind=_TARGETS.get(each.kind, each.kind))
                .filter(target_id=each.row_id)
                .exclude(action__endswith=".refresh")
                .order_by("-pk")
                .first()
            )
            if last is not None:
                each.drift = Drift(actor=last.actor_name, at=last.at, action=last.action)

    def _say(self, place: str, sentence: str, code: str) -> None:
        self._problems.append(Problem(field=place, code=code, sentence=sentence))

    def _block(self, entry: FileEntry, sentence: str) -> None:
        self._plan.blocked.append(
            Blocked(place=entry.place, kind=entry.noun.kind, key=entry.key, sentence=sentence)
        )


#: What the audit log calls kinds of objects, where that is another name.
_TARGETS: Mapping[str, str] = {}


def by_keys(entry: FileEntry) -> Fields:
    """What an entry says of other objects, by their keys."""
    return {name: _one(entry, name, keys) for name, keys in entry.references.items()}


def _one(entry: FileEntry, name: str, value: object) -> object:
    """What a reference names: a list of keys, one, or none."""
    reference = entry.noun.references.get(name)
    if reference is None or reference.several or not isinstance(value, list):
        return value
    return value[0] if value else None


def _in_parts(
    found: models.QuerySet[Collection], handles: Iterable[str]
) -> Iterator[tuple[str, int]]:
    """Handles that exist, with their projects; asked for in parts, since a statement has bounds."""
    wanted = sorted(handles)
    for start in range(0, len(wanted), 500):
        part = found.filter(handle__in=wanted[start : start + 500])
        yield from part.values_list("handle", "project_id")
