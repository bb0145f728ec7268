"""Puts deleted objects back: with their ids, so that usage, logs and scripts fit them again.

Everything is checked as if it were made anew: names and keys that were taken meanwhile, objects that it
relies on, quotas, and whether the one who restores might grant what a profile has. Credentials and
secrets do not come back.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from django.core import serializers
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import QuerySet

from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections
from ostiary.directory.changes import audit_log, deletions, feed, keys
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import InUse, NotFound
from ostiary.directory.changes.permission import require, require_admin
from ostiary.directory.clients import credentials, listed_networks
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    Client,
    ClientDefaults,
    Collection,
    Connection,
    DeletedObject,
    Endpoint,
    Policy,
    Project,
    Recipe,
    Webhook,
)
from ostiary.directory.workspace import project_quotas

_T = TypeVar("_T")
#: Rows of one statement.
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorableKind:
    """One kind of object: what it is called, and how a gateway hears of it."""

    label: str
    model: type[models.Model]
    #: Empty: no gateway has it.
    announced: feed.Kind | None


KINDS: Mapping[str, RestorableKind] = {
    "client": RestorableKind(label="Client", model=Client, announced=feed.Kind.CLIENT),
    "access_profile": RestorableKind(
        label="Access profile", model=AccessProfile, announced=feed.Kind.PROFILE
    ),
    "collection": RestorableKind(
        label="API collection", model=Collection, announced=feed.Kind.COLLECTION
    ),
    "endpoint": RestorableKind(label="Endpoint", model=Endpoint, announced=feed.Kind.ENDPOINT),
    "connection": RestorableKind(
        label="Connection", model=Connection, announced=feed.Kind.CONNECTION
    ),
    "policy": RestorableKind(label="Policy", model=Policy, announced=feed.Kind.POLICY),
    "address_list": RestorableKind(
        label="Address list", model=AddressList, announced=feed.Kind.ADDRESS_LIST
    ),
    "webhook": RestorableKind(label="Webhook", model=Webhook, announced=None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was put back."""

    kind: str
    object_id: int
    name: str


def deleted_objects(by: Actor) -> QuerySet[DeletedObject]:
    """What can be put back where `by` may look, the newest first."""
    found = deletions.restorable()
    return found if by.sees_all else found.filter(project_id__in=by.project_ids)


def find(by: Actor, deleted_id: int) -> DeletedObject:
    found = deleted_objects(by).filter(pk=deleted_id).first()
    if found is None:
        raise NotFound("deleted object")
    return found


def restore(*, by: Actor, deleted_id: int) -> Saved[Restored]:
    """Put an object back; raises NotFound, Forbidden, Invalid, and InUse with what stands in the way."""
    with transaction.atomic():
        found = find(by, deleted_id)
        _require(by, found)
        # Of two at the same moment, one deletes the copy.
        if not DeletedObject.objects.filter(pk=found.pk).delete()[0]:
            raise NotFound("deleted object")
        rows = [*serializers.deserialize("json", found.content, ignorenonexistent=True)]
        _check_room(found, rows)
        warnings: list[str] = []
        _join(rows)
        for each in rows:
            _prepare(each.object, warnings, alone=found.kind == "access_profile")
        _check_parents(rows)
        _check_place(found, rows)
        _check_grants(by, rows)
        for model, those in _by_model(rows):
            _check_free(model, [each.object for each in those])
        for model, those in _by_model(rows):
            _write(model, those)
        _check_together([each.object for each in rows if isinstance(each.object, AccessProfile)])
        sequence = _announce(found, rows)
        audit_log.record(
            by,
            f"{found.kind.removeprefix('access_')}.restore",
            target_kind=found.kind.removeprefix("access_"),
            target_id=found.object_id,
            target_name=found.name,
            project_id=found.project_id,
            after={"deleted_at": found.deleted_at.isoformat(), **found.takes},
        )
    value = Restored(kind=found.kind, object_id=found.object_id, name=found.name)
    return Saved(value=value, sequence=sequence, warnings=tuple(dict.fromkeys(warnings)), adds=True)


def _require(by: Actor, found: DeletedObject) -> None:
    if found.project_id is None:
        require_admin(by)
        return
    require(by, Role.EDITOR, found.project_id)
    if not Project.objects.filter(pk=found.project_id).exists():
        raise InUse("Its project was deleted: it can't be put back")


