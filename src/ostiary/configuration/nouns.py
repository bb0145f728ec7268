"""The nouns that are kept in files: their names there, and how they are read, made and changed.

A file has the fields of a noun's input (`directory.changes.inputs`) under the names of the management
API, with three differences: other objects are named by their keys, not by ids; the project is said
once for all; and a secret is a reference to where the command finds it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import ClassVar, NamedTuple, TypeVar

from anyascii import anyascii
from django.db import models
from django.db.models import Prefetch

from ostiary.access.limits import Interval
from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import certificates, collections, connections, endpoints
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.inputs import Flag, Input
from ostiary.directory.clients import (
    access_profiles,
    address_lists,
    client_defaults,
    clients,
    credentials,
    policies,
    token_rules,
)
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    Client,
    ClientDefaults,
    Collection,
    Connection,
    Endpoint,
    Policy,
)
from ostiary.identity import pasted_keys
from ostiary.identity.secret import Secret

Fields = dict[str, object]
M = TypeVar("M", bound=models.Model)


class Reference(NamedTuple):
    """A field of a file that names other objects by their keys."""

    #: The name of the field in the API, which takes ids.
    field: str
    kind: str
    #: Whether it is a list.
    several: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a noun has made or changed: its row, and the sequence to wait for."""

    row_id: int
    sequence: int = 0
    warnings: tuple[str, ...] = ()
    #: Shown once.
    secret: Secret | None = None
    public_id: str = ""


