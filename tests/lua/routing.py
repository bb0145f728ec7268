"""Made-up endpoints, and calls that meet them."""

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from ostiary.access.paths import (
    ENDPOINT_METHODS,
    METHODS,
    Template,
    is_wildcard,
    parse_template,
    rewritten,
)

#: Few words, so that made-up templates and paths meet.
WORDS = ("a", "b", "x.y")
#: Segments of templates: words, parameters, and both; `{...}` is a wildcard, for the end alone.
SEGMENTS = (*WORDS, "{}", "{}", "{}", "{}.y", "x{}", "{}.{}", "({})", "{}:a", "{}-{}", "{}C{}")
#: What may stand for a parameter.
VALUES = (*WORDS, "5", "%C3%A9", "~", "...")
#: Segments of paths that meet several templates, or nearly.
MIXED = (
    *VALUES,
    "x.y.y",
    ".y",
    "x",
    "(a)",
    "()",
    "a:a",
    "5-6-7",
    "--",
    "a-..",
    "%43C%C3",
    "xCa",
    "x.",
)
#: What only paths of collections with encoded slashes may hold.
ENCODED = ("a%2Fb", "a;v=1", "a%5Cb", "x%3B", "%2F", ";a.y", "-;..y", "x-..;a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What `choose` must know, and the target on the upstream, if there is another than the path."""

    id: int
    method: str
    template: Template
    active: bool = True
    target: Template | None = None

    def published(self, collection: int) -> dict[str, object]:
        """As publishing.endpoint writes it."""
        return {
            "id": self.id,
            "collection": collection,
            "method": self.method,
            "path": self.template.text,
            "target": self.target.text if self.target else "",
            "timeout": 0,
            "recipe": None,
        }


def named(segments: Sequence[str]) -> Template:
    """A template of segments; parameters get names."""
    numbers = itertools.count()
    return parse_template(re.sub(r"\{", lambda _: f"{{p{next(numbers)}", "/" + "/".join(segments)))


def a_target(rng: random.Random, template: Template) -> Template:
    """A path on the upstream with some of the template's parameters, in another order."""
    tokens = [token for token in template.tokens if rng.random() < 0.8]
    rng.shuffle(tokens)
    open_ = [token for token in tokens if is_wildcard(token)]
    parts = [token if rng.random() < 0.7 else f"x{token}" for token in tokens if token not in open_]
    return parse_template("/".join(["/v2", *parts, *(open_ or ["end"])]))


def filled(target: Template, template: Template, path: str) -> str | None:
    """The target of a path that fits the template; nothing: the gateway refuses it."""
    return rewritten(target, template, path)


def a_path(rng: random.Random, endpoints: Sequence[Endpoint], *, encoded: bool = False) -> str:
    """One of a template, with values for its parameters, or one of no template's making."""
    values = (*MIXED, *ENCODED) if encoded else MIXED
    words = [rng.choice(values) for _ in range(rng.randint(1, 5))]
    if endpoints and rng.random() < 0.7:
        text = rng.choice(endpoints).template.text
        words = re.sub(r"\{[^}]*\}", lambda _: rng.choice(values), text)[1:].split("/")
    return "/" + "/".join(words) + "/" * (bool(words[-1]) and rng.random() < 0.2)


METHOD = st.sampled_from(METHODS)
_ENDINGS = st.sampled_from([[], [], [""], ["{...}"]])
TEMPLATES = st.builds(
    lambda words, ending: named([*words, *ending]),
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4),
    _ENDINGS,
)
PATHS = st.builds(
    lambda words, slash: "/" + "/".join(words) + "/" * (slash and bool(words)),
    st.lists(st.sampled_from((*MIXED, *ENCODED)), max_size=6),
    st.booleans(),
)
_TRIPLES = st.tuples(
    st.sampled_from(ENDPOINT_METHODS), TEMPLATES, st.sampled_from([True, True, False]), st.randoms()
)
ENDPOINTS = st.lists(_TRIPLES, max_size=12, unique_by=lambda t: (t[0], t[1].shape)).map(
    lambda triples: tuple(
        Endpoint(
            id=number,
            method=method,
            template=template,
            active=active,
            target=a_target(rng, template) if rng.random() < 0.5 else None,
        )
        for number, (method, template, active, rng) in enumerate(triples, start=1)
    )
)