def _prepare(row: models.Model, warnings: list[str], *, alone: bool) -> None:
    """Change what cannot be as it was, and say so."""
    match row:
        case AccessProfile():
            hmac = row.auth_type == AuthMethod.JWT and row.proof.get("method") == "hmac"
            if hmac:
                row.active, row.inactive_until = False, None
                warnings.append("Shared secrets of HMAC are gone: enter them, then activate")
            elif row.auth_type in {AuthMethod.TOKEN, AuthMethod.OAUTH2}:
                warnings.append("Credentials are gone: issue new ones")
            if alone and row.follows_client:
                # The defaults may have changed since.
                row.follows_client = False
                warnings.append("It follows its client no more: what it has is its own now")
        case Connection() if row.auth_type != Connection.Auth.NONE:
            warnings.append("The secret for the upstream is gone: enter it")
        case Webhook():
            row.active = False
            warnings.append("The signing secret is gone: rotate it, then activate")
        case _:
            pass


def _check_parents(rows: Sequence[Any]) -> None:
    """Refuse what relies on an object that is gone; asked for once for all rows."""
    back = {(type(each.object), each.object.pk) for each in rows}
    wanted: dict[type[models.Model], set[int]] = {}
    for each in rows:
        for _, model, ids in _relies(each):
            wanted.setdefault(model, set()).update(ids)
    there = {
        model: set(_rows(model).filter(pk__in=ids).values_list("pk", flat=True))
        for model, ids in wanted.items()
    }
    for each in rows:
        for what, model, ids in _relies(each):
            if any(pk not in there[model] and (model, pk) not in back for pk in ids):
                sentence = f"{_name(each.object)} relies on something that is deleted ({what})"
                raise InUse(f"{sentence}: put that back first")
    _check_recipes([each.object for each in rows if isinstance(each.object, Endpoint)])


def _relies(row: Any) -> Iterator[tuple[str, type[models.Model], list[int]]]:
    """What a row refers to: in which words, of which model, and the ids."""
    for field in row.object._meta.concrete_fields:
        value = getattr(row.object, field.attname)
        model = field.related_model
        if isinstance(model, type) and value is not None:
            yield str(field.verbose_name), model, [value]
    for name, ids in (row.m2m_data or {}).items():
        model = row.object._meta.get_field(name).related_model
        if isinstance(model, type):
            yield name.replace("_", " "), model, [int(each) for each in ids]


def _check_place(found: DeletedObject, rows: Sequence[Any]) -> None:
    """Refuse a profile whose client was moved: what may be done in that project is not known here."""
    if found.kind != "access_profile":
        return
    profile = rows[0].object
    if profile.client.project_id != found.project_id:
        sentence = f"The client of {profile.name} is in another project now"
        raise InUse(f"{sentence}: {profile.name} can't be put back")


def _check_recipes(endpoints: Sequence[Endpoint]) -> None:
    """Refuse an endpoint whose recipe is for other projects by now."""
    by_project: dict[int, list[Endpoint]] = {}
    for each in endpoints:
        if each.recipe_id is not None:
            by_project.setdefault(each.collection.project_id, []).append(each)
    for project_id, those in by_project.items():
        usable = set(Recipe.objects.usable_in(project_id).values_list("pk", flat=True))
        for each in those:
            if each.recipe_id not in usable:
                raise InUse(f"{each.name} runs a recipe that is for other projects now")


def _check_grants(by: Actor, rows: Sequence[Any]) -> None:
    """Refuse collections that `by` may not grant: of profiles, and of defaults that profiles follow."""
    granting = [each for each in rows if isinstance(each.object, AccessProfile | ClientDefaults)]
    ids = {int(pk) for each in granting for pk in (each.m2m_data or {}).get("collections", ())}
    granted = set(collections.grantable(by).filter(pk__in=ids).values_list("pk", flat=True))
    for each in granting:
        if {int(pk) for pk in (each.m2m_data or {}).get("collections", ())} - granted:
            raise InUse(f"{_name(each.object)} has an API collection that you may not grant")


def _join(rows: Sequence[Any]) -> None:
    """Give profiles the client that comes back with them: it is not to be found yet."""
    clients = {each.object.pk: each.object for each in rows if isinstance(each.object, Client)}
    for each in rows:
        if isinstance(each.object, AccessProfile) and each.object.client_id in clients:
            each.object.client = clients[each.object.client_id]


def _by_model(rows: Sequence[Any]) -> Iterator[tuple[type[models.Model], list[Any]]]:
    """Rows of one model after another, in their order."""
    for model, those in groupby(rows, key=lambda each: type(each.object)):
        yield model, list(those)


