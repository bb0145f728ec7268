"""The gateway's look-ups find the endpoint that `access.paths.choose` finds, in HAProxy itself."""

import http.client
import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files as resources
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.access.paths import METHODS, Template, choose, normalise, parse_template
from ostiary.gateway import routing, rules
from ostiary.gateway.configuration import map_text, maps
from ostiary.gateway.launch import find_haproxy
from ostiary.gateway.node import Plan
from ostiary.gateway.routing import (
    RoutedCollection,
    RoutedEndpoint,
    compile_routes,
    lookup,
    lookup_allow,
)

#: Few words, so that made-up templates and paths meet.
_WORDS = ("a", "b", "x.y")


def _named(segments: Sequence[str]) -> Template:
    """A template of words and `{}`; parameters get names."""
    return parse_template(
        "/" + "/".join(f"{{p{i}}}" if s == "{}" else s for i, s in enumerate(segments))
    )


_METHOD = st.sampled_from(METHODS)
_TEMPLATES = st.builds(
    lambda words, slash: _named([*words, ""] if slash else words),
    st.lists(st.sampled_from((*_WORDS, "{}", "{}")), min_size=1, max_size=5),
    st.booleans(),
)
_PATHS = st.builds(
    lambda words, slash: "/" + "/".join(words) + "/" * (slash and bool(words)),
    st.lists(st.sampled_from((*_WORDS, "5", "%C3%A9")), max_size=6),
    st.booleans(),
)
_PAIRS = st.tuples(_METHOD, _TEMPLATES, st.sampled_from([True, True, False]))
_ENDPOINTS = st.lists(_PAIRS, max_size=12, unique_by=lambda p: (p[0], p[1].shape)).map(
    lambda pairs: tuple(
        RoutedEndpoint(id=i, method=method, template=template, active=active)
        for i, (method, template, active) in enumerate(pairs, start=1)
    )
)


def a_collection(*endpoints: RoutedEndpoint, handle: str = "shop-v1.2") -> RoutedCollection:
    return RoutedCollection(id=7, handle=handle, backend="up_3", endpoints=endpoints)


def an_endpoint(
    number: int,
    method: str,
    template: str,
    *,
    active: bool = True,
    target: str | None = None,
    timeout_seconds: int | None = None,
) -> RoutedEndpoint:
    return RoutedEndpoint(
        id=number,
        method=method,
        template=parse_template(template),
        active=active,
        target=parse_template(target) if target else None,
        timeout_seconds=timeout_seconds,
    )


@pytest.mark.parametrize(
    ("template", "letter"),
    [
        ("/a", ""),
        ("/a/b", ""),
        ("/a/{x}", "a"),
        ("/{x}", "a"),
        ("/a/{x}/b", "b"),
        ("/a/{x}/{y}", "c"),
        ("/a/{x}/b/c", "e"),
        ("/a/{x}/b/{y}", "d"),
        ("/{x}/{y}/b", "g"),
        ("/{x}/{y}/{z}", "g"),
        ("/{x}/a/b/c", "g"),
        ("/{x}/a/b/c/{y}", "g"),
    ],
)
def test_a_parameter_near_the_end_is_found_without_expressions(template: str, letter: str) -> None:
    assert routing.shape_letter(parse_template(template)) == letter


def test_shapes_are_tried_in_the_order_of_precedence_and_expressions_have_none_before_them() -> (
    None
):
    masks = [sum(1 << (i - 1) for i in from_end) for from_end in routing.SHAPES]
    assert masks == sorted(masks)
    # Every mask up to the largest is a shape: what is general is less specific than all of them.
    assert set(range(1, max(masks) + 1)) == set(masks)


def test_what_the_maps_say_of_an_endpoint() -> None:
    collection = RoutedCollection(
        id=7,
        handle="shop-v1.2",
        backend="up_3",
        forward_credential=True,
        endpoints=(
            an_endpoint(1, "GET", "/orders", timeout_seconds=5),
            an_endpoint(2, "POST", "/orders/{id}", target="/v2/{id}/new"),
            an_endpoint(3, "GET", "/{a}/{b}/{c}"),
            an_endpoint(5, "PUT", "/hidden", active=False),
        ),
    )
    routes = compile_routes([collection])
    assert routes.collections == {"shop-v1.2": "c7;-ag"}
    assert routes.routes == {
        "GET/shop-v1.2/orders": "e1;c7;up_3;-f;5000",
        "HEAD/shop-v1.2/orders": "e1;c7;up_3;-f;5000",
        "POST/shop-v1.2/orders/{}": "e2;c7;up_3;-ft;0",
    }
    assert routes.general == {
        r"^GET/shop\-v1\.2/[^/]+/[^/]+/[^/]+$": "e3;c7;up_3;-f;0",
        r"^HEAD/shop\-v1\.2/[^/]+/[^/]+/[^/]+$": "e3;c7;up_3;-f;0",
    }
    assert routes.targets == {r"^e2/shop\-v1\.2/orders/([^/]+)$": r"/v2/\1/new"}
    assert {key: routes.methods[number] for key, number in routes.allow.items()} == {
        "/shop-v1.2/orders": "GET,HEAD",
        "/shop-v1.2/orders/{}": "POST",
    }


