"""A path has one normal form or is refused, and means at most one endpoint."""

import itertools
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ostiary.access.paths import (
    ENDPOINT_METHODS,
    LONGEST,
    METHODS,
    MOST_PARAMETERS,
    MOST_SEGMENTS,
    BadTemplate,
    Template,
    allowed,
    choose,
    may_meet,
    normalise,
    parse_template,
    rewritten,
    stored_template,
    taken_by,
)

WORDS = ("a", "b", "c", "%C3%A9", "x.y")
METHOD = st.sampled_from(METHODS)
ENDPOINT_METHOD = st.sampled_from(ENDPOINT_METHODS)


@dataclass(frozen=True, slots=True, kw_only=True)
class An:
    """An endpoint, as far as `choose` looks at it."""

    method: str
    template: Template
    active: bool = True


def an(method: str, template: str, *, active: bool = True) -> An:
    return An(method=method, template=parse_template(template), active=active)


def named(segments: list[str]) -> Template:
    """A template of words with `{}`; parameters get names."""
    numbers = itertools.count()
    return parse_template(re.sub(r"\{", lambda _: f"{{p{next(numbers)}", "/" + "/".join(segments)))


_SEGMENT = st.sampled_from((*WORDS[:3], "{}", "{}", "{}.y", "x{}", "{}.{}"))
TEMPLATES = st.builds(
    lambda words, rest: named([*words, "{...}"] if rest else words),
    st.lists(_SEGMENT, min_size=1, max_size=4),
    st.sampled_from([False, False, True]),
)
PATHS = st.builds(
    lambda words, slash: "/" + "/".join(words) + "/" * (slash and bool(words)),
    st.lists(st.sampled_from(WORDS), max_size=5),
    st.booleans(),
)
ENDPOINTS = st.lists(
    st.builds(
        An, method=ENDPOINT_METHOD, template=TEMPLATES, active=st.sampled_from([True, True, False])
    ),
    max_size=12,
    unique_by=lambda e: (e.method, e.template.shape),
)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/%61%2D%2e%5F%7e", "/a-._~"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a%20b%3f%23", "/a%20b%3F%23"),
        ("/a%2520b", "/a%2520b"),
        ("/%7B%7d", "/%7B%7D"),
        ("/!$&'()*+,=:@-._~", "/!$&'()*+,=:@-._~"),
        ("/a/./b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/a/../b", "/b"),
        ("/a/%2E%2e/b", "/b"),
        ("/../../a", "/a"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/..", "/"),
        ("/.", "/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/...", "/..."),
        ("/.well-known", "/.well-known"),
    ],
)
def test_a_path_has_one_normal_form(raw: str, normal: str) -> None:
    assert normalise(raw) == normal


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="nothing"),
        pytest.param("a", id="no-slash"),
        pytest.param("*", id="asterisk"),
        pytest.param("http://h/a", id="absolute"),
        pytest.param("//a", id="two-slashes-first"),
        pytest.param("/a//b", id="two-slashes"),
        pytest.param("/a//", id="two-slashes-last"),
        pytest.param("/a/.//b", id="two-slashes-behind-a-dot"),
        pytest.param("/a%2fb", id="escaped-slash"),
        pytest.param("/..%2Fa", id="escaped-slash-behind-dots"),
        pytest.param("/a%5cb", id="escaped-backslash"),
        pytest.param("/a\\b", id="backslash"),
        pytest.param("/a%00", id="escaped-nul"),
        pytest.param("/a%1F", id="escaped-control"),
        pytest.param("/a%0d%0ab", id="escaped-line-end"),
        pytest.param("/a%7f", id="escaped-delete"),
        pytest.param("/a;b", id="semicolon"),
        pytest.param("/a%3Bb", id="escaped-semicolon"),
        pytest.param("/a\x00", id="nul"),
        pytest.param("/a\n", id="line-end"),
        pytest.param("/a b", id="space"),
        pytest.param("/é", id="not-ascii"),
        pytest.param("/{a}", id="braces"),
        pytest.param("/a|b", id="bar"),
        pytest.param("/a?b", id="query"),
        pytest.param("/a#b", id="fragment"),
        pytest.param('/a"b', id="quote"),
        pytest.param("/a%", id="escape-without-digits"),
        pytest.param("/a%4", id="escape-with-one-digit"),
        pytest.param("/a%zz", id="escape-without-hex"),
        pytest.param("/%%4141", id="escape-in-an-escape"),
        pytest.param("/%u0041", id="another-kind-of-escape"),
    ],
)
def test_what_two_readers_could_take_for_two_paths_is_refused(raw: str) -> None:
    assert normalise(raw) is None


