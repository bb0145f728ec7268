"""Tables as CSV (RFC 4180), line by line; no cell can become a formula in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator, Sequence

#: Leading characters that make a spreadsheet compute a cell, or end it early.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Echo:
    """A file that returns what is written, so that a CSV writer's lines can be streamed."""

    def write(self, text: str) -> str:
        return text


def lines(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, its head first."""
    writer = csv.writer(_Echo())
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])


def cell(value: object) -> str:
    """A value as a cell; a text that looks like a formula gets an apostrophe before it."""
    text = "" if value is None else str(value)
    if isinstance(value, str) and text.lstrip(" ")[:1] in _FORMULA:
        return f"'{text}"
    return text
