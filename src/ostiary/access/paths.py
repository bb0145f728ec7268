"""Paths: the one normal form of a call's path, endpoint templates, and which one a path means.

A template's segment is literal text, a parameter (`{id}`), both (`{id}.json`, `{a}-{b}`), or, at the
end, a wildcard (`{path...}`) that takes the rest of the path, at least one character of it.

Of the endpoints that take a call, segment by segment from the left: literal text goes before a
parameter with literal text, that before a parameter alone, and that before a wildcard. Of two segments
with both, the one with more literal characters goes first; then the one that begins with more of
them; then the one that is first in the alphabet. Of two endpoints with the same path, the one that
names the method goes before ANY.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

#: The methods that calls may have.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: The method of an endpoint that takes calls of all of them.
ANY = "ANY"
ENDPOINT_METHODS = (*METHODS, ANY)
LONGEST = 512
MOST_SEGMENTS = 32
MOST_PARAMETERS = 9
#: A parameter and a wildcard, in a template's shape.
PARAMETER, WILDCARD = "{}", "{...}"

_PLAIN = re.compile(r"[A-Za-z0-9_.~!$&'()*+,=:@/%-]*")
#: With the semicolon, which begins a matrix parameter.
_PLAIN_AND_SEMICOLON = re.compile(r"[A-Za-z0-9_.~!$&'()*+,=:@/%;-]*")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
#: Escapes of separators and of control characters: two readers would not agree on the path.
_REFUSED_ESCAPE = re.compile(r"%(2[Ff]|3[Bb]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])")
_ESCAPED_CONTROL = re.compile(r"%([01][0-9A-Fa-f]|7[Ff])")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: A segment that some reader takes for `.` or `..`: one who decodes slashes, or drops matrix parameters.
_DOTS = re.compile(r"(?:/|;|%2F|%5C|%3B)\.\.?(?=/|;|%2F|%5C|%3B|\Z)")
_BRACES = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
#: How others write the rest of a path: `{path+}`, `{+path}`, `{path*}`, `{**path}`, `{path:path}`, `{path:.*}`.
_FOREIGN_REST = re.compile(
    r"(?:\+|\*{1,2}|\.\.\.)([A-Za-z_]\w*)|([A-Za-z_]\w*)(?:\+|\*{1,2}|:(?:path|\*|\.[*+]))"
)
#: A parameter with a type, an expression or a mark: `{id:int}`, `{id=5}`, `{id?}`.
_FOREIGN_PARAMETER = re.compile(r"([A-Za-z_]\w*) *[:=?<|(].*", re.DOTALL)
_COLON_NAME = re.compile(r":([A-Za-z_]\w*)")
_POINTED_NAME = re.compile(r"<(?:\w+:)?([A-Za-z_]\w*)>")
_SQUARE_NAME = re.compile(r"\[{1,2}(\.\.\.)?([A-Za-z_]\w*)\]{1,2}")


class BadTemplate(ValueError):
    """A path template that cannot be used; the text is one sentence without a subject."""


#: How specific a segment is: its kind, and of both text and parameters what decides further.
Rank = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An endpoint's path below its collection, in normal form, with a leading slash.

    What is matched is forwarded byte for byte, so `/orders/` is another path than `/orders`; it
    has an empty last segment.
    """

    text: str
    segments: tuple[str, ...]

    @property
    def shape(self) -> str:
        """The template without its parameters' names: what two endpoints must not share."""
        return "/" + "/".join(map(_shape, self.segments))

    @property
    def has_wildcard(self) -> bool:
        return is_wildcard(self.segments[-1])

    @property
    def tokens(self) -> tuple[str, ...]:
        """The parameters and the wildcard as they are written, such as `{id}` and `{path...}`."""
        return tuple(f"{{{inner}}}" for inner in _BRACES.findall(self.text))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, and last that of the wildcard."""
        return tuple(inner.removesuffix("...") for inner in _BRACES.findall(self.text))

    @property
    def rank(self) -> tuple[Rank, ...]:
        """Sorts before less specific templates that match the same path."""
        return tuple(map(_rank, self.segments))

    def values(self, segments: Sequence[str]) -> tuple[str, ...] | None:
        """What each parameter of a path that fits takes, as it is in the path; nothing: no fit."""
        own = self.segments
        if self.has_wildcard:
            rest = "/".join(segments[len(own) - 1 :])
            if not rest:
                return None
            own, segments = own[:-1], segments[: len(own) - 1]
        if len(own) != len(segments):
            return None
        taken: list[str] = []
        for template, given in zip(own, segments, strict=True):
            some = _taken(template, given)
            if some is None:
                return None
            taken += some
        return (*taken, rest) if self.has_wildcard else tuple(taken)

    def matches(self, segments: Sequence[str]) -> bool:
        return self.values(segments) is not None

    def filled(self, values: Mapping[str, str]) -> str:
        """The template with values, by the parameters' names."""
        return _BRACES.sub(lambda found: values[found[1].removesuffix("...")], self.text)