def _check_free(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Refuse what is taken meanwhile."""
    for some in _batches(rows):
        there = _rows(model).filter(pk__in=[each.pk for each in some]).first()
        if there is not None:
            raise InUse(f"{_name(there)} is there already")
    for each in rows:
        try:
            each.validate_unique(exclude={model._meta.pk.name})
            each.validate_constraints()
        except ValidationError as error:
            fields = ", ".join(sorted(error.message_dict)).replace("__all__", "name or key")
            raise InUse(f"The {fields} of {_name(each)} has been taken since") from None
    taken = keys.taken(rows)
    if taken is not None:
        raise InUse(f"The key of {_name(taken)} has been taken since")


def _write(model: type[models.Model], rows: Sequence[Any]) -> None:
    """Insert rows of a model with what they have of others, many with one statement: all writers wait."""
    objects = [each.object for each in rows]
    # Which the database layer would set to now.
    once = [each.name for each in model._meta.concrete_fields if getattr(each, "auto_now_add", 0)]
    made = [[getattr(each, name) for name in once] for each in objects]
    _rows(model).bulk_create(objects, batch_size=_BATCH)
    if once:
        for each, moments in zip(objects, made, strict=True):
            for name, at in zip(once, moments, strict=True):
                setattr(each, name, at)
        _rows(model).bulk_update(objects, once, batch_size=_BATCH)
    for field in model._meta.many_to_many:
        through: Any = field.remote_field.through
        own, other = f"{field.m2m_field_name()}_id", f"{field.m2m_reverse_field_name()}_id"
        pairs = [
            through(**{own: each.object.pk, other: int(pk)})
            for each in rows
            for pk in (each.m2m_data or {}).get(field.name, ())
        ]
        _rows(through).bulk_create(pairs, batch_size=_BATCH)


def _batches(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _name(row: models.Model) -> str:
    if isinstance(row, ClientDefaults):
        return "The client's defaults"
    return getattr(row, "name", "") or type(row).__name__


def _rows(model: type[models.Model]) -> QuerySet[Any]:
    return QuerySet(model)


def _check_together(profiles: Sequence[AccessProfile]) -> None:
    listed_networks.put_new(profiles)
    for profile in profiles:
        if profile.auth_type in {AuthMethod.JWT, AuthMethod.OIDC}:
            other = credentials.key_holder(profile)
            if other is not None:
                raise InUse(f"Tokens for {profile.name} would fit {other.name} too")


def _check_room(found: DeletedObject, rows: Sequence[Any]) -> None:
    """Refuse what the project's quotas leave no room for."""
    if found.project_id is None:
        return
    kinds = [_QUOTAS[type(each.object)] for each in rows if type(each.object) in _QUOTAS]
    project_quotas.check(found.project_id, **Counter(kinds))


#: Kinds of a project's quotas.
_QUOTAS: Mapping[type[models.Model], str] = {
    Client: "clients",
    AccessProfile: "access_profiles",
    Collection: "api_collections",
    Endpoint: "api_endpoints",
    Connection: "connections",
    Policy: "policies",
    AddressList: "address_lists",
    Webhook: "webhooks",
}


def _announce(found: DeletedObject, rows: Sequence[Any]) -> int:
    """Tell the gateways of it, and give each row the epoch of its change."""
    kind = KINDS[found.kind]
    if kind.announced is None:
        return 0
    sequence = feed.announce(kind.announced, found.object_id)
    if kind.model is Client:
        profiles = [each.object.pk for each in rows if isinstance(each.object, AccessProfile)]
        sequence = feed.announce_all(feed.Kind.PROFILE, profiles) or sequence
    for model, those in _by_model(rows):
        if hasattr(model, "epoch"):
            for some in _batches(those):
                of_some = _rows(model).filter(pk__in=[each.object.pk for each in some])
                of_some.update(epoch=sequence)
    if kind.model is Endpoint:
        for each in rows:
            _rows(Collection).filter(pk=each.object.collection_id).update(epoch=sequence)
    return sequence


def takes(found: DeletedObject) -> str:
    """What went with it, in words."""
    words = {
        "access_profiles": "access profile",
        "credentials": "credential",
        "endpoints": "endpoint",
    }
    parts = [
        f"{number:,} {words.get(name, name)}{'' if number == 1 else 's'}"
        for name, number in found.takes.items()
        if number
    ]
    return ", ".join(parts)