def test_a_collection_without_upstream_has_a_backend_that_does_not_exist() -> None:
    collection = RoutedCollection(
        id=1, handle="h", backend="", endpoints=(an_endpoint(1, "PUT", "/a"),)
    )
    assert compile_routes([collection]).routes == {"PUT/h/a": "e1;c1;-;-;0"}


def test_collections_do_not_see_each_others_endpoints() -> None:
    one = a_collection(an_endpoint(1, "GET", "/{a}/{b}/{c}"), handle="a.c")
    other = a_collection(an_endpoint(2, "GET", "/x/y/z"), handle="abc")
    routes = compile_routes([one, other])
    assert lookup(routes, "GET", "/abc/p/q/r") is None
    assert lookup(routes, "GET", "/a.c/x/y/z") != lookup(routes, "GET", "/abc/x/y/z")


@settings(max_examples=500)
@given(_ENDPOINTS, _METHOD, _PATHS)
def test_look_ups_agree_with_the_rule(
    endpoints: tuple[RoutedEndpoint, ...], method: str, path: str
) -> None:
    routes = compile_routes([a_collection(*endpoints)])
    choice = choose(endpoints, method, path)
    value = lookup(routes, method, f"/shop-v1.2{path}")
    assert (value and value.split(";")[0]) == (choice.endpoint and f"e{choice.endpoint.id}")
    if choice.endpoint is None:
        assert lookup_allow(routes, f"/shop-v1.2{path}") == (",".join(choice.allow) or None)


@given(st.lists(_ENDPOINTS, max_size=3))
def test_every_entry_is_one_line_of_two_words(
    lists: list[tuple[RoutedEndpoint, ...]],
) -> None:
    collections = tuple(
        a_collection(*endpoints, handle=f"h{i}") for i, endpoints in enumerate(lists)
    )
    for name, entries in maps(Plan(sequence=1, collections=collections)).items():
        lines = map_text(name, entries).splitlines()
        assert [line.split(" ") for line in lines] == [list(pair) for pair in entries.items()]
        assert not any(line.startswith("#") for line in lines)


# The same in HAProxy.

_CONFIGURATION = """
global
  lua-load-per-thread {folder}/normal.lua
  tune.pattern.cache-size 0
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 1s
frontend f
  bind unix@{folder}/f.sock
  {rules}
  http-request return status 400 if {{ var(txn.code) -m found }}
  http-request set-var(txn.to) var(txn.route),field(1,;)
  http-request set-var(txn.to) var(txn.to),concat(,txn.p),map_regm(targets.map) \
if {{ var(txn.route) -m sub t; }}
  http-request return status 200 hdr X-Route "%[var(txn.route)]" hdr X-Scope "%[var(txn.scope)]" \
hdr X-Allow "%[var(txn.allow)]" hdr X-To "%[var(txn.to)]" hdr X-Path "%[path]"
"""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("gateway", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))

    def _validate_path(self, url: str) -> None:
        """Paths are sent as they are: what is wrong with one is for the gateway to say."""


@dataclass(frozen=True, slots=True)
class Seen:
    status: int
    route: str
    scope: str
    allow: str
    to: str
    path: str


class Proxy:
    def __init__(self, socket_path: Path) -> None:
        self._connection = _Connection(socket_path)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str) -> Seen:
        self._connection.request(method, path)
        answer = self._connection.getresponse()
        answer.read()
        names = ("Route", "Scope", "Allow", "To", "Path")
        return Seen(answer.status, *(answer.getheader(f"X-{name}") or "" for name in names))


def _words(rng: random.Random, *kinds: str) -> list[str]:
    return [rng.choice(kinds) for _ in range(rng.randint(1, 5))]


def _template(rng: random.Random) -> Template:
    return _named(_words(rng, *_WORDS, "{}", "{}"))


