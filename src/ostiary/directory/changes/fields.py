"""Reading single fields of what an owner sends: checked values out, sentences for what does not fit.

Use cases collect the sentences of all fields and raise them together.
"""

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

from django.utils import timezone

from ostiary.directory.changes.errors import Invalid

#: The first year that no date may be in.
FAR_YEAR = 9000


class Problems:
    """The sentences collected so far, by field."""

    def __init__(self) -> None:
        self.errors: dict[str, list[str]] = {}

    def add(self, field: str, *sentences: str) -> None:
        if sentences:
            self.errors.setdefault(field, []).extend(sentences)

    def raise_if_any(self) -> None:
        if self.errors:
            raise Invalid(self.errors)


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
    if value is None:
        value = ""
    if not isinstance(value, str):
        problems.add(field, "must be a text")
        return ""
    stripped = value.strip()
    if required and not stripped:
        problems.add(field, "can't be blank")
    if len(stripped) > maximum:
        problems.add(field, f"is too long (maximum is {maximum} characters)")
    allowed = "\n\r\t" if lines else ""
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in allowed for c in stripped):
        problems.add(field, "holds a control character")
    elif not lines and (unseen := _unseen(stripped)):
        problems.add(
            field,
            f"holds an invisible or direction-changing character (U+{ord(unseen):04X});"
            " type the text anew instead of pasting it",
        )
    return stripped


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


def plain(
    problems: Problems,
    field: str,
    value: object,
    *,
    maximum: int = 255,
    required: bool = True,
    blanks: bool = True,
) -> str:
    """A text that reaches a gateway, stripped: printable ASCII, without blanks unless allowed.

    What one reader drops or reads in another way than the next must not stand in it.
    """
    found = text(problems, field, value, maximum=maximum, required=required)
    if not _printable(found, blanks=blanks):
        but = "" if blanks else ", without blanks"
        problems.add(field, f"must be printable ASCII characters{but}")
    return found


def _printable(text: str, *, blanks: bool) -> bool:
    least = " " if blanks else "!"
    return all(least <= c <= "~" for c in text)


def number(
    problems: Problems, field: str, value: object, *, least: int, most: int, default: int | None
) -> int | None:
    """A whole number between `least` and `most`; nothing means `default`."""
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        problems.add(field, f"must be a whole number from {least} to {most}")
        return default
    return value


def choice(problems: Problems, field: str, value: object, among: Iterable[str]) -> str:
    """One of a closed set."""
    if not isinstance(value, str) or value not in set(among):
        problems.add(field, "is not included in the list")
        return ""
    return value


def moment(problems: Problems, field: str, value: datetime | None) -> datetime | None:
    """A time in the future, in UTC, or nothing."""
    if value is None:
        return None
    aware = value if timezone.is_aware(value) else value.replace(tzinfo=UTC)
    if aware <= timezone.now():
        problems.add(field, "must be in the future")
    elif aware.year >= FAR_YEAR:
        # Zones and the ends of periods go beyond a moment, and no later date can be written.
        problems.add(field, f"must be before the year {FAR_YEAR}")
    else:
        return aware.astimezone(UTC)
    return None
