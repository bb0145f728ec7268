"""Made-up endpoints, and calls that meet them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from ostiary.access.paths import METHODS, Template, parse_template

#: Few words, so that made-up templates and paths meet.
WORDS = ("a", "b", "x.y")


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
    """A template of words and `{}`; parameters get names."""
    return parse_template(
        "/" + "/".join(f"{{p{i}}}" if s == "{}" else s for i, s in enumerate(segments))
    )


def a_target(rng: random.Random, template: Template) -> Template:
    """A path on the upstream with some of the template's parameters, in another order."""
    parameters = [p for p in template.parameters if rng.random() < 0.8]
    rng.shuffle(parameters)
    return parse_template("/".join(["/v2", *(f"{{{p}}}" for p in parameters), "end"]))


def filled(target: Template, template: Template, path: str) -> str:
    """The target of a path that fits the template."""
    values = dict(zip(template.segments, path[1:].split("/"), strict=True))
    return "/" + "/".join(values[s] if s.startswith("{") else s for s in target.segments)


def a_path(rng: random.Random, endpoints: Sequence[Endpoint]) -> str:
    """One of a template, with values for its parameters, or one of no template's making."""
    values = (*WORDS, "5", "%C3%A9", "~")
    words = [rng.choice(values) for _ in range(rng.randint(1, 5))]
    if endpoints and rng.random() < 0.6:
        segments = rng.choice(endpoints).template.segments
        words = [rng.choice(values) if s.startswith("{") else s for s in segments]
    return "/" + "/".join(words) + "/" * (rng.random() < 0.2)


METHOD = st.sampled_from(METHODS)
TEMPLATES = st.builds(
    lambda words, slash: named([*words, ""] if slash else words),
    st.lists(st.sampled_from((*WORDS, "{}", "{}")), min_size=1, max_size=5),
    st.booleans(),
)
PATHS = st.builds(
    lambda words, slash: "/" + "/".join(words) + "/" * (slash and bool(words)),
    st.lists(st.sampled_from((*WORDS, "5", "%C3%A9")), max_size=6),
    st.booleans(),
)
_TRIPLES = st.tuples(METHOD, TEMPLATES, st.sampled_from([True, True, False]), st.randoms())
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