def _target(rng: random.Random, template: Template) -> Template:
    kept = [p for p in template.parameters if rng.random() < 0.8]
    rng.shuffle(kept)
    return parse_template("/".join(["/v2", *(f"{{{p}}}" for p in kept), "end"]))


def _endpoints(rng: random.Random, first: int) -> tuple[RoutedEndpoint, ...]:
    found: dict[tuple[str, str], RoutedEndpoint] = {}
    for number in range(first, first + rng.randint(1, 25)):
        template, method = _template(rng), rng.choice(METHODS)
        found[method, template.shape] = RoutedEndpoint(
            id=number,
            method=method,
            template=template,
            active=rng.random() < 0.9,
            target=_target(rng, template) if rng.random() < 0.5 else None,
        )
    return tuple(found.values())


def _dense() -> RoutedCollection:
    """Every template of up to four segments that are `a` or a parameter, all for one method."""
    shapes = [shape for count in (1, 2, 3, 4) for shape in product(("a", "{}"), repeat=count)]
    endpoints = tuple(
        RoutedEndpoint(id=9000 + i, method="GET", template=_named(shape))
        for i, shape in enumerate(shapes)
    )
    return RoutedCollection(id=90, handle="dense", backend="up_1", endpoints=endpoints)


def _plan() -> Plan:
    rng = random.Random(20)
    collections = [
        RoutedCollection(id=i, handle=f"h{i}-v1.{i}", backend="up_1", endpoints=_endpoints(rng, i * 100))
        for i in range(1, 31)
    ]  # fmt: skip
    many = "".join(f"/{{p{i}}}" for i in range(9))
    crafted = (
        an_endpoint(2, "GET", "/orders"),
        an_endpoint(3, "PUT", "/orders/{id}"),
        an_endpoint(4, "GET", "/{kind}/7"),
        an_endpoint(5, "DELETE", "/{a}/{b}/7"),
        an_endpoint(6, "GET", "/orders/{id}/7"),
        an_endpoint(7, "GET", "/gr%C3%B6%C3%9Fe/a*b,c=d:e@f!$&'()+~/{x}"),
        an_endpoint(8, "GET", many, target="/".join(reversed(many[1:].split("/")))),
    )
    collections.append(RoutedCollection(id=99, handle="c", backend="up_1", endpoints=crafted))
    return Plan(sequence=1, collections=(*collections, _dense()))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return _plan()


