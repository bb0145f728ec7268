"""Response shapes that all nouns share: errors, pages, wrappers, versions."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar, get_origin

from django.db import models
from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticUndefined

from ostiary.api.rendering import moment
from ostiary.directory.actor import Actor
from ostiary.directory.changes import etags
from ostiary.directory.changes.confirmation import (
    UNCONFIRMED,
    Receipt,
    Saved,
    confirm,
    warnings_when_added,
)
from ostiary.directory.changes.errors import Problem
from ostiary.directory.changes.inputs import Input

T = TypeVar("T")
M = TypeVar("M", bound=models.Model)
S = TypeVar("S", bound=Schema)
N = TypeVar("N", bound=Input)

MOST_PER_PAGE = 100
LARGEST_ID = 2**31 - 1


def _digits(value: object) -> object:
    """Ids come as numbers, and from some scripts as strings of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        return int(value)
    return value


def _whole(value: object) -> object:
    if isinstance(value, (bool, float)):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reads ValueError
    return _digits(value)


def _documented(least: int) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": least, "maximum": LARGEST_ID},
                {"type": "string", "pattern": "^[0-9]{1,10}$"},
            ]
        },
        mode="validation",
    )


Id = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=LARGEST_ID), _documented(1)]
#: An id, or 0 for "none".
IdOrNone = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=LARGEST_ID), _documented(0)]
Time = Annotated[datetime, PlainSerializer(moment, return_type=str)]


class Strict(Schema):
    """A request body; unknown fields are refused, not ignored."""

    model_config = ConfigDict(extra="forbid")


class Message(Schema):
    message: str


class Invalid(Schema):
    """`errors`: sentences by field. `codes`: by field, one code for each sentence."""

    message: str
    errors: dict[str, list[str]] | None = None
    codes: dict[str, list[str]] | None = None


class ServerError(Schema):
    message: str
    id: str | None = None


class Success(Schema):
    success: bool = True


class Revocation(Schema):
    """How many gateways have confirmed, of how many, after how many milliseconds.

    `streams`: open streams (WebSockets, event streams, long downloads) of what was revoked; they
    are ended within a second.
    """

    confirmed: int
    of: int
    ms: float
    streams: int = 0


ERRORS: dict[Any, Any] = {
    400: Invalid,
    401: Message,
    403: Invalid,
    404: Message,
    409: Message,
    412: Message,
    413: Message,
    500: ServerError,
    503: Message,
}


class Paging(Strict):
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(MOST_PER_PAGE, ge=1, le=MOST_PER_PAGE)


def page(found: models.QuerySet[M], paging: Paging) -> list[M]:
    """One page of a list."""
    start = (paging.page - 1) * paging.per_page
    return list(found[start : start + paging.per_page])


def actor(request: HttpRequest) -> Actor:
    """The actor of this request's management token."""
    return request.auth  # type: ignore[attr-defined, no-any-return]  # set by the authentication


def if_match(request: HttpRequest) -> str | None:
    return request.headers.get("If-Match")


def versioned(response: HttpResponse, instance: models.Model) -> None:
    """Send the version of the one object that an answer shows."""
    response["ETag"] = etags.etag(instance)


@dataclass(slots=True)
class Deferred:
    """What a call waits for once its transaction has ended."""

    sequence: int = 0
    #: Whether it takes something away: then it isn't done before the gateway follows.
    revokes: bool = False

    def note(self, saved: Saved[Any]) -> None:
        self.sequence = max(self.sequence, saved.sequence)
        self.revokes = self.revokes or not saved.adds


_deferred: ContextVar[Deferred | None] = ContextVar("deferred_confirmation", default=None)


@contextmanager
def deferred() -> Iterator[Deferred]:
    """Let `in_force` and `added` wait for nothing in this block; the caller does it afterwards.

    For a block within a transaction: before it ends, no gateway sees the change.
    """
    waiting = Deferred()
    mark = _deferred.set(waiting)
    try:
        yield waiting
    finally:
        _deferred.reset(mark)


