"""What is done to many rows of a table at once: what can be done, a plan of it, and the deed."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Any, Final, Protocol

from ostiary.directory.actor import Actor
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid
from ostiary.review.preview import Preview

#: Numbers of rows as a form carries them: `3,7-12`.
_RANGES: Final = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do to many."""

    name: str
    label: str
    #: What was done: `deactivated`.
    done: str
    #: What it means for them, in a sentence.
    meaning: str = ""
    #: Label of the value that it needs; empty: none.
    value: str = ""
    #: What can be chosen as value; empty: it is typed, or a date.
    choices: Callable[[Actor], Iterable[tuple[str, str]]] | None = None
    #: The value is typed; of many objects, a name or a number.
    is_typed: bool = False
    is_dangerous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPlan:
    """What an action would do."""

    #: Number and name of each row that would be changed.
    changed: Sequence[tuple[int, str]] = ()
    #: How many are like this already.
    same: int = 0
    #: Name of each that cannot be changed, and why.
    refused: Sequence[tuple[str, str]] = ()
    #: What it would have done to recorded calls, and the same in words; empty: it does not touch them.
    preview: Preview | None = None
    sentences: Sequence[str] = ()


class Bulk(Protocol):
    """What a noun lets be done to many."""

    @property
    def actions(self) -> Mapping[str, Action]: ...

    @property
    def most(self) -> int:
        """Rows that can be changed at once."""
        ...

    def plan(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> BulkPlan:
        """Raises Invalid for a value that does not fit."""
        ...

    def apply(self, by: Actor, action: Action, value: str, ids: Sequence[int]) -> Saved[Any]:
        """All or none; raises Invalid."""
        ...


def written(ids: Iterable[int]) -> str:
    """Numbers as a form carries them."""
    spans: list[list[int]] = []
    for each in sorted(set(ids)):
        if spans and spans[-1][1] == each - 1:
            spans[-1][1] = each
        else:
            spans.append([each, each])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def read(text: str, *, most: int) -> list[int]:
    """The numbers that a form carries; none if it is another text, or has more than `most`."""
    if not _RANGES.fullmatch(text):
        return []
    spans = [each.partition("-") for each in text.split(",")]
    ends = [(int(first), int(last or first)) for first, _, last in spans]
    if sum(max(0, last - first + 1) for first, last in ends) > most:
        return []
    return sorted({number for first, last in ends for number in range(first, last + 1)})


def last_day(value: str) -> datetime | None:
    """The end of a day in UTC; `never`: none."""
    if value == "never":
        return None
    try:
        day = datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007 - a day, with a zone below
        return datetime.combine(day + timedelta(days=1), clock(0), UTC)
    except (ValueError, OverflowError):
        raise Invalid({"value": ["must be a day, such as 2030-01-31"]}) from None