@pytest.fixture(scope="module")
def proxy(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("p")
    for name, entries in maps(plan).items():
        (folder / f"{name}.map").write_text(map_text(name, entries))
    lua = (resources("ostiary.gateway") / "upcall.lua").read_text()
    (folder / "normal.lua").write_text(re.sub("@[a-z]+@", "1", lua))
    lines = [
        *rules.path(),
        *routing.first_rules(),
        *routing.other_rules(),
        *routing.allow_rules(),
    ]
    configuration = _CONFIGURATION.format(folder=folder, rules="\n  ".join(lines))
    (folder / "haproxy.cfg").write_text(configuration)
    command = [find_haproxy(), "-db", "-C", str(folder), "-f", "haproxy.cfg"]
    process = subprocess.Popen(command)
    try:
        _wait_for(folder / "f.sock", process)
        with closing(Proxy(folder / "f.sock")) as proxy:
            yield proxy
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "HAProxy does not take the configuration"
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("HAProxy did not start in time")


def _path(rng: random.Random, endpoints: Sequence[RoutedEndpoint]) -> str:
    """One of a template, with values for its parameters, or one of no template's making."""
    values = (*_WORDS, "5", "%C3%A9", "~")
    words = _words(rng, *values)
    if rng.random() < 0.6:
        segments = rng.choice(endpoints).template.segments
        words = [rng.choice(values) if s.startswith("{") else s for s in segments]
    return "/" + "/".join(words) + "/" * (rng.random() < 0.2)


def _filled(target: Template, template: Template, path: str) -> str:
    values = dict(zip(template.segments, path[1:].split("/"), strict=True))
    return "/" + "/".join(values[s] if s.startswith("{") else s for s in target.segments)


@pytest.mark.gateway
def test_haproxy_agrees_with_the_rule(plan: Plan, proxy: Proxy) -> None:
    rng = random.Random(21)
    routed_calls = refused_methods = 0
    for _ in range(3000):
        collection = rng.choice(plan.collections)
        method, path = rng.choice(METHODS), _path(rng, collection.endpoints)
        choice = choose(collection.endpoints, method, path)
        seen = proxy.call(method, f"/{collection.handle}{path}")
        told = (method, collection.handle, path, seen)
        assert seen.status == 200, told
        assert seen.path == f"/{collection.handle}{path}", told
        endpoint = choice.endpoint
        if endpoint is None:
            refused_methods += bool(choice.allow)
            assert (seen.route, seen.allow) == ("", ",".join(choice.allow)), told
            assert seen.scope == f"c{collection.id}", told
            continue
        routed_calls += 1
        assert seen.route.split(";")[:2] == [f"e{endpoint.id}", f"c{collection.id}"], told
        assert seen.scope == seen.route, told
        if endpoint.target is not None:
            assert seen.to == _filled(endpoint.target, endpoint.template, path), told
    assert routed_calls > 300
    assert refused_methods > 300


@pytest.mark.gateway
def test_literals_win_from_left_to_right_whatever_the_shape(proxy: Proxy) -> None:
    collection = _dense()
    routes = compile_routes([collection])
    for words in (w for count in (1, 2, 3, 4) for w in product("ab", repeat=count)):
        path = "/" + "/".join(words)
        chosen = choose(collection.endpoints, "GET", path).endpoint
        assert chosen is not None
        assert chosen.template.shape == path.replace("b", "{}")
        for method in ("GET", "HEAD"):
            seen = proxy.call(method, f"/dense{path}").route
            assert seen.split(";")[0] == f"e{chosen.id}", (method, path)
            assert lookup(routes, method, f"/dense{path}") == seen
        assert proxy.call("POST", f"/dense{path}").allow == "GET,HEAD"


@pytest.mark.gateway
@pytest.mark.parametrize(
    ("method", "path", "route", "allow", "to"),
    [
        pytest.param("GET", "/", "", "", "", id="root"),
        pytest.param("GET", "", "", "", "", id="handle-alone"),
        pytest.param("GET", "/orders", "e2", "", "", id="literal"),
        pytest.param("GET", "/orders/", "", "", "", id="slash-is-no-parameter"),
        pytest.param("PUT", "/orders/", "", "", "", id="slash-is-no-parameter-for-put"),
        pytest.param("PUT", "/orders/5/", "", "", "", id="slash-behind-a-parameter"),
        pytest.param("GET", "/orders/5", "", "PUT", "", id="other-method"),
        pytest.param("POST", "/orders/7", "", "GET,HEAD,PUT", "", id="methods-of-both-shapes"),
        pytest.param(
            "POST", "/orders/5/7", "", "GET,HEAD,DELETE", "", id="methods-of-shape-and-expression"
        ),
        pytest.param("POST", "/x/y/7", "", "DELETE", "", id="methods-of-an-expression"),
        pytest.param("GET", "/./%6frders", "e2", "", "", id="another-spelling"),
        pytest.param("GET", "/x/../orders", "e2", "", "", id="dot-segments"),
        pytest.param("GET", "/orders/5/..", "", "", "", id="dots-leave-a-slash"),
        pytest.param(
            "GET", "/gr%C3%B6%C3%9Fe/a*b,c=d:e@f!$&'()+~/%2A", "e7", "", "", id="odd-characters"
        ),
        pytest.param(
            "GET", "/1/2/3/4/5/6/7/8/9", "e8", "", "/9/8/7/6/5/4/3/2/1", id="nine-parameters"
        ),
    ],
)
def test_haproxy_finds(
    proxy: Proxy, method: str, path: str, route: str, allow: str, to: str
) -> None:
    seen = proxy.call(method, f"/c{path}")
    assert seen.status == 200
    assert (seen.route.split(";")[0], seen.allow) == (route, allow)
    assert not to or seen.to == to


@pytest.mark.gateway
def test_haproxy_normalises_paths_as_the_rule_does(proxy: Proxy) -> None:
    rng = random.Random(22)
    parts = ["/", "/", ".", "..", "a", "orders", "%2e", "%6F", "%c3%A9", "%2f", "%5C", "%00", "%0a",
             "%3b", "%25", "%2", "%", ";", "~", "*", "%7B%7d", "\\", "|"]  # fmt: skip
    accepted = refused = 0
    for _ in range(1500):
        path = "/c/" + "".join(rng.choice(parts[:10] if rng.random() < 0.6 else parts)
                               for _ in range(rng.randint(1, 8)))  # fmt: skip
        expected = normalise(path)
        seen = proxy.call("GET", path)
        assert (seen.status, seen.path) == ((200, expected) if expected else (400, "")), path
        accepted, refused = accepted + bool(expected), refused + (not expected)
    assert accepted > 300
    assert refused > 300
