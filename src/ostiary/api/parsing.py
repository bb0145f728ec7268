"""What a call sends, read strictly: nothing is dropped that its sender may rely on.

Bodies are JSON in UTF-8, whatever `Content-Type` says; a name stands once in an object. A query has
no parameters but those of the operation, each once unless it is a list.
"""

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Never, cast

from django.http import HttpRequest
from ninja import parser

from ostiary.directory.changes.errors import Invalid, Problem

if TYPE_CHECKING:
    from ninja.operation import Operation


#: An escape of a surrogate, alone or in a pair.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _Object(dict[str, Any]):
    """An object of a body, with the names that stand in it more than once."""

    twice: tuple[str, ...] = ()


class BodyParser(parser.Parser):
    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """The body's JSON; raises Invalid for a name that stands twice, ValueError for no JSON."""
        text = request.body.decode()
        try:
            content = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
        except RecursionError:
            raise ValueError("is nested too deeply") from None
        problems = [
            Problem(field=field, code="twice", sentence="is given twice")
            for field in _twice(content, "")
        ]
        if _SURROGATE.search(text):
            sentence = "holds half of a character (a lone surrogate)"
            problems += [
                Problem(field=_shown(field), code="characters", sentence=sentence)
                for field in _surrogates(content, "")
            ]
        if problems:
            raise Invalid(problems)
        return cast("dict[str, Any]", content)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    counts = Counter(name for name, _ in pairs)
    found = _Object(made)
    found.twice = tuple(name for name, count in counts.items() if count > 1)
    return found


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} isn't JSON")


def _twice(value: object, place: str) -> Iterator[str]:
    if isinstance(value, _Object):
        yield from (f"{place}{name}" for name in value.twice)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _twice(inner, f"{place}{name}.")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _twice(inner, f"{place}{index}.")


def _surrogates(value: object, place: str) -> Iterator[str]:
    """Places of texts and names with half of a pair: neither the database nor an answer can have it."""
    if isinstance(value, str) and _shown(value) != value:
        yield place
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _shown(name) != name:
                yield f"{place}.{name}".lstrip(".")
            yield from _surrogates(inner, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _surrogates(inner, f"{place}.{index}".lstrip("."))


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def strict_query(view: Callable[..., Any]) -> Callable[..., Any]:
    """Have an operation refuse parameters that it does not have, and one that is given twice.

    Done for all operations at once: django-ninja takes the schema of a query apart, so that
    `extra="forbid"` of the schema means nothing.
    """
    operation = cast("Operation", view._ninja_operation)  # type: ignore[attr-defined]  # noqa: SLF001 - set by ninja
    models = [each for each in operation.models if each.__ninja_param_source__ == "query"]
    known = {name for each in models for name in each.__ninja_flatten_map__}
    lists = {name for each in models for name in each.__ninja_collection_fields__}

    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.GET:
            _check_query(request, known, lists)
        return view(request, *args, **kwargs)

    return checked


def _check_query(request: HttpRequest, known: set[str], lists: set[str]) -> None:
    problems = [
        Problem(field=name, code="unknown", sentence="isn't a parameter of this call")
        for name in request.GET
        if name not in known
    ]
    problems += [
        Problem(field=name, code="twice", sentence="is given twice")
        for name, values in request.GET.lists()
        if name in known - lists and len(values) > 1
    ]
    if problems:
        raise Invalid(problems)