_RAW = st.lists(
    st.sampled_from(
        [
            "/",
            "/",
            ".",
            "..",
            "a",
            "b",
            "%2e",
            "%2E%2e",
            "%61",
            "%C3%a9",
            "%25",
            "%2f",
            "%",
            ";",
            "~",
        ]
    ),
    max_size=12,
).map(lambda parts: "/" + "".join(parts))


@given(st.one_of(_RAW, st.text(max_size=30).map("/".__add__)))
@example("/a/%2e/%2E%2e/..b")
def test_the_normal_form_is_normal_and_ambiguous_to_nobody(raw: str) -> None:
    normal = normalise(raw)
    if normal is None:
        return
    assert normalise(normal) == normal
    assert normal.startswith("/")
    assert "//" not in normal
    assert not {".", ".."} & set(normal.split("/"))
    assert normal.count("/") == unquote_to_bytes(normal).count(b"/")
    assert not re.search(rb"[\x00-\x1f\x7f\\;]", unquote_to_bytes(normal))


@given(PATHS, st.data())
def test_escaping_what_needs_no_escape_changes_no_path(path: str, data: st.DataObject) -> None:
    spelled = "".join(
        f"%{ord(char):02x}" if char.isalnum() and data.draw(st.booleans()) else char
        for char in re.sub(r"%..", "", path)
    )
    assert normalise(spelled) == normalise(re.sub(r"%..", "", path))


