"""Applying a plan: all of it in one transaction, or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from ostiary.configuration import checks, plans
from ostiary.configuration.entries import Configuration, FileEntry
from ostiary.configuration.nouns.clients import PROFILES
from ostiary.configuration.nouns.file_noun import Fields, Made, as_json
from ostiary.configuration.plans import Options, PlannedChange, PlannedConfiguration
from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log
from ostiary.directory.changes.errors import InUse, Invalid, Stale
from ostiary.directory.models import Collection, ConfigurationSet, ManagedObject, Project, Recipe
from ostiary.identity.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A credential that was issued, which is shown once."""

    kind: str
    #: The key and the id of the object that it is of.
    key: str
    object_id: int
    secret: Secret
    #: The key of what that is a part of: a profile's client.
    parent: str | None = None
    #: The client id of OAuth 2.0; empty for tokens.
    public_id: str = ""


@dataclass(slots=True, kw_only=True)
class Applied:
    """What was done, and the sequence to wait for."""

    plan: PlannedConfiguration
    sequence: int = 0
    warnings: list[str] = field(default_factory=list)
    issued: list[Issued] = field(default_factory=list)


def apply(
    by: Actor,
    configuration: Configuration,
    options: Options,
    secrets: Mapping[str, Secret],
    *,
    digest: str,
    commit: str = "",
) -> Applied:
    """Do what the plan with this digest says.

    Raises Stale if it would do something else now, Invalid if something of it does not fit, InUse if
    it is blocked. Nothing is changed then.
    """
    with transaction.atomic():
        # Locked first: of two at once, of one set or of two, the second one plans what the first one
        # has left. Objects that are made meanwhile refer to the project, and need not wait.
        project = plans.project_named(by, configuration.project)
        list(Project.objects.filter(pk=project.pk).select_for_update(no_key=True).values_list("pk"))
        row, _ = ConfigurationSet.objects.get_or_create(project=project, name=configuration.set)
        plan = plans.make(by, configuration, options, secrets)
        if plan.blocked:
            first = plan.blocked[0]
            what = f"{first.kind.replace('_', ' ')} {first.key} {first.sentence}".strip()
            raise InUse(f"The plan can't be applied: {what}")
        if plan.digest != digest:
            raise Stale("Something that the plan speaks of has changed since; plan again")
        applied = _Applier(by, plan, secrets, row).done()
        row.applied_at, row.commit, row.applied_by = timezone.now(), commit[:100], by.name[:255]
        row.drifted, row.drift = 0, []
        row.save()
        if plan.changes:
            audit_log.record(
                by,
                "configuration.apply",
                target_kind="configuration",
                target_id=row.pk,
                target_name=row.name,
                project_id=project.pk,
                after={"commit": commit, "changes": len(plan.changes)},
            )
    return applied