def rewritten(target: Template, template: Template, path: str) -> str | None:
    """The path on the upstream of a path that fits; nothing: it would have a dot segment."""
    values = template.values(path[1:].split("/"))
    if values is None:
        return None
    filled = target.filled(dict(zip(template.parameters, values, strict=True)))
    return None if _DOTS.search(filled) else filled


def may_meet(one: Template, other: Template) -> bool:
    """Whether some path may fit both."""
    if one.has_wildcard and not other.has_wildcard:
        one, other = other, one
    mine, others = one.segments, other.segments
    if other.has_wildcard:
        shared = min(len(others), len(mine)) - 1 if one.has_wildcard else len(others) - 1
        if len(mine) <= shared or mine[shared] == "":
            return False
        mine, others = mine[:shared], others[:shared]
    return len(mine) == len(others) and all(map(_segments_may_meet, mine, others))


def _segments_may_meet(one: str, other: str) -> bool:
    mine, others = _pieces(one), _pieces(other)
    if len(mine) == 1:
        return _taken(other, one) is not None
    if len(others) == 1:
        return _taken(one, other) is not None
    begin = mine[0].startswith(others[0]) or others[0].startswith(mine[0])
    return begin and (mine[-1].endswith(others[-1]) or others[-1].endswith(mine[-1]))


def is_wildcard(segment: str) -> bool:
    return segment.endswith("...}") and segment.startswith("{")


@lru_cache(maxsize=16_384)
def _pieces(segment: str) -> tuple[str, ...]:
    """Literal texts (they may be empty) and parameters' names in turn."""
    return tuple(_BRACES.split(segment))


def _shape(segment: str) -> str:
    return WILDCARD if is_wildcard(segment) else PARAMETER.join(_pieces(segment)[::2])


def _rank(segment: str) -> Rank:
    if is_wildcard(segment):
        return (3, 0, 0, "")
    literals = _pieces(segment)[::2]
    if len(literals) == 1:
        return (0, 0, 0, "")
    if not any(literals):
        return (2, 0, 0, "")
    return (1, -sum(map(len, literals)), -len(literals[0]), _shape(segment))


def _taken(template: str, given: str) -> Sequence[str] | None:
    """What the parameters of a segment take: each as little as it can, the last one all the rest.

    A parameter takes at least one character, and no part of an escape.
    """
    pieces = _pieces(template)
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return () if given == first else None
    if not given.startswith(first):
        return None
    at, taken = len(first), []
    for literal in pieces[2:-1:2]:
        found = _found(given, literal, at + 1)
        if found < 0:
            return None
        taken.append(given[at:found])
        at = found + len(literal)
    end = len(given) - len(last)
    if end <= at or not given.endswith(last) or _in_escape(given, end):
        return None
    return (*taken, given[at:end])


def _found(given: str, literal: str, start: int) -> int:
    found = given.find(literal, start)
    while found >= 0 and _in_escape(given, found):
        found = given.find(literal, found + 1)
    return found


def _in_escape(given: str, at: int) -> bool:
    return "%" in given[max(at - 2, 0) : at]


def parse_template(text: str) -> Template:
    """Read a path template that somebody wrote, such as `/orders/{id}`; raises BadTemplate."""
    template = stored_template(text)
    for part in text.strip().removeprefix("/").split("/"):
        _check_foreign(part)
    return template