@pytest.mark.parametrize(
    ("text", "normal", "shape", "parameters"),
    [
        ("/orders", "/orders", "/orders", ()),
        ("orders", "/orders", "/orders", ()),
        ("  /orders ", "/orders", "/orders", ()),
        ("/orders/{id}", "/orders/{id}", "/orders/{}", ("id",)),
        ("/{a}/{b_2}", "/{a}/{b_2}", "/{}/{}", ("a", "b_2")),
        ("/%61/{x}/b", "/a/{x}/b", "/a/{}/b", ("x",)),
        ("/größe/a b", "/gr%C3%B6%C3%9Fe/a%20b", "/gr%C3%B6%C3%9Fe/a%20b", ()),
        ("/gr%c3%b6%C3%9fe/%61", "/gr%C3%B6%C3%9Fe/a", "/gr%C3%B6%C3%9Fe/a", ()),
        ("/a*b,c=d:e@f", "/a*b,c=d:e@f", "/a*b,c=d:e@f", ()),
        ("/a|b^", "/a%7Cb%5E", "/a%7Cb%5E", ()),
        ("/.well-known/x", "/.well-known/x", "/.well-known/x", ()),
    ],
)
def test_a_template_is_kept_in_the_normal_form_of_paths(
    text: str, normal: str, shape: str, parameters: tuple[str, ...]
) -> None:
    template = parse_template(text)
    assert (template.text, template.shape, template.parameters) == (normal, shape, parameters)
    assert parse_template(template.text) == template


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "blank", id="nothing"),
        pytest.param("  ", "blank", id="spaces"),
        pytest.param("//", "empty segment", id="two-slashes"),
        pytest.param("//a", "empty segment", id="two-slashes-first"),
        pytest.param("/a//b", "empty segment", id="two-slashes-within"),
        pytest.param("/a//", "empty segment", id="two-slashes-last"),
        pytest.param("/{a}{b}", "nothing between", id="two-parameters-side-by-side"),
        pytest.param("/x{a}-{b}{c}", "nothing between", id="two-of-three-side-by-side"),
        pytest.param("/}", "other half", id="closing-brace"),
        pytest.param("/{", "other half", id="opening-brace"),
        pytest.param("/{a}}", "other half", id="one-closing-brace-too-many"),
        pytest.param("/{{a}}", "other half", id="double-braces"),
        pytest.param("/{a/b}", "proper name", id="slash-in-a-parameter"),
        pytest.param("/{a}-{a}", "twice", id="same-name-in-a-segment"),
        pytest.param("/{a}/{a...}", "twice", id="same-name-as-the-wildcard"),
        pytest.param("/{a...}/b", "last segment", id="wildcard-before-the-end"),
        pytest.param("/{a...}/", "last segment", id="wildcard-and-a-slash"),
        pytest.param("/x{a...}", "whole last segment", id="wildcard-behind-text"),
        pytest.param("/{a}-{b...}", "whole last segment", id="wildcard-behind-a-parameter"),
        pytest.param("/{...}", "proper name", id="wildcard-without-name"),
        pytest.param("/{a....}", "proper name", id="four-dots"),
        pytest.param("/{a..}", "proper name", id="two-dots"),
        pytest.param("/{id}?beta=true", "query", id="query-behind-a-parameter"),
        pytest.param("/x%4{a}", "no path may have", id="half-an-escape-before-a-parameter"),
        pytest.param("/{a}%2F{b}", "no path may have", id="escaped-slash-beside-a-parameter"),
        pytest.param("/{a};v=1", "no path may have", id="semicolon-beside-a-parameter"),
        pytest.param("/{}", "proper name", id="parameter-without-name"),
        pytest.param("/{1a}", "proper name", id="parameter-named-by-a-digit"),
        pytest.param("/{a b}", "proper name", id="parameter-with-space"),
        pytest.param("/{é}", "proper name", id="parameter-not-ascii"),
        pytest.param("/{" + "a" * 65 + "}", "proper name", id="parameter-too-long"),
        pytest.param("/{a}/{a}", "twice", id="same-name"),
        pytest.param("/a?b=c", "query", id="query"),
        pytest.param("/a#b", "fragment", id="fragment"),
        pytest.param("/.", "no path may have", id="dot"),
        pytest.param("/a/../b", "no path may have", id="dots"),
        pytest.param("/%00", "no path may have", id="escaped-nul"),
        pytest.param("/a%3bb", "no path may have", id="escaped-semicolon"),
        pytest.param("/%2e%2E", "no path may have", id="escaped-dots"),
        pytest.param("/a%2Fb", "no path may have", id="escaped-slash"),
        pytest.param("/a\\b", "no path may have", id="backslash"),
        pytest.param("/a;b", "no path may have", id="semicolon"),
        pytest.param("/a\x00b", r"invisible character, U\+0000", id="nul"),
        pytest.param("/a\nb", r"invisible character, U\+000A", id="line-end"),
        pytest.param("/a%4", "no path may have", id="bad-escape"),
        pytest.param("/a\ud800", "invisible character", id="half-a-character"),
        pytest.param("/a\u200bb", r"invisible character, U\+200B", id="zero-width"),
        pytest.param("/a\u00a0b", "invisible character", id="no-break-space"),
        pytest.param("/a\u202eb", "invisible character", id="right-to-left-override"),
        pytest.param("/a\x85b", "invisible character", id="next-line"),
        pytest.param("/{a}\u2028/b", "invisible character", id="line-separator-behind-a-parameter"),
        pytest.param("/" + "a" * LONGEST, "longer than", id="too-long"),
        pytest.param("/" + "é" * 200, "once encoded", id="too-long-when-encoded"),
        pytest.param("/a" * (MOST_SEGMENTS + 1), "segments", id="too-many-segments"),
        pytest.param(
            "".join(f"/{{p{i}}}" for i in range(MOST_PARAMETERS + 1)),
            "parameters",
            id="too-many-parameters",
        ),
    ],
)
def test_a_template_that_could_not_work_is_refused_in_words(text: str, reason: str) -> None:
    with pytest.raises(BadTemplate, match=reason) as caught:
        parse_template(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("/*", "{path...}"),
        ("/files/*", "{path...}"),
        ("/files/**", "{path...}"),
        ("/files/*.json", "{path...}"),
        ("/files/x*", "{path...}"),
        ("/files/(.*)", "{path...}"),
        ("/files/{id}*", "{path...}"),
        ("/files/{path+}", "{path...}"),
        ("/files/{+path}", "{path...}"),
        ("/files/{path*}", "{path...}"),
        ("/files/{*path}", "{path...}"),
        ("/files/{**path}", "{path...}"),
        ("/files/{path:path}", "{path...}"),
        ("/files/{path:.*}", "{path...}"),
        ("/files/{...path}", "{path...}"),
        ("/files/[...path]", "{path...}"),
        ("/files/[[...path]]", "{path...}"),
        ("/{id:int}", "{id}"),
        ("/{id:[0-9]+}", "{id}"),
        ("/{id=5}", "{id}"),
        ("/{id?}", "{id}"),
        ("/{id:int}.json", "{id}"),
        ("/:id", "{id}"),
        ("/:id.json", "{id}"),
        ("/a/:order_id/b", "{order_id}"),
        ("/<id>", "{id}"),
        ("/<int:id>/x", "{id}"),
        ("/x-<id>.json", "{id}"),
        ("/a>b", "{name}"),
        ("/[id]", "{id}"),
        ("/{name", "{name}"),
    ],
)
def test_what_is_a_pattern_elsewhere_is_refused_with_the_right_spelling(
    text: str, right: str
) -> None:
    with pytest.raises(BadTemplate, match=re.escape(right)):
        parse_template(text)