class _Applier:
    def __init__(
        self,
        by: Actor,
        plan: PlannedConfiguration,
        secrets: Mapping[str, Secret],
        row: ConfigurationSet,
    ) -> None:
        self._by, self._plan, self._secrets, self._row = by, plan, secrets, row
        self._applied = Applied(plan=plan)
        self._ids: dict[tuple[str, str], int] = {}
        self._managed = {
            (each.kind, each.object_id): each for each in ManagedObject.objects.filter(set=row)
        }

    def done(self) -> Applied:
        # Profiles and clients go first: they hold what others would be deleted for in vain.
        for change in self._plan.changes:
            if change.noun.kind in {"profile", "client"}:
                self._delete(change)
        for change in self._plan.changes:
            if change.entry is not None:
                self._do(change, change.entry)
        for change in self._plan.changes:
            if change.noun.kind not in {"profile", "client"}:
                self._delete(change)
        self._keep()
        return self._applied

    def _do(self, change: PlannedChange, entry: FileEntry) -> None:
        row_id = change.row_id
        try:
            made = self._create(entry) if row_id is None else self._change(change, entry, row_id)
        except Invalid as error:
            raise Invalid(checks.in_files(entry, error)) from None
        self._ids[entry.name] = made.row_id
        self._note(made, entry)
        if change.rotates and row_id is not None:
            self._note(PROFILES.refresh(self._by, row_id, entry.overlap_seconds), entry)
        self._keep_row(entry, made.row_id)

    def _create(self, entry: FileEntry) -> Made:
        fields = {
            **entry.noun.own(entry.key),
            **entry.fields,
            **self._of_new(entry),
            **self._ids_of(entry, entry.references),
            **self._values(entry, entry.secrets),
        }
        return entry.noun.create(self._by, self._owner(entry), fields)

    def _of_new(self, entry: FileEntry) -> Fields:
        """Fields that a new profile alone takes."""
        if entry.noun is not PROFILES:
            return {}
        return {n: getattr(entry.given, n) for n in PROFILES.of_new if entry.given.has(n)}

    def _change(self, change: PlannedChange, entry: FileEntry, row_id: int) -> Made:
        names = {each.name for each in change.fields}
        fields = {
            **{name: value for name, value in entry.fields.items() if name in names},
            **self._ids_of(entry, [n for n in entry.references if n in names]),
            **self._values(entry, [n for n in entry.secrets if n in names]),
        }
        if change.action == "adopt" or change.moved_from:
            fields |= {} if entry.noun.kind == "endpoint" else entry.noun.own(entry.key)
        if not fields:
            return Made(row_id=row_id)
        return entry.noun.change(self._by, row_id, fields)

    def _delete(self, change: PlannedChange) -> None:
        if change.action != "delete" or change.row_id is None:
            return
        # Those of a client went with it.
        if change.noun is PROFILES and not PROFILES.exists(change.row_id):
            return
        sequence = change.noun.delete(self._by, change.row_id)
        self._applied.sequence = max(self._applied.sequence, sequence)
        managed = self._managed.pop((change.kind, change.row_id), None)
        if managed is not None:
            managed.delete()

    def _owner(self, entry: FileEntry) -> int:
        if entry.noun.parent is None or entry.parent is None:
            return self._plan.project.pk
        return self._id(entry.noun.parent, entry.parent)

    def _ids_of(self, entry: FileEntry, names: Sequence[str] | Mapping[str, object]) -> Fields:
        fields: Fields = {}
        for name in names:
            reference = entry.noun.references[name]
            ids = [self._id(reference.kind, key) for key in entry.references[name]]
            fields[reference.field] = ids if reference.several else (ids[0] if ids else None)
        return fields

    def _id(self, kind: str, key: str) -> int:
        known = self._ids.get((kind, key))
        if known is None:
            known = self._ids[kind, key] = _looked_up(self._plan, kind, key)
        return known

    def _values(self, entry: FileEntry, names: Sequence[str] | Mapping[str, object]) -> Fields:
        found: Fields = {}
        for name in names:
            secret = self._secrets.get(plans.secret_name(entry, name))
            if secret is None:
                raise Invalid({name: [f"needs {entry.secrets[name]}"]})
            found[name] = secret.reveal()
        return found

    def _note(self, made: Made, entry: FileEntry) -> None:
        self._applied.sequence = max(self._applied.sequence, made.sequence)
        self._applied.warnings += [f"{entry.noun.kind} {entry.key}: {w}" for w in made.warnings]
        if made.secret is not None:
            issued = Issued(
                kind=entry.noun.kind,
                key=entry.key,
                object_id=made.row_id,
                parent=entry.parent,
                secret=made.secret,
                public_id=made.public_id,
            )
            self._applied.issued.append(issued)

    def _keep_row(self, entry: FileEntry, row_id: int) -> None:
        managed = self._managed.get((entry.noun.kind, row_id))
        if managed is None:
            managed = ManagedObject(set=self._row, kind=entry.noun.kind, object_id=row_id)
            # What is there already counts as rotated as often as the file says.
            managed.rotated = entry.rotate
            self._managed[entry.noun.kind, row_id] = managed
        managed.rotated = max(managed.rotated, entry.rotate)
        project_id = self._plan.project.pk
        for name in entry.secrets:
            full = plans.secret_name(entry, name)
            if full in self._secrets:
                managed.fingerprints[name] = plans.fingerprint(
                    project_id, full, self._secrets[full]
                )

    def _keep(self) -> None:
        """Keep what the files said, of every entry: what differs from it later has drifted."""
        rows = {**self._plan.live_ids, **self._ids}
        fresh: list[ManagedObject] = []
        stored: list[ManagedObject] = []
        for entry in self._plan.configuration.entries:
            managed = self._managed.get((entry.noun.kind, rows.get(entry.name, 0)))
            if managed is None:
                continue
            managed.key, managed.protected = entry.key, entry.protected
            said = {**entry.fields, **plans.by_keys(entry)}
            managed.applied = {name: as_json(value) for name, value in said.items()}
            (fresh if managed._state.adding else stored).append(managed)  # noqa: SLF001 - Django's documented way to ask
        _forget(fresh)
        ManagedObject.objects.bulk_create(fresh, batch_size=500)
        names = ["key", "protected", "applied", "fingerprints", "rotated"]
        ManagedObject.objects.bulk_update(stored, names, batch_size=500)
        # Of objects that somebody else has deleted.
        there = {(kind, pk) for (kind, _), pk in rows.items()}
        for name, managed in self._managed.items():
            if name not in there:
                managed.delete()


def _forget(fresh: Sequence[ManagedObject]) -> None:
    """Delete what is kept of objects as those of a set of the project that they were moved from."""
    by_kind: dict[str, list[int]] = {}
    for each in fresh:
        by_kind.setdefault(each.kind, []).append(each.object_id)
    for kind, ids in by_kind.items():
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            ManagedObject.objects.filter(kind=kind, object_id__in=part).delete()


def _looked_up(plan: PlannedConfiguration, kind: str, key: str) -> int:
    """The id of an object outside of the plan's changes."""
    if (kind, key) in plan.live_ids:
        return plan.live_ids[kind, key]
    found: int | None = None
    if kind == "collection":
        found = Collection.objects.filter(handle=key).values_list("pk", flat=True).first()
    elif kind == "policy":
        found = plan.policies.get(key)
    elif kind == "recipe":
        usable = Recipe.objects.usable_in(plan.project.pk)
        found = usable.filter(name=key).values_list("pk", flat=True).first()
    if found is None:
        raise Stale(f"The {kind.replace('_', ' ')} {key} is gone; plan again")
    return found