def in_force(saved: Saved[T]) -> tuple[T, Revocation]:
    """Wait until a change is in force; the receipt goes into the answer. Raises NotInForce."""
    waiting = _deferred.get()
    if waiting is not None:
        waiting.note(saved)
        return saved.value, Revocation(confirmed=0, of=0, ms=0.0)
    return saved.value, shown_receipt(confirm(saved))


def added(saved: Saved[T]) -> tuple[T, list[str]]:
    """Wait for what was made, and the warnings for its answer; unconfirmed, it is made as well.

    Its id and its secret are shown this once, so an error must not take their place.
    """
    waiting = _deferred.get()
    if waiting is not None and saved.sequence:
        waiting.note(saved)
        return saved.value, [*saved.warnings, UNCONFIRMED]
    return saved.value, list(warnings_when_added(saved))


def shown_receipt(receipt: Receipt) -> Revocation:
    return Revocation(
        confirmed=receipt.confirmed, of=receipt.of, ms=receipt.ms, streams=receipt.streams
    )


class Page(Schema, Generic[S]):
    """One page of a list, and how many there are in all."""

    data: list[S]
    count: int
    page: int
    per_page: int


def listed(
    found: models.QuerySet[M], paging: Paging, shown: Callable[[M], dict[str, Any]]
) -> dict[str, Any]:
    """One page of a list as `Page` has it."""
    return {
        "data": [shown(each) for each in page(found, paging)],
        "count": found.count(),
        "page": paging.page,
        "per_page": paging.per_page,
    }


def body(*required: str) -> Callable[[type[N]], type[N]]:
    """Make a subclass of a noun's input the body of a call: it has the names of the API alone.

    `required`: fields that the call needs, by their names in the directory. Without any, it is a
    change, and what is left out stays.
    """

    def made(noun: type[N]) -> type[N]:
        noun.model_config |= ConfigDict(validate_by_name=False, loc_by_alias=True)
        if not required:
            noun.model_config["json_schema_extra"] = _without_defaults
        for name in required:
            noun.model_fields[name].default = PydanticUndefined
        noun.model_rebuild(force=True)
        return noun

    return made


def _without_defaults(schema: dict[str, Any]) -> None:
    for described in schema["properties"].values():
        described.pop("default", None)


def showing(noun: type[Input], *, also: Iterable[str] = ()) -> Callable[[type[S]], type[S]]:
    """Add to a shape of answers the columns that a noun's input declares: see `shown`.

    `also`: fields that some rows show and others do not.
    """

    def made(shape: type[S]) -> type[S]:
        declared: dict[str, Any] = {
            name: (noun.model_fields[field].annotation, ...)
            for field, name in _names(noun).items()
            if name not in shape.model_fields
        }
        for field in also:
            kind: Any = noun.model_fields[field].annotation
            declared[field] = (kind, []) if get_origin(kind) is list else (kind | None, None)
        return create_model(
            shape.__name__,
            __base__=shape,
            __doc__=shape.__doc__,
            __module__=shape.__module__,
            **declared,
        )

    return made


def shown(noun: type[Input], row: models.Model) -> dict[str, Any]:
    """What every answer shows of a row: its id, the columns of its noun, and its times."""
    return {
        "id": row.pk,
        **columns(noun, row),
        "created_at": getattr(row, "created_at", None),
        "updated_at": getattr(row, "updated_at", None),
    }


def columns(noun: type[Input], row: models.Model) -> dict[str, Any]:
    """The columns of a row by their names in the API."""
    return {name: getattr(row, field) for field, name in _names(noun).items()}


def _names(noun: type[Input]) -> dict[str, str]:
    """The columns of a noun, and their names in the API."""
    return {field: noun.model_fields[field].alias or field for field in noun.columns()}


def in_words_of_the_api(problem: Problem, noun: type[BaseModel] | None) -> str:
    """The name of a problem's field in the API."""
    first, dot, rest = problem.field.partition(".")
    field = noun.model_fields.get(first) if noun else None
    return f"{(field and field.alias) or first}{dot}{rest}"