def test_what_is_stored_already_stays_text() -> None:
    for text in ("/files/*", "/:id", "/a*"):
        template = stored_template(text)
        assert (template.text, template.parameters) == (text, ())
        assert template.matches(text[1:].split("/"))
    with pytest.raises(BadTemplate):
        stored_template("/a//b")


@pytest.mark.parametrize(
    "text", ["/topics:batchGet", "/$metadata", "/a*b", "/v1:x/{y}", "/a...b", "/~{user}", "/({id})"]
)
def test_text_that_only_resembles_a_pattern_is_text(text: str) -> None:
    assert parse_template(text).text == text


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/{id}.json", "/5.json", ("5",)),
        ("/{id}.json", "/5.json.json", ("5.json",)),
        ("/{id}.json", "/.json", None),
        ("/{id}.json", "/5.xml", None),
        ("/shelves/{shelf}:merge", "/shelves/a%20b:merge", ("a%20b",)),
        ("/shelves/{shelf}:merge", "/shelves/a:b", None),
        ("/Products({id})", "/Products(5)", ("5",)),
        ("/Products({id})", "/Products()", None),
        ("/{a}-{b}", "/1-2", ("1", "2")),
        ("/{a}-{b}", "/1-2-3", ("1", "2-3")),
        ("/{a}-{b}", "/--3", ("-", "3")),
        ("/{a}-{b}", "/-3", None),
        ("/{a}-{b}", "/3-", None),
        ("/compare/{base}...{head}", "/compare/v1...v2", ("v1", "v2")),
        ("/compare/{base}...{head}", "/compare/a....b", ("a", ".b")),
        ("/x{a}-{b}.z", "/xab-c-d.z", ("ab", "c-d")),
        ("/{a}C{b}", "/%C3%A9Cx", ("%C3%A9", "x")),
        ("/{a}C{b}", "/%C3%A9", None),
        ("/{a}9", "/%C3%A9", None),
        ("/{a}9", "/%C3%A99", ("%C3%A9",)),
        ("/{a}%20{b}", "/x%20y", ("x", "y")),
        ("/files/{path...}", "/files/a", ("a",)),
        ("/files/{path...}", "/files/a/b/0.log", ("a/b/0.log",)),
        ("/files/{path...}", "/files/a/", ("a/",)),
        ("/files/{path...}", "/files/", None),
        ("/files/{path...}", "/files", None),
        ("/{path...}", "/", None),
        ("/{path...}", "/a", ("a",)),
        ("/{a}/{b}.x/{path...}", "/1/2.x/3/4", ("1", "2", "3/4")),
    ],
)
def test_each_parameter_takes_as_little_as_it_can_and_the_last_the_rest(
    template: str, path: str, values: tuple[str, ...] | None
) -> None:
    assert parse_template(template).values(path[1:].split("/")) == values


