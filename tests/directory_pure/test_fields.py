"""What a name may hold."""

import pytest

from ostiary.directory.changes import fields
from ostiary.directory.changes.errors import Invalid


def saved(name: str, *, lines: bool = False) -> str:
    problems = fields.Problems()
    text = fields.text(problems, "name", name, lines=lines)
    problems.raise_if_any()
    return text


@pytest.mark.parametrize(
    "name",
    ["a\u200bb", "a\u202eb", "a\u2066b", "a\ufeffb", "a\u00adb", "\u3164", "a\u2028b", "a\u200db"],
)
def test_a_name_with_an_unseen_character_is_refused_and_named(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        saved(name)
    [sentence] = refused.value.errors["name"]
    assert "invisible or direction-changing character (U+" in sentence


@pytest.mark.parametrize(
    "name", ["支付", "مدفوعات", "می\u200cخواهم", "👩\u200d💻", "ชำระเงิน", "Zażółć"]
)
def test_a_name_in_any_script_is_taken(name: str) -> None:
    assert saved(name) == name


def test_a_description_may_hold_them() -> None:
    assert saved("a\u00adb\nc", lines=True) == "a\u00adb\nc"
