"""Routes as data: collections and endpoints compiled to HAProxy maps, and the look-ups in them.

A call costs one look-up where its endpoint has no parameter, and one more for each shape that the
collection has: templates whose parameters lie in the last three segments are found by their shape,
with `{}` (which no path holds) for a parameter. Shapes are tried in the order of
`access.paths.choose`: literals win from left to right, so the mask of parameters, read as a binary
number, grows. All other templates have larger masks, and are regular expressions, tried last.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ostiary.access.paths import METHODS, PARAMETER, Template

#: Letter of a shape by which segments from the end are parameters, in the order of precedence.
SHAPES: dict[tuple[int, ...], str] = {(1,): "a", (2,): "b", (1, 2): "c", (3,): "e", (1, 3): "d"}
GENERAL = "g"
#: A method's place in a set of methods, which maps and rules hold as a number.
BITS = {method: 1 << place for place, method in enumerate(METHODS)}
#: Every set of methods by its number, as an `Allow` header says it.
METHOD_SETS: Mapping[str, str] = {
    str(number): ",".join(method for method in METHODS if number & BITS[method])
    for number in range(1, 1 << len(METHODS))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedEndpoint:
    id: int
    method: str
    template: Template
    active: bool = True
    #: Template on the upstream, where it differs from `template`.
    target: Template | None = None
    timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedCollection:
    """A collection as the gateway sees it. `backend` is where its calls go, or empty."""

    id: int
    handle: str
    backend: str
    endpoints: tuple[RoutedEndpoint, ...] = ()
    forward_credential: bool = False
    forward_claims: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The entries of each map, by its name without `.map`; order matters for `general`.

    `allow` holds the methods of each path as a number; `methods` says these numbers in words.
    """

    routes: Mapping[str, str] = field(default_factory=dict)
    general: Mapping[str, str] = field(default_factory=dict)
    collections: Mapping[str, str] = field(default_factory=dict)
    allow: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=lambda: METHOD_SETS)
    targets: Mapping[str, str] = field(default_factory=dict)


def shape_letter(template: Template) -> str:
    """The shape by which a template is found: empty for a literal, a letter, or general."""
    count = len(template.segments) - template.ends_in_slash
    from_end = tuple(
        sorted(count - i for i, is_parameter in enumerate(template.rank) if is_parameter)
    )
    return SHAPES.get(from_end, GENERAL) if from_end else ""


def compile_routes(collections: Iterable[RoutedCollection]) -> Routes:
    """Compile every active endpoint; `METHOD/handle/path` → scope, collection, backend, ….

    Values are `e<endpoint>;c<collection>;<backend>;-<flags>;<timeout in ms>`, flags `f` (forward
    the credential), `t` (another path on the upstream), `c` (tell the claims), in this order.
    """
    routes: dict[str, str] = {}
    general: list[tuple[tuple[bool, ...], str, str]] = []
    known: dict[str, str] = {}
    allow: dict[str, int] = {}
    targets: dict[str, str] = {}
    for collection in collections:
        active = [e for e in collection.endpoints if e.active]
        letters = {shape_letter(e.template) for e in active}
        known[collection.handle] = f"c{collection.id};-{''.join(sorted(letters))}"
        for endpoint in active:
            template = endpoint.template
            value = _value(collection, endpoint)
            key = marked(f"/{collection.handle}{template.shape}")
            for method in _methods(endpoint, active):
                if shape_letter(template) == GENERAL:
                    expression = _expression(collection.handle, template, "[^/]+")
                    general.append((template.rank, f"^{method}{expression}$", value))
                else:
                    routes[f"{method}{key}"] = value
                    allow[key] = allow.get(key, 0) | BITS[method]
            if endpoint.target is not None:
                expression = _expression(collection.handle, template, "([^/]+)")
                targets[f"^e{endpoint.id}{expression}$"] = _target(template, endpoint.target)
    return Routes(
        routes=routes,
        general={key: value for _, key, value in sorted(general)},
        collections=known,
        allow={key: str(methods) for key, methods in allow.items()},
        targets=targets,
    )