@given(
    st.lists(
        st.sampled_from(["a", "-", ".", "%C3%A9", "%2D%41", "9", "C"]), min_size=1, max_size=9
    ),
    st.sampled_from(
        ["{x}", "{x}-{y}", "a{x}", "{x}.{y}.{z}", "{x}C{y}", "{x}aa", "-{x}-", "{x}9{y}"]
    ),
)
def test_a_segment_matches_as_its_lazy_expression_does(words: list[str], segment: str) -> None:
    path = normalise("/" + "".join(words))
    if path is None or path == "/":
        return
    unit = "(?:%[0-9A-F]{2}|[^%])"
    pieces = re.split(r"\{\w\}", segment)
    expression = f"({unit}+?)".join(map(re.escape, pieces))
    expected = re.fullmatch(expression, path[1:])
    values = parse_template(segment).values([path[1:]])
    assert values == (expected.groups() if expected else None)


@pytest.mark.parametrize(
    ("target", "template", "path", "filled"),
    [
        ("/v2/{id}", "/{id}.json", "/5.json", "/v2/5"),
        ("/{b}/{a}.x", "/{a}-{b}", "/1-2", "/2/1.x"),
        ("/old/{path...}", "/files/{path...}", "/files/a/b/", "/old/a/b/"),
        ("/x/{b}", "/{a}-{b}", "/1-..", None),
        ("/x/{b}/y", "/{a}-{b}", "/1-.", None),
        ("/x/{b}/y", "/{a}-{b}", "/1-...", "/x/.../y"),
        ("/x/.{b}", "/{a}-{b}", "/1-.", None),
        ("/x/{b}", "/{a}-{b}", "/1-..;y", None),
        ("/x/..{b}", "/{a}-{b}", "/1-;y", None),
        ("/x/{b}", "/{a}-{b}", "/1-..%2Fy", None),
        ("/x/{b}", "/{a}-{b}", "/1-y%5C..", None),
        ("/x/{b}", "/{a}-{b}", "/1-y%2F..z", "/x/y%2F..z"),
    ],
)
def test_the_path_on_the_upstream_takes_the_values_and_never_has_dots(
    target: str, template: str, path: str, filled: str | None
) -> None:
    assert rewritten(parse_template(target), parse_template(template), path) == filled


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("/e/group%2fproject", "/e/group%2Fproject"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a%3bb", "/a%3Bb"),
        ("/a%5cb", "/a%5Cb"),
        ("/https%3A%2F%2Fh%2F", "/https%3A%2F%2Fh%2F"),
        ("/a%252Fb", "/a%252Fb"),
        ("/a%2F%2e%2eb", "/a%2F..b"),
        ("/a%2Fb/../c", "/c"),
        ("/a;x=..", "/a;x=.."),
        ("/a%2F..", None),
        ("/..%2Fa", None),
        ("/%2e%2e%2fa", None),
        ("/a/..;/b", None),
        ("/a/.;v=1/b", None),
        ("/a/%2E%2E%3B", None),
        ("/a%5C..%5Cb", None),
        ("/a;..;b", None),
        ("/a%2F.", None),
        ("/a%00;", None),
        ("/a//;", None),
        ("/a\\;", None),
        ("/a%2", None),
    ],
)
def test_encoded_slashes_and_semicolons_stay_within_a_segment_where_they_may_pass(
    raw: str, normal: str | None
) -> None:
    assert normalise(raw, encoded_slashes=True) == normal
    assert normalise(raw) in {None, normal}