def stored_template(text: str) -> Template:
    """Read a path template from the directory; raises BadTemplate.

    Earlier releases took as text what is refused now for looking like a pattern. It stays text.
    """
    text = text.strip()
    if not text:
        raise BadTemplate("can't be blank")
    if len(text) > LONGEST:
        raise BadTemplate(f"is longer than {LONGEST} characters")
    if re.search("[?#]", _BRACES.sub("", text)):
        raise BadTemplate("must be a path alone, without a query or fragment")
    _check_names(text)
    parts = text.removeprefix("/").split("/")
    ending = ("",) if parts[-1] == "" else (_template_segment(parts[-1]),)
    segments = (*(_template_segment(part) for part in parts[:-1]), *ending)
    template = Template(text="/" + "/".join(segments), segments=segments)
    _check_size(template)
    return template


def _check_names(text: str) -> None:
    for inner in _BRACES.findall(text):
        name = inner.removesuffix("...")
        if _NAME.fullmatch(name) and not name.endswith("."):
            continue
        token = f"{{{inner}}}"
        if (rest := _FOREIGN_REST.fullmatch(inner)) is not None:
            name = rest[1] or rest[2]
            raise BadTemplate(f"has {token!r}: write {{{name}...}} for the rest of the path")
        if (typed := _FOREIGN_PARAMETER.fullmatch(inner)) is not None:
            raise BadTemplate(f"has {token!r}: write {{{typed[1]}}}, the name alone")
        raise BadTemplate(f"has a parameter without a proper name: {token!r}")


def _check_size(template: Template) -> None:
    if len(template.text) > LONGEST:
        raise BadTemplate(f"is longer than {LONGEST} characters, once encoded")
    if len(template.segments) > MOST_SEGMENTS:
        raise BadTemplate(f"has more than {MOST_SEGMENTS} segments")
    if any(map(is_wildcard, template.segments[:-1])):
        raise BadTemplate("has a wildcard before its end; it must be the last segment")
    names = template.parameters
    if len(names) > MOST_PARAMETERS:
        raise BadTemplate(f"has more than {MOST_PARAMETERS} parameters")
    if len(set(names)) != len(names):
        raise BadTemplate("names a parameter twice")


def _template_segment(part: str) -> str:
    if not part:
        raise BadTemplate("has an empty segment")
    pieces = _BRACES.split(part)
    literals, names = pieces[::2], pieces[1::2]
    if any("{" in literal or "}" in literal for literal in literals):
        raise BadTemplate("has a brace without its other half; write a parameter as {name}")
    if not names:
        return _literal_segment(part)
    if len(part) > len(names[0]) + 2 and any(name.endswith("...") for name in names):
        raise BadTemplate("has a wildcard beside other text; it must be the whole last segment")
    if not all(literals[1:-1]):
        raise BadTemplate("has two parameters with nothing between them")
    tokens = (f"{{{name}}}" for name in names)
    texts = [_literal(literal, part) for literal in literals]
    return texts[0] + "".join(
        f"{token}{text}" for token, text in zip(tokens, texts[1:], strict=True)
    )


def _check_foreign(part: str) -> None:
    """Refuse what other systems take for a pattern: here it would be that text and nothing else."""
    if found := _COLON_NAME.match(part):
        raise BadTemplate(f"has {found[0]!r}: write {{{found[1]}}} for a parameter")
    for text in _BRACES.split(part)[::2]:
        _check_text(text)


def _check_text(text: str) -> None:
    if found := _POINTED_NAME.search(text):
        raise BadTemplate(f"has {found[0]!r}: write {{{found[1]}}} for a parameter")
    if "<" in text or ">" in text:
        raise BadTemplate("has a pointed bracket; write a parameter as {name}")
    if found := _SQUARE_NAME.fullmatch(text):
        raise BadTemplate(f"has {text!r}: write {{{found[2]}{found[1] or ''}}} for a parameter")
    if text.startswith("*") or text.endswith("*") or ".*" in text:
        raise BadTemplate(
            f"has {text!r}, which isn't a wildcard: write {{name}} for one segment,"
            " or {path...} at the end for the rest of the path"
        )


def _literal_segment(part: str) -> str:
    normal = normalise("/" + _encoded(part))
    if normal is None or normal == "/":
        raise BadTemplate(f"has a segment that no path may have: {part!r}")
    return normal[1:]


