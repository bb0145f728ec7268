"""What owners send: the base of the nouns' inputs, and the types of their fields.

Each noun has one model. It is what its use cases take, the body of its calls of the management API,
and what its form in the console fills. Its fields have the directory's names; an `alias` is the name
in the API. A field that was left out is not in `model_fields_set`: it stays as it is at a change, and
has its default in what is made. `null` means none, where there can be none, and is refused elsewhere;
an empty text or list is a value like others.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Annotated, Any, ClassVar, Final, Self, get_args

from django.db import models
from django.utils import timezone
from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationError,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ostiary.directory.changes.errors import Invalid, Problem

#: The first year that no date may be in.
FAR_YEAR = 9000
#: About the entries of one list.
MOST_SENTENCES = 20
LARGEST_ID = 2**31 - 1


class Input(BaseModel):
    """Base of the inputs of all nouns."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True
    )

    #: Fields without which none is made.
    required: ClassVar[tuple[str, ...]] = ()
    #: Fields that are said once, when it is made.
    fixed: ClassVar[tuple[str, ...]] = ()
    #: Fields that the use cases store themselves. All others are columns of the same name.
    apart: ClassVar[tuple[str, ...]] = ()

    #: The input that this one was made of.
    _given: "Input | None" = PrivateAttr(None)

    @classmethod
    def of(cls, **values: object) -> Self:
        """An input of values that may not fit; raises Invalid with all that do not."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise Invalid(problems_of(error), noun=cls) from None

    @classmethod
    def made_of(cls, given: "Input", **values: object) -> Self:
        """As `of`, of another input, which checks what it was sent with as well."""
        made = cls.of(**values)
        made._given = given  # noqa: SLF001 - of this class
        return made

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """The fields that are columns of the same name, and can be changed."""
        return tuple(name for name in cls.model_fields if name not in {*cls.fixed, *cls.apart})

    @classmethod
    def stored(cls, row: models.Model) -> Mapping[str, object]:
        """What a row has in those columns."""
        return {name: getattr(row, name) for name in cls.columns()}

    def has(self, name: str) -> bool:
        """Whether a field was sent, be it null or empty."""
        return name in self.model_fields_set

    def sent(self) -> dict[str, object]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def check_complete(self) -> None:
        """Raise Invalid unless all is there that a new one needs."""
        missing = [n for n in self.required if not self.has(n) or getattr(self, n) is None]
        if missing:
            problems = [Problem(field=name, code="missing", sentence=BLANK) for name in missing]
            raise Invalid(problems, noun=type(self))

    def check_fixed(self, row: models.Model) -> None:
        """Raise Invalid if it would change what cannot be changed; to repeat it is allowed."""
        problems = [
            Problem(field=name, code="fixed", sentence=FIXED)
            for name in self.fixed
            if self.has(name) and getattr(self, name) != getattr(row, name)
        ]
        if problems:
            raise Invalid(problems, noun=type(self))
        if self._given is not None:
            self._given.check_fixed(row)

    def assign(self, row: models.Model) -> None:
        """Put the columns that were sent into a row."""
        for name in self.columns():
            if self.has(name) and not same_time(getattr(self, name), getattr(row, name)):
                setattr(row, name, getattr(self, name))


#: Answers show times without what is below it.
_SHOWN_TIME = timedelta(milliseconds=1)


def same_time(sent: object, stored: object) -> bool:
    """Whether a time that was sent is a stored one as answers show it."""
    if not isinstance(sent, datetime) or not isinstance(stored, datetime):
        return False
    return abs(sent - stored) < _SHOWN_TIME


def problems_of(error: ValidationError) -> list[Problem]:
    return [
        Problem(field=".".join(map(str, each["loc"])), code=each["type"], sentence=sentence)
        for each in error.errors(include_url=False, include_input=False)
        for sentence in sentences_of(each)
    ]


def sentences_of(error: Mapping[str, Any]) -> Sequence[str]:
    """The sentences of one error as pydantic describes it."""
    return error.get("ctx", {}).get("sentences") or (str(error["msg"]),)


class Problems:
    """The problems found so far by a use case, which raises them together."""

    def __init__(self, noun: type[BaseModel] | None = None) -> None:
        self._noun = noun
        self._found: list[Problem] = []

    def add(self, field: str, *sentences: str, code: str = "invalid") -> None:
        self._found += [Problem(field=field, code=code, sentence=each) for each in sentences]

    def check(self, field: str, check: Callable[[], object]) -> None:
        """Run a check that raises what `refusal` makes, and note what it refuses."""
        try:
            check()
        except PydanticCustomError as error:
            self.add(field, error.message(), code=error.type)

    def raise_if_any(self) -> None:
        if self._found:
            raise Invalid(self._found, noun=self._noun)


BLANK = "can't be blank"
FIXED = "can't be changed"
NOT_IN_LIST = "is not included in the list"


class Checked:
    """An annotation that checks a value before pydantic reads it, with a sentence of ours.

    `None` passes where the annotated type has it.
    """

    #: Whether its sentences name the value themselves, so that a list need not say which it is.
    names_value: ClassVar[bool] = False

    def checked(self, value: object) -> object:
        raise NotImplementedError

    def described(self) -> Mapping[str, Any]:
        """What the OpenAPI document says beside the type."""
        return {}

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        optional = NoneType in get_args(source)

        def check(value: object) -> object:
            return None if value is None and optional else self.checked(value)

        return core_schema.no_info_before_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), **self.described()}


def refusal(code: str, *sentences: str) -> PydanticCustomError:
    # A sentence may hold what an owner typed: braces in it are plain text.
    context = {"sentence": "; ".join(sentences), "sentences": sentences}
    return PydanticCustomError(code, "{sentence}", context)


def not_null(value: object) -> None:
    if value is None:
        raise refusal("null", "can't be null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Checked):
    """A text without control characters, stripped; `lines` allows line ends and tabs.

    One that is not required may be empty, and null is the same. `plain` is for what reaches a
    gateway: printable ASCII, without blanks unless they are allowed. What one reader drops or reads
    in another way than the next must not stand in it.
    """

    maximum: int = 255
    required: bool = True
    lines: bool = False
    plain: bool = False
    blanks: bool = True

    def checked(self, value: object) -> str:
        if value is None and not self.required:
            return ""
        not_null(value)
        if not isinstance(value, str):
            raise refusal("type", "must be a text")
        stripped = value.strip()
        if self.required and not stripped:
            raise refusal("blank", BLANK)
        if len(stripped) > self.maximum:
            raise refusal("too_long", f"is too long (maximum is {self.maximum} characters)")
        self._check_characters(stripped)
        return stripped

    def _check_characters(self, text: str) -> None:
        allowed = "\n\r\t" if self.lines else ""
        if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in allowed for c in text):
            raise refusal("characters", "holds a control character")
        if self.plain and not is_printable(text, blanks=self.blanks):
            but = "" if self.blanks else ", without blanks"
            raise refusal("characters", f"must be printable ASCII characters{but}")
        if not self.lines and (unseen := _unseen(text)):
            raise refusal(
                "characters",
                f"holds an invisible or direction-changing character (U+{ord(unseen):04X});"
                " type the text anew instead of pasting it",
            )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        text = {**handler(schema), "maxLength": self.maximum}
        return text if self.required else {"anyOf": [text, {"type": "null"}]}


#: They join and part letters of some scripts, and pictures.
_JOINERS = "\u200c\u200d"
#: Letters that show nothing: the fillers of Hangul, and a blank of Braille.
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"


def _unseen(text: str) -> str:
    """The first character that a reader does not see, or that turns the text around it; or none."""
    for before, char, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if char in _JOINERS and not before.isascii() and not after.isascii():
            continue
        if char in _FILLERS or unicodedata.category(char) in {"Cf", "Zl", "Zp"}:
            return char
    return ""


def is_printable(text: str, *, blanks: bool) -> bool:
    least = " " if blanks else "!"
    return all(least <= c <= "~" for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Checked):
    """A whole number; `true`, `2.0` and `"2"` are none."""

    least: int
    most: int

    def checked(self, value: object) -> int:
        not_null(value)
        if type(value) is not int or not self.least <= value <= self.most:
            raise refusal(
                "out_of_range", f"must be a whole number from {self.least} to {self.most}"
            )
        return value

    def described(self) -> Mapping[str, Any]:
        return {"minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class OneOf(Checked):
    """One of a closed set."""

    among: Iterable[str]
    #: Whether to say what the set is.
    named: bool = False

    def checked(self, value: object) -> str:
        not_null(value)
        among = [str(each) for each in self.among]
        if not isinstance(value, str) or value not in among:
            sentence = f"must be one of {', '.join(among)}" if self.named else NOT_IN_LIST
            raise refusal("not_in_list", sentence)
        return value

    def described(self) -> Mapping[str, Any]:
        return {"enum": [str(each) for each in self.among]}


class _Boolean(Checked):
    """`true` or `false`; `"yes"`, `"true"` and 1 are none."""

    def checked(self, value: object) -> bool:
        not_null(value)
        if not isinstance(value, bool):
            raise refusal("type", "must be true or false")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf(Checked):
    """A list; what is wrong with an entry is said of the list, with the entry's place."""

    each: Checked
    most: int
    required: bool = False
    #: One entry may come without a list around it.
    or_one: bool = False

    def checked(self, value: object) -> list[object]:
        not_null(value)
        if self.or_one and isinstance(value, str):
            value = [value]
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise refusal("type", "must be a list")
        if self.required and not value:
            raise refusal("blank", BLANK)
        if len(value) > self.most:
            raise refusal("too_many", f"has {len(value):,} entries; at most {self.most:,} fit")
        entries, code, sentences = [], "", []
        for place, each in enumerate(value, start=1):
            try:
                entries.append(self.each.checked(each))
            except PydanticCustomError as error:
                code = error.type
                which = "" if self.each.names_value else f"entry {place} "
                sentences.append(f"{which}{error.message()}")
        if sentences:
            raise refusal(code, *sentences[:MOST_SENTENCES])
        return entries

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = {**handler(schema), "maxItems": self.most}
        several["items"] = {**several.get("items", {}), **self.each.described()}
        return {"anyOf": [{"type": "string"}, several]} if self.or_one else several