class Keys:
    """The keys by which files name objects: their own, or others that are made of their names."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, int], str] = {}
        #: Who has which key, by kind.
        self.ids: dict[str, dict[str, int]] = {}

    def add(self, noun: "FileNoun", rows: Sequence[models.Model]) -> None:
        """Name rows of one kind, each one another way; those with a key of their own by it."""
        taken = self.ids.setdefault(noun.kind, {})
        if noun.single and noun.parent is not None:
            for row in rows:
                self._name(noun, row, self.of(BY_KIND[noun.parent], getattr(row, noun.parent)))
            return
        unkeyed: dict[str, list[models.Model]] = {}
        for row in rows:
            if noun.is_keyed(row):
                self._name(noun, row, noun.key(row))
            else:
                unkeyed.setdefault(noun.key(row), []).append(row)
        for key, several in unkeyed.items():
            if key and len(several) == 1 and key not in taken:
                self._name(noun, several[0], key)
                continue
            for row in several:
                # Its id tells it from others of that name.
                stem = key[:48].strip("-") or noun.kind.replace("_", "-")
                name = f"{stem}-{row.pk}"
                while name in taken:
                    name += "-"
                self._name(noun, row, name)

    def add_shared(self, noun: "FileNoun", rows: Sequence[models.Model]) -> None:
        """Name rows of the workspace: with its prefix where one of the project has that key."""
        shared = Keys()
        shared.add(noun, rows)
        for key, row_id in shared.ids[noun.kind].items():
            prefixed = f"{WORKSPACE}{key}"
            taken = self.ids.setdefault(noun.kind, {})
            self._keys[noun.kind, row_id] = prefixed if key in taken else key
            taken[prefixed] = row_id
            taken.setdefault(key, row_id)

    def of(self, noun: "FileNoun", row: models.Model) -> str:
        """The key of a row."""
        return self._keys.get((noun.kind, row.pk)) or noun.key(row)

    def _name(self, noun: "FileNoun", row: models.Model, key: str) -> None:
        self._keys[noun.kind, row.pk] = key
        self.ids[noun.kind][key] = row.pk


#: Before the key of what belongs to the workspace, where a project has the same key.
WORKSPACE = "workspace/"


class FileNoun(ABC):
    """One kind of object that is kept in files."""

    kind: ClassVar[str]
    #: Where its entries stand in a file; of a part, inside the entry that it belongs to.
    section: ClassVar[str]
    parent: ClassVar[str | None] = None
    #: Whether there is one at most in what it is a part of, which names it.
    single: ClassVar[bool] = False
    input: ClassVar[type[Input]]
    #: Fields of the input that files do not have.
    hidden: ClassVar[frozenset[str]] = frozenset()
    references: ClassVar[Mapping[str, Reference]] = {}
    #: Fields whose value is a secret, which files only refer to.
    secrets: ClassVar[tuple[str, ...]] = ()
    #: What else fields are that are not said.
    defaults: ClassVar[Mapping[str, object]] = {}
    #: Fields that never change how a call is answered.
    harmless: ClassVar[frozenset[str]] = frozenset({"name", "description", "labels"})
    #: Whether no two of a project have one name.
    has_own_name: ClassVar[bool] = False

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The plain fields of a file, by their names there, and their names in the input."""
        hidden = {*self.hidden, *self.secrets, *(ref.field for ref in self.references.values())}
        return {
            alias: name
            for name, field in self.input.model_fields.items()
            if (alias := field.alias or name) not in hidden
        }

    @abstractmethod
    def rows(self, project_id: int) -> Iterable[models.Model]:
        """All of a project, read at once with what they show."""

    @abstractmethod
    def shown(self, row: models.Model, keys: Keys) -> Fields:
        """What a row has, by the names in files."""

    def key(self, row: models.Model) -> str:
        """The key of a row; of one without a key, the one that is made of its name."""
        return getattr(row, "key", None) or slug(str(getattr(row, "name", "")))

    def is_keyed(self, row: models.Model) -> bool:
        return bool(getattr(row, "key", None))

    def has_secret(self, row: models.Model, name: str) -> bool:
        """Whether a row has a secret of that name."""
        return bool(getattr(row, name, ""))

    def holds(self, row: models.Model, name: str, secret: Secret) -> bool:
        """Whether a secret of that name has that value."""
        return False

    def normal(self, given: Input) -> Fields:
        """The plain fields that were sent, as `shown` shows them."""
        return {
            alias: getattr(given, name) for alias, name in self.names.items() if given.has(name)
        }

    def settled(self, key: str, fields: Fields) -> Fields:
        """Fields in their normal form, once the key is known."""
        return fields

    def needed(self, fields: Fields) -> Sequence[str]:
        """The fields of the input without which none is made."""
        return self.input.required

    def own(self, key: str) -> Fields:
        """What the input has to say of a key."""
        return {"key": key}

    @abstractmethod
    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        """A row that nobody saves, of a project or as a part of another row."""

    @abstractmethod
    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        """Raise Invalid if a use case would refuse fields, as far as that is seen before it saves."""

    @abstractmethod
    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        """Make one in a project, or as a part of the object with that id."""

    @abstractmethod
    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        """Change the fields that are named."""

    @abstractmethod
    def delete(self, by: Actor, row_id: int) -> int:
        """Delete one; the sequence to wait for."""

    def alias(self, name: str) -> str:
        """The name in files of a field of the input, by either of its names there; empty: none."""
        for alias, own in self.names.items():
            if name in {own, alias}:
                return alias
        field = self.input.model_fields.get(name)
        declared = field.alias if field is not None and field.alias else name
        for alias, reference in self.references.items():
            if reference.field == declared:
                return alias
        return name if name in self.secrets else ""

    def columns(self, row: models.Model) -> Fields:
        """The plain fields that are columns."""
        columns = set(self.input.columns())
        return {alias: getattr(row, name) for alias, name in self.names.items() if name in columns}


def slug(name: str) -> str:
    """A key made of a name; empty, if nothing of it can stand in a key."""
    return re.sub(r"[^a-z0-9]+", "-", anyascii(name).lower())[:64].strip("-")


def _saved(saved: Saved[M], secret: Secret | None = None, public_id: str = "") -> Made:
    return Made(
        row_id=saved.value.pk,
        sequence=saved.sequence,
        warnings=saved.warnings,
        secret=secret or None,
        public_id=public_id,
    )


