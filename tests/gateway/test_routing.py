"""Routes as data mean what the decision's own choice means, in Python and in HAProxy."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stage import ask, free_port, wait_for

from ostiary.access.paths import choose, parse_template
from ostiary.gateway.routing import (
    RoutedCollection,
    RoutedEndpoint,
    compile_routes,
    first_rules,
    lookup,
    other_rules,
)

segments = st.sampled_from(["a", "b", "c", "{}"])
templates = st.lists(segments, min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(p if p != "{}" else f"{{p{i}}}" for i, p in enumerate(parts))
)
methods = st.sampled_from(["GET", "POST", "HEAD"])
paths = st.lists(st.sampled_from(["a", "b", "c", "d", "e.f"]), min_size=1, max_size=6).map(
    lambda parts: "/" + "/".join(parts)
)


@st.composite
def collections(draw: st.DrawFn) -> RoutedCollection:
    pairs = draw(st.lists(st.tuples(methods, templates), max_size=12))
    unique = {(m, parse_template(t).shape): (m, t) for m, t in pairs}
    return RoutedCollection(
        id=3,
        handle="things-v1",
        backend="up_0",
        endpoints=tuple(
            RoutedEndpoint(id=i, method=m, template=parse_template(t), active=draw(st.booleans()))
            for i, (m, t) in enumerate(unique.values(), start=1)
        ),
    )


@given(collections(), methods, paths)
@settings(max_examples=500)
def test_look_ups_agree_with_the_choice(
    collection: RoutedCollection, method: str, path: str
) -> None:
    routes = compile_routes([collection])
    found = lookup(routes, method, f"/things-v1{path}")
    choice = choose(collection.endpoints, method, path)
    expected = f"e{choice.endpoint.id}" if choice.endpoint else None
    assert (found.split(";")[0] if found else None) == expected


CONFIGURATION = """
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend f
  bind 127.0.0.1:{port}
  http-request set-var(txn.p) path
  {rules}
  http-request return status 200 hdr Route "%[var(txn.scope)]"
"""


@pytest.mark.gateway
def test_haproxy_looks_up_the_same(tmp_path: Path) -> None:
    texts = [
        "/a", "/a/b", "/a/{x}", "/a/{x}/b", "/{x}/b", "/a/{x}/{y}", "/a/{x}/c/{y}", "/{x}/b/c",
        "/{x}/{y}/{z}/d", "/a/b/c/{x}", "/{x}/a/{y}/{z}/e.f",
    ]  # fmt: skip
    collection = RoutedCollection(
        id=3,
        handle="things-v1",
        backend="up_0",
        endpoints=tuple(
            RoutedEndpoint(id=i, method=method, template=parse_template(text))
            for i, (method, text) in enumerate(
                [(m, t) for m in ("GET", "POST") for t in texts if (m, t) != ("POST", "/a/b")]
            )
        ),
    )
    routes = compile_routes([collection])
    for name in ("routes", "general", "collections"):
        entries = getattr(routes, name)
        (tmp_path / f"{name}.map").write_text("".join(f"{k} {v}\n" for k, v in entries.items()))
    port = free_port()
    rules = "\n  ".join([*first_rules(), *other_rules()])
    (tmp_path / "haproxy.cfg").write_text(CONFIGURATION.format(port=port, rules=rules))
    process = subprocess.Popen(["haproxy", "-db", "-C", str(tmp_path), "-f", "haproxy.cfg"])
    try:
        wait_for(lambda: _answers(port))
        words = ["a", "b", "c", "d", "e.f", "x"]
        some = [f"/{p}/{q}/{r}" for p in words for q in words for r in words]
        some += [f"/{p}/{q}" for p in words for q in words] + [f"/{p}" for p in words]
        some += ["/a/b/c/d", "/x/y/z/d", "/x/a/y/z/e.f", "/a/x/c/y", "/x/y/z/d/e"]
        for path in some:
            for method in ("GET", "POST"):
                choice = choose(collection.endpoints, method, path)
                told = ask(port, method, f"/things-v1{path}").headers["route"]
                expected = f"e{choice.endpoint.id}" if choice.endpoint else "c3"
                assert told.split(";")[0] == expected, (method, path)
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/").status == 200
    except OSError:
        return False