@given(st.one_of(st.text(max_size=30).map("/".__add__), PATHS))
def test_a_path_of_the_usual_form_is_the_same_where_more_may_pass(raw: str) -> None:
    usual = normalise(raw)
    if usual is not None:
        assert normalise(raw, encoded_slashes=True) == usual


@pytest.mark.parametrize(
    "ranked",
    [
        pytest.param(
            [
                "/a/b.json",
                "/a/b{x}.json",
                "/a/{x}.json",
                "/a/{x}",
                "/a/{x...}",
                "/{x}/{y}",
                "/{x...}",
            ],
            id="literal, more literal characters, parameter, wildcard",
        ),
        pytest.param(["/aa{x}a", "/a{x}aa", "/b{x}bb", "/{x}aaa"], id="text at the beginning"),
        pytest.param(["/{x}.a", "/{x}.b", "/{x}~b"], id="the alphabet"),
        pytest.param(["/{x}.a/{y...}", "/{x}/b/c", "/{x...}"], id="the first segment decides"),
    ],
)
def test_templates_are_ranked_by_one_rule(ranked: list[str]) -> None:
    templates = [parse_template(text) for text in ranked]
    assert sorted(templates, key=lambda t: t.rank) == templates


def test_templates_that_differ_by_names_alone_have_one_shape() -> None:
    for one, other in [
        ("/{a}.json", "/{b}.json"),
        ("/{a}-{b}", "/{x}-{y}"),
        ("/f/{rest...}", "/f/{path...}"),
    ]:
        assert parse_template(one).shape == parse_template(other).shape
    shapes = {parse_template(t).shape for t in ("/f/{a}", "/f/{a...}", "/f/{a}.x", "/f/x.{a}")}
    assert len(shapes) == 4


def test_any_takes_every_method_behind_the_one_that_is_named() -> None:
    every, named_, get = an("ANY", "/a/{x}"), an("PUT", "/a/{x}"), an("GET", "/a/{x}")
    literal = an("ANY", "/a/b")
    for method in METHODS:
        assert choose([every, named_, get, literal], method, "/a/b").endpoint is literal
    for method, wanted in [("PUT", named_), ("HEAD", get), ("GET", get), ("OPTIONS", every)]:
        assert choose([every, named_, get], method, "/a/5").endpoint is wanted
    assert choose([every], "PROPFIND", "/a/5").endpoint is None
    assert choose([every], "PROPFIND", "/a/5").allow == METHODS
    off = an("ANY", "/a/{x}", active=False)
    assert choose([off, named_], "GET", "/a/5").inactive
    assert choose([off, named_], "GET", "/a/5").allow == ("PUT",)


def test_a_template_may_be_that_large() -> None:
    many = "".join(f"/{{p{i}}}" for i in range(MOST_PARAMETERS))
    for text in ("/a" * MOST_SEGMENTS, "/" + "a" * (LONGEST - 1), many):
        assert parse_template(text).text == text


@given(st.text(max_size=20))
def test_a_template_is_refused_or_matched_by_its_own_text(text: str) -> None:
    try:
        template = parse_template(text)
    except BadTemplate:
        return
    path = re.sub(r"\{[^}]*\}", "5", template.text)
    assert parse_template(template.text) == template
    assert normalise(path) == path
    assert template.matches(path[1:].split("/"))


