"""Which endpoint a call means: Lua's look-ups and walk find what `access.paths.choose` finds."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lua.nginx import Machine, Worker
from tests.lua.routing import ENDPOINTS, METHOD, PATHS, Endpoint, filled, named

from ostiary.access.paths import METHODS, RouteMatch, choose, normalise, parse_template

_WORKER = Worker(Machine())
_ROUTES = _WORKER.require("ostiary.routes")
#: How `gateway.decide` looks a call up that needs no second look.
_QUICK = _WORKER.run("""
local exact = require("ostiary.routes").exact
return function(method, path)
  local by_path = exact[method]
  return by_path[path] or by_path[path:match("^.*/")]
end
""")


@dataclass(frozen=True, slots=True)
class Found:
    endpoint: int | None
    collection: int | None = None
    allow: str | None = None
    #: Empty: it would have a dot segment.
    target: str | None = None


def _publish(*collections: tuple[int, str, Iterable[Endpoint]]) -> None:
    _WORKER.run("require('ostiary.routes').clear()")
    for number, handle, endpoints in collections:
        collection = {
            "id": number, "handle": handle, "connection": 0, "recipes": False,
            "forward_credential": False, "forward_claims": False, "encoded_slashes": False,
            "origins": [],
        }  # fmt: skip
        _ROUTES.set_collection(_WORKER.value(collection), None)
        for endpoint in endpoints:
            if endpoint.active:
                _ROUTES.set_endpoint(_WORKER.value(endpoint.published(number)))


def _find(method: str, path: str) -> Found:
    collection, below = _pair(_ROUTES.collection_of(path))
    route = _ROUTES.find(collection, method, below)
    number = collection.id if collection else None
    if route is None:
        return Found(None, number, _ROUTES.allow(collection, below))
    return Found(
        route.id, number, None, (_ROUTES.target(route, below) or "") if route.target else None
    )


def _pair(answer: Any) -> tuple[Any, Any]:
    return answer if isinstance(answer, tuple) else (answer, None)


def _quick(method: str, path: str) -> int | None:
    route = _QUICK(method, path)
    return None if route is None else route.id


def _expected(choice: RouteMatch[Endpoint], collection: int, path: str) -> Found:
    endpoint = choice.endpoint
    if endpoint is None:
        return Found(None, collection, ",".join(choice.allow) or None)
    target = (filled(endpoint.target, endpoint.template, path) or "") if endpoint.target else None
    return Found(endpoint.id, collection, None, target)


@pytest.mark.slow
@settings(max_examples=500)
@given(ENDPOINTS, METHOD, PATHS)
def test_look_ups_agree_with_the_rule(
    endpoints: tuple[Endpoint, ...], method: str, path: str
) -> None:
    _publish((7, "shop-v1.2", endpoints))
    choice = choose(endpoints, method, path)
    assert _find(method, f"/shop-v1.2{path}") == _expected(choice, 7, path)
    quick = _quick(method, f"/shop-v1.2{path}") if not path.endswith("/") else None
    assert quick in {None, choice.endpoint and choice.endpoint.id}


@pytest.mark.slow
@settings(max_examples=300)
@given(ENDPOINTS, st.data())
def test_look_ups_agree_with_the_rule_after_any_changes(
    endpoints: tuple[Endpoint, ...], data: st.DataObject
) -> None:
    _publish((7, "c", ()))
    for each in endpoints:
        _ROUTES.set_endpoint(_WORKER.value(each.published(7)))
    for each in data.draw(st.lists(st.sampled_from(endpoints), max_size=8)) if endpoints else ():
        _ROUTES.drop_endpoint(each.id)
        if each.active:
            _ROUTES.set_endpoint(_WORKER.value(each.published(7)))
    active = [each for each in endpoints if each.active]
    for each in endpoints:
        if not each.active:
            _ROUTES.drop_endpoint(each.id)
    for path in data.draw(st.lists(PATHS, min_size=1, max_size=5)):
        for method in METHODS:
            choice = choose(active, method, path)
            assert _find(method, f"/c{path}") == _expected(choice, 7, path)
            quick = None if path.endswith("/") else _quick(method, f"/c{path}")
            assert quick in {None, choice.endpoint and choice.endpoint.id}
    for each in active:
        _ROUTES.drop_endpoint(each.id)
    assert _WORKER.run(_IS_CLEAN) is True


#: Whether nothing is left of the endpoints of collection `c`.
_IS_CLEAN = """
local routes = require "ostiary.routes"
local tree = routes.collections.c.tree
for _, known in pairs(routes.exact) do
  if next(known) then return false end