def _literal(text: str, part: str) -> str:
    """Literal text beside a parameter; dots alone make no dot segment there."""
    normal = _decoded("/" + _encoded(text), _PLAIN, _REFUSED_ESCAPE)
    if normal is None:
        raise BadTemplate(f"has a segment that no path may have: {part!r}")
    return normal[1:]


def _encoded(text: str) -> str:
    return "".join(c if _PLAIN.fullmatch(c) else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    # Control, format and private characters, halves of one, and blanks that look like a space or
    # like nothing.
    if char != " " and unicodedata.category(char)[0] in {"C", "Z"}:
        raise BadTemplate(f"holds an invisible character, U+{ord(char):04X}")
    return "".join(f"%{byte:02X}" for byte in char.encode())


def normalise(path: str, *, encoded_slashes: bool = False) -> str | None:
    """The one normal form of a raw path, or nothing if no call may have it.

    RFC 3986, section 6.2.2: escapes of unreserved characters are decoded, the others upper-cased,
    dot segments removed. Refused: what two readers could take for two paths. With
    `encoded_slashes`, escaped slashes and backslashes and semicolons may stand within a segment, as
    they are; dot segments that a reader would find behind them are still refused.
    """
    plain, refused = (
        (_PLAIN_AND_SEMICOLON, _ESCAPED_CONTROL) if encoded_slashes else (_PLAIN, _REFUSED_ESCAPE)
    )
    decoded = _decoded(path, plain, refused)
    if decoded is None:
        return None
    normal = _without_dots(decoded)
    return None if _DOTS.search(normal) else normal


def _decoded(path: str, plain: re.Pattern[str], refused: re.Pattern[str]) -> str | None:
    if not path.startswith("/") or not plain.fullmatch(path) or "//" in path:
        return None
    if refused.search(path) or "%" in _ESCAPE.sub("", path):
        return None
    return _ESCAPE.sub(_unescaped, path)


def _unescaped(escape: re.Match[str]) -> str:
    char = chr(int(escape[0][1:], 16))
    return char if char in _UNRESERVED else escape[0].upper()


def _without_dots(path: str) -> str:
    kept: list[str] = []
    parts = path[1:].split("/")
    for part in parts:
        if part == "..":
            if kept:
                kept.pop()
        elif part != ".":
            kept.append(part)
    if parts[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


class Routable(Protocol):
    """What `choose` must know of an endpoint."""

    @property
    def method(self) -> str: ...
    @property
    def template(self) -> Template: ...
    @property
    def active(self) -> bool: ...


E = TypeVar("E", bound=Routable)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch(Generic[E]):
    """The endpoint that a call means, if any; else the methods that its path takes."""

    endpoint: E | None
    allow: tuple[str, ...] = ()
    inactive: bool = False


def choose(endpoints: Iterable[E], method: str, path: str) -> RouteMatch[E]:
    """Which endpoint a method and a normal path (below the collection) mean.

    Among the active ones that take the method, the most specific template wins; of two with the same
    one, the method decides in the order of `taken_by`.
    """
    segments = path[1:].split("/")
    wanted = taken_by(method)
    fitting = sorted(
        (e for e in endpoints if e.template.matches(segments)),
        key=lambda e: (e.template.rank, wanted.index(e.method) if e.method in wanted else -1),
    )
    active = [e for e in fitting if e.active]
    for endpoint in active:
        if endpoint.method in wanted:
            return RouteMatch(endpoint=endpoint)
    inactive = any(e.method in wanted and not e.active for e in fitting)
    return RouteMatch(endpoint=None, allow=allowed(e.method for e in active), inactive=inactive)


def taken_by(method: str) -> tuple[str, ...]:
    """The methods of endpoints that take a call: HEAD follows GET where it has none of its own."""
    if method not in METHODS:
        return ()
    return ("HEAD", "GET", ANY) if method == "HEAD" else (method, ANY)


def allowed(methods: Iterable[str]) -> tuple[str, ...]:
    """The `Allow` header's methods: HEAD comes with GET (RFC 9110, sections 9.3.2, 10.2.1)."""
    known = set(methods)
    if ANY in known:
        return METHODS
    if "GET" in known:
        known.add("HEAD")
    return tuple(method for method in METHODS if method in known)