#: A field of one thing is as another thing says; null is the same.
INHERITED: Final = "inherited"


@dataclass(frozen=True, slots=True)
class OrInherited(Checked):
    """What another type takes, or `inherited`, which is null."""

    own: Checked

    def checked(self, value: object) -> object:
        return None if value == INHERITED else self.own.checked(value)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        kinds = handler(schema)["anyOf"]
        own = [
            each if each == {"type": "null"} else {**each, **self.own.described()} for each in kinds
        ]
        return {"anyOf": [*own, {"const": INHERITED}]}


class AnyTime(Checked):
    """Any time; one without a zone is in UTC. A number is none."""

    def checked(self, value: object) -> datetime:
        not_null(value)
        time = _time(value)
        return time if timezone.is_aware(time) else time.replace(tzinfo=UTC)


class Moment(AnyTime):
    """A time in the future, in UTC; one without a zone is in UTC."""

    def checked(self, value: object) -> datetime:
        aware = super().checked(value)
        if aware <= timezone.now():
            raise refusal("past", "must be in the future")
        if aware.year >= FAR_YEAR:
            # Zones and the ends of periods go beyond a moment, and no later date can be written.
            raise refusal("too_late", f"must be before the year {FAR_YEAR}")
        return aware.astimezone(UTC)


