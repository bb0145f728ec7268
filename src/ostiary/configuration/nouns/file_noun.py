"""What every noun that is kept in files has: its names there, and how it is read, made and changed.

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
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

from anyascii import anyascii
from django.db import models

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.inputs import Input
from ostiary.identity.secret import Secret

Fields = dict[str, object]
M = TypeVar("M", bound=models.Model)
#: A noun's rows, and those that it is a part of.
R = TypeVar("R", bound=models.Model)
P = TypeVar("P", bound=models.Model | None)


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

    def add(self, noun: "AnyNoun", rows: Sequence[models.Model]) -> None:
        """Name rows of one kind, each one another way; those with a key of their own by it."""
        taken = self.ids.setdefault(noun.kind, {})
        if noun.single and noun.parent is not None:
            for row in rows:
                self._name(noun, row, self._keys[noun.parent, getattr(row, f"{noun.parent}_id")])
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

    def add_shared(self, noun: "AnyNoun", rows: Sequence[models.Model]) -> None:
        """Name rows of the workspace: with its prefix where one of the project has that key."""
        shared = Keys()
        shared.add(noun, rows)
        for key, row_id in shared.ids[noun.kind].items():
            prefixed = f"{WORKSPACE}{key}"
            taken = self.ids.setdefault(noun.kind, {})
            self._keys[noun.kind, row_id] = prefixed if key in taken else key
            taken[prefixed] = row_id
            taken.setdefault(key, row_id)

    def of(self, noun: "AnyNoun", row: models.Model) -> str:
        """The key of a row."""
        return self._keys.get((noun.kind, row.pk)) or noun.key(row)

    def _name(self, noun: "AnyNoun", row: models.Model, key: str) -> None:
        self._keys[noun.kind, row.pk] = key
        self.ids[noun.kind][key] = row.pk


#: Before the key of what belongs to the workspace, where a project has the same key.
WORKSPACE = "workspace/"


class FileNoun(ABC, Generic[R, P]):
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
    #: Secrets that may stand in a file as they are as well.
    secrets_in_files: ClassVar[frozenset[str]] = frozenset()
    #: What stands for a secret that nobody has sent, where it is only checked.
    unseen: ClassVar[str] = "unseen-0123456789-abcdefghijklmnop"
    #: The role that an export of it needs.
    least: ClassVar[Role] = Role.VIEWER
    #: Whether `moved` can give one another key.
    movable: ClassVar[bool] = True
    #: Whether calls may be refused once one is deleted, or changed.
    revokes: ClassVar[bool] = True
    alters_calls: ClassVar[bool] = True
    #: What else fields are that are not said.
    defaults: ClassVar[Mapping[str, object]] = {}
    #: Fields that never change how a call is answered.
    harmless: ClassVar[frozenset[str]] = frozenset({"name", "description", "labels"})
    #: Whether no two of a project have one name.
    has_own_name: ClassVar[bool] = False

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The plain fields of a file, by their names there, and their names in the input."""
        secrets = set(self.secrets) - self.secrets_in_files
        hidden = {*self.hidden, *secrets, *(ref.field for ref in self.references.values())}
        return {
            alias: name
            for name, field in self.input.model_fields.items()
            if (alias := field.alias or name) not in hidden
        }

    @abstractmethod
    def rows(self, project_id: int) -> Iterable[R]:
        """All of a project, read at once with what they show."""

    @abstractmethod
    def shown(self, row: R, keys: Keys) -> Fields:
        """What a row has, by the names in files."""

    def key(self, row: R) -> str:
        """The key of a row; of one without a key, the one that is made of its name."""
        return getattr(row, "key", None) or slug(str(getattr(row, "name", "")))

    def is_keyed(self, row: R) -> bool:
        return bool(getattr(row, "key", None))

    def has_secret(self, row: R, name: str) -> bool:
        """Whether a row has a secret of that name."""
        return bool(getattr(row, name, ""))

    def may_stand(self, name: str, fields: Fields) -> bool:
        """Whether a text that may be a secret may stand in a file beside these fields."""
        return name in self.secrets_in_files

    def holds(self, row: R, name: str, secret: Secret) -> bool:
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
    def draft(self, project_id: int, parent: P) -> R:
        """A row that nobody saves, of a project or as a part of another row."""

    @abstractmethod
    def check(self, by: Actor, row: R, fields: Fields) -> None:
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

    def columns(self, row: R) -> Fields:
        """The plain fields that are columns."""
        columns = set(self.input.columns())
        return {alias: getattr(row, name) for alias, name in self.names.items() if name in columns}


#: One of them, whichever.
AnyNoun: TypeAlias = FileNoun[Any, Any]


def slug(name: str) -> str:
    """A key made of a name; empty, if nothing of it can stand in a key."""
    return re.sub(r"[^a-z0-9]+", "-", anyascii(name).lower())[:64].strip("-")


def saved(saved: Saved[M], secret: Secret | None = None, public_id: str = "") -> Made:
    return Made(
        row_id=saved.value.pk,
        sequence=saved.sequence,
        warnings=saved.warnings,
        secret=secret or None,
        public_id=public_id,
    )


def as_json(value: object) -> object:
    """A value of a field as it stands in files and plans."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return value
