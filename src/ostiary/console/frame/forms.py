"""Forms: what one holds, as the input of a noun; and sending one.

A field of a form has the name that it has in the noun's input. Browsers do not send a box that is
not ticked, so a form is taken to show all boxes of its noun but those that it is said not to have.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, time
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect

from ostiary.console.frame.listing import number_of
from ostiary.console.frame.saving import STALE, in_force
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, Stale
from ostiary.directory.changes.inputs import Input

N = TypeVar("N", bound=Input)

Errors = Mapping[str, list[str]]


def filled(noun: type[N], data: QueryDict, *, without: Collection[str] = (), **more: object) -> N:
    """The input that a form holds; `more` are fields that it holds in another shape.

    `without`: fields that it does not have, or that mean nothing in it; they stay as they are.
    Raises Invalid with everything that does not fit.
    """
    values = {
        name: _value(field.annotation, data, name)
        for name, field in noun.model_fields.items()
        if (name in data or _has_boxes(field.annotation)) and name not in {*without, *more}
    }
    # A number that was not typed, where there is always one, stays as it is.
    untyped = {n for n, v in values.items() if v is None and noun.model_fields[n].annotation is int}
    return noun.of(**{n: v for n, v in values.items() if n not in untyped}, **more)


def end_of_day(text: str) -> datetime | None:
    """The end of a day in UTC; nothing: never. Raises Invalid."""
    if not text.strip():
        return None
    try:
        return datetime.combine(date.fromisoformat(text.strip()), time(23, 59, 59), UTC)
    except ValueError:
        raise Invalid({"expires_at": ["must be a date, such as 2030-01-31"]}) from None


def day_of(moment: datetime | None) -> str:
    """The day of an end in UTC, as a field for dates has it."""
    return moment.astimezone(UTC).date().isoformat() if moment else ""


def project_named(data: QueryDict) -> dict[str, Any]:
    """The project that a form of a new thing names; a form that edits has none."""
    return {"project_id": number_of(data.get("project"))} if "project" in data else {}


def _has_boxes(kind: Any) -> bool:
    return _is_flag(kind) or get_origin(kind) is list


def _is_flag(kind: Any) -> bool:
    return kind is bool or bool in get_args(kind)


def _value(kind: Any, data: QueryDict, name: str) -> object:
    if _is_flag(kind):
        return data.get(name) == "1"
    if get_origin(kind) is list:
        # Boxes that are ticked, or one field with entries that are parted by blanks or commas.
        texts = [
            text for value in data.getlist(name) for text in re.split(r"[,\s]+", value) if text
        ]
        return [number(text) for text in texts] if get_args(kind) == (int,) else texts
    text = data.get(name, "")
    if get_origin(kind) is dict:
        return _pairs(text)
    if kind is int or int in get_args(kind):
        return number(text)
    return None if not text and NoneType in get_args(kind) else text


def _pairs(text: str) -> object:
    """Names with values, one pair a line; the text itself if a name comes twice."""
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    pairs = {name.strip(): value.strip() for name, _, value in lines}
    return pairs if len(pairs) == len(lines) else text


def initial(noun: type[Input], row: Model | None = None) -> dict[str, str]:
    """What the fields of a form hold at first: what is stored, or what a new one has."""
    stored = noun.stored(row) if row else {n: f.default for n, f in noun.model_fields.items()}
    return {name: shown(value) for name, value in stored.items()}


def shown(value: object) -> str:
    """A value as the text of a field."""
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return "\n".join(f"{name}: {text}" if text else name for name, text in value.items())
    return "" if value is None else str(value)


def number(text: str) -> int | str | None:
    """A number, with commas in it or not; none where there is no text, and a text that is no number."""
    text = text.strip().replace(",", "")
    if not text:
        return None
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else text


def sent(
    request: HttpRequest, save: Callable[[], HttpResponse], *, saving: bool = True
) -> tuple[HttpResponse | None, Errors]:
    """The answer to a form that was sent, or else sentences to be shown in the form, by field.

    `saving`: whether it was sent to be saved, and not to be shown once more.
    """
    if request.method != "POST" or not saving:
        return None, {}
    try:
        return save(), {}
    except Invalid as error:
        return None, error.errors
    except Stale:
        return None, STALE


def below(errors: Errors, field: str) -> list[str]:
    """The sentences about a field, and about all that is in it."""
    return [
        sentence
        for name, sentences in errors.items()
        if name == field or name.startswith(f"{field}.")
        for sentence in sentences
    ]


def done(request: HttpRequest, saved: Saved[Any], *, noun: str, verb: str, to: str) -> HttpResponse:
    """Say what was done, once it is in force, with its warnings, and go on to another page."""
    if in_force(request, saved):
        messages.success(request, f"The {noun} {saved.value.name} was {verb}.")
    for warning in saved.warnings:
        messages.warning(request, f"{saved.value.name}: {warning}.")
    return redirect(to)