def _value(collection: RoutedCollection, endpoint: RoutedEndpoint) -> str:
    flags = "f" * collection.forward_credential + "t" * (endpoint.target is not None)
    flags += "c" * collection.forward_claims
    timeout = (endpoint.timeout_seconds or 0) * 1000
    return f"e{endpoint.id};c{collection.id};{collection.backend or '-'};-{flags};{timeout}"


def _methods(endpoint: RoutedEndpoint, active: list[RoutedEndpoint]) -> tuple[str, ...]:
    """The method, and HEAD for GET unless HEAD has an endpoint of the same shape."""
    shape = endpoint.template.shape
    if endpoint.method != "GET" or any(
        e.method == "HEAD" and e.template.shape == shape for e in active
    ):
        return (endpoint.method,)
    return ("GET", "HEAD")


def _expression(handle: str, template: Template, parameter: str) -> str:
    """A path as an expression; `parameter` is the one for a parameter's segment."""
    segments = (
        parameter if is_parameter else re.escape(segment)
        for segment, is_parameter in zip(template.segments, template.rank, strict=True)
    )
    path = "/".join((re.escape(f"/{handle}"), *segments))
    return rf"\{{{path[:-1]}" if template.ends_in_slash else path


def _target(template: Template, target: Template) -> str:
    """The target's path with back references; `map_regm` fills them in (manual, 7.3.1).

    These have one digit: `access.paths.MOST_PARAMETERS`.
    """
    numbers = {name: i for i, name in enumerate(template.parameters, start=1)}
    return "/" + "/".join(
        f"\\{numbers[segment[1:-1]]}" if is_parameter else segment
        for segment, is_parameter in zip(target.segments, target.rank, strict=True)
    )


def first_rules() -> Iterator[str]:
    """Set `txn.route` (the value above) for literals and for a parameter at the end."""
    yield "http-request set-var(txn.m) method,concat(,txn.p)"
    yield "http-request set-var(txn.route) var(txn.m),map_str(routes.map)"
    yield (
        "http-request set-var(txn.route) var(txn.m),field(-2,/,0),concat(/{}),map_str(routes.map)"
        " if !{ var(txn.route) -m found }"
    )


def other_rules() -> Iterator[str]:
    """The other shapes, as far as the collection has them; then `txn.scope`: what is called.

    The scope is the route's value, else the collection's `c<id>`, else `0`.
    """
    missing = "!{ var(txn.route) -m found }"
    yield f"http-request set-var(txn.c) var(txn.p),field(2,/),map_str(collections.map) if {missing}"
    yield f"http-request set-var(txn.shapes) var(txn.c),field(2,;) if {missing}"
    has = "{{ var(txn.shapes) -m sub {} }}"
    yield f"http-request set-var(txn.d2) var(txn.m),field(-3,/,0) if {missing}"
    yield f"http-request set-var(txn.d3) var(txn.m),field(-4,/,0) if {missing}"
    yield "http-request set-var(txn.s1) var(txn.p),field(-1,/)"
    yield "http-request set-var(txn.s2) var(txn.p),field(-2,/)"
    for letter, key in (
        ("b", "var(txn.d2),concat(/{}/,txn.s1)"),
        ("c", "var(txn.d2),concat(/{}/{})"),
        ("e", "var(txn.d3),concat(/{}/,txn.s2),concat(/,txn.s1)"),
        ("d", "var(txn.d3),concat(/{}/,txn.s2,/{})"),
    ):
        yield (
            f"http-request set-var(txn.route) {key},map_str(routes.map)"
            f" if {missing} {has.format(letter)}"
        )
    yield (
        "http-request set-var(txn.route) var(txn.m),map_reg(general.map)"
        f" if {missing} {has.format(GENERAL)}"
    )
    yield "http-request set-var(txn.scope) str(0)"
    yield "http-request set-var(txn.scope) var(txn.c),field(1,;)"
    yield "http-request set-var(txn.scope) var(txn.route)"


