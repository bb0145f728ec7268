"""Keys and labels that owners give to what they manage.

A key is a name of the owner's own for one object, unique by kind and project. Scripts and files name
objects by it where ids are not known. Labels are names with values, for owners to sort objects by.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from django.db import models
from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from ostiary.directory.changes.inputs import Checked, Input, Problems, Text, not_null, refusal
from ostiary.directory.models import AccessProfile, Folder

LONGEST_KEY: Final = 64
MOST_LABELS: Final = 32
LONGEST_VALUE: Final = 200
_KEY = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_KEY - 1}}}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]{0,62}")
_VALUE = Text(maximum=LONGEST_VALUE, required=False)


class _Key(Checked):
    """A slug."""

    def checked(self, value: object) -> str:
        not_null(value)
        if not isinstance(value, str) or not _KEY.fullmatch(value):
            raise refusal(
                "key",
                "must be small letters, digits, dots, underscores and hyphens, beginning with a letter"
                f" or digit, at most {LONGEST_KEY} characters",
            )
        return value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        key = {"type": "string", "pattern": f"^{_KEY.pattern}$", "maxLength": LONGEST_KEY}
        return {"anyOf": [key, {"type": "null"}]}


class _Labels(Checked):
    """A map of names to values; null is the same as an empty one."""

    def checked(self, value: object) -> dict[str, str]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise refusal("type", "must be a map of names to values, each name once")
        if len(value) > MOST_LABELS:
            raise refusal("too_many", f"has {len(value):,} entries; at most {MOST_LABELS} fit")
        return {_checked_name(name): _checked_value(name, text) for name, text in value.items()}

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        labels = {
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": LONGEST_VALUE},
            "maxProperties": MOST_LABELS,
        }
        return {"anyOf": [labels, {"type": "null"}]}


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise refusal(
            "label",
            f"{str(name)[:80]!r} isn't a name of a label: small letters, digits, dots, underscores,"
            " slashes and hyphens, beginning with a letter or digit, at most 63 characters",
        )
    return name


def _checked_value(name: object, value: object) -> str:
    try:
        not_null(value)
        return _VALUE.checked(value)
    except PydanticCustomError as error:
        raise refusal(error.type, f"the value of {str(name)[:80]} {error.message()}") from None


Key = Annotated[str | None, _Key()]
Labels = Annotated[dict[str, str], _Labels()]


class LabelledInput(Input):
    """Base of the inputs of nouns that have labels, and their key in another field."""

    #: All labels: names with values. Null: none.
    labels: Labels = {}


class KeyedInput(LabelledInput):
    """Base of the inputs of nouns that have a key of their own and labels."""

    #: A name of the owner's own, unique by kind and project. Null: none.
    key: Key = None


def is_label_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text))


def check(problems: Problems, row: models.Model) -> None:
    """Note a problem if another object has the row's key; in the caller's transaction.

    Until it ends, no other object of the project gets a key.
    """
    key = getattr(row, "key", None)
    if key is None:
        return
    _lock(row)
    if _of_the_same_kind(row).filter(key=key).exclude(pk=row.pk).exists():
        problems.add("key", "has already been taken", code="taken")


def taken(rows: Sequence[models.Model]) -> models.Model | None:
    """Of rows that are not stored yet, of one kind and project, one whose key an object has.

    Locks as `check` does.
    """
    keyed = {key: row for row in rows if (key := getattr(row, "key", None)) is not None}
    if not keyed:
        return None
    one, wanted = next(iter(keyed.values())), list(keyed)
    _lock(one)
    for start in range(0, len(wanted), 500):
        found = _of_the_same_kind(one).filter(key__in=wanted[start : start + 500]).first()
        if found is not None:
            return keyed[found.key]
    return None


def _lock(row: models.Model) -> None:
    projects = Folder.objects.filter(pk=owner) if (owner := _project_id(row)) else _workspace()
    # Not what foreign keys conflict with: whoever makes an object without a key need not wait.
    list(projects.select_for_update(no_key=True).values_list("pk", flat=True))


def _project_id(row: models.Model) -> int | None:
    owner = row.client if isinstance(row, AccessProfile) else row
    return getattr(owner, "project_id", None)


def _workspace() -> models.QuerySet[Folder]:
    """The row that stands for what belongs to no project."""
    return Folder.objects.filter(home=True)


def _of_the_same_kind(row: models.Model) -> models.QuerySet[Any]:
    """The rows among which a key is unique."""
    if isinstance(row, AccessProfile):
        return AccessProfile.objects.filter(client__project_id=row.client.project_id)
    return type(row)._base_manager.filter(project_id=_project_id(row))  # noqa: SLF001 - Django's own name