def _time(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value) if isinstance(value, str) else "")
    except ValueError:
        raise refusal("time", "must be a date and time, such as 2030-01-31T12:00:00Z") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdType(Checked):
    """A number of a row; some scripts send it as a text of digits, and forms always do."""

    #: 0 is null: for a field that had 0 for none before it had null.
    or_zero: bool = False

    def checked(self, value: object) -> int | None:
        not_null(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
            value = int(value)
        if self.or_zero and type(value) is int and value == 0:
            return None
        if type(value) is not int or not 1 <= value <= LARGEST_ID:
            raise refusal("id", f"must be a whole number from 1 to {LARGEST_ID}")
        return value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        kinds = [
            {"type": "integer", "minimum": 0 if self.or_zero else 1, "maximum": LARGEST_ID},
            {"type": "string", "pattern": "^[0-9]{1,10}$"},
        ]
        if "anyOf" in handler(schema):
            kinds.append({"type": "null"})
        return {"anyOf": kinds}


Id = Annotated[int, IdType()]
IdOrNull = Annotated[int | None, IdType()]
IdOrZero = Annotated[int | None, IdType(or_zero=True)]
Flag = Annotated[bool, _Boolean()]
FlagOrNull = Annotated[bool | None, _Boolean()]
Name = Annotated[str, Text()]
Description = Annotated[str, Text(maximum=4000, required=False, lines=True)]
