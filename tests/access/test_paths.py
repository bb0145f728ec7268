"""Paths: one normal form, templates, and which endpoint a path means."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.access.paths import BadTemplate, Template, choose, normalise, parse_template


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("/%61/%7e", "/a/~"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2e/c", "/c"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/a%20b", "/a%20b"),
        ("/a+b:c@d!$&'()*,=", "/a+b:c@d!$&'()*,="),
        ("", None),
        ("a", None),
        ("*", None),
        ("/a//b", None),
        ("//", None),
        ("/a%2fb", None),
        ("/a%2Fb", None),
        ("/a%5cb", None),
        ("/a\\b", None),
        ("/a;b", None),
        ("/a%3bb", None),
        ("/a%00", None),
        ("/a%0a", None),
        ("/a%7f", None),
        ("/a%", None),
        ("/a%4", None),
        ("/a%zz", None),
        ("/a b", None),
        ("/a#b", None),
        ("/a?b", None),
        ("/é", None),
        ("/a{b}", None),
    ],
)
def test_a_path_has_one_normal_form_or_none(path: str, normal: str | None) -> None:
    assert normalise(path) == normal


@given(st.text("ab%./2eEfF5cC0~;\\", max_size=20))
def test_the_normal_form_is_its_own(text: str) -> None:
    normal = normalise("/" + text)
    if normal is not None:
        assert normalise(normal) == normal
        assert "/../" not in normal
        assert "/./" not in normal


@pytest.mark.parametrize(
    ("text", "normal", "shape"),
    [
        ("orders", "/orders", "/orders"),
        ("/orders/{id}", "/orders/{id}", "/orders/{}"),
        ("/a b/ü", "/a%20b/%C3%BC", "/a%20b/%C3%BC"),
        ("/%61/{x}/b", "/a/{x}/b", "/a/{}/b"),
        (" /orders ", "/orders", "/orders"),
    ],
)
def test_a_template_is_brought_into_normal_form(text: str, normal: str, shape: str) -> None:
    template = parse_template(text)
    assert (template.text, template.shape) == (normal, shape)
    assert parse_template(template.text) == template


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a//b",
        "/a/",
        "/{}",
        "/{a b}",
        "/{1}",
        "/a{b}",
        "/{a}b",
        "/{a}/{a}",
        "/..",
        "/a/../b",
        "/.",
        "/a%2fb",
        "/a;b%3b",
        "/a%zz",
        "/" + "a" * 600,
        "/" + "ü" * 200,
        "/a" * 40,
        "/\ud800",
        "/%00",
    ],
)
def test_a_template_that_no_path_could_match_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        parse_template(text)


@dataclass(frozen=True)
class Endpoint:
    method: str
    template: Template
    active: bool = True


def endpoints(*texts: str) -> list[Endpoint]:
    pairs = [text.split(" ") for text in texts]
    return [
        Endpoint(p[0].removeprefix("-"), parse_template(p[1]), active=not p[0].startswith("-"))
        for p in pairs
    ]


@pytest.mark.parametrize(
    ("method", "path", "chosen"),
    [
        ("GET", "/a/b", "/a/b"),
        ("GET", "/a/c", "/a/{x}"),
        ("GET", "/c/b", "/{x}/b"),
        ("GET", "/c/d", "/{x}/{y}"),
        ("HEAD", "/a/b", "/a/b"),
        ("POST", "/a/b", "/a/{x}"),
        ("GET", "/a/", None),
        ("GET", "/a", None),
        ("GET", "/a/b/c", None),
    ],
)
def test_literals_win_from_left_to_right(method: str, path: str, chosen: str | None) -> None:
    all_ = endpoints(
        "GET /{x}/{y}", "GET /{x}/b", "GET /a/{x}", "GET /a/b", "POST /a/{x}", "HEAD /{x}/b"
    )
    found = choose(all_, method, path).endpoint
    assert (found.template.text if found else None) == chosen


def test_head_prefers_its_own_endpoint_of_the_same_shape() -> None:
    found = choose(endpoints("GET /a/{x}", "HEAD /a/{x}"), "HEAD", "/a/b").endpoint
    assert found is not None
    assert found.method == "HEAD"


def test_a_path_with_other_methods_names_them() -> None:
    choice = choose(endpoints("GET /a", "POST /a", "-PUT /a"), "DELETE", "/a")
    assert choice.endpoint is None
    assert choice.allow == ("GET", "HEAD", "POST")
    assert not choice.inactive


def test_an_inactive_endpoint_is_not_chosen_and_said_to_be_there() -> None:
    choice = choose(endpoints("-GET /a"), "GET", "/a")
    assert choice.endpoint is None
    assert choice.inactive
    assert choice.allow == ()


def test_parameters_are_named_in_order() -> None:
    assert parse_template("/a/{x}/{y}").parameters == ("x", "y")
