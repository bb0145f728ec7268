"""Shapes that every noun's answers share: errors, pages, wrappers, versions."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

from django.db import models
from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ostiary.api.rendering import moment
from ostiary.directory.actor import Actor
from ostiary.directory.changes import etags
from ostiary.directory.changes.confirmation import Receipt, Saved, confirm, warnings_when_added

T = TypeVar("T")
M = TypeVar("M", bound=models.Model)

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
    """A request body: a field that means nothing here is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")


class Message(Schema):
    message: str


class Invalid(Schema):
    message: str
    errors: dict[str, list[str]] | None = None


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
    """Who the management token of this request speaks for."""
    return request.auth  # type: ignore[attr-defined, no-any-return]


def if_match(request: HttpRequest) -> str | None:
    return request.headers.get("If-Match")


def versioned(response: HttpResponse, instance: models.Model) -> None:
    """Send the version of the one object that an answer shows."""
    response["ETag"] = etags.etag(instance)


def in_force(saved: Saved[T]) -> tuple[T, Revocation]:
    """Wait until a change is in force; the receipt goes into the answer. Raises NotInForce."""
    return saved.value, _shown(confirm(saved))


def added(saved: Saved[T]) -> tuple[T, list[str]]:
    """Wait for what was made, and the warnings for its answer; unconfirmed, it is made as well.

    Its id and its secret are shown this once, so an error must not take their place.
    """
    return saved.value, list(warnings_when_added(saved))


def _shown(receipt: Receipt) -> Revocation:
    return Revocation(
        confirmed=receipt.confirmed, of=receipt.of, ms=receipt.ms, streams=receipt.streams
    )
