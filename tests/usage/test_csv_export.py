"""Tables for spreadsheets: no cell of a text is computed, and numbers stay numbers."""

import csv

import pytest

from ostiary.usage.csv_export import cell, lines


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", " =1+1", "   @x"], ids=repr
)
def test_a_text_that_a_spreadsheet_would_compute_is_marked_as_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(("value", "shown"), [(-5, "-5"), (None, ""), ("a=b", "a=b"), (" x", " x")])
def test_other_values_stay_as_they_are(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_lines_are_read_back_as_rows() -> None:
    text = "".join(lines(("name", "calls"), [('say "hi", twice\nplease', 7)]))
    assert list(csv.reader(text.splitlines(keepends=True))) == [
        ["name", "calls"],
        ['say "hi", twice\nplease', "7"],
    ]