class _Policies(FileNoun):
    kind, section, input = "policy", "policies", policies.PolicyInput
    hidden = frozenset({"project_id", "key", "rate_limit"})
    has_own_name = True

    def rows(self, project_id: int) -> Iterable[Policy]:
        return Policy.objects.filter(project_id=project_id).order_by("pk")

    def shown(self, row: models.Model, keys: Keys) -> Fields:
        assert isinstance(row, Policy)  # noqa: S101 - a programming error, not input
        quota = None
        if row.quota_limit is not None:
            quota = {"limit": row.quota_limit, "interval": row.quota_interval}
        rates = [
            {"limit": each.limit, "interval": str(each.interval)}
            for each in policies.rate_limits(row)
        ]
        return {**self.columns(row), "rate_limits": rates, "usage_quota": quota}

    def normal(self, given: Input) -> Fields:
        fields = super().normal(given)
        if isinstance(rates := fields.get("rate_limits"), list):
            order = [str(each) for each in Interval]
            dumped = [each.model_dump(mode="json") for each in rates]
            fields["rate_limits"] = sorted(dumped, key=lambda each: order.index(each["interval"]))
        if isinstance(quota := fields.get("usage_quota"), Input):
            fields["usage_quota"] = quota.model_dump(mode="json")
        return fields

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        return Policy(project_id=project_id)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        assert isinstance(row, Policy)  # noqa: S101 - a programming error, not input
        policies.check(row, policies.PolicyInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = policies.PolicyInput.of(project_id=owner_id, **fields)
        return _saved(policies.create(by=by, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = policies.PolicyInput.of(**fields)
        return _saved(policies.change(by=by, policy_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        policies.delete(by=by, policy_id=row_id)
        return 0


class _AddressLists(FileNoun):
    kind, section, input = "address_list", "address_lists", address_lists.AddressListInput
    hidden = frozenset({"project_id", "key"})
    has_own_name = True

    def rows(self, project_id: int) -> Iterable[AddressList]:
        return AddressList.objects.filter(project_id=project_id).defer("packed").order_by("pk")

    def shown(self, row: models.Model, keys: Keys) -> Fields:
        assert isinstance(row, AddressList)  # noqa: S101 - a programming error, not input
        return {**self.columns(row), "entries": row.text.splitlines()}

    def normal(self, given: Input) -> Fields:
        fields = super().normal(given)
        if isinstance(text := fields.get("entries"), str):
            fields["entries"] = text.splitlines()
        return fields

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        return AddressList(project_id=project_id)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        assert isinstance(row, AddressList)  # noqa: S101 - a programming error, not input
        address_lists.check(row, address_lists.AddressListInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = address_lists.AddressListInput.of(project_id=owner_id, **fields)
        return _saved(address_lists.create(by=by, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = address_lists.AddressListInput.of(**fields)
        return _saved(address_lists.change(by=by, list_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return address_lists.delete(by=by, list_id=row_id).sequence


class _Connections(FileNoun):
    kind, section, input = "connection", "connections", connections.ConnectionInput
    hidden = frozenset({"project_id", "key"})
    has_own_name = True
    secrets = ("auth_secret",)

    def holds(self, row: models.Model, name: str, secret: Secret) -> bool:
        assert isinstance(row, Connection)  # noqa: S101 - a programming error, not input
        return connections.has_secret(row, secret.reveal())

    def rows(self, project_id: int) -> Iterable[Connection]:
        return Connection.objects.filter(project_id=project_id).order_by("pk")

    def shown(self, row: models.Model, keys: Keys) -> Fields:
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

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        return Connection(project_id=project_id)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        assert isinstance(row, Connection)  # noqa: S101 - a programming error, not input
        connections.check(row, connections.ConnectionInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = connections.ConnectionInput.of(project_id=owner_id, **fields)
        return _saved(connections.create(by=by, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = connections.ConnectionInput.of(**fields)
        return _saved(connections.change(by=by, connection_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return connections.delete(by=by, connection_id=row_id).sequence


class _Collections(FileNoun):
    kind, section, input = "collection", "collections", collections.CollectionInput
    hidden = frozenset({"project_id", "key", "handle"})
    references: ClassVar[Mapping[str, Reference]] = {
        "connection": Reference("proxy_connection_id", "connection")
    }

    def rows(self, project_id: int) -> Iterable[Collection]:
        found = Collection.objects.filter(project_id=project_id)
        return found.select_related("connection").order_by("pk")

    def key(self, row: models.Model) -> str:
        return str(getattr(row, "handle"))  # noqa: B009 - of a model that is known by its noun

    def is_keyed(self, row: models.Model) -> bool:
        return True

    def own(self, key: str) -> Fields:
        return {"handle": key}

    def shown(self, row: models.Model, keys: Keys) -> Fields:
        assert isinstance(row, Collection)  # noqa: S101 - a programming error, not input
        connection = row.connection and keys.of(_CONNECTIONS, row.connection)
        return {**self.columns(row), "kind": row.kind, "connection": connection}

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        return Collection(project_id=project_id)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        assert isinstance(row, Collection)  # noqa: S101 - a programming error, not input
        collections.check(by, row, collections.CollectionInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = collections.CollectionInput.of(project_id=owner_id, **fields)
        saved = collections.create(by=by, given=given)
        made = saved.value.collection
        return Made(row_id=made.pk, sequence=saved.sequence, warnings=saved.warnings)

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = collections.CollectionInput.of(**fields)
        return _saved(collections.change(by=by, collection_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return collections.delete(by=by, collection_id=row_id).sequence


class _Endpoints(FileNoun):
    """Endpoints have no key of their own: a method and a path name them in their collection."""

    kind, section, parent, input = "endpoint", "endpoints", "collection", endpoints.EndpointInput
    defaults: ClassVar[Mapping[str, object]] = {"active": False}
    hidden = frozenset({"method", "path", "key"})
    references: ClassVar[Mapping[str, Reference]] = {"recipe": Reference("flow_id", "recipe")}

    def rows(self, project_id: int) -> Iterable[Endpoint]:
        found = Endpoint.objects.filter(collection__project_id=project_id)
        return found.select_related("collection", "recipe").order_by("pk")

    def key(self, row: models.Model) -> str:
        assert isinstance(row, Endpoint)  # noqa: S101 - a programming error, not input
        return endpoint_key(row.collection.handle, row.method, row.path)

    def is_keyed(self, row: models.Model) -> bool:
        return True

    def settled(self, key: str, fields: Fields) -> Fields:
        same = fields.get("target_path") == key.split(" ", 2)[2]
        return fields | {"target_path": None} if same else fields

    def own(self, key: str) -> Fields:
        _, method, path = key.split(" ", 2)
        return {"method": method, "path": path}

    def shown(self, row: models.Model, keys: Keys) -> Fields:
        assert isinstance(row, Endpoint)  # noqa: S101 - a programming error, not input
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

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        assert isinstance(parent, Collection)  # noqa: S101 - a programming error, not input
        return Endpoint(collection=parent)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        assert isinstance(row, Endpoint)  # noqa: S101 - a programming error, not input
        endpoints.check(row, endpoints.EndpointInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = endpoints.EndpointInput.of(**fields)
        return _saved(endpoints.create(by=by, collection_id=owner_id, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = endpoints.EndpointInput.of(**fields)
        return _saved(endpoints.change(by=by, endpoint_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return endpoints.delete(by=by, endpoint_id=row_id).sequence


def endpoint_key(handle: str, method: str, path: str) -> str:
    return f"{handle} {method} {path}"


class ClientInFiles(clients.ClientInput):
    """Input for a client in files, which also say whether it is switched on."""

    apart: ClassVar[tuple[str, ...]] = (*clients.ClientInput.apart, "active")

    active: Flag = True


class _Clients(FileNoun):
    kind, section, input = "client", "clients", ClientInFiles
    hidden = frozenset({"project_id", "key"})
    defaults: ClassVar[Mapping[str, object]] = {"active": True}

    def rows(self, project_id: int) -> Iterable[Client]:
        found = Client.objects.filter(project_id=project_id).order_by("pk")
        return found.defer("logo_small", "logo_medium")

    def shown(self, row: models.Model, keys: Keys) -> Fields:
        assert isinstance(row, Client)  # noqa: S101 - a programming error, not input
        return {**self.columns(row), "active": row.active}

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        return Client(project_id=project_id)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        """All of it is checked when it is read."""

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        active = fields.pop("active", True)
        made = clients.create(by=by, given=clients.ClientInput.of(project_id=owner_id, **fields))
        if active:
            return Made(row_id=made.pk)
        return _saved(clients.switch(by=by, client_id=made.pk, active=False))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        sequence = 0
        if "active" in fields:
            active = bool(fields.pop("active"))
            sequence = clients.switch(by=by, client_id=row_id, active=active).sequence
        if fields:
            clients.change(by=by, client_id=row_id, given=clients.ClientInput.of(**fields))
        return Made(row_id=row_id, sequence=sequence)

    def delete(self, by: Actor, row_id: int) -> int:
        return clients.delete(by=by, client_id=row_id).sequence


class DefaultsInFiles(client_defaults.FollowedInput):
    """Input for the defaults of a client in files."""

    required: ClassVar[tuple[str, ...]] = ("auth_type", "collection_ids")
    fixed: ClassVar[tuple[str, ...]] = ("auth_type",)
    apart: ClassVar[tuple[str, ...]] = tuple(client_defaults.FollowedInput.model_fields)


#: What rules of signed tokens are that nobody names.
_UNSAID: Mapping[str, object] = {
    **dict.fromkeys(token_rules.ProofInput.model_fields),
    "leeway_seconds": 60,
    "allow_without_exp": False,
}


class _Defaults(FileNoun):
    """What the profiles that follow a client have of it: one for each client, without a key."""

    kind, section, parent, single = "client_defaults", "defaults", "client", True
    input = DefaultsInFiles
    defaults: ClassVar[Mapping[str, object]] = _UNSAID
    references: ClassVar[Mapping[str, Reference]] = {
        "collections": Reference("api_collection_ids", "collection", several=True),
        "policy": Reference("api_policy_id", "policy"),
    }
    secrets = ("jwt_secret",)

    @cached_property
    def names(self) -> Mapping[str, str]:
        return {**super().names, "jwt_secret": "jwt_secret"}

    def rows(self, project_id: int) -> Iterable[ClientDefaults]:
        found = ClientDefaults.objects.filter(client__project_id=project_id).order_by("pk")
        found = found.select_related("client", "policy")
        found = found.defer("client__logo_small", "client__logo_medium")
        return found.prefetch_related(
            Prefetch("collections", queryset=Collection.objects.order_by("handle"))
        )

    def key(self, row: models.Model) -> str:
        assert isinstance(row, ClientDefaults)  # noqa: S101 - a programming error, not input
        return _CLIENTS.key(row.client)

    def is_keyed(self, row: models.Model) -> bool:
        return True

    def has_secret(self, row: models.Model, name: str) -> bool:
        return bool(getattr(row, "sealed_secret", ""))

    def holds(self, row: models.Model, name: str, secret: Secret) -> bool:
        assert isinstance(row, ClientDefaults)  # noqa: S101 - a programming error, not input
        return token_rules.hmac_secret(row) == secret.reveal()

    def shown(self, row: models.Model, keys: Keys) -> Fields:
        assert isinstance(row, ClientDefaults)  # noqa: S101 - a programming error, not input
        return {
            "auth_type": row.auth_type,
            "collections": sorted(each.handle for each in row.collections.all()),
            "policy": row.policy and keys.of(_POLICIES, row.policy),
            **_proof(token_rules.shown(row)),
        }

    def normal(self, given: Input) -> Fields:
        return _normal_proof(super().normal(given))

    def own(self, key: str) -> Fields:
        return {}

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        assert isinstance(parent, Client)  # noqa: S101 - a programming error, not input
        return ClientDefaults(client=parent)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        assert isinstance(row, ClientDefaults)  # noqa: S101 - a programming error, not input
        client_defaults.check_rules(row, client_defaults.WithDefaultsInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        made = self.change(by, owner_id, fields)
        if client_defaults.of(owner_id) is None:
            # They are what its profiles have together, which says so from now on.
            client_defaults.adopt(by, clients.locked(by, owner_id))
        return made

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = client_defaults.WithDefaultsInput.of(**fields)
        return _saved(client_defaults.change_client(by=by, client_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        """They go with their client."""
        return 0


class _Profiles(FileNoun):
    kind, section, parent = "profile", "profiles", "client"
    input = access_profiles.NewProfileInput
    defaults: ClassVar[Mapping[str, object]] = {
        "active": True,
        **_UNSAID,
    }
    hidden = frozenset({"api_client_id", "key", "token"})
    references: ClassVar[Mapping[str, Reference]] = {
        "collections": Reference("api_collection_ids", "collection", several=True),
        "policy": Reference("api_policy_id", "policy"),
        "ip_allow_lists": Reference("ip_allow_list_ids", "address_list", several=True),
        "ip_deny_lists": Reference("ip_deny_list_ids", "address_list", several=True),
    }
    #: A secret if the method is hmac, and a public key else.
    secrets = ("jwt_secret",)
    #: Fields of one that is made; later they say nothing.
    of_new: ClassVar[frozenset[str]] = frozenset({"token_sha256", "profile_key"})

    @cached_property
    def names(self) -> Mapping[str, str]:
        return {**super().names, "jwt_secret": "jwt_secret"}

    def rows(self, project_id: int) -> Iterable[AccessProfile]:
        found = AccessProfile.objects.filter(client__project_id=project_id).order_by("pk")
        found = found.select_related("client", "policy")
        found = found.defer("client__logo_small", "client__logo_medium")
        handles = Collection.objects.order_by("handle")
        found = found.prefetch_related(Prefetch("collections", queryset=handles))
        lists = AddressList.objects.defer("text", "packed").order_by("pk")
        return found.prefetch_related(
            Prefetch("allowed_lists", queryset=lists), Prefetch("denied_lists", queryset=lists)
        )

    def holds(self, row: models.Model, name: str, secret: Secret) -> bool:
        assert isinstance(row, AccessProfile)  # noqa: S101 - a programming error, not input
        return token_rules.hmac_secret(row) == secret.reveal()

    def has_secret(self, row: models.Model, name: str) -> bool:
        return not getattr(row, "follows_client", False) and bool(getattr(row, "sealed_secret", ""))

    def shown(self, row: models.Model, keys: Keys) -> Fields:
        assert isinstance(row, AccessProfile)  # noqa: S101 - a programming error, not input
        shown = {
            **self.columns(row),
            "follows_client": row.follows_client,
            "auth_type": row.auth_type,
            "active": row.active,
            "expires_at": row.expires_at,
            "ip_allow_lists": sorted(keys.of(_LISTS, each) for each in row.allowed_lists.all()),
            "ip_deny_lists": sorted(keys.of(_LISTS, each) for each in row.denied_lists.all()),
        }
        if row.follows_client:
            # The rest is the client's, and changes with it.
            return shown
        shown |= {
            "collections": sorted(each.handle for each in row.collections.all()),
            "policy": row.policy and keys.of(_POLICIES, row.policy),
        }
        return shown | _proof(token_rules.shown(row))

    def normal(self, given: Input) -> Fields:
        fields = _normal_proof(super().normal(given))
        return {name: value for name, value in fields.items() if name not in self.of_new}

    def needed(self, fields: Fields) -> Sequence[str]:
        if fields.get("follows_client"):
            return access_profiles.NewFollowerInput.required
        return super().needed(fields)

    def draft(self, project_id: int, parent: models.Model | None) -> models.Model:
        assert isinstance(parent, Client)  # noqa: S101 - a programming error, not input
        return AccessProfile(client=parent)

    def check(self, by: Actor, row: models.Model, fields: Fields) -> None:
        assert isinstance(row, AccessProfile)  # noqa: S101 - a programming error, not input
        if row.pk is not None:
            access_profiles.check_own(row, access_profiles.ProfileInput.of(**fields))
            return
        given = access_profiles.NewProfileInput.of(**fields)
        row.auth_type = given.auth_type or ""
        access_profiles.check_own(row, given)

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        follows = bool(fields.get("follows_client"))
        input_ = access_profiles.NewFollowerInput if follows else access_profiles.NewProfileInput
        given = input_.of(api_client_id=owner_id, **fields)
        saved, secret = access_profiles.create(by=by, given=given)
        return _saved(saved, secret, _public_id(saved.value))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = access_profiles.ProfileInput.of(**fields)
        return _saved(access_profiles.change(by=by, profile_id=row_id, given=given))

    def exists(self, row_id: int) -> bool:
        return AccessProfile.objects.filter(pk=row_id).exists()

    def refresh(self, by: Actor, row_id: int, overlap_seconds: int) -> Made:
        """Issue a new credential."""
        saved, secret = credentials.refresh(
            by=by, profile_id=row_id, overlap_seconds=overlap_seconds
        )
        return _saved(saved, secret, _public_id(saved.value))

    def delete(self, by: Actor, row_id: int) -> int:
        return access_profiles.delete(by=by, profile_id=row_id).sequence


def _public_id(profile: AccessProfile) -> str:
    if profile.auth_type != AuthMethod.OAUTH2:
        return ""
    newest = credentials.alive(profile).order_by("-pk").first()
    return newest.public_id if newest is not None else ""


def _normal_proof(fields: Fields) -> Fields:
    """Fields among which are rules of signed tokens, as those are shown."""
    method, key = fields.get("jwt_method"), fields.get("jwt_secret")
    if isinstance(key, str) and isinstance(method, str):
        try:
            fields["jwt_secret"] = pasted_keys.public_key(key, method)
        except pasted_keys.BadKey:
            # Left as it is: the use case says what is wrong.
            fields["jwt_secret"] = key
    rules = {n: v for n, v in fields.items() if n in token_rules.ProofInput.model_fields}
    return fields | _proof(rules)


def _proof(fields: Mapping[str, object]) -> Fields:
    """Rules of signed tokens, of which "none" has several spellings, in one."""
    found = {name: value or None for name, value in fields.items()}
    if "leeway_seconds" in fields and fields["leeway_seconds"] is None:
        found["leeway_seconds"] = _Profiles.defaults["leeway_seconds"]
    elif "leeway_seconds" in fields:
        found["leeway_seconds"] = fields["leeway_seconds"]
    if "allow_without_exp" in fields:
        found["allow_without_exp"] = bool(fields["allow_without_exp"])
    return found


_POLICIES, _LISTS, _CONNECTIONS = _Policies(), _AddressLists(), _Connections()
_COLLECTIONS, _ENDPOINTS, _CLIENTS, _DEFAULTS = (
    _Collections(),
    _Endpoints(),
    _Clients(),
    _Defaults(),
)
PROFILES = _Profiles()

#: All of them, each after those that it refers to.
NOUNS: tuple[FileNoun, ...] = (
    _POLICIES, _LISTS, _CONNECTIONS, _COLLECTIONS, _ENDPOINTS, _CLIENTS, _DEFAULTS, PROFILES,
)  # fmt: skip
BY_KIND: Mapping[str, FileNoun] = {noun.kind: noun for noun in NOUNS}


def read_project(project_id: int) -> tuple[Mapping[str, Sequence[models.Model]], Keys]:
    """Everything of a project that files can hold, by kind, and its keys."""
    keys = Keys()
    rows: dict[str, Sequence[models.Model]] = {}
    for noun in NOUNS:
        rows[noun.kind] = list(noun.rows(project_id))
        keys.add(noun, rows[noun.kind])
        if noun is _POLICIES:
            keys.add_shared(noun, list(Policy.objects.filter(project=None).order_by("pk")))
    return rows, keys


def parts_of(noun: FileNoun) -> Sequence[FileNoun]:
    """The nouns whose entries stand inside those of another."""
    return [each for each in NOUNS if each.parent == noun.kind]


def as_json(value: object) -> object:
    """A value of a field as it stands in files and plans."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return value