def allow_rules() -> Iterator[str]:
    """Set `txn.allow` for a path without an endpoint for the method; off the fast path.

    The methods of every shape that the path has are put together: templates that no other holds
    may match the same path.
    """
    missing = "!{ var(txn.route) -m found }"
    yield f"http-request set-var(txn.methods) int(0) if {missing}"
    yield f"http-request set-var(txn.p1) var(txn.p),field(-2,/,0) if {missing}"
    yield f"http-request set-var(txn.p2) var(txn.p),field(-3,/,0) if {missing}"
    yield f"http-request set-var(txn.p3) var(txn.p),field(-4,/,0) if {missing}"
    for key in (
        "var(txn.p)",
        "var(txn.p1),concat(/{})",
        "var(txn.p2),concat(/{}/,txn.s1)",
        "var(txn.p2),concat(/{}/{})",
        "var(txn.p3),concat(/{}/,txn.s2),concat(/,txn.s1)",
        "var(txn.p3),concat(/{}/,txn.s2,/{})",
    ):
        found = f"{key},map_str_int(allow.map,0),or(txn.methods)"
        yield f"http-request set-var(txn.methods) {found} if {missing}"
    general = f"{{ var(txn.shapes) -m sub {GENERAL} }}"
    for method, bit in BITS.items():
        found = f"{{ str({method}),concat(,txn.p),map_reg(general.map) -m found }}"
        yield (
            f"http-request set-var(txn.methods) var(txn.methods),or({bit})"
            f" if {missing} {general} {found}"
        )
    yield f"http-request set-var(txn.allow) var(txn.methods),map_int(methods.map) if {missing}"


def lookup(routes: Routes, method: str, path: str) -> str | None:
    """The look-ups of the rules above in Python: the value of the route of a path in normal form."""
    call = f"{method}{marked(path)}"
    parts = call.split("/")
    for key in (call, _masked(parts, (1,))):
        if key in routes.routes:
            return routes.routes[key]
    shapes = _shapes(routes, parts)
    for from_end, letter in SHAPES.items():
        value = routes.routes.get(_masked(parts, from_end))
        if letter in shapes and value is not None:
            return value
    return _general(routes, call) if GENERAL in shapes else None


def lookup_allow(routes: Routes, path: str) -> str | None:
    """The same for the `Allow` header of a path that has no endpoint for a method."""
    parts = marked(path).split("/")
    number = int(routes.allow.get(marked(path), "0"))
    for from_end in SHAPES:
        number |= int(routes.allow.get(_masked(parts, from_end), "0"))
    if GENERAL in _shapes(routes, parts):
        for method, bit in BITS.items():
            number |= bit * (_general(routes, f"{method}{marked(path)}") is not None)
    return routes.methods.get(str(number))


def marked(path: str) -> str:
    """A path as keys and `txn.p` hold it: a slash at its end becomes a mark before it.

    So a path with it and one without are found by the same look-ups, and never by each other's.
    """
    return "{" + path[:-1] if path.endswith("/") else path


def _shapes(routes: Routes, parts: list[str]) -> str:
    known = routes.collections.get(parts[1]) if len(parts) > 1 else None
    return known.split(";")[1] if known else ""


def _masked(parts: list[str], from_end: tuple[int, ...]) -> str:
    """A key with parameters at places counted from the end; shorter paths have no such key."""
    if len(parts) <= max(from_end):
        return ""
    return "/".join(PARAMETER if len(parts) - i in from_end else p for i, p in enumerate(parts))


def _general(routes: Routes, call: str) -> str | None:
    return next((v for e, v in routes.general.items() if re.search(e, call)), None)
