"""Connections, API collections and their endpoints in files."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from ostiary.configuration.nouns.file_noun import Fields, FileNoun, Keys, Made, Reference, saved
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import certificates, collections, connections, endpoints
from ostiary.directory.changes.inputs import Input
from ostiary.directory.models import Collection, Connection, Endpoint
from ostiary.identity.secret import Secret


class ConnectionFiles(FileNoun[Connection, None]):
    kind, section, input = "connection", "connections", connections.ConnectionInput
    revokes = False
    hidden = frozenset({"project_id", "key"})
    has_own_name = True
    secrets = ("auth_secret",)

    def holds(self, row: Connection, name: str, secret: Secret) -> bool:
        return connections.has_secret(row, secret.reveal())

    def rows(self, project_id: int) -> Iterable[Connection]:
        return Connection.objects.filter(project_id=project_id).order_by("pk")

    def shown(self, row: Connection, keys: Keys) -> Fields:
        return self.columns(row)

    def normal(self, given: Input) -> Fields:
        fields = super().normal(given)
        if isinstance(pem := fields.get("ca_pem"), str):
            try:
                fields["ca_pem"] = certificates.read(pem) if pem.strip() else ""
            except certificates.BadCertificates:
                # Left as it is: the use case says what is wrong.
                fields["ca_pem"] = pem
        return fields

    def draft(self, project_id: int, parent: None) -> Connection:
        return Connection(project_id=project_id)

    def check(self, by: Actor, row: Connection, fields: Fields) -> None:
        connections.check(row, connections.ConnectionInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = connections.ConnectionInput.of(project_id=owner_id, **fields)
        return saved(connections.create(by=by, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = connections.ConnectionInput.of(**fields)
        return saved(connections.change(by=by, connection_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return connections.delete(by=by, connection_id=row_id).sequence


CONNECTIONS = ConnectionFiles()


class CollectionFiles(FileNoun[Collection, None]):
    kind, section, input = "collection", "collections", collections.CollectionInput
    hidden = frozenset({"project_id", "key", "handle"})
    references: ClassVar[Mapping[str, Reference]] = {
        "connection": Reference("proxy_connection_id", "connection")
    }

    def rows(self, project_id: int) -> Iterable[Collection]:
        found = Collection.objects.filter(project_id=project_id)
        return found.select_related("connection").order_by("pk")

    def key(self, row: Collection) -> str:
        return str(getattr(row, "handle"))  # noqa: B009 - of a model that is known by its noun

    def is_keyed(self, row: Collection) -> bool:
        return True

    def own(self, key: str) -> Fields:
        return {"handle": key}

    def shown(self, row: Collection, keys: Keys) -> Fields:
        connection = row.connection and keys.of(CONNECTIONS, row.connection)
        return {**self.columns(row), "kind": row.kind, "connection": connection}

    def draft(self, project_id: int, parent: None) -> Collection:
        return Collection(project_id=project_id)

    def check(self, by: Actor, row: Collection, fields: Fields) -> None:
        collections.check(by, row, collections.CollectionInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = collections.CollectionInput.of(project_id=owner_id, **fields)
        saved = collections.create(by=by, given=given)
        made = saved.value.collection
        return Made(row_id=made.pk, sequence=saved.sequence, warnings=saved.warnings)

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = collections.CollectionInput.of(**fields)
        return saved(collections.change(by=by, collection_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return collections.delete(by=by, collection_id=row_id).sequence


class EndpointFiles(FileNoun[Endpoint, Collection]):
    """Endpoints have no key of their own: a method and a path name them in their collection."""

    kind, section, parent, input = "endpoint", "endpoints", "collection", endpoints.EndpointInput
    movable = False
    defaults: ClassVar[Mapping[str, object]] = {"active": False}
    hidden = frozenset({"method", "path", "key"})
    references: ClassVar[Mapping[str, Reference]] = {"recipe": Reference("flow_id", "recipe")}

    def rows(self, project_id: int) -> Iterable[Endpoint]:
        found = Endpoint.objects.filter(collection__project_id=project_id)
        return found.select_related("collection", "recipe").order_by("pk")

    def key(self, row: Endpoint) -> str:
        return endpoint_key(row.collection.handle, row.method, row.path)

    def is_keyed(self, row: Endpoint) -> bool:
        return True

    def settled(self, key: str, fields: Fields) -> Fields:
        same = fields.get("target_path") == key.split(" ", 2)[2]
        return fields | {"target_path": None} if same else fields

    def own(self, key: str) -> Fields:
        _, method, path = key.split(" ", 2)
        return {"method": method, "path": path}

    def shown(self, row: Endpoint, keys: Keys) -> Fields:
        shown = {
            **self.columns(row),
            "active": row.active,
            "target_path": row.target_path or None,
            "recipe": row.recipe and row.recipe.name,
        }
        if row.collection.kind == Collection.Kind.RECIPE:
            shown["validate_request"] = row.validate_request
        elif row.target_path == row.path:
            shown["target_path"] = None
        return shown

    def draft(self, project_id: int, parent: Collection) -> Endpoint:
        return Endpoint(collection=parent)

    def check(self, by: Actor, row: Endpoint, fields: Fields) -> None:
        endpoints.check(row, endpoints.EndpointInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = endpoints.EndpointInput.of(**fields)
        return saved(endpoints.create(by=by, collection_id=owner_id, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = endpoints.EndpointInput.of(**fields)
        return saved(endpoints.change(by=by, endpoint_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return endpoints.delete(by=by, endpoint_id=row_id).sequence


def endpoint_key(handle: str, method: str, path: str) -> str:
    return f"{handle} {method} {path}"


COLLECTIONS, ENDPOINTS = CollectionFiles(), EndpointFiles()
