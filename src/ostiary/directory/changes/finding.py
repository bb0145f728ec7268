"""Finding rows of a list by what owners know of them: words, and labels."""

import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from django.db import connection, models
from django.db.models import F, Func, Q, QuerySet, TextField, Value

from ostiary.directory.changes.keys import is_label_name

M = TypeVar("M", bound=models.Model)

MOST_WORDS: Final = 5


def with_words(
    found: QuerySet[M], text: str, columns: Iterable[str], *, labelled: bool = False
) -> QuerySet[M]:
    """Those that have each word of a text in one of the columns.

    `labelled`: a word such as `team:payments` also finds what has this label.
    """
    columns = tuple(columns)
    for word in re.split(r"\s+", text.strip(), maxsplit=MOST_WORDS)[:MOST_WORDS]:
        if not word:
            continue
        where = Q()
        for column in columns:
            where |= Q(**{f"{column}__icontains": word})
        name, colon, _ = word.partition(":")
        if labelled and colon and is_label_name(name):
            found = found.alias(**(alias := _alias(name)))
            where |= _has_label(next(iter(alias)), word)
        found = found.filter(where)
    return found


def with_label(found: QuerySet[M], label: str) -> QuerySet[M]:
    """Those with a label: `name:value`, or `name` for any value."""
    alias = _alias(label.partition(":")[0])
    found = found.alias(**alias)
    return found.filter(_has_label(next(iter(alias)), label))


def _alias(name: str) -> dict[str, Any]:
    """The value of a label, under a name that stands for it in a query."""
    return {f"label_{name.encode().hex()}": _value(name)}


def _has_label(alias: str, label: str) -> Q:
    _, colon, value = label.partition(":")
    return Q(**{alias: value.strip()}) if colon else Q(**{f"{alias}__isnull": False})


def _value(name: str) -> Func:
    if connection.vendor == "sqlite":
        # The characters of names need no escape in a path of JSON.
        path, function = f'$."{name}"', "JSON_EXTRACT"
    else:
        path, function = name, "jsonb_extract_path_text"
    return Func(F("labels"), Value(path), function=function, output_field=TextField())
