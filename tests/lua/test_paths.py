"""The normal form of paths: Lua's is the one of `access.paths`."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.lua.nginx import Machine, Worker

from ostiary.access.paths import normalise

PATHS = Worker(Machine()).require("ostiary.paths")
LONGEST = int(PATHS.LONGEST_PATH)

#: Pieces that meet where readers of paths differ.
_PIECES = st.sampled_from(
    [
        "/",
        "/",
        "/",
        ".",
        "..",
        "a",
        "orders",
        "%2e",
        "%2E",
        "%6F",
        "%c3%A9",
        "%2f",
        "%5C",
        "%00",
        "%0a",
        "%3b",
        "%2F..",
        "..;",
        ";",
        "%25",
        "%2",
        "%",
        "%%",
        ";",
        "~",
        "*",
        "%7B%7d",
        "\\",
        "|",
        "é",
        " ",
        "\n",
        "\0",
        "?",
        "#",
        "%7f",
        "%1F",
        "%20",
        "%e",
        "@",
        ":",
        "-",
        "_",
    ]  # fmt: skip
)
_PATHS = st.one_of(
    st.lists(_PIECES, max_size=12).map("".join),
    st.lists(_PIECES, max_size=12).map(lambda pieces: "/" + "".join(pieces)),
    st.text(st.characters(max_codepoint=0xFF)),
)
_LONG = st.builds(
    lambda before, count, after: "/" + "".join(before) + "/a" * count + "".join(after),
    st.lists(_PIECES, max_size=3),
    st.integers(LONGEST // 2 - 10, LONGEST // 2 + 2),
    st.lists(_PIECES, max_size=3),
)


def _expected(path: str) -> str | None:
    return normalise(path) if len(path) <= LONGEST else None


@given(_PATHS)
@example("")
@example("/")
@example("/..")
@example("/a/%2E%2e/b/.")
@example("/a%")
@example("/%%36f")
def test_paths_have_the_normal_form_of_the_rule(path: str) -> None:
    assert PATHS.normal(path) == _expected(path)


@given(_PATHS)
@example("/a%2fb")
@example("/a%2F..%2fb")
@example("/..;/b")
@example("/a;/../b")
@example("/a%5C.")
@example("/%2e%2E%3bx")
def test_paths_of_collections_with_encoded_slashes_have_the_form_of_the_rule(path: str) -> None:
    expected = normalise(path, encoded_slashes=True) if len(path) <= LONGEST else None
    assert PATHS.normal(path, True) == expected


@given(_LONG)
def test_a_path_that_is_too_long_has_none(path: str) -> None:
    assert PATHS.normal(path) == _expected(path)


@given(_PATHS)
def test_a_normal_form_is_its_own(path: str) -> None:
    clean = PATHS.normal(path)
    if clean is not None:
        assert PATHS.normal(clean) == clean


@given(_PATHS, st.text(st.characters(max_codepoint=0xFF)))
def test_a_target_is_taken_apart_at_its_first_question_mark(path: str, query: str) -> None:
    target = f"{path}?{query}"
    first, _, rest = target.partition("?")
    good = all("!" <= char <= "~" and char != "#" for char in rest)
    split = PATHS.split(target)
    assert split == ((_expected(first), f"?{rest}") if good else None)


@pytest.mark.parametrize("path", ["/a", "/a/%7e", "/a/../../b/", "/A//b"])
def test_a_target_without_a_query_has_an_empty_one(path: str) -> None:
    assert PATHS.split(path) == (_expected(path), "")
