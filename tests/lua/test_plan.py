"""Published objects: however changes come, every worker ends with what one has that starts from them."""

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lua.nginx import Machine, Worker
from tests.lua.routing import WORDS, Endpoint, a_target, named

from ostiary.access.paths import METHODS
from ostiary.gateway.contract import OBJECTS

_HANDLES = ("shop", "h-1.2", "zoo", "a")
_PATHS = tuple(
    f"/{handle}/{'/'.join(words)}"
    for handle in (*_HANDLES, "nobody")
    for count in (1, 2, 3)
    for words in product(("a", "b", "5"), repeat=count)
)
#: What a worker does with calls, found as the gateway finds it.
_PROBE = """
local routes = require("ostiary.routes")
return function(methods, paths)
  local lines = {}
  for method in methods:gmatch("%S+") do
    for path in paths:gmatch("%S+") do
      local collection, below = routes.collection_of(path)
      local route = routes.find(collection, method, below)
      lines[#lines + 1] = table.concat({
        method, path, collection and collection.id or "-",
        collection and collection.upstream and collection.upstream.host or "-",
        route and route.id or "-", routes.allow(collection, below) or "-",
        route and route.target and routes.target(route, below) or "-",
      }, " ")
    end
    local keys = {}
    for key, route in pairs(routes.exact[method]) do keys[#keys + 1] = method .. " " .. key .. " " .. route.id end
    table.sort(keys)
    lines[#lines + 1] = table.concat(keys, "\\n")
  end
  return table.concat(lines, "\\n")
end
"""


class _Node:
    """A worker as it starts: with everything that is published."""

    def __init__(self, machine: Machine) -> None:
        self.worker = Worker(machine)
        self.worker.require("ostiary.epochs").init()
        self.plan = self.worker.require("ostiary.plan")
        self._probe = self.worker.run(_PROBE)
        self.start()

    def start(self, path: str = "/nowhere") -> None:
        self.plan.init(path)
        self.plan.init_worker()

    def publish(self, changes: Iterable[tuple[str, object]]) -> dict[str, str]:
        """Put objects in place, None for what is gone; what was refused and why."""
        lines = [[key] if value is None else [key, json.dumps(value)] for key, value in changes]
        return dict(self.plan.publish(self.worker.value(lines)).items())

    def seen(self) -> str:
        return str(self._probe(" ".join(METHODS), " ".join(_PATHS)))


