"""Path, query and body become one input, or a sentence that names the field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.recipes.inputs import BadInput, merged


def one(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "template": "/tools-v1/orders/{id}",
        "path": "/tools-v1/orders/5",
        "query": "",
        "content_type": "application/json",
        "body": b"",
    }
    return merged(**{**given, **more})


def test_all_three_are_one_object() -> None:
    body = json.dumps({"c": [1, 2], "d": {"e": None}}).encode()
    assert one(query="b=2&b=3&f=", body=body) == {
        "id": "5",
        "b": ["2", "3"],
        "f": "",
        "c": [1, 2],
        "d": {"e": None},
    }


def test_a_path_is_decoded() -> None:
    assert one(path="/tools-v1/orders/%C3%A9%20x") == {"id": "é x"}


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("/{id}.json", "/5.json", {"id": "5"}),
        ("/{a}-{b}", "/1-2-3", {"a": "1", "b": "2-3"}),
        ("/files/{path...}", "/files/a/b%20c/", {"path": "a/b c/"}),
        ("/files/{name}", "/files/a%2Fb", {"name": "a/b"}),
    ],
)
def test_parameters_are_what_the_gateway_matched(
    template: str, path: str, found: dict[str, str]
) -> None:
    assert one(template=f"/tools-v1{template}", path=f"/tools-v1{path}") == found


def test_the_longest_template_is_read_below_the_longest_handle() -> None:
    handle, text = "/" + "h" * 100, "a" * 500
    assert one(template=f"{handle}/{text}/{{x}}", path=f"{handle}/{text}/5") == {"x": "5"}


def test_the_same_value_twice_is_no_conflict_and_another_one_is() -> None:
    assert one(query="id=5", body=b'{"id": 5}') == {"id": "5"}
    with pytest.raises(BadInput) as caught:
        one(query="id=6")
    assert caught.value.field == "id"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"body": b"{"}, "JSON"),
        ({"body": b"[1]"}, "object"),
        ({"body": b"\xff"}, "JSON"),
        ({"body": b"[" * 100_000}, "JSON"),
        ({"body": b"<a/>", "content_type": "text/xml"}, "must be JSON"),
        ({"query": "a=%ff"}, "query"),
        ({"query": "&".join(f"a{i}=1" for i in range(2000))}, "query"),
    ],
)
def test_what_is_no_input_is_said_in_a_sentence(more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        one(**more)


def test_a_form_is_input_too() -> None:
    content_type = "application/x-www-form-urlencoded; charset=utf-8"
    assert one(body=b"a=1&b=x+y", content_type=content_type) == {"id": "5", "a": "1", "b": "x y"}


@given(st.dictionaries(st.text(min_size=1), st.none() | st.booleans() | st.integers() | st.text()))
def test_any_object_comes_through(content: dict[str, Any]) -> None:
    content.pop("id", None)
    assert one(body=json.dumps(content).encode()) == {"id": "5", **content}
