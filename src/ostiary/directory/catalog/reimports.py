"""A collection's next OpenAPI document: what it adds, changes and no longer has, and taking it over.

What of it is taken is chosen operation by operation; what is gone from the document is deleted only
where somebody says so.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Collection as Several
from dataclasses import dataclass, replace

from django.db import transaction

from ostiary.access.paths import parse_template, stored_template
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import (
    collections,
    endpoints,
    import_reports,
    openapi,
    openapi_exports,
    specifications,
)
from ostiary.directory.catalog.openapi_operations import Specification, key
from ostiary.directory.catalog.specifications import StoredSpecification, key_of
from ostiary.directory.changes import audit_log, etags
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.permission import require
from ostiary.directory.models import Collection, Endpoint
from ostiary.directory.workspace import project_quotas

#: Operations that one entry of the audit log names.
MOST_NAMED = 200
#: Fields of an operation, and what they are called.
_PARTS: Mapping[str, str] = {
    "parameters": "parameters",
    "requestBody": "request body",
    "responses": "responses",
    "tags": "tags",
    "operationId": "operation id",
    "deprecated": "deprecation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDifference:
    """One operation of the document, or endpoint of the collection, that the other side lacks or has
    otherwise.
    """

    #: As people know it, such as `GET /orders/{id}`; of what is gone, as the endpoint has it.
    name: str
    operation: openapi.Operation | None = None
    endpoint: Endpoint | None = None
    #: What is changed.
    parts: tuple[str, ...] = ()
    #: Of what is gone: whether it was made by hand, so that no document ever had it.
    by_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReimportPlan:
    collection: Collection
    read: openapi.Document
    #: Names this document and the collection as it is; a later version of either has another.
    version: str
    added: tuple[OperationDifference, ...]
    changed: tuple[OperationDifference, ...]
    gone: tuple[OperationDifference, ...]
    unchanged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a plan is taken, by the names of the differences; nothing: all of that kind."""

    added: Several[str] | None = None
    changed: Several[str] | None = None
    #: What is gone stays unless it is named.
    gone: Several[str] = ()
    #: Whether all that is added may be called at once.
    active: bool = False
    #: What of it may be called at once, where not all.
    activated: Several[str] = ()

    def activates(self, name: str) -> bool:
        return self.active or name in self.activated


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOperations:
    collection: Collection
    read: openapi.Document
    added: int
    changed: int
    deleted: int
    #: How many of those that were added are active.
    active: int = 0


def plan(*, by: Actor, collection_id: int, content: str, form: str) -> ReimportPlan:
    """What a document would change; nothing is saved. Raises Invalid, NotFound, Forbidden."""
    _check_allowed(by, collections.find(by, collection_id))
    read = collections.read_document(content, form)
    return _planned(collections.find(by, collection_id), read, _digest(content))


def take(
    *,
    by: Actor,
    collection_id: int,
    content: str,
    form: str,
    choice: Choice,
    if_match: str | None = None,
) -> Saved[TakenOperations]:
    """Take over what is chosen of a document, at the version that was planned; raises Stale."""
    _check_allowed(by, collections.find(by, collection_id))
    read = collections.read_document(content, form)
    with transaction.atomic():
        collection = collections.locked(by, collection_id)
        planned = _planned(collection, read, _digest(content))
        etags.check_tag(planned.version, if_match)
        chosen = _chosen(planned, choice)
        project_quotas.check(collection.project_id, api_endpoints=len(chosen.added))
        stored = specifications.stored(collection)
        made = endpoints.add_imported(
            collection,
            [d.operation for d in chosen.added if d.operation],
            active=lambda each: choice.activates(each.title),
        )
        changed = [_change(each, stored) for each in chosen.changed]
        doomed = [each.endpoint.pk for each in chosen.gone if each.endpoint]
        Endpoint.objects.filter(pk__in=doomed).delete()
        specifications.keep(
            collection,
            specifications.merged(
                stored, read, taken=(*made, *changed), alive=collection.endpoints.all()
            ),
        )
        _describe(collection, stored, read)
        import_reports.keep(
            import_reports.Imported(
                collection=collection,
                taken=len(read.operations),
                skipped=read.skipped,
                notes=read.notes,
            )
        )
        _record(by, chosen)
        sequence = collections.announce(collection)
    taken = TakenOperations(
        collection=collection,
        read=read,
        added=len(made),
        active=sum(each.active for each in made),
        changed=len(changed),
        deleted=len(doomed),
    )
    return Saved(value=taken, sequence=sequence)


def _check_allowed(by: Actor, collection: Collection) -> None:
    require(by, Role.EDITOR, collection.project_id)
    if collection.kind != Collection.Kind.PROXY:
        raise Invalid({"openapi_spec": ["is for proxy collections: recipes have no document"]})


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()


