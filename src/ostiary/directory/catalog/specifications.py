"""What is kept of a collection's OpenAPI documents: stored compactly, by endpoint.

An endpoint has what its document said of it until a later document says otherwise, whatever becomes
of its name, path or state.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ostiary.directory.catalog import openapi
from ostiary.directory.catalog.openapi_exports import REFERENCE, reached, references
from ostiary.directory.catalog.openapi_operations import Specification, key
from ostiary.directory.models import Collection, Endpoint, ImportedSpecification


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpecification:
    """The specification of a collection as its documents left it; empty: there was none."""

    #: Of the newest document.
    version: str = ""
    description: str = ""
    tags: Sequence[Mapping[str, object]] = ()
    schemas: Mapping[str, object] = field(default_factory=dict)
    #: Operation objects, by the ids of their endpoints.
    operations: Mapping[int, Mapping[str, object]] = field(default_factory=dict)

    def of_endpoints(self, endpoints: Iterable[Endpoint]) -> Specification:
        """What there is of these endpoints, as they are now."""
        return Specification(
            tags=self.tags,
            schemas=self.schemas,
            operations={
                key_of(endpoint): self.operations[endpoint.pk]
                for endpoint in endpoints
                if endpoint.pk in self.operations
            },
        )


def key_of(endpoint: Endpoint) -> str:
    return key(endpoint.method, endpoint.shape)


def operation(endpoint: Endpoint) -> openapi.Operation:
    """An endpoint as an operation."""
    return openapi.Operation(
        name=endpoint.name,
        method=endpoint.method,
        path=endpoint.path,
        description=endpoint.description,
    )


def of(read: openapi.Document, made: Iterable[Endpoint]) -> StoredSpecification:
    """What is stored of a document whose operations became these endpoints."""
    kept = read.specification or Specification()
    return StoredSpecification(
        version=read.version,
        description=read.description,
        tags=kept.tags,
        schemas=kept.schemas,
        operations={each.pk: kept.operations.get(key_of(each), {}) for each in made},
    )


def keep(collection: Collection, kept: StoredSpecification) -> None:
    """Store in place of what there was, in the caller's transaction."""
    written = json.dumps(_written(kept), separators=(",", ":")).encode()
    ImportedSpecification.objects.update_or_create(
        collection=collection, defaults={"content": zlib.compress(written)}
    )


def stored(collection: Collection) -> StoredSpecification:
    found = ImportedSpecification.objects.filter(collection=collection).first()
    if found is None:
        return StoredSpecification()
    read: dict[str, Any] = json.loads(zlib.decompress(found.content))
    return StoredSpecification(
        **read | {"operations": {int(k): v for k, v in read["operations"].items()}}
    )


def _written(kept: StoredSpecification) -> Mapping[str, object]:
    return {name: getattr(kept, name) for name in StoredSpecification.__dataclass_fields__}


def merged(
    stored: StoredSpecification,
    read: openapi.Document,
    *,
    taken: Iterable[Endpoint],
    alive: Iterable[Endpoint],
) -> StoredSpecification:
    """What is stored once these endpoints have what a new document says of them.

    The others keep what they had, and the schemas that they need: where the new document has another
    one of that name, under a name of its own.
    """
    new = of(read, taken)
    ids = {endpoint.pk for endpoint in alive}
    kept = {
        pk: operation
        for pk, operation in stored.operations.items()
        if pk in ids and pk not in new.operations
    }
    needed = reached([*kept.values()], stored.schemas)
    names = _new_names(needed, stored.schemas, new.schemas)
    old = {names.get(n, n): _renamed(stored.schemas[n], names) for n in needed}
    schemas = {**old, **new.schemas}
    operations = {pk: _renamed(operation, names) for pk, operation in kept.items()} | {
        **new.operations
    }
    used = reached([*operations.values()], schemas)
    described = {str(tag["name"]): tag for tag in (*stored.tags, *new.tags)}
    return StoredSpecification(
        version=new.version,
        description=new.description,
        tags=[*described.values()],
        schemas={name: schemas[name] for name in sorted(used)},
        operations=operations,
    )


def _new_names(
    needed: Iterable[str], old: Mapping[str, object], new: Mapping[str, object]
) -> Mapping[str, str]:
    """Names for old schemas whose own is another one's now, or whose references are."""
    needed = set(needed)
    users: dict[str, set[str]] = {}
    for name in needed:
        for other in references(old[name]):
            users.setdefault(other, set()).add(name)
    waiting = [name for name in needed if name in new and new[name] != old[name]]
    names: dict[str, str] = {}
    taken = {*old, *new}
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        number = 2
        while f"{name}_{number}" in taken:
            number += 1
        names[name] = f"{name}_{number}"
        taken.add(names[name])
        # One that refers to it is another one too, if the new document has one of that name.
        waiting += [user for user in users.get(name, ()) if user in new]
    return names


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A copy with references to schemas by their new names."""
    if isinstance(value, dict):
        return {k: _renamed(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if isinstance(value, str) and value.startswith(REFERENCE):
        name = value.removeprefix(REFERENCE)
        return REFERENCE + names.get(name, name)
    return value
