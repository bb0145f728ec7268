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

from ostiary.access.paths import PARAMETER, Template, allowed

#: Letter of a shape by which segments from the end are parameters, in the order of precedence.
SHAPES: dict[tuple[int, ...], str] = {(1,): "a", (2,): "b", (1, 2): "c", (3,): "e", (1, 3): "d"}
GENERAL = "g"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The entries of each map, by its name without `.map`; order matters for `general`."""

    routes: Mapping[str, str] = field(default_factory=dict)
    general: Mapping[str, str] = field(default_factory=dict)
    collections: Mapping[str, str] = field(default_factory=dict)
    allow: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)


def shape_letter(template: Template) -> str:
    """The shape by which a template is found: empty for a literal, a letter, or general."""
    count = len(template.segments)
    from_end = tuple(
        sorted(count - i for i, is_parameter in enumerate(template.rank) if is_parameter)
    )
    return SHAPES.get(from_end, GENERAL) if from_end else ""


def compile_routes(collections: Iterable[RoutedCollection]) -> Routes:
    """Compile every active endpoint; `METHOD/handle/path` → scope, collection, backend, ….

    Values are `e<endpoint>;c<collection>;<backend>;-<flags>;<timeout in ms>`, flags `f` (forward
    the credential) and `t` (another path on the upstream), in this order.
    """
    routes: dict[str, str] = {}
    general: list[tuple[tuple[bool, ...], str, str]] = []
    known: dict[str, str] = {}
    allow: dict[str, str] = {}
    targets: dict[str, str] = {}
    for collection in collections:
        active = [e for e in collection.endpoints if e.active]
        letters = {shape_letter(e.template) for e in active}
        known[collection.handle] = f"c{collection.id};-{''.join(sorted(letters))}"
        for endpoint in active:
            value = _value(collection, endpoint)
            for method in _methods(endpoint, active):
                if shape_letter(endpoint.template) == GENERAL:
                    expression = _expression(collection.handle, endpoint.template)
                    general.append((endpoint.template.rank, f"^{method}{expression}$", value))
                else:
                    key = f"{method}/{collection.handle}{endpoint.template.shape}"
                    routes[key] = value
            if endpoint.target is not None:
                targets[_target_key(collection, endpoint)] = _target(endpoint)
        allow |= _allow(collection.handle, active)
    return Routes(
        routes=routes,
        general={key: value for _, key, value in sorted(general)},
        collections=known,
        allow=allow,
        targets=targets,
    )


def _value(collection: RoutedCollection, endpoint: RoutedEndpoint) -> str:
    flags = "f" * collection.forward_credential + "t" * (endpoint.target is not None)
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


def _expression(handle: str, template: Template) -> str:
    return re.escape(f"/{handle}") + "".join(
        "/[^/]+" if is_parameter else "/" + re.escape(segment)
        for segment, is_parameter in zip(template.segments, template.rank, strict=True)
    )


def _allow(handle: str, active: list[RoutedEndpoint]) -> dict[str, str]:
    """Path shape → `Allow` header, methods of more general templates included."""
    entries: dict[str, str] = {}
    for endpoint in active:
        shape = endpoint.template.shape
        segments = shape[1:].split("/")
        methods = allowed(
            e.method
            for e in active
            if len(e.template.segments) == len(segments)
            and all(
                theirs.startswith("{") or theirs == ours
                for theirs, ours in zip(e.template.segments, segments, strict=True)
            )
        )
        if shape_letter(endpoint.template) != GENERAL:
            entries[f"/{handle}{shape}"] = ",".join(methods)
    return entries


def _target_key(collection: RoutedCollection, endpoint: RoutedEndpoint) -> str:
    """`e12/handle/orders/5` as an expression that captures the parameters."""
    path = re.escape(f"/{collection.handle}") + "".join(
        "/([^/]+)" if is_parameter else "/" + re.escape(segment)
        for segment, is_parameter in zip(
            endpoint.template.segments, endpoint.template.rank, strict=True
        )
    )
    return f"^e{endpoint.id}{path}$"


def _target(endpoint: RoutedEndpoint) -> str:
    """The target's path with back references; `map_regm` fills them in (manual, 7.3.1)."""
    assert endpoint.target is not None  # noqa: S101 - checked by the only caller
    numbers = {name: i for i, name in enumerate(endpoint.template.parameters, start=1)}
    return "/" + "/".join(
        f"\\{numbers[segment[1:-1]]}" if segment.startswith("{") else segment
        for segment in endpoint.target.segments
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
    """Set `txn.allow` for a path without an endpoint for the method; off the fast path."""
    missing = "!{ var(txn.route) -m found } !{ var(txn.allow) -m found }"
    yield "http-request set-var(txn.a1) var(txn.p),field(-2,/,0)"
    yield "http-request set-var(txn.a2) var(txn.p),field(-3,/,0)"
    yield "http-request set-var(txn.a3) var(txn.p),field(-4,/,0)"
    for key in (
        "var(txn.p)",
        "var(txn.a1),concat(/{})",
        "var(txn.a2),concat(/{}/,txn.s1)",
        "var(txn.a2),concat(/{}/{})",
        "var(txn.a3),concat(/{}/,txn.s2),concat(/,txn.s1)",
        "var(txn.a3),concat(/{}/,txn.s2,/{})",
    ):
        yield f"http-request set-var(txn.allow) {key},map_str(allow.map) if {missing}"


def lookup(routes: Routes, method: str, path: str) -> str | None:
    """The look-ups of the rules above in Python, to be compared with `access.paths.choose` in tests."""
    call = f"{method}{path}"
    if call in routes.routes:
        return routes.routes[call]
    known = routes.collections.get(path.split("/")[1] if path.count("/") else "")
    shapes = known.split(";")[1] if known and not path.endswith("/") else ""
    parts = call.split("/")
    for from_end, letter in SHAPES.items():
        if letter in shapes and len(parts) > max(from_end) + 1:
            masked = [PARAMETER if len(parts) - i in from_end else p for i, p in enumerate(parts)]
            value = routes.routes.get("/".join(masked))
            if value is not None:
                return value
    if GENERAL in shapes:
        for expression, value in routes.general.items():
            if re.search(expression, call):
                return value
    return None