def _planned(collection: Collection, read: openapi.Document, digest: str) -> ReimportPlan:
    stored = specifications.stored(collection)
    known = {key_of(each): each for each in collection.endpoints.order_by("pk")}
    differs = _comparison(stored, read.specification or Specification())
    added, changed = [], []
    seen = set()
    for operation in read.operations:
        own = key(operation.method, parse_template(operation.path).shape)
        seen.add(own)
        name = operation.title
        endpoint = known.get(own)
        if endpoint is None:
            added.append(OperationDifference(name=name, operation=operation))
        elif parts := tuple(differs(operation, endpoint)):
            changed.append(
                OperationDifference(name=name, operation=operation, endpoint=endpoint, parts=parts)
            )
    gone = tuple(
        OperationDifference(
            name=f"{endpoint.method} {endpoint.path}",
            endpoint=endpoint,
            by_hand=bool(stored.operations) and endpoint.pk not in stored.operations,
        )
        for own, endpoint in known.items()
        if own not in seen
    )
    return ReimportPlan(
        collection=collection,
        read=read,
        version=etags.of_value((etags.etag(collection), digest)),
        added=tuple(added),
        changed=tuple(changed),
        gone=gone,
        unchanged=len(known) - len(changed) - len(gone),
    )


def _comparison(
    stored: StoredSpecification, new: Specification
) -> Callable[[openapi.Operation, Endpoint], Iterator[str]]:
    """What tells how an operation of the new document differs from an endpoint of the collection."""
    schemas = _changed_schemas(stored.schemas, new.schemas)

    def differs(operation: openapi.Operation, endpoint: Endpoint) -> Iterator[str]:
        old = stored.operations.get(endpoint.pk)
        now = new.operations.get(key_of(endpoint), {})
        before = _imported(old, endpoint)
        if operation.name != before.name:
            yield "name"
        if operation.description != before.description:
            yield "description"
        if stored_template(operation.path).text != endpoint.path:
            yield "path"
        for field, called in _PARTS.items():
            one, other = (old or {}).get(field), now.get(field)
            if one != other or not schemas.isdisjoint(openapi_exports.references(other)):
                yield called

    return differs


def _imported(old: Mapping[str, object] | None, endpoint: Endpoint) -> openapi.Operation:
    """The endpoint as its document had it; as it is, if no document is known."""
    now = specifications.operation(endpoint)
    if old is None:
        return now
    unnamed = f"{endpoint.method} {endpoint.path}"[:255]
    return replace(now, name=openapi.named(old) or unnamed, description=openapi.described(old))


def _changed_schemas(old: Mapping[str, object], new: Mapping[str, object]) -> set[str]:
    """The schemas that are others now, also because they refer to one that is."""
    users: dict[str, set[str]] = {}
    for name, schema in new.items():
        for other in openapi_exports.references(schema):
            users.setdefault(other, set()).add(name)
    waiting = [name for name, schema in new.items() if old.get(name) != schema]
    changed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in changed:
            changed.add(name)
            waiting += users.get(name, ())
    return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChosenOperations:
    plan: ReimportPlan
    added: tuple[OperationDifference, ...]
    changed: tuple[OperationDifference, ...]
    gone: tuple[OperationDifference, ...]


def _chosen(planned: ReimportPlan, choice: Choice) -> _ChosenOperations:
    """What is chosen of a plan; raises Invalid for a name that is not in it."""
    problems: dict[str, list[str]] = {}

    def of(
        field: str, there: tuple[OperationDifference, ...], names: Several[str] | None
    ) -> tuple[OperationDifference, ...]:
        if names is None:
            return there
        wanted = {" /".join(name.split(" ", 1)) if " /" not in name else name for name in names}
        unknown = sorted(wanted - {each.name for each in there})
        if unknown:
            problems[field] = [f"{name[:200]!r} is not among them" for name in unknown[:20]]
        return tuple(each for each in there if each.name in wanted)

    chosen = _ChosenOperations(
        plan=planned,
        added=of("added", planned.added, choice.added),
        changed=of("changed", planned.changed, choice.changed),
        gone=of("gone", planned.gone, choice.gone),
    )
    if problems:
        raise Invalid(problems)
    return chosen


def _change(difference: OperationDifference, stored: StoredSpecification) -> Endpoint:
    """Take over name, description and parameters' names, where the owner has not changed them."""
    endpoint, operation = difference.endpoint, difference.operation
    assert endpoint is not None  # noqa: S101 - what is changed has both
    assert operation is not None  # noqa: S101 - the same
    before = _imported(stored.operations.get(endpoint.pk), endpoint)
    if endpoint.name == before.name:
        endpoint.name = operation.name
    if endpoint.description == before.description:
        endpoint.description = operation.description
    old, new = stored_template(endpoint.path), parse_template(operation.path)
    target = stored_template(endpoint.target_path or endpoint.path)
    renamed = dict(zip(old.parameters, new.tokens, strict=True))
    endpoint.target_path = target.filled(renamed)
    endpoint.path, endpoint.shape = new.text, new.shape
    endpoint.save()
    return endpoint


def _describe(collection: Collection, stored: StoredSpecification, read: openapi.Document) -> None:
    """Take over version and description, where the collection has those of its last document."""
    if read.version and collection.version == stored.version:
        collection.version = read.version
    if stored.version and collection.description == stored.description:
        collection.description = read.description
    collection.save()


def _record(by: Actor, chosen: _ChosenOperations) -> None:
    collection = chosen.plan.collection
    audit_log.record(
        by,
        "collection.import",
        target_kind="collection",
        target_id=collection.pk,
        target_name=collection.name,
        project_id=collection.project_id,
        after={
            kind: [each.name for each in several[:MOST_NAMED]]
            for kind, several in (
                ("added", chosen.added),
                ("changed", chosen.changed),
                ("deleted", chosen.gone),
            )
        },
    )