class _Workspace:
    """What a directory could hold: handles and shapes are its own once each."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.objects: dict[str, dict[str, Any]] = {}
        self.shapes: dict[str, tuple[int, str, str]] = {}
        self._endpoint = 0

    def change(self) -> dict[str, dict[str, Any] | None]:
        """A few changes of one moment, by key."""
        before = dict(self.objects)
        for _ in range(self.rng.randint(1, 6)):
            self.rng.choice((
                self._set_endpoint, self._set_endpoint, self._set_endpoint, self._drop_endpoint,
                self._set_collection, self._drop_collection, self._set_connection,
                self._drop_connection, self._swap_handles, self._swap_shapes,
            ))()  # fmt: skip
        keys = before.keys() | self.objects.keys()
        return {k: self.objects.get(k) for k in keys if before.get(k) != self.objects.get(k)}

    def _ids(self, kind: str) -> list[int]:
        return sorted(int(key[1:]) for key in self.objects if key[0] == OBJECTS[kind])

    def _set_connection(self) -> None:
        number = self.rng.randint(1, 3)
        self.objects[f"{OBJECTS['connection']}{number}"] = {
            "id": number, "servers": [{"address": "127.0.0.1", "port": 80, "down": False}],
            "tls": None, "host": f"host-{self.rng.randint(1, 9)}", "base": "", "header": None,
            "query": "", "timeout": 30,
        }  # fmt: skip

    def _drop_connection(self) -> None:
        self.objects.pop(f"{OBJECTS['connection']}{self.rng.randint(1, 3)}", None)

    def _set_collection(self) -> None:
        number = self.rng.randint(1, 3)
        key = f"{OBJECTS['collection']}{number}"
        others = {
            self.objects[f"{OBJECTS['collection']}{each}"]["handle"]
            for each in self._ids("collection")
            if each != number
        }
        self.objects[key] = {
            "id": number,
            "handle": self.rng.choice([handle for handle in _HANDLES if handle not in others]),
            "connection": self.rng.randint(0, 3), "recipes": False, "forward_credential": False,
            "forward_claims": False, "encoded_slashes": False, "origins": [],
        }  # fmt: skip

    def _drop_collection(self) -> None:
        """Its endpoints may go with it, or before, or stay unpublished by nobody."""
        number = self.rng.randint(1, 3)
        self.objects.pop(f"{OBJECTS['collection']}{number}", None)
        if self.rng.random() < 0.5:
            for key, shape in list(self.shapes.items()):
                if shape[0] == number:
                    self._forget(key)

    def _swap_handles(self) -> None:
        numbers = self._ids("collection")
        if len(numbers) > 1:
            one, other = (f"{OBJECTS['collection']}{n}" for n in self.rng.sample(numbers, 2))
            first, second = self.objects[one], self.objects[other]
            self.objects[one] = {**first, "handle": second["handle"]}
            self.objects[other] = {**second, "handle": first["handle"]}

    def _set_endpoint(self) -> None:
        segments = [
            self.rng.choice((*WORDS[:2], "{}", "{}")) for _ in range(self.rng.randint(1, 3))
        ]
        template, method = named(segments), self.rng.choice(METHODS)
        collection = self.rng.randint(1, 3)
        keys = sorted(self.shapes)
        if keys and self.rng.random() < 0.4:
            key = self.rng.choice(keys)
        else:
            self._endpoint += 1
            key = f"{OBJECTS['endpoint']}{self._endpoint}"
        taken = {shape: other for other, shape in self.shapes.items() if other != key}
        shape = (collection, method, template.shape)
        if shape in taken:
            return
        endpoint = Endpoint(id=int(key[1:]), method=method, template=template)
        if self.rng.random() < 0.3:
            endpoint = replace(endpoint, target=a_target(self.rng, template))
        self.objects[key], self.shapes[key] = endpoint.published(collection), shape

    def _swap_shapes(self) -> None:
        if len(self.shapes) > 1:
            one, other = self.rng.sample(sorted(self.shapes), 2)
            first, second = self.objects[one], self.objects[other]
            self.objects[one] = {**second, "id": first["id"]}
            self.objects[other] = {**first, "id": second["id"]}
            self.shapes[one], self.shapes[other] = self.shapes[other], self.shapes[one]

    def _drop_endpoint(self) -> None:
        if self.shapes:
            self._forget(self.rng.choice(sorted(self.shapes)))

    def _forget(self, key: str) -> None:
        del self.objects[key], self.shapes[key]


#: LuaJIT is dear to start: a machine with three workers for all runs.
_MACHINE = Machine()
_NODES = (_Node(_MACHINE), _Node(_MACHINE), _Node(_MACHINE))


def _empty(machine: Machine) -> None:
    dictionary = machine.dictionary("objects")
    for key in dictionary.get_keys(0):
        dictionary.delete(key)
    dictionary.room = 1_000_000


def _anew() -> tuple[_Node, _Node, _Node]:
    """Three workers of a gateway without objects."""
    _empty(_MACHINE)
    for node in _NODES:
        node.start()
    return _NODES


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 25))
def test_changes_in_any_order_end_like_a_start_from_what_is_published(
    rng: random.Random, rounds: int
) -> None:
    publisher, follower, late = _anew()
    workspace = _Workspace(rng)
    for _ in range(rounds):
        changes = list(workspace.change().items())
        rng.shuffle(changes)
        for change in changes:
            assert publisher.publish([change]) == {}
            if rng.random() < 0.3:
                follower.plan.follow()
    follower.plan.follow()
    late.start()
    assert publisher.seen() == late.seen()
    assert follower.seen() == late.seen()
    published = {key for key, _ in (line.split("\t") for line in publisher.plan.listed().values())}
    assert published == set(workspace.objects)


def _endpoint(number: int, text: str = "/a", collection: int = 1) -> dict[str, object]:
    return Endpoint(id=number, method="GET", template=named(text[1:].split("/"))).published(
        collection
    )


_COLLECTION: dict[str, Any] = {
    "id": 1, "handle": "a", "connection": 0, "recipes": False, "forward_credential": False,
    "forward_claims": False, "encoded_slashes": False, "origins": [],
}  # fmt: skip


def test_endpoints_that_exchange_their_paths_around_a_change_of_the_collection_all_stay() -> None:
    publisher, _, late = _anew()
    # Several pairs: in which order a collection takes its endpoints up is LuaJIT's.
    pairs = [(2 * n, 2 * n + 1) for n in range(8)]
    before = [(f"e{n}", _endpoint(n, f"/{n}")) for pair in pairs for n in pair]
    publisher.publish([("k1", _COLLECTION), *before])
    moved = [(f"e{one}", _endpoint(one, f"/{other}")) for one, other in pairs]
    followed = [(f"e{other}", _endpoint(other, f"/{one}")) for one, other in pairs]
    publisher.publish([*moved, ("k1", _COLLECTION), *followed])
    late.start()
    assert publisher.seen() == late.seen()


@pytest.mark.slow
def test_a_worker_that_missed_more_changes_than_are_remembered_reads_everything() -> None:
    publisher, follower, late = _anew()
    publisher.publish([("k1", _COLLECTION)])
    follower.plan.follow()
    for number in range(4200):
        publisher.publish([(f"e{number % 3}", _endpoint(number % 3, f"/{number % 7}"))])
    follower.plan.follow()
    late.start()
    assert follower.seen() == late.seen() == publisher.seen()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("x1", {}), ("e", {}), ("ex", {}), ("e5", {"id": 5}), ("k1", {"id": 1, "handle": None}),
        ("e5", {**_endpoint(5), "method": "TRACE"}), ("e5", {**_endpoint(5), "path": 7}),
        ("e5", "text"), ("u1", {"id": 1, "servers": None}), ("s", {"trusted": 5}),
    ],
    ids=str,
)  # fmt: skip
def test_an_object_that_no_worker_can_take_is_refused_alone(key: str, value: object) -> None:
    publisher, follower, _ = _anew()
    publisher.publish([("k1", _COLLECTION), ("e4", _endpoint(4))])
    before = publisher.seen()
    refused = publisher.publish([(key, value), ("e6", _endpoint(6, "/b"))])
    assert list(refused) == [key]
    follower.plan.follow()
    assert follower.seen() == publisher.seen() != before
    assert "e4" in str(list(publisher.plan.listed().values()))


def test_an_object_that_finds_no_room_is_refused_and_its_last_form_goes_on() -> None:
    publisher, follower, _ = _anew()
    publisher.publish([("k1", _COLLECTION), ("e4", _endpoint(4))])
    before = publisher.seen()
    dictionary = _MACHINE.dictionary("objects")
    dictionary.room = len(dictionary.get_keys(0))
    refused = publisher.publish([("e5", _endpoint(5, "/b"))])
    assert list(refused) == ["e5"]
    assert "no memory" in refused["e5"]
    assert publisher.seen() == before
    follower.plan.follow()
    assert follower.seen() == before


def test_a_gateway_starts_with_what_was_last_published(tmp_path: Path) -> None:
    path = tmp_path / "published.jsonl"
    lines = [("e4", _endpoint(4)), ("k1", _COLLECTION), ("e9", {"id": 9})]
    path.write_text("".join(f"{key}\t{json.dumps(value)}\n" for key, value in lines))
    machine = Machine()
    node = _Node(machine)
    assert "GET /a/a - - - -" in node.seen()
    _empty(machine)
    node.start(str(path))
    assert "GET /a/a 1 - 4" in node.seen()
    assert any("e9" in line for line in node.worker.logged)
