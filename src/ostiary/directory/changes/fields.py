"""Reading single fields that have no declaration of a noun around them: see `inputs`."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from pydantic_core import PydanticCustomError

from ostiary.directory.changes import inputs
from ostiary.directory.changes.inputs import Problems

__all__ = ["Problems", "choice", "moment", "number", "text"]

T = TypeVar("T")
D = TypeVar("D")


def text(
    problems: Problems,
    field: str,
    value: object,
    *,
    maximum: int = 255,
    required: bool = True,
    lines: bool = False,
) -> str:
    """A text without control characters, stripped; `lines` allows line ends and tabs."""
    checker = inputs.Text(maximum=maximum, required=required, lines=lines)
    return _checked(problems, field, checker.checked, value or "", "")


def number(
    problems: Problems, field: str, value: object, *, least: int, most: int, default: int | None
) -> int | None:
    """A whole number between `least` and `most`; nothing means `default`."""
    if value is None:
        return default
    return _checked(problems, field, inputs.Whole(least=least, most=most).checked, value, default)


def choice(problems: Problems, field: str, value: object, among: Iterable[str]) -> str:
    """One of a closed set."""
    return _checked(problems, field, inputs.OneOf(tuple(among)).checked, value, "")


def moment(problems: Problems, field: str, value: datetime | None) -> datetime | None:
    """A time in the future, in UTC, or nothing."""
    if value is None:
        return None
    return _checked(problems, field, inputs.Moment().checked, value, None)


def _checked(
    problems: Problems, field: str, check: Callable[[object], T], value: object, otherwise: D
) -> T | D:
    try:
        return check(value)
    except PydanticCustomError as error:
        problems.add(field, error.message(), code=error.type)
        return otherwise