end
return not (next(tree.literal) or tree.patterns or tree.parameter or tree.wildcard)
"""


def test_a_pattern_beside_a_parameter_takes_the_quick_way_from_it_while_it_is_there() -> None:
    parameter = Endpoint(id=1, method="GET", template=parse_template("/a/{x}"))
    pattern = Endpoint(id=2, method="PUT", template=parse_template("/a/{x}.json"))
    _publish((1, "c", [parameter]))
    assert _quick("GET", "/c/a/5") == 1
    _ROUTES.set_endpoint(_WORKER.value(pattern.published(1)))
    assert _quick("GET", "/c/a/5.json") is None
    assert _find("GET", "/c/a/5.json").endpoint == 1
    assert _find("PUT", "/c/a/5.json").endpoint == 2
    _ROUTES.drop_endpoint(2)
    assert _quick("GET", "/c/a/5") == 1


def test_any_is_found_quickly_for_every_method_and_gives_way_to_one_that_is_named() -> None:
    every = Endpoint(id=1, method="ANY", template=parse_template("/a/{x}"))
    put = Endpoint(id=2, method="PUT", template=parse_template("/a/{x}"))
    _publish((1, "c", [every, put]))
    found = {method: _quick(method, "/c/a/5") for method in METHODS}
    # HEAD is found by the tree: a GET may be more specific.
    assert found == dict.fromkeys(METHODS, 1) | {"PUT": 2, "HEAD": None}
    assert _find("HEAD", "/c/a/5").endpoint == 1
    assert _find("PROPFIND", "/c/a/5") == Found(None, 1, ",".join(METHODS))
    _ROUTES.drop_endpoint(2)
    assert _quick("PUT", "/c/a/5") == 1


def test_every_template_of_few_segments_is_ranked_alike() -> None:
    shapes = [shape for count in (1, 2, 3, 4) for shape in product(("a", "{}"), repeat=count)]
    endpoints = tuple(
        Endpoint(id=9000 + i, method="GET", template=named(shape)) for i, shape in enumerate(shapes)
    )
    _publish((90, "dense", endpoints))
    for words in (w for count in (1, 2, 3, 4) for w in product("ab", repeat=count)):
        path = "/" + "/".join(words)
        chosen = choose(endpoints, "GET", path).endpoint
        assert chosen is not None
        assert chosen.template.shape == path.replace("b", "{}")
        for method in ("GET", "HEAD"):
            assert _find(method, f"/dense{path}").endpoint == chosen.id
        assert _find("POST", f"/dense{path}") == Found(None, 90, "GET,HEAD")


@pytest.mark.parametrize(
    ("templates", "path"),
    [
        pytest.param(["/a", "/{x}"], "/a", id="literal"),
        pytest.param(["/a", "/{x}"], "/b", id="parameter at the end"),
        pytest.param(["/a/{x}", "/{y}/b"], "/a/b", id="the first segment decides"),
    ],
)
def test_most_calls_are_found_by_one_look_up_or_two(templates: list[str], path: str) -> None:
    endpoints = [
        Endpoint(id=i, method="GET", template=parse_template(text))
        for i, text in enumerate(templates, start=1)
    ]
    _publish((1, "c", endpoints))
    assert _quick("GET", f"/c{path}") == _find("GET", f"/c{path}").endpoint is not None


def test_head_finds_what_get_would_before_a_less_specific_endpoint_of_its_own() -> None:
    endpoints = (
        Endpoint(id=1, method="GET", template=parse_template("/a")),
        Endpoint(id=2, method="HEAD", template=parse_template("/{x}")),
    )
    _publish((1, "c", endpoints))
    assert _find("HEAD", "/c/a").endpoint == 1
    assert _quick("HEAD", "/c/a") in {None, 1}
    assert _find("HEAD", "/c/b").endpoint == 2


_CRAFTED = (
    Endpoint(id=2, method="GET", template=parse_template("/orders")),
    Endpoint(id=3, method="PUT", template=parse_template("/orders/{id}")),
    Endpoint(id=4, method="GET", template=parse_template("/{kind}/7")),
    Endpoint(id=5, method="DELETE", template=parse_template("/{a}/{b}/7")),
    Endpoint(id=6, method="GET", template=parse_template("/orders/{id}/7")),
    Endpoint(
        id=7, method="GET", template=parse_template("/gr%C3%B6%C3%9Fe/a*b,c=d:e@f!$&'()+~/{x}")
    ),
    Endpoint(
        id=8,
        method="GET",
        template=parse_template("".join(f"/{{p{i}}}" for i in range(9))),
        target=parse_template("".join(f"/{{p{i}}}" for i in reversed(range(9)))),
    ),
)


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        pytest.param("GET", "/", Found(None, 99), id="root"),
        pytest.param("GET", "", Found(None, 99), id="handle-alone"),
        pytest.param("GET", "/orders", Found(2, 99), id="literal"),
        pytest.param("GET", "/orders/", Found(None, 99), id="slash-is-no-parameter"),
        pytest.param("PUT", "/orders/", Found(None, 99), id="slash-is-no-parameter-for-put"),
        pytest.param("PUT", "/orders/5/", Found(None, 99), id="slash-behind-a-parameter"),
        pytest.param("GET", "/orders/5", Found(None, 99, "PUT"), id="other-method"),
        pytest.param("POST", "/orders/7", Found(None, 99, "GET,HEAD,PUT"), id="methods-of-both"),
        pytest.param("POST", "/orders/5/7", Found(None, 99, "GET,HEAD,DELETE"), id="of-three"),
        pytest.param("POST", "/x/y/7", Found(None, 99, "DELETE"), id="methods-of-one"),
        pytest.param("GET", "/./%6frders", Found(2, 99), id="another-spelling"),
        pytest.param("GET", "/x/../orders", Found(2, 99), id="dot-segments"),
        pytest.param("GET", "/orders/5/..", Found(None, 99), id="dots-leave-a-slash"),
        pytest.param(
            "GET", "/gr%C3%B6%C3%9Fe/a*b,c=d:e@f!$&'()+~/%2A", Found(7, 99), id="odd-characters"
        ),
        pytest.param(
            "GET",
            "/1/2/3/4/5/6/7/8/9",
            Found(8, 99, None, "/9/8/7/6/5/4/3/2/1"),
            id="nine-parameters",
        ),
    ],
)
def test_a_call_finds(method: str, path: str, found: Found) -> None:
    _publish((99, "c", _CRAFTED))
    normal = normalise(f"/c{path}")
    assert normal is not None
    assert _find(method, normal) == found


def test_collections_do_not_see_each_others_endpoints() -> None:
    one = Endpoint(id=1, method="GET", template=parse_template("/{a}/{b}/{c}"))
    other = Endpoint(id=2, method="GET", template=parse_template("/x/y"))
    _publish((7, "a.c", [one]), (8, "abc", [other]))
    assert _find("GET", "/abc/p/q/r") == Found(None, 8)
    assert _find("GET", "/a.c/x/y/z") == Found(1, 7)
    assert _find("GET", "/nobody/x/y") == Found(None)
    assert _quick("GET", "/a.c/x/y") is None