ORDERS = [
    an("GET", "/orders"),
    an("POST", "/orders"),
    an("GET", "/orders/{id}"),
    an("DELETE", "/orders/{id}"),
    an("GET", "/orders/latest"),
    an("PUT", "/orders/{id}/lines/{line}"),
    an("GET", "/orders/{id}/lines/first"),
    an("GET", "/{kind}/7"),
    an("PATCH", "/orders/{id}", active=False),
    an("GET", "/hidden", active=False),
]


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        pytest.param("GET", "/orders", "/orders", id="literal"),
        pytest.param("HEAD", "/orders", "/orders", id="head-follows-get"),
        pytest.param("GET", "/orders/5", "/orders/{id}", id="parameter"),
        pytest.param("GET", "/orders/%C3%A9", "/orders/{id}", id="parameter-that-is-escaped"),
        pytest.param("GET", "/orders/latest", "/orders/latest", id="literal-wins"),
        pytest.param("DELETE", "/orders/latest", "/orders/{id}", id="method-decides"),
        pytest.param("GET", "/orders/7", "/orders/{id}", id="left-literal-wins"),
        pytest.param("GET", "/things/7", "/{kind}/7", id="parameter-first"),
        pytest.param("GET", "/orders/7/lines/first", "/orders/{id}/lines/first", id="inner"),
        pytest.param("PUT", "/orders/7/lines/first", "/orders/{id}/lines/{line}", id="two"),
    ],
)
def test_a_call_means_the_most_specific_endpoint_of_its_method(
    method: str, path: str, template: str
) -> None:
    chosen = choose(ORDERS, method, path)
    assert chosen.endpoint is not None
    assert chosen.endpoint.template.text == template
    assert chosen.endpoint.active


@pytest.mark.parametrize(
    ("method", "path", "allow", "inactive"),
    [
        pytest.param("GET", "/nothing", (), False, id="unknown"),
        pytest.param("GET", "/orders/", (), False, id="slash-at-the-end"),
        pytest.param("DELETE", "/orders/", (), False, id="slash-is-no-parameter"),
        pytest.param("GET", "/", (), False, id="root"),
        pytest.param("GET", "/orders/5/lines", (), False, id="between-two"),
        pytest.param("GET", "/ORDERS", (), False, id="case"),
        pytest.param("PUT", "/orders", ("GET", "HEAD", "POST"), False, id="other-method"),
        pytest.param("PUT", "/orders/7", ("GET", "HEAD", "DELETE"), False, id="methods-of-all"),
        pytest.param("OPTIONS", "/orders", ("GET", "HEAD", "POST"), False, id="options"),
        pytest.param("PATCH", "/orders/5", ("GET", "HEAD", "DELETE"), True, id="inactive-method"),
        pytest.param("GET", "/hidden", (), True, id="inactive"),
        pytest.param("HEAD", "/hidden", (), True, id="inactive-for-head"),
    ],
)
def test_a_call_that_means_none_is_told_the_methods_of_its_path(
    method: str, path: str, allow: tuple[str, ...], inactive: bool
) -> None:
    choice = choose(ORDERS, method, path)
    assert (choice.endpoint, choice.allow, choice.inactive) == (None, allow, inactive)


def test_head_has_an_endpoint_of_its_own_if_there_is_one() -> None:
    both = [an("GET", "/a/{x}"), an("HEAD", "/a/{x}"), an("HEAD", "/{y}/{x}")]
    assert choose(both, "HEAD", "/a/5").endpoint == both[1]
    assert choose([both[0], both[2]], "HEAD", "/a/5").endpoint == both[0]
    assert choose(both[1:], "GET", "/a/5").allow == ("HEAD",)


@given(TEMPLATES, PATHS)
def test_a_template_matches_as_its_expression_does(template: Template, path: str) -> None:
    expression = re.sub(r"\\\{\w+\\\.\\\.\\\.\\\}", ".+", re.escape(template.text))
    expression = re.sub(r"\\\{\w+\\\}", "[^/]+", expression)
    matches = template.matches(path[1:].split("/"))
    assert matches == bool(re.fullmatch(expression, path))


