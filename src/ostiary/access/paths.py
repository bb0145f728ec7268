"""Paths: the one normal form of a call's path, endpoint templates, and which one a path means."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LONGEST = 512
MOST_SEGMENTS = 32
#: A gateway refers back to what a parameter matched by one digit.
MOST_PARAMETERS = 9
#: A segment that is a parameter, in a template's shape.
PARAMETER = "{}"

_PLAIN = re.compile(r"[A-Za-z0-9_.~!$&'()*+,=:@/%-]*")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
#: Escapes of separators and of control characters: two readers would not agree on the path.
_REFUSED_ESCAPE = re.compile(r"%(2[Ff]|3[Bb]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class BadTemplate(ValueError):
    """A path template that cannot be used; the text is one sentence without a subject."""


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
        """The template with every parameter as `{}`: what two endpoints must not share."""
        return "/" + "/".join(PARAMETER if _is_parameter(s) else s for s in self.segments)

    @property
    def ends_in_slash(self) -> bool:
        return self.segments[-1] == ""

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(s[1:-1] for s in self.segments if _is_parameter(s))

    @property
    def rank(self) -> tuple[bool, ...]:
        """Sorts before less specific templates: literals win, from left to right."""
        return tuple(_is_parameter(s) for s in self.segments)

    def matches(self, segments: Sequence[str]) -> bool:
        return len(segments) == len(self.segments) and all(
            bool(given) if _is_parameter(own) else own == given
            for own, given in zip(self.segments, segments, strict=True)
        )


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{")


def parse_template(text: str) -> Template:
    """Read a path template such as `/orders/{id}`; raises BadTemplate."""
    text = text.strip()
    if not text:
        raise BadTemplate("can't be blank")
    if len(text) > LONGEST:
        raise BadTemplate(f"is longer than {LONGEST} characters")
    parts = text.removeprefix("/").split("/")
    ending = ("",) if parts[-1] == "" else (_template_segment(parts[-1]),)
    segments = (*(_template_segment(part) for part in parts[:-1]), *ending)
    template = Template(text="/" + "/".join(segments), segments=segments)
    _check_size(template)
    return template


def _check_size(template: Template) -> None:
    if len(template.text) > LONGEST:
        raise BadTemplate(f"is longer than {LONGEST} characters, once encoded")
    if len(template.segments) > MOST_SEGMENTS:
        raise BadTemplate(f"has more than {MOST_SEGMENTS} segments")
    names = template.parameters
    if len(names) > MOST_PARAMETERS:
        raise BadTemplate(f"has more than {MOST_PARAMETERS} parameters")
    if len(set(names)) != len(names):
        raise BadTemplate("names a parameter twice")


def _template_segment(part: str) -> str:
    if not part:
        raise BadTemplate("has an empty segment")
    if part.startswith("{") and part.endswith("}"):
        if not _NAME.fullmatch(part[1:-1]):
            raise BadTemplate(f"has a parameter without a proper name: {part!r}")
        return part
    if "{" in part or "}" in part:
        raise BadTemplate("a parameter must be a whole segment")
    if "?" in part or "#" in part:
        raise BadTemplate("must be a path alone, without a query or fragment")
    escaped = "".join(c if _PLAIN.fullmatch(c) else _escaped(c) for c in part)
    normal = normalise("/" + escaped)
    if normal is None or normal == "/":
        raise BadTemplate(f"has a segment that no path may have: {part!r}")
    return normal[1:]


def _escaped(char: str) -> str:
    # Control, format and private characters, halves of one, and blanks that look like a space or
    # like nothing.
    if char != " " and unicodedata.category(char)[0] in {"C", "Z"}:
        raise BadTemplate(f"holds an invisible character, U+{ord(char):04X}")
    return "".join(f"%{byte:02X}" for byte in char.encode())


def normalise(path: str) -> str | None:
    """The one normal form of a raw path, or nothing if no call may have it.

    RFC 3986, section 6.2.2: escapes of unreserved characters are decoded, the others upper-cased,
    dot segments removed. Refused: what two readers could take for two paths.
    """
    if not path.startswith("/") or not _PLAIN.fullmatch(path) or "//" in path:
        return None
    if _REFUSED_ESCAPE.search(path) or "%" in _ESCAPE.sub("", path):
        return None
    decoded = _ESCAPE.sub(_decoded, path)
    return _without_dots(decoded)


def _decoded(escape: re.Match[str]) -> str:
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
class Choice(Generic[E]):
    """The endpoint that a call means, if any; else the methods that its path takes."""

    endpoint: E | None
    allow: tuple[str, ...] = ()
    inactive: bool = False


def choose(endpoints: Iterable[E], method: str, path: str) -> Choice[E]:
    """Which endpoint a method and a normal path (below the collection) mean.

    Among the active ones that take the method, literal segments win from left to right; HEAD
    follows GET where it has no endpoint of its own.
    """
    segments = path[1:].split("/")
    wanted = (method, "GET") if method == "HEAD" else (method,)
    fitting = sorted(
        (e for e in endpoints if e.template.matches(segments)),
        key=lambda e: (e.template.rank, e.method != method),
    )
    active = [e for e in fitting if e.active]
    for endpoint in active:
        if endpoint.method in wanted:
            return Choice(endpoint=endpoint)
    inactive = any(e.method in wanted and not e.active for e in fitting)
    return Choice(endpoint=None, allow=allowed(e.method for e in active), inactive=inactive)


def allowed(methods: Iterable[str]) -> tuple[str, ...]:
    """The `Allow` header's methods: HEAD comes with GET (RFC 9110, sections 9.3.2, 10.2.1)."""
    known = set(methods)
    if "GET" in known:
        known.add("HEAD")
    return tuple(method for method in METHODS if method in known)
