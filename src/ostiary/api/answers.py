"""Response shapes that all nouns share: errors, pages, wrappers, versions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar, get_origin

from django.db import models
from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import PydanticUndefined

from ostiary.api import response_models
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
from ostiary.directory.changes.errors import Invalid as InvalidInput
from ostiary.directory.changes.errors import NotInForce, Problem
from ostiary.directory.changes.inputs import FIXED, AnyTime, Input

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


def _true_or_false(value: object) -> object:
    if value not in ("true", "false", "1", "0", True, False):
        raise ValueError("must be true or false")
    return value


#: A flag in a query.
QueryFlag = Annotated[bool, BeforeValidator(_true_or_false)]
Id = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=LARGEST_ID), _documented(1)]
#: An id, or 0 for "none".
IdOrNone = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=LARGEST_ID), _documented(0)]
Time = Annotated[
    datetime,
    PlainSerializer(moment, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


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


class RevocationNode(Schema):
    name: str
    state: Literal["confirmed", "fenced"]


class Revocation(Schema):
    """How many gateways have confirmed, of how many, after how many milliseconds.

    `streams`: open streams (WebSockets, event streams, long downloads) of what was revoked; they
    are ended within a second.
    """

    confirmed: int
    of: int
    ms: float
    streams: int = 0
    nodes: list[RevocationNode] = []


class RevokedAnswer(Success):
    """Done; the receipt says that no call passes by what was taken away."""

    revocation: Revocation


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
response_models.share()


class DisableIn(Strict):
    """Without `until`, it stays off until somebody switches it on."""

    until: Annotated[datetime | None, AnyTime()] = None


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
    tagged(response, etags.etag(instance))


def tagged(response: HttpResponse, version: str) -> None:
    """As `versioned`, for what has its version elsewhere. The answer's content is added to it."""
    response["ETag"] = version


#: What an answer says of the call, not of the object.
_OF_THE_CALL = frozenset(
    {
        "warnings",
        "revocation",
        "secret",
        "oauth_client_secret",
        "message",
        "import_results",
        "sign_in_link",
        # Masked but this once, and never other than with another version.
        "auth_token",
    }
)


def _of_the_object(shown: object) -> object:
    if isinstance(shown, Mapping):
        return {k: _of_the_object(v) for k, v in shown.items() if k not in _OF_THE_CALL}
    return shown


def answered(request: HttpRequest, response: HttpResponse, shown: object) -> HttpResponse:
    """An answer with its ETag, if it shows one object; 304 if the caller has that one already."""
    if "ETag" not in response.headers:
        return response
    tag = response["ETag"] = etags.of_answer(response["ETag"], _of_the_object(shown))
    named = request.headers.get("If-None-Match")
    if request.method != "GET" or named is None or not etags.is_among(tag, named):
        return response
    return HttpResponse(status=304, headers={"ETag": tag})


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


def revoked(saved: Saved[Any]) -> dict[str, Any]:
    """Wait until a change is in force, where an answer has nothing to show but that."""
    return {"success": True, "revocation": in_force(saved)[1]}


def added(saved: Saved[T]) -> tuple[T, list[str]]:
    """Wait for what was made, and the warnings for its answer; unconfirmed, it is made as well.

    Its id and its secret are shown this once, so an error must not take their place.
    """
    waiting = _deferred.get()
    if waiting is not None and saved.sequence:
        waiting.note(saved)
        return saved.value, [*saved.warnings, UNCONFIRMED]
    return saved.value, list(warnings_when_added(saved))


def done(sequence: int) -> tuple[Revocation | None, list[str]]:
    """Wait for a change whose answer shows secrets this once; unconfirmed: no receipt, and a warning.

    An error must not take the place of the answer, also where something is taken away.
    """
    saved = Saved(value=None, sequence=sequence, adds=True)
    try:
        receipt = in_force(saved)[1]
    except NotInForce:
        return None, [UNCONFIRMED]
    return receipt, [UNCONFIRMED] if sequence and _deferred.get() is not None else []


def shown_receipt(receipt: Receipt) -> Revocation:
    return Revocation(
        confirmed=receipt.confirmed,
        of=receipt.of,
        ms=receipt.ms,
        streams=receipt.streams,
        nodes=[RevocationNode(name=n.name, state=n.state) for n in receipt.nodes],
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
        if list(described) == ["allOf"] and len(described["allOf"]) == 1:
            # What stood beside the default.
            described.update(described.pop("allOf")[0])


#: What changes without a change of the object: a caller sends it as it was then.
_OBSERVED = frozenset(
    {
        "last_used_at",
        "last_sign_in_at",
        "effective_state",
        "gateway_problem",
        "warnings",
        "running",
        "error",
    }
)


class ChangeBody(Input):
    """Base of the bodies of changes: what an answer shows can be sent back.

    A field that no change can set is accepted as it is shown, and refused by its name if it differs.
    """

    #: Fields of the answer that the body does not have, with the types that they have there.
    read_only: ClassVar[Mapping[str, Any]] = {}
    _sent_back: dict[str, object] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _take_apart(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict):
            return handler(values)
        made = handler({k: v for k, v in values.items() if k not in cls.read_only})
        made._sent_back = {  # noqa: SLF001 - of this class
            k: v for k, v in values.items() if k in cls.read_only
        }
        return made

    @classmethod
    def presented(cls, row: Any) -> Mapping[str, object]:
        """A row as the answer shows it, in JSON."""
        raise NotImplementedError

    def check_fixed(self, row: models.Model) -> None:
        super().check_fixed(row)
        check_read_only(self._sent_back, self.read_only, lambda: self.presented(row))


def check_read_only(
    sent: Mapping[str, object],
    kinds: Mapping[str, Any],
    presented: Callable[[], Mapping[str, object]],
) -> None:
    """Raise Invalid if something was sent that is not as it is shown."""
    there = presented() if sent else {}
    problems = [
        Problem(field=name, code="fixed", sentence=FIXED)
        for name, value in sent.items()
        if not (_fits(kinds[name], value) if name in _OBSERVED else _same(value, there[name]))
    ]
    if problems:
        raise InvalidInput(problems)


def _fits(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def _same(sent: object, there: object) -> bool:
    """Whether a value is the one that is shown: ids may be texts, and times be written otherwise."""
    if isinstance(sent, bool) or isinstance(there, bool):
        return sent is there
    if isinstance(sent, list) and isinstance(there, list):
        return [_id(each) for each in sent] == [_id(each) for each in there]
    if sent == there:
        return True
    if isinstance(sent, (str, int)) and isinstance(there, int):
        return str(sent) == str(there)
    try:
        return datetime.fromisoformat(str(sent)) == datetime.fromisoformat(str(there))
    except (ValueError, TypeError):
        return False


def _id(value: object) -> object:
    """What an entry of a list is compared by: an object by its id."""
    return value["id"] if isinstance(value, Mapping) and "id" in value else value


C = TypeVar("C", bound=ChangeBody)


def change(
    shape: type[Schema], shown: Callable[[Any], Mapping[str, Any]]
) -> Callable[[type[C]], type[C]]:
    """As `body`, for a change of what answers show as `shape`; `shown` is what it is made of."""

    def made(noun: type[C]) -> type[C]:
        own = {field.alias or name for name, field in noun.model_fields.items()}
        noun.read_only = {
            name: field.annotation for name, field in shape.model_fields.items() if name not in own
        }
        noun.presented = classmethod(  # type: ignore[assignment, method-assign]  # made for each noun
            lambda _, row: shape.model_validate(shown(row)).model_dump(mode="json")
        )
        return body()(noun)

    return made


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