@given(ENDPOINTS, METHOD, PATHS)
def test_no_matching_endpoint_is_more_specific_than_the_chosen_one(
    endpoints: list[An], method: str, path: str
) -> None:
    segments = path[1:].split("/")
    takes = set(taken_by(method))
    fitting = [e for e in endpoints if e.active and e.template.matches(segments)]
    mine = [e for e in fitting if e.method in takes]
    choice = choose(endpoints, method, path)
    if choice.endpoint is None:
        assert not mine
        assert choice.allow == allowed(e.method for e in fitting)
        assert method not in choice.allow
    else:
        assert choice.endpoint in mine
        assert all(choice.endpoint.template.rank <= e.template.rank for e in mine)


@given(ENDPOINTS.flatmap(lambda es: st.tuples(st.just(es), st.permutations(es))), METHOD, PATHS)
def test_the_order_of_endpoints_decides_nothing(
    lists: tuple[list[An], list[An]], method: str, path: str
) -> None:
    assert choose(lists[0], method, path) == choose(lists[1], method, path)


@pytest.mark.parametrize(
    ("text", "normal", "shape"),
    [("/", "/", "/"), ("/a/", "/a/", "/a/"), ("a/{x}/", "/a/{x}/", "/a/{}/")],
)
def test_a_template_may_end_in_a_slash_and_is_then_another(
    text: str, normal: str, shape: str
) -> None:
    template = parse_template(text)
    assert (template.text, template.shape) == (normal, shape)
    assert template.segments[-1] == ""
    assert parse_template(template.text) == template
    assert template.matches(normal.replace("{x}", "5")[1:].split("/"))
    assert not template.matches(normal.replace("{x}", "5")[1:].removesuffix("/").split("/") + ["b"])


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ("/a", "/a", True),
        ("/a", "/b", False),
        ("/a", "/{x}", True),
        ("/a/b", "/{x}", False),
        ("/a.json", "/{x}.json", True),
        ("/a.xml", "/{x}.json", False),
        ("/{x}.json", "/{y}.xml", False),
        ("/{x}.tar.gz", "/{y}.gz", True),
        ("/a-b-{x}", "/a-{y}", True),
        ("/{x}.json", "/a-{y}", True),
        ("/a-{x}", "/b-{y}", False),
        ("/files/{rest...}", "/files/a/b", True),
        ("/files/{rest...}", "/files/", False),
        ("/files/{rest...}", "/files", False),
        ("/files/{rest...}", "/other/{rest...}", False),
        ("/files/{rest...}", "/files/deep/{rest...}", True),
        ("/{rest...}", "/files/deep/{rest...}", True),
    ],
)
def test_templates_that_may_meet_are_named(one: str, other: str, may: bool) -> None:
    mine, others = parse_template(one), parse_template(other)
    assert may_meet(mine, others) is may
    assert may_meet(others, mine) is may


@given(ENDPOINTS, PATHS)
def test_templates_that_match_one_path_may_meet(endpoints: list[An], path: str) -> None:
    segments = path[1:].split("/")
    fitting = [each.template for each in endpoints if each.template.matches(segments)]
    assert all(may_meet(one, other) for one in fitting for other in fitting)


def test_a_template_names_its_parameters_as_they_are_written() -> None:
    assert parse_template("/a/{x}-{y}/{rest...}").tokens == ("{x}", "{y}", "{rest...}")


def test_what_does_not_fit_is_not_rewritten() -> None:
    template = parse_template("/a/{x}")
    assert rewritten(parse_template("/b/{x}"), template, "/a/1") == "/b/1"
    assert rewritten(parse_template("/b/{x}"), template, "/c/1") is None


def test_a_parameter_of_another_system_is_refused_with_ours_in_its_place() -> None:
    with pytest.raises(BadTemplate, match=re.escape("has ':id': write {id} for a parameter")):
        parse_template("/:id")
